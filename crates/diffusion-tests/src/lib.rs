//! One test body, every backend: the macro that stamps it, and the comparison that it ends in.
//!
//! A body is a function `fn name<B: TestBackend>(device: &B::Device)`; where it needs gradients it works on
//! `Autodiff<B>`. [`backend_tests!`] makes one test of it per enabled backend:
//! ```
//! use burn::tensor::Tensor;
//! use diffusion_tests::{TestBackend, assert_close, backend_tests};
//!
//! backend_tests!(twice_one_is_two);
//!
//! fn twice_one_is_two<B: TestBackend>(device: &B::Device) {
//!     let two = Tensor::<B, 1>::ones([3], device) * 2.0;
//!     assert_close("2·1", two.into_data(), [2.0f32, 2.0, 2.0].into(), B::TOLERANCE);
//! }
//! # fn main() {}
//! ```

mod backend;
mod close;

pub use backend::{TestBackend, run};
pub use close::assert_close;
pub use diffusion_backends::BackendName;

/// Makes a test of each named body for each enabled backend, in modules named after the backends.
#[macro_export]
macro_rules! backend_tests {
    ($($body:ident),+ $(,)?) => {
        $crate::backend_tests!(@one "ndarray" ndarray Ndarray NdArray: $($body),+);
        $crate::backend_tests!(@one "flex" flex Flex Flex: $($body),+);
        $crate::backend_tests!(@one "wgpu" wgpu Wgpu Wgpu: $($body),+);
        $crate::backend_tests!(@one "vulkan" vulkan Vulkan Vulkan: $($body),+);
        $crate::backend_tests!(@one "metal" metal Metal Metal: $($body),+);
        $crate::backend_tests!(@one "cuda" cuda Cuda Cuda: $($body),+);
        $crate::backend_tests!(@one "tch" tch Tch LibTorch: $($body),+);
    };
    (@one $feature:literal $module:ident $name:ident $backend:ident: $($body:ident),+) => {
        #[cfg(feature = $feature)]
        mod $module {
            $(
                #[test]
                fn $body() {
                    $crate::run::<::burn::backend::$backend>($crate::BackendName::$name, super::$body::<::burn::backend::$backend>);
                }
            )+
        }
    };
}

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
pub use diffusion_backends::{BackendName, for_each_built};

/// Makes a test of each named body for each backend that is built in, in modules named after the backends.
#[macro_export]
macro_rules! backend_tests {
    ($($body:ident),+ $(,)?) => {
        $crate::for_each_built! { [$crate::tests_on] ($($body),+) }
    };
}

/// The tests of [`backend_tests!`] on one backend.
#[doc(hidden)]
#[macro_export]
macro_rules! tests_on {
    (($module:ident $name:ident $backend:ident) ($($body:ident),+)) => {
        mod $module {
            $(
                #[test]
                fn $body() {
                    use ::burn::backend::$backend;
                    $crate::run::<$backend>($crate::BackendName::$name, super::$body::<$backend>);
                }
            )+
        }
    };
}

/// The README's examples are tests.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The code block about the classifier is a test.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../../docs/evaluation.md")]
struct Evaluation;

/// The tutorial's code blocks are tests.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../../../docs/own-data-and-network.md")]
struct Tutorial;

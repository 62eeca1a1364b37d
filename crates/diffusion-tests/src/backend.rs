//! The backends that tests run on, what accuracy each is held to, and whether this machine has its device.

use burn::tensor::backend::Backend;
use diffusion_backends::{BackendName, absence};
#[cfg(feature = "ndarray")]
use diffusion_test_kernels as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// A backend that test bodies run on.
pub trait TestBackend: Backend {
    /// The largest deviation allowed of a forward pass, a loss or a trajectory, relative to the largest value.
    ///
    /// The reference's own f32 lies within 5e-7 of f64 in most fixtures; a GPU's sines and exponentials are coarser.
    const TOLERANCE: f64;

    /// The same for gradients, whose sums are longer.
    const GRADIENT_TOLERANCE: f64 = 1e-4;
}

#[cfg(feature = "ndarray")]
impl TestBackend for burn::backend::NdArray {
    const TOLERANCE: f64 = 1e-5;
}

#[cfg(feature = "flex")]
impl TestBackend for burn::backend::Flex {
    const TOLERANCE: f64 = 1e-5;
}

#[cfg(feature = "wgpu")]
impl TestBackend for burn::backend::Wgpu {
    const TOLERANCE: f64 = 1e-4;
}

/// `Vulkan` and `Metal`, which are one type.
#[cfg(any(feature = "vulkan", feature = "metal"))]
impl TestBackend for burn::backend::Wgpu<f32, i32, u8> {
    const TOLERANCE: f64 = 1e-4;
}

#[cfg(feature = "cuda")]
impl TestBackend for burn::backend::Cuda {
    const TOLERANCE: f64 = 1e-4;
}

#[cfg(feature = "tch")]
impl TestBackend for burn::backend::LibTorch {
    const TOLERANCE: f64 = 1e-5;
}

/// Runs `body` on the default device of `B`, which is the backend `name`, or says on stderr that it is skipped and why,
/// if this machine has none.
///
/// # Panics
/// If `body` does, or if the device is missing and the environment variable `DIFFUSION_REQUIRE_WGPU` is 1.
pub fn run<B: TestBackend>(name: BackendName, body: fn(&B::Device)) {
    static SKIPPED: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let Some(reason) = absence(name) else {
        return body(&B::Device::default());
    };
    let required = std::env::var("DIFFUSION_REQUIRE_WGPU").is_ok_and(|value| value == "1");
    assert!(!required, "DIFFUSION_REQUIRE_WGPU is 1 and the device is missing: {reason}");
    let mut skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    if !skipped.contains(&name.name()) {
        skipped.push(name.name());
        // Not `eprintln!`, which the test harness hides when tests pass.
        let _ = writeln!(std::io::stderr(), "the tests on {} are skipped: {reason}", name.name());
    }
}

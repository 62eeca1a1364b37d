//! The backends that tests run on, and whether this machine has its device.

use diffusion_backends::{BackendName, Tolerance, absence};
#[cfg(feature = "ndarray")]
use diffusion_test_kernels as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// A backend that test bodies run on, held to its [`Tolerance`].
pub trait TestBackend: Tolerance {
    /// The same for gradients, whose sums are longer.
    const GRADIENT_TOLERANCE: f64 = 1e-4;
}

impl<B: Tolerance> TestBackend for B {}

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

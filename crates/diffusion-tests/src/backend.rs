//! The backends that tests run on, what accuracy each is held to, and whether this machine has its device.

use burn::tensor::backend::Backend;
#[cfg(feature = "ndarray")]
use diffusion_test_kernels as _;

/// A backend that test bodies run on.
pub trait TestBackend: Backend {
    /// The largest deviation allowed of a forward pass, a loss or a trajectory, relative to the largest value.
    ///
    /// The reference's own f32 lies within 5e-7 of f64 in most fixtures; a GPU's sines and exponentials are coarser.
    const TOLERANCE: f64;

    /// The same for gradients, whose sums are longer.
    const GRADIENT_TOLERANCE: f64 = 1e-4;

    /// Why this machine cannot run the backend, if it cannot.
    fn missing() -> Option<String> {
        None
    }
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

    fn missing() -> Option<String> {
        adapter::missing()
    }
}

/// Runs `body` on the backend's default device, or says on stderr that it is skipped and why, if there is none.
///
/// # Panics
/// If `body` does, or if the device is missing and the environment variable `DIFFUSION_REQUIRE_WGPU` is 1.
pub fn run<B: TestBackend>(body: fn(&B::Device)) {
    match B::missing() {
        None => body(&B::Device::default()),
        Some(reason) => {
            let required = std::env::var("DIFFUSION_REQUIRE_WGPU").is_ok_and(|value| value == "1");
            assert!(!required, "DIFFUSION_REQUIRE_WGPU is 1 and the device is missing: {reason}");
        }
    }
}

#[cfg(feature = "wgpu")]
mod adapter {
    use burn::backend::Wgpu;
    use burn::tensor::Tensor;
    use std::io::Write;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};
    use std::{panic, thread};

    /// Why there is no adapter, found out once per process by using it.
    pub fn missing() -> Option<String> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        MISSING.get_or_init(probe).clone()
    }

    fn probe() -> Option<String> {
        let (values, panics) = listening_to_panics(|| {
            let three = Tensor::<Wgpu, 1>::ones([1], &Default::default()) + 2.0;
            three.into_data().iter::<f32>().collect::<Vec<_>>()
        });
        let reason = match values {
            Ok(values) if values == [3.0] => return None,
            Ok(values) => format!("1 + 2 is {values:?} on this adapter"),
            Err(_) => panics.into_iter().next().unwrap_or_else(|| "it panics without a message".to_string()),
        };
        // Not `eprintln!`, which the test harness hides when tests pass.
        let _ =
            writeln!(std::io::stderr(), "the tests on wgpu are skipped, for there is no adapter: {reason}");
        Some(reason)
    }

    /// Runs `work` on a thread of its own, where a panic, which is how the backend says no, does no harm; returns the
    /// messages of all panics meanwhile as well, because the backend panics with the reason on a thread of *its* own.
    fn listening_to_panics<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> (thread::Result<T>, Vec<String>) {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&messages);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
        }));
        let result = thread::spawn(work).join();
        panic::set_hook(before);
        let messages = std::mem::take(&mut *messages.lock().unwrap_or_else(PoisonError::into_inner));
        (result, messages)
    }
}

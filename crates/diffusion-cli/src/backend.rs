//! Where to compute: the backends that this program was built with.

use crate::error::CliError;
#[cfg(feature = "wgpu")]
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use clap::ValueEnum;
#[cfg(feature = "wgpu")]
use std::panic;

/// A backend by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// The CPU, fastest.
    #[default]
    Flex,
    /// The CPU, through ndarray.
    Ndarray,
    /// Any GPU, through Vulkan, Metal, DirectX 12 or WebGPU.
    Wgpu,
}

impl BackendName {
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
        }
    }
}

/// A function that works on any backend.
pub trait Job {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), CliError>;
}

/// Runs `job` on the backend `name`, if it is built in and has a device.
pub fn run_on(name: BackendName, job: impl Job) -> Result<(), CliError> {
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => job.run::<burn::backend::Flex>(&Default::default()),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => job.run::<burn::backend::NdArray>(&Default::default()),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => {
            let device = Default::default();
            probe::<burn::backend::Wgpu>(&device)?;
            job.run::<burn::backend::Wgpu>(&device)
        }
        #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
        missing => Err(CliError::BackendNotBuilt(missing.name())),
    }
}

/// Burn panics where there is no adapter, on a thread of its own: the first panic tells why, and a user is owed a
/// sentence.
#[cfg(feature = "wgpu")]
fn probe<B: Backend>(device: &B::Device) -> Result<(), CliError> {
    let (send, panics) = std::sync::mpsc::channel();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let reason = info.payload_as_str().and_then(|text| text.lines().next()).unwrap_or("unknown cause");
        let _ = send.send(reason.to_string());
    }));
    let attempt = panic::AssertUnwindSafe(|| Tensor::<B, 1>::ones([1], device).into_data());
    let result = panic::catch_unwind(attempt);
    panic::set_hook(hook);
    result.map(|_| ()).map_err(|_| CliError::NoDevice { reason: panics.try_recv().unwrap_or_default() })
}

//! Where to compute: the backends that this program was built with.

use crate::error::CliError;
use burn::tensor::{Tensor, backend::Backend};
use clap::ValueEnum;
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

/// Burn panics where there is no adapter; a user is owed a sentence.
#[cfg_attr(not(feature = "wgpu"), allow(dead_code, reason = "only a GPU may be absent"))]
fn probe<B: Backend>(device: &B::Device) -> Result<(), CliError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let attempt = panic::AssertUnwindSafe(|| Tensor::<B, 1>::ones([1], device).into_data());
    let result = panic::catch_unwind(attempt);
    panic::set_hook(hook);
    result.map(|_| ()).map_err(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
        CliError::NoDevice { reason: text.lines().next().unwrap_or_default().to_string() }
    })
}

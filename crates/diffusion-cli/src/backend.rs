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

    /// The CPU backend that this one is held against.
    pub fn reference(self) -> Self {
        match self {
            Self::Flex => Self::Ndarray,
            Self::Ndarray | Self::Wgpu => Self::Flex,
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

/// The device that the backend `name` computes on, in words, and a GPU's driver; to be asked before the backend is
/// used.
pub fn device_of(name: BackendName) -> Result<String, CliError> {
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => Ok(processor(name)),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => Ok(processor(name)),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => {
            use burn::backend::wgpu::{Wgpu, graphics::AutoGraphicsApi, init_setup};
            let device = Default::default();
            let setup = listening(|| init_setup::<AutoGraphicsApi>(&device, Default::default()))?;
            let info = setup.adapter.get_info();
            Ok(format!(
                "{} ({:?}) through {}, driver {} {}, as {}",
                info.name,
                info.device_type,
                info.backend,
                info.driver,
                info.driver_info,
                Wgpu::<f32, i32>::name(&device)
            ))
        }
        #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
        missing => Err(CliError::BackendNotBuilt(missing.name())),
    }
}

/// The processor as Rayon, which the CPU backends compute with, sees it.
#[cfg(any(feature = "flex", feature = "ndarray"))]
fn processor(name: BackendName) -> String {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    let threads =
        asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    format!("{} on this machine's processor, {threads} threads", name.name())
}

#[cfg(feature = "wgpu")]
fn probe<B: Backend>(device: &B::Device) -> Result<(), CliError> {
    listening(|| Tensor::<B, 1>::ones([1], device).into_data()).map(|_| ())
}

/// Burn panics where there is no adapter, on a thread of its own: the first panic tells why, and a user is owed a
/// sentence.
#[cfg(feature = "wgpu")]
fn listening<T>(attempt: impl FnOnce() -> T) -> Result<T, CliError> {
    let (send, panics) = std::sync::mpsc::channel();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let reason = info.payload_as_str().and_then(|text| text.lines().next()).unwrap_or("unknown cause");
        let _ = send.send(reason.to_string());
    }));
    let result = panic::catch_unwind(panic::AssertUnwindSafe(attempt));
    panic::set_hook(hook);
    result.map_err(|_| CliError::NoDevice { reason: panics.try_recv().unwrap_or_default() })
}

//! Where to compute: a backend chosen at run time by its name, among those that the program was built with.
//!
//! Everything else in the workspace is generic over the backend. A program names one with [`BackendName`] and hands
//! [`run_on`] a [`Job`]; each feature of this crate is a backend.

mod device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;

use burn::tensor::backend::Backend;
use clap::ValueEnum;

pub use device::{absence, describe};

/// A backend by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// The CPU, fastest.
    #[default]
    Flex,
    /// The CPU, through ndarray.
    Ndarray,
    /// Any GPU, through Metal on macOS and Vulkan elsewhere, with shaders in WGSL.
    Wgpu,
    /// Any GPU, through Vulkan, with shaders in SPIR-V.
    Vulkan,
    /// Apple's GPUs, with shaders in Metal's own language.
    Metal,
    /// NVIDIA's GPUs through CUDA.
    Cuda,
    /// PyTorch's library, on an NVIDIA or Apple GPU where it sees one, else on the CPU.
    Tch,
}

impl BackendName {
    /// What it is called, as in a feature and after `--backend`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
            Self::Tch => "tch",
        }
    }

    /// The CPU backend that this one is held against.
    pub fn reference(self) -> Self {
        match self {
            Self::Flex => Self::Ndarray,
            _ => Self::Flex,
        }
    }

    /// Whether it computes on a GPU.
    pub fn is_on_gpu(self) -> bool {
        match self {
            Self::Flex | Self::Ndarray => false,
            Self::Wgpu | Self::Vulkan | Self::Metal | Self::Cuda => true,
            #[cfg(feature = "tch")]
            Self::Tch => device::of_torch() != burn::backend::libtorch::LibTorchDevice::Cpu,
            #[cfg(not(feature = "tch"))]
            Self::Tch => false,
        }
    }
}

/// Work that can be done on any backend.
pub trait Job {
    /// What comes out of it.
    type Output;

    /// Does the work on the backend `B`, with its tensors on `device`.
    fn run<B: Backend>(self, device: &B::Device) -> Self::Output;
}

/// Why there is nowhere to compute.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The program has not got the backend.
    #[error("this program was built without the backend {0}")]
    NotBuilt(&'static str),
    /// The backend finds no device.
    #[error("{backend} finds no GPU that it can use: {reason}")]
    NoDevice {
        /// The backend's name.
        backend: &'static str,
        /// What it said.
        reason: String,
    },
}

impl BackendError {
    /// What a user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotBuilt(_) => "run it by `cargo xtask`, which builds in what it needs",
            Self::NoDevice { backend: "cuda", .. } => {
                "install NVIDIA's driver and the CUDA toolkit, or use --backend wgpu or flex"
            }
            Self::NoDevice { backend: "metal", .. } => "use --backend wgpu or flex",
            Self::NoDevice { .. } => {
                "install a Vulkan driver (on Debian, mesa-vulkan-drivers works without a GPU), or use --backend flex"
            }
        }
    }
}

/// Runs `job` on the backend `name`, on its default device.
///
/// # Errors
/// If the backend is not built in, or finds no device.
pub fn run_on<J: Job>(name: BackendName, job: J) -> Result<J::Output, BackendError> {
    if let Some(reason) = absence(name) {
        return Err(BackendError::NoDevice { backend: name.name(), reason });
    }
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => Ok(job.run::<burn::backend::Flex>(&Default::default())),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => Ok(job.run::<burn::backend::NdArray>(&Default::default())),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => Ok(job.run::<burn::backend::Wgpu>(&Default::default())),
        #[cfg(feature = "vulkan")]
        BackendName::Vulkan => Ok(job.run::<burn::backend::Vulkan>(&Default::default())),
        #[cfg(feature = "metal")]
        BackendName::Metal => Ok(job.run::<burn::backend::Metal>(&Default::default())),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => Ok(job.run::<burn::backend::Cuda>(&Default::default())),
        #[cfg(feature = "tch")]
        BackendName::Tch => Ok(job.run::<burn::backend::LibTorch>(&device::of_torch())),
        #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
        missing => {
            drop(job);
            Err(BackendError::NotBuilt(missing.name()))
        }
    }
}

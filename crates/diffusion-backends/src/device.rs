//! What a backend computes on, and whether it is there.

#[cfg(feature = "wgpu")]
use crate::gpu::listening;
use crate::gpu::probe;
use burn::tensor::backend::Backend;

/// A kind of device, as it is known without the backends that compute on it.
pub(crate) trait Place {
    /// Whether it is a GPU.
    fn is_on_gpu() -> bool {
        true
    }

    /// Why this system has none; wgpu would take what there is, with shaders for something else.
    fn misplaced() -> Option<&'static str> {
        None
    }
}

/// The same as the backend `B` finds it.
#[allow(dead_code, reason = "a build without backends finds none")]
pub(crate) trait Device<B: Backend>: Place {
    /// The default one.
    fn device() -> B::Device {
        Default::default()
    }

    /// Why there is none, if there is none.
    fn probe() -> Option<String> {
        None
    }

    /// The default one in words; the error is why there is none.
    fn describe(name: &str) -> Result<String, String>;
}

/// The machine's processor.
pub struct Processor;

impl Place for Processor {
    fn is_on_gpu() -> bool {
        false
    }
}

impl<B: Backend> Device<B> for Processor {
    /// As Rayon, which the CPU backends compute with, sees it.
    fn describe(name: &str) -> Result<String, String> {
        let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        let threads =
            asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
        Ok(format!("{name} on this machine's processor, {threads} threads"))
    }
}

/// A GPU by whatever wgpu finds.
pub struct Graphics;

impl Place for Graphics {}

/// A GPU by Vulkan, which wgpu has everywhere but on macOS.
pub struct NotOnMac;

impl Place for NotOnMac {
    fn misplaced() -> Option<&'static str> {
        cfg!(target_os = "macos").then_some("macOS has Metal in Vulkan's place")
    }
}

/// A GPU by Metal, which only macOS has.
pub struct OnMac;

impl Place for OnMac {
    fn misplaced() -> Option<&'static str> {
        cfg!(not(target_os = "macos")).then_some("Metal is on macOS only")
    }
}

#[cfg(feature = "wgpu")]
mod graphics {
    use super::*;
    use burn::backend::wgpu::{WgpuDevice, graphics::AutoGraphicsApi, init_setup};
    use std::sync::OnceLock;

    macro_rules! by_wgpu {
        ($($place:ident),+) => { $(
            impl<B: Backend<Device = WgpuDevice>> Device<B> for $place {
                fn probe() -> Option<String> {
                    probe::<B>()
                }

                fn describe(_: &str) -> Result<String, String> {
                    adapter(B::name)
                }
            }
        )+ };
    }

    by_wgpu!(Graphics, NotOnMac, OnMac);

    /// The GPU that wgpu chooses.
    fn adapter(compiler: fn(&WgpuDevice) -> String) -> Result<String, String> {
        // One runtime, which can be set up once, stands behind every name.
        static FOUND: OnceLock<Result<String, String>> = OnceLock::new();
        let find = move || {
            let device = Default::default();
            let info = init_setup::<AutoGraphicsApi>(&device, Default::default()).adapter.get_info();
            format!(
                "{} ({:?}) through {}, driver {} {}, as {}",
                info.name,
                info.device_type,
                info.backend,
                info.driver,
                info.driver_info,
                compiler(&device)
            )
        };
        FOUND.get_or_init(|| listening(find)).clone()
    }
}

/// A GPU as its backend names it, which panics where there is none.
pub struct Gpu;

impl Place for Gpu {}

impl<B: Backend> Device<B> for Gpu {
    fn probe() -> Option<String> {
        probe::<B>()
    }

    fn describe(_: &str) -> Result<String, String> {
        if let Some(reason) = probe::<B>() {
            return Err(reason);
        }
        let device = B::Device::default();
        Ok(format!("{device:?} as {}", B::name(&device)))
    }
}

/// What PyTorch's library computes on: a GPU where it sees one.
pub struct Torch;

impl Place for Torch {
    #[cfg(not(feature = "tch"))]
    fn is_on_gpu() -> bool {
        false
    }

    #[cfg(feature = "tch")]
    fn is_on_gpu() -> bool {
        of_torch() != burn::backend::libtorch::LibTorchDevice::Cpu
    }
}

#[cfg(feature = "tch")]
impl<B: Backend<Device = burn::backend::libtorch::LibTorchDevice>> Device<B> for Torch {
    fn device() -> B::Device {
        of_torch()
    }

    fn describe(_: &str) -> Result<String, String> {
        Ok(format!("libtorch on {:?}", of_torch()))
    }
}

#[cfg(feature = "tch")]
fn of_torch() -> burn::backend::libtorch::LibTorchDevice {
    use burn::backend::libtorch::LibTorchDevice;
    if tch::Cuda::is_available() {
        LibTorchDevice::Cuda(0)
    } else if tch::utils::has_mps() {
        LibTorchDevice::Mps
    } else {
        LibTorchDevice::Cpu
    }
}

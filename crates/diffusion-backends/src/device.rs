//! What a backend computes on, and whether it is there.

#[cfg(feature = "wgpu")]
use crate::gpu::listening;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::gpu::probe;
use crate::{BackendError, BackendName};
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::backend::Backend;
use std::sync::OnceLock;

/// Why this machine cannot run the backend `name`, if it is built in and cannot; found out once in a process, by a sum.
pub fn absence(name: BackendName) -> Option<String> {
    static FOUND: [OnceLock<Option<String>>; 7] = [const { OnceLock::new() }; 7];
    let find = || match name {
        elsewhere if misplaced(elsewhere).is_some() => misplaced(elsewhere),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => probe::<burn::backend::Wgpu>(),
        #[cfg(feature = "vulkan")]
        BackendName::Vulkan => probe::<burn::backend::Vulkan>(),
        #[cfg(feature = "metal")]
        BackendName::Metal => probe::<burn::backend::Metal>(),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => probe::<burn::backend::Cuda>(),
        _ => None,
    };
    FOUND[name as usize].get_or_init(find).clone()
}

/// The device that the backend `name` computes on, in words, with a GPU's driver; to be asked before the backend is
/// used.
///
/// # Errors
/// If the backend is not built in, or finds no device.
pub fn describe(name: BackendName) -> Result<String, BackendError> {
    if let Some(reason) = misplaced(name) {
        return Err(BackendError::NoDevice { backend: name.name(), reason });
    }
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => Ok(processor(name)),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => Ok(processor(name)),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => adapter(name, burn::backend::Wgpu::<f32, i32>::name),
        #[cfg(feature = "vulkan")]
        BackendName::Vulkan => adapter(name, burn::backend::Vulkan::<f32, i32>::name),
        #[cfg(feature = "metal")]
        BackendName::Metal => adapter(name, burn::backend::Metal::<f32, i32>::name),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => match absence(name) {
            Some(reason) => Err(BackendError::NoDevice { backend: name.name(), reason }),
            None => {
                let device = Default::default();
                Ok(format!("{device:?} as {}", burn::backend::Cuda::<f32, i32>::name(&device)))
            }
        },
        #[cfg(feature = "tch")]
        BackendName::Tch => Ok(format!("libtorch on {:?}", of_torch())),
        #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
        missing => Err(BackendError::NotBuilt(missing.name())),
    }
}

/// Why this system has nothing for the backend `name`; wgpu would take what there is, with shaders for something else.
fn misplaced(name: BackendName) -> Option<String> {
    match name {
        BackendName::Metal if cfg!(not(target_os = "macos")) => Some("Metal is on macOS only".to_string()),
        BackendName::Vulkan if cfg!(target_os = "macos") => {
            Some("macOS has Metal in Vulkan's place".to_string())
        }
        _ => None,
    }
}

/// The device that PyTorch's library computes on: a GPU where it sees one.
#[cfg(feature = "tch")]
pub fn of_torch() -> burn::backend::libtorch::LibTorchDevice {
    use burn::backend::libtorch::LibTorchDevice;
    if tch::Cuda::is_available() {
        LibTorchDevice::Cuda(0)
    } else if tch::utils::has_mps() {
        LibTorchDevice::Mps
    } else {
        LibTorchDevice::Cpu
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

/// The GPU that wgpu chooses.
#[cfg(feature = "wgpu")]
fn adapter(
    name: BackendName,
    compiler: fn(&burn::backend::wgpu::WgpuDevice) -> String,
) -> Result<String, BackendError> {
    use burn::backend::wgpu::{graphics::AutoGraphicsApi, init_setup};
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
    let described = FOUND.get_or_init(|| listening(find)).clone();
    described.map_err(|reason| BackendError::NoDevice { backend: name.name(), reason })
}

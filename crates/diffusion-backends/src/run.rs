//! Work on a backend that is named at run time.

#[allow(unused_imports, reason = "a build without backends finds no device")]
use crate::device::{self, Device};
use crate::error::BackendError;
use crate::name::BackendName;
use burn::tensor::backend::Backend;
use std::sync::OnceLock;

/// Work that can be done on any backend.
///
/// ```
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_backends::{BackendName, Job, run_on};
///
/// /// Says what a backend calls itself.
/// struct Ask;
///
/// impl Job for Ask {
///     type Output = String;
///
///     fn run<B: Backend>(self, device: &B::Device) -> String {
///         let three = Tensor::<B, 1>::ones([1], device) + 2.0;
///         format!("{}: {three}", B::name(device))
///     }
/// }
///
/// match run_on(BackendName::Flex, Ask) {
///     Ok(said) => println!("{said}"),
///     Err(error) => println!("{error}; {}", error.hint()),
/// }
/// ```
pub trait Job {
    /// What comes out of it.
    type Output;

    /// Does the work on the backend `B`, with its tensors on `device`.
    fn run<B: Backend>(self, device: &B::Device) -> Self::Output;
}

macro_rules! backends {
    ($(
        $(#[doc = $doc:literal])+
        $module:ident $feature:literal $name:ident {
            burn: $burn:ident, device: $device:ident, autotune: $autotune:literal, ci: $ci:ident,
            tolerance: $tolerance:literal, hint: $hint:literal $(, unless: $twin:literal)?
        }
    )+) => {
        /// Why a backend that fits the system finds no device, if it is built in and does not.
        fn probe(name: BackendName) -> Option<String> {
            match name {
                $(
                    #[cfg(feature = $feature)]
                    BackendName::$name => <device::$device as Device<burn::backend::$burn>>::probe(),
                )+
                #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
                _ => None,
            }
        }

        /// The device that the backend `name` computes on, in words, with a GPU's driver; to be asked before the
        /// backend is used.
        ///
        /// # Errors
        /// If the backend is not built in, or finds no device.
        pub fn describe(name: BackendName) -> Result<String, BackendError> {
            if let Some(reason) = name.misplaced() {
                return Err(no_device(name, reason.to_string()));
            }
            match name {
                $(
                    #[cfg(feature = $feature)]
                    BackendName::$name => {
                        let described = <device::$device as Device<burn::backend::$burn>>::describe(name.name());
                        described.map_err(|reason| no_device(name, reason))
                    }
                )+
                #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
                missing => Err(BackendError::NotBuilt(missing)),
            }
        }

        /// Runs `job` on the backend `name`, on its default device.
        ///
        /// # Errors
        /// If the backend is not built in, or finds no device.
        pub fn run_on<J: Job>(name: BackendName, job: J) -> Result<J::Output, BackendError> {
            if let Some(reason) = absence(name) {
                return Err(no_device(name, reason));
            }
            match name {
                $(
                    #[cfg(feature = $feature)]
                    BackendName::$name => {
                        let device = <device::$device as Device<burn::backend::$burn>>::device();
                        Ok(job.run::<burn::backend::$burn>(&device))
                    }
                )+
                #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
                missing => {
                    drop(job);
                    Err(BackendError::NotBuilt(missing))
                }
            }
        }
    };
}

include!("table.rs");

/// Why this machine cannot run the backend `name`, if it is built in and cannot; found out once in a process, by a sum.
pub fn absence(name: BackendName) -> Option<String> {
    static FOUND: [OnceLock<Option<String>>; BackendName::ALL.len()] =
        [const { OnceLock::new() }; BackendName::ALL.len()];
    let find = || name.misplaced().map(str::to_string).or_else(|| probe(name));
    FOUND[name as usize].get_or_init(find).clone()
}

fn no_device(backend: BackendName, reason: String) -> BackendError {
    BackendError::NoDevice { backend, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_in_is_said() {
        struct Nothing;
        impl Job for Nothing {
            type Output = ();
            fn run<B: Backend>(self, _: &B::Device) {}
        }
        if cfg!(not(feature = "cuda")) {
            let said = run_on(BackendName::Cuda, Nothing).map_err(|error| error.to_string());
            assert_eq!(said, Err("this program was built without the backend cuda".to_string()));
            let said = describe(BackendName::Cuda).map_err(|error| error.to_string());
            assert_eq!(said, Err("this program was built without the backend cuda".to_string()));
        }
        if cfg!(not(target_os = "macos")) {
            let said = run_on(BackendName::Metal, Nothing).map_err(|error| error.to_string());
            let expected = "metal finds no GPU that it can use: Metal is on macOS only";
            assert_eq!(said, Err(expected.to_string()));
        }
    }
}

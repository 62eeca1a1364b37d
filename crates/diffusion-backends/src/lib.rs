//! Where to compute: a backend chosen at run time by its name, among those that the program was built with.
//!
//! Everything else in the workspace is generic over the backend. A program names one with [`BackendName`] and hands
//! [`run_on`] a [`Job`]; each feature of this crate but `clap` and `autotune` is a backend:
//! ```
//! use burn::tensor::{Tensor, backend::Backend};
//! use diffusion_backends::{BackendName, Job, run_on};
//!
//! struct Three;
//!
//! impl Job for Three {
//!     type Output = f32;
//!
//!     fn run<B: Backend>(self, device: &B::Device) -> f32 {
//!         (Tensor::<B, 1>::ones([1], device) + 2.0).into_scalar().elem()
//!     }
//! }
//! # use burn::tensor::ElementConversion;
//!
//! let name: BackendName = "flex".parse().unwrap();
//! match run_on(name, Three) {
//!     Ok(three) => assert_eq!(three, 3.0),
//!     Err(error) => println!("{error}; {}", error.hint()),
//! }
//! ```
//! `table.rs` has a row for each backend; what differs between them is stamped from it.

mod device;
mod error;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;

use burn::tensor::backend::Backend;
#[allow(unused_imports, reason = "a build without backends finds no device")]
use device::Device;
use device::Place;
use std::sync::OnceLock;
use std::{fmt, str};

pub use error::{BackendError, UnknownBackend};

/// Work that can be done on any backend.
pub trait Job {
    /// What comes out of it.
    type Output;

    /// Does the work on the backend `B`, with its tensors on `device`.
    fn run<B: Backend>(self, device: &B::Device) -> Self::Output;
}

/// How exactly a backend computes; implemented for those that are built in.
pub trait Tolerance: Backend {
    /// The largest deviation allowed of a forward pass, a loss or a trajectory, relative to the largest value.
    ///
    /// An f32 of PyTorch lies within 5e-7 of f64 in most of the fixtures; a GPU's sines and exponentials are coarser.
    const TOLERANCE: f64;
}

macro_rules! backends {
    ($(
        $(#[doc = $doc:literal])+
        $module:ident $feature:literal $name:ident {
            burn: $burn:ident, device: $device:ident, autotune: $autotune:literal, ci: $ci:ident,
            tolerance: $tolerance:literal $(, unless: $twin:literal)?
        }
    )+) => {
        /// A backend by its name on the command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
        pub enum BackendName {
            $($(#[doc = $doc])+ $name,)+
        }

        impl BackendName {
            /// All that there are, built in or not; the first is the default.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What it is called, as in a feature and after `--backend`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $feature,)+
                }
            }

            /// Whether it computes on a GPU.
            pub fn is_on_gpu(self) -> bool {
                match self {
                    $(Self::$name => device::$device::is_on_gpu(),)+
                }
            }

            /// What a user can do who has no device for it.
            fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => device::$device::HINT,)+
                }
            }

            /// Why this system has nothing for it, if it hasn't.
            fn misplaced(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => device::$device::misplaced(),)+
                }
            }
        }

        $(
            #[cfg(all(feature = $feature $(, not(feature = $twin))?))]
            impl Tolerance for burn::backend::$burn {
                const TOLERANCE: f64 = $tolerance;
            }
        )+

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
                        let described = <device::$device as Device<burn::backend::$burn>>::describe(name);
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

        exported! { ($) $($module $feature $name $burn)+ }
    };
}

/// Exports [`for_each_built`]; `$dollar` is the sign that a macro of a macro cannot write.
macro_rules! exported {
    (($dollar:tt) $($module:ident $feature:literal $name:ident $burn:ident)+) => {
        $(
            #[cfg(feature = $feature)]
            #[doc(hidden)]
            #[macro_export]
            macro_rules! $module {
                ($dollar($dollar built:tt)*) => { $dollar($dollar built)* };
            }

            #[cfg(not(feature = $feature))]
            #[doc(hidden)]
            #[macro_export]
            macro_rules! $module {
                ($dollar($dollar built:tt)*) => {};
            }
        )+

        /// Calls a macro once for every backend that is built in, for code that is stamped instead of generic.
        ///
        /// `for_each_built! { [path::to::then] (anything) }` becomes `path::to::then! { (module Name Type) (anything) }`
        /// for each: a name for a module, the variant of [`BackendName`], and the type in `burn::backend`.
        #[macro_export]
        macro_rules! for_each_built {
            ([$dollar($dollar then:tt)+] $dollar arguments:tt) => {
                $($crate::$module! { $dollar($dollar then)+ ! { ($module $name $burn) $dollar arguments } })+
            };
        }
    };
}

include!("table.rs");

impl BackendName {
    /// The CPU backend that this one is held against.
    pub fn reference(self) -> Self {
        match self {
            Self::Flex => Self::Ndarray,
            _ => Self::Flex,
        }
    }
}

impl Default for BackendName {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl str::FromStr for BackendName {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        let found = Self::ALL.iter().copied().find(|backend| backend.name() == name);
        found.ok_or_else(|| UnknownBackend(name.to_string()))
    }
}

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
    fn a_backend_is_found_by_its_name() {
        for &backend in BackendName::ALL {
            assert_eq!(backend.to_string().parse::<BackendName>().ok(), Some(backend));
        }
        let error = "gpu".parse::<BackendName>().map_err(|error| error.to_string());
        let expected = "there is no backend gpu; there are flex, ndarray, wgpu, vulkan, metal, cuda, tch";
        assert_eq!(error, Err(expected.to_string()));
        assert_eq!(BackendName::default(), BackendName::Flex);
    }

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

//! A backend by its name.

use crate::device::{self, Place};
use std::{fmt, str};

macro_rules! backends {
    ($(
        $(#[doc = $doc:literal])+
        $module:ident $feature:literal $name:ident {
            burn: $burn:ident, device: $device:ident, autotune: $autotune:literal, ci: $ci:ident,
            tolerance: $tolerance:literal, hint: $hint:literal $(, unless: $twin:literal)?
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
            pub(crate) fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)+
                }
            }

            /// Why this system has nothing for it, if it hasn't.
            pub(crate) fn misplaced(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => device::$device::misplaced(),)+
                }
            }
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

/// A name that no backend has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no backend {0}; there are {all}", all = all())]
pub struct UnknownBackend(String);

fn all() -> String {
    BackendName::ALL.iter().map(|backend| backend.name()).collect::<Vec<_>>().join(", ")
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
        let names: Vec<String> = BackendName::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(error, Err(format!("there is no backend gpu; there are {}", names.join(", "))));
        assert_eq!(BackendName::default(), BackendName::Flex);
    }
}

//! The backends as the workspace's commands see them: rows of the table that `diffusion-backends` is stamped from.

use crate::Failure;
use std::ffi::OsString;

/// A backend; its name is its feature in every crate that has it.
pub struct Backend {
    pub name: &'static str,
    /// Whether its programs choose their kernels by time. The tests' tiny shapes would cost more to choose for than the
    /// choice saves.
    autotune: bool,
    pub ci: Ci,
}

/// What is done with a backend that nobody named.
#[derive(PartialEq)]
pub enum Ci {
    /// Every machine can build it, and run it or say why not.
    Tests,
    /// Every machine can compile it.
    Lints,
    /// It needs a library that must be there to compile.
    Nothing,
}

macro_rules! backends {
    ($(
        $(#[doc = $doc:literal])+
        $module:ident $feature:literal $name:ident {
            burn: $burn:ident, device: $device:ident, autotune: $autotune:literal, ci: $ci:ident,
            tolerance: $tolerance:literal, hint: $hint:literal $(, unless: $twin:literal)?
        }
    )+) => {
        /// All of them, the default first.
        pub const BACKENDS: &[Backend] = &[$(Backend { name: $feature, autotune: $autotune, ci: Ci::$ci }),+];
    };
}

include!("../../crates/diffusion-backends/src/table.rs");

impl Backend {
    /// What a program that uses the facade is built with, to compute on this backend.
    pub fn program_features(&self) -> String {
        let autotune = if self.autotune { ",diffusion/autotune" } else { "" };
        format!("diffusion/{}{autotune}", self.name)
    }
}

/// The backend that `option NAME` or `option=NAME` asks for.
pub fn named(arguments: &[OsString], option: &str) -> Result<Option<&'static Backend>, Failure> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        let name = match argument.split_once('=') {
            Some((given, name)) if given == option => name.to_string(),
            None if argument == option => arguments.next().unwrap_or_default().into_owned(),
            _ => continue,
        };
        let found = BACKENDS.iter().find(|backend| backend.name == name);
        return found
            .map(Some)
            .ok_or_else(|| format!("there is no backend {name:?}; there are {}", names()).into());
    }
    Ok(None)
}

/// The names of all backends, as a sentence has them.
pub fn names() -> String {
    BACKENDS.iter().map(|backend| backend.name).collect::<Vec<_>>().join(", ")
}

/// The features that cargo takes to test or lint `backends`: by the program's own names for them, which the whole
/// workspace then shares, and by those of `diffusion-tests` for the two that have tests of their own there.
pub fn workspace_features<'a>(backends: impl IntoIterator<Item = &'a Backend>) -> String {
    // The programs' own tests run them, so they need a backend in any case.
    let mut features = "diffusion-cli/flex,diffusion-bench/flex".to_string();
    for Backend { name, .. } in backends {
        features += &format!(",diffusion-cli/{name}");
        if ["flex", "ndarray"].contains(name) {
            features += &format!(",diffusion-tests/{name}");
        }
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_asked_for_in_two_ways() {
        let found = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            match named(&arguments, "--backend") {
                Ok(backend) => backend.map(Backend::program_features).unwrap_or_default(),
                Err(Failure::Message(message)) => message,
                Err(Failure::Status(status)) => status.to_string(),
            }
        };
        assert_eq!(found("tree --backend ndarray --steps 3"), "diffusion/ndarray");
        assert_eq!(found("tree --backend=wgpu"), "diffusion/wgpu,diffusion/autotune");
        assert_eq!(found("tree --seed 1"), "");
        assert!(found("--backend gpu").starts_with("there is no backend \"gpu\"; there are flex, ndarray"));
    }
}

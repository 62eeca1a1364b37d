//! Tiny pretrained models, written as the tests of latent diffusion do.

#![allow(dead_code, reason = "each test file uses its own part of this")]

#[path = "../../../diffusion-tests/tests/tensors/support/folders.rs"]
pub mod folders;
#[path = "../../../diffusion-tests/tests/tensors/support/formula.rs"]
mod formula;
#[path = "../../../diffusion-tests/tests/tensors/support/one_file.rs"]
pub mod one_file;

mod fixture {
    use std::path::{Path, PathBuf};

    /// The path of the file `name` of the fixtures.
    pub fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion-tests/fixtures").join(name)
    }
}

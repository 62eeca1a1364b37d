//! How the program was called.

use std::env;
use std::path::Path;

/// How the program was called, for hints that name a command.
pub fn invocation() -> String {
    env::var("DIFFUSION_INVOCATION").unwrap_or_else(|_| "diffusion".to_string())
}

/// How to go on with the run in the folder `run`.
pub fn go_on(run: &Path) -> String {
    format!("`{} train --resume {}` goes on with it", invocation(), run.display())
}

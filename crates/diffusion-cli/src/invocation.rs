//! How the program was called.

use std::env;

/// How the program was called, for hints that name a command.
pub fn invocation() -> String {
    env::var("DIFFUSION_INVOCATION").unwrap_or_else(|_| "diffusion".to_string())
}

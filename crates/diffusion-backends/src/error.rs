//! Why there is nowhere to compute, in a sentence and a hint.

use crate::name::BackendName;

/// Why there is nowhere to compute.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The program has not got the backend.
    #[error("this program was built without the backend {0}")]
    NotBuilt(BackendName),
    /// The backend finds no device.
    #[error("{backend} finds no GPU that it can use: {reason}")]
    NoDevice {
        /// Which backend.
        backend: BackendName,
        /// What it said.
        reason: String,
    },
}

impl BackendError {
    /// What a user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotBuilt(_) => {
                "build it in, e.g. by `cargo install --path crates/diffusion-cli --features wgpu`, or run `cargo xtask`"
            }
            Self::NoDevice { backend, .. } => backend.hint(),
        }
    }
}

//! What can go wrong, in one sentence each, with a hint where there is one.

use diffusion::data::DataError;
use diffusion::latent::LatentError;
use diffusion::train::CheckpointError;
use diffusion_backends::BackendError;
use diffusion_recipe::RecipeError;
use std::io;
use std::path::PathBuf;

/// Why the program stopped.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Data(#[from] DataError),
    #[error("{0}")]
    Latent(#[from] LatentError),
    #[error("a step was skipped: its loss or gradients are not finite")]
    Skipped,
    #[error("there is no sampler {0:?}")]
    Sampler(String),
    #[error("the device failed: {0}")]
    Device(String),
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error("cannot make a temporary folder: {0}")]
    Temporary(io::Error),
    #[error("cannot run {}: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("cannot speak with the worker {worker}: {source}")]
    Pipe { worker: &'static str, source: io::Error },
    #[error("the worker {0} ended without an answer")]
    Ended(&'static str),
    #[error("the worker {worker} said {line:?}, which is no answer to {request}")]
    Nonsense { worker: &'static str, request: &'static str, line: String },
    #[error("{worker}: {reason}")]
    Failed { worker: &'static str, reason: String },
    #[error("{work} has {here} parameters here and {peer} in smalldiffusion")]
    Parameters { work: String, here: usize, peer: usize },
    #[error("there is no {name:?} to measure; there are {known}")]
    Unknown { name: String, known: String },
    #[error("{0} is nothing that is measured as asked")]
    Nothing(String),
    #[error("cannot read a request: {0}")]
    Input(io::Error),
    #[error("no request: {0}")]
    Request(serde_json::Error),
    #[error("a worker prepares one work, once, before the first step")]
    Order,
    #[error("the study: {0}")]
    Study(String),
    #[error("{0}")]
    Recipe(#[from] RecipeError),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl BenchError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Backend(error) => error.hint(),
            Self::Start { .. } => "pass --python with the path of a Python that has smalldiffusion",
            Self::Ended(_) => {
                "its last words are above; for a GPU, see whether `cargo xtask doctor` with the same --backend runs"
            }
            Self::Unknown { .. } => "leave --only away to measure everything",
            Self::Nothing(_) => "works are measured by --table and, but a few, --scaling; curves by --curves",
            _ => return None,
        })
    }
}

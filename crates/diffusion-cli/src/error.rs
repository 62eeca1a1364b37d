//! What can go wrong, in one sentence each, with a hint where there is one.

use crate::pictures::PictureError;
use diffusion::data::DataError;
use diffusion::train::{CheckpointError, StateDictError};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why the program stopped.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Data(#[from] DataError),
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}{because}", because = cause(.0))]
    Picture(#[from] PictureError),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no configuration of a run: {reason}", path.display())]
    Config { path: PathBuf, reason: String },
    #[error("{what}")]
    Invalid { what: String, hint: &'static str },
    #[error("{0}")]
    StateDict(#[from] StateDictError),
    #[error("{} exists already", .0.display())]
    RunExists(PathBuf),
    #[error("{} exists already", .0.display())]
    FileExists(PathBuf),
    #[error("{} exists and holds no samples, so it is not replaced", .0.display())]
    FileKept(PathBuf),
    #[error("{} exists and is not a run's folder, so it is not replaced", .0.display())]
    NotARun(PathBuf),
    #[error("{} is not a run's folder: it has no config.toml", .0.display())]
    NoRun(PathBuf),
    #[error("this program was built without the backend {0}")]
    BackendNotBuilt(&'static str),
    #[error("no GPU can be used: {reason}")]
    #[cfg_attr(not(feature = "wgpu"), allow(dead_code, reason = "only a GPU may be absent"))]
    NoDevice { reason: String },
    #[error("the loss of step {step} is {loss}, so training stopped")]
    Diverged { step: u64, loss: f64 },
    #[error("{0}")]
    Table(DataError),
    #[error("{backend} does not compute what {reference} computes")]
    Disagreement { backend: &'static str, reference: &'static str },
    #[error("interrupted after step {step}; the checkpoint is {}", checkpoint.display())]
    Interrupted { step: u64, checkpoint: PathBuf },
}

impl CliError {
    /// A value that cannot be used; `hint` says which can.
    pub fn invalid(what: impl Into<String>, hint: &'static str) -> Self {
        Self::Invalid { what: what.into(), hint }
    }

    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Data(DataError::NotInFolder { .. }) => {
                "on Debian, `apt-get install dataset-fashion-mnist` puts Fashion-MNIST where it is looked for; \
                 elsewhere, pass the folder with its four IDX files as --data"
            }
            Self::Table(DataError::Read { .. } | DataError::UnknownName { .. }) => {
                "the table of the Datasaurus Dozen is published with the paper \"Same Stats, Different Graphs\" (Matejka & \
                 Fitzmaurice 2017); pass it as --data FILE"
            }
            Self::Invalid { hint, .. } => hint,
            Self::RunExists(_) => "pass --overwrite to replace it, or --out RUN for another folder",
            Self::FileExists(_) => "pass --overwrite to replace it, or --out FILE for another name",
            Self::FileKept(_) => "pass --out FILE for another name",
            Self::NotARun(_) => "pass --out RUN for another folder",
            Self::NoRun(_) => "pass the folder that `train` made, runs/swissroll say",
            Self::BackendNotBuilt(_) => "run it by `cargo xtask`, which builds in what it needs",
            Self::NoDevice { .. } => {
                "install a Vulkan driver (on Debian, mesa-vulkan-drivers works without a GPU), or use --backend flex"
            }
            Self::Diverged { .. } => "try a smaller --lr, and look at loss.png and at the data's range",
            Self::Disagreement { .. } => {
                "update the device's driver and try again; until the verdict is good, compute with another --backend"
            }
            Self::Checkpoint(CheckpointError::None(_)) => {
                "the run was stopped before its first checkpoint; train it again"
            }
            _ => return None,
        })
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // 128 + SIGINT, as shells expect it.
            Self::Interrupted { .. } => 130,
            _ => 1,
        }
    }
}

fn cause(error: &PictureError) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

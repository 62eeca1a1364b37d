//! What can go wrong, in one sentence each, with a hint where there is one.

use crate::pictures::PictureError;
use diffusion::data::DataError;
use diffusion::train::{CheckpointError, NonFinite, StateDictError};
use diffusion_backends::BackendError;
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
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
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
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error(
        "steps {} to {step} were skipped: {reason}; training stopped, and {}",
        step + 1 - skipped,
        kept(checkpoint)
    )]
    Diverged { step: u64, skipped: u64, reason: NonFinite, checkpoint: Option<PathBuf> },
    #[error("the last step, {step}, spoilt the weights: they are not finite; {}", kept(checkpoint))]
    Spoilt { step: u64, checkpoint: Option<PathBuf> },
    #[error("another process is working in {}", .0.display())]
    InUse(PathBuf),
    #[error("{} was made longer than {steps} steps already: it has done {done}", run.display())]
    AlreadyLonger { run: PathBuf, done: u64, steps: u64 },
    #[error("{} has no checkpoint to go on from", .0.display())]
    NothingToResume(PathBuf),
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
            Self::Data(DataError::NotInFolder { name, .. }) if name.ends_with(".bin") => {
                "unpack CIFAR-10's binary version, cifar-10-binary.tar.gz, and pass its folder as --data"
            }
            Self::Data(DataError::NotInFolder { .. }) => {
                "on Debian, `apt-get install dataset-fashion-mnist` puts Fashion-MNIST where it is looked for; \
                 elsewhere, pass the folder with its four IDX files as --data"
            }
            Self::Table(DataError::Read { .. } | DataError::UnknownName { .. }) => {
                "the table of the Datasaurus Dozen is published with the paper \"Same Stats, Different Graphs\" (Matejka & \
                 Fitzmaurice 2017); pass it as --data FILE"
            }
            Self::Invalid { hint, .. } => hint,
            Self::RunExists(_) => {
                "pass --overwrite to replace it, --out RUN for another folder, or --resume RUN to go on with it"
            }
            Self::FileExists(_) => "pass --overwrite to replace it, or --out FILE for another name",
            Self::FileKept(_) => "pass --out FILE for another name",
            Self::NotARun(_) => "pass --out RUN for another folder",
            Self::NoRun(_) => "pass the folder that `train` made, runs/swissroll say",
            Self::Backend(error) => error.hint(),
            Self::Diverged { reason: NonFinite::Data { .. }, .. } => {
                "mend or remove that example; `train --resume RUN` then goes on after these steps"
            }
            Self::Diverged { .. } | Self::Spoilt { .. } => {
                "try a smaller --lr, --clip-norm 1 or --warmup 1000, and look at loss.png, at gradient_norm in \
                 metrics.jsonl and at the data's range; `train --resume RUN` tries the steps that follow"
            }
            Self::InUse(_) => "wait until it has ended, or pass --out RUN for another folder",
            Self::AlreadyLonger { .. } => "pass --steps with a larger number, or leave it away",
            Self::NothingToResume(_) => "it was stopped before its first; train it again, with --overwrite",
            Self::Disagreement { .. } => {
                "update the device's driver and try again; until the verdict is good, compute with another --backend"
            }
            Self::Checkpoint(CheckpointError::None(_)) => {
                "the run was stopped before its first checkpoint; train it again, with --overwrite"
            }
            Self::Checkpoint(CheckpointError::NoneWhole { .. } | CheckpointError::Damaged { .. }) => {
                "the disk or a copy of the folder has lost bytes; take the folder from a backup, or train again"
            }
            Self::Checkpoint(CheckpointError::NoneJudged(_)) => {
                "pass --checkpoint latest; with [held_out] in its config.toml a run is judged"
            }
            Self::Checkpoint(CheckpointError::NoOptimizer(_)) => {
                "begin a new run with its weights: `train --from RUN --out OTHER`"
            }
            Self::Checkpoint(CheckpointError::OtherModel { .. }) => {
                "its config.toml was changed after training; change it back, or train another run"
            }
            Self::Io { source, .. } | Self::Checkpoint(CheckpointError::Io { source, .. })
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                "make room on the disk; `train --resume RUN` then goes on from the last checkpoint"
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

fn kept(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the weights from before them are in {}", path.display()),
        None => "there is no checkpoint from before them".to_string(),
    }
}

//! What can go wrong, in one sentence each, with a hint where there is one.

use crate::invocation::invocation;
use crate::pictures::PictureError;
use diffusion::core::Invalid;
use diffusion::train::{CheckpointError, NonFinite};
use diffusion_backends::BackendError;
use diffusion_recipe::RecipeError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

/// Why the program stopped.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Recipe(#[from] RecipeError),
    #[error("{0}{because}", because = cause(.0))]
    Picture(#[from] PictureError),
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// An option that cannot be used; `hint` says which can.
    #[error("{what}")]
    Usage { what: String, hint: &'static str },
    #[error("{} exists already", .0.display())]
    FileExists(PathBuf),
    #[error("{backend} does not compute what {reference} computes")]
    Disagreement { backend: &'static str, reference: &'static str },
}

impl From<Invalid> for CliError {
    fn from(invalid: Invalid) -> Self {
        Self::Recipe(invalid.into())
    }
}

impl CliError {
    /// An option that cannot be used; `hint` says which can.
    pub fn usage(what: impl Into<String>, hint: &'static str) -> Self {
        Self::Usage { what: what.into(), hint }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Recipe(error) => return recipe_hint(error),
            Self::Picture(_) | Self::Output(_) => return None,
            Self::Backend(error) => error.hint(),
            Self::Usage { hint, .. } => hint,
            Self::FileExists(_) => "pass --overwrite to replace it, or --out FILE for another name",
            Self::Disagreement { .. } => {
                "update the device's driver and try again; until the verdict is good, compute with another --backend"
            }
        };
        Some(hint.to_string())
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // 128 + SIGINT, as shells expect it.
            Self::Recipe(RecipeError::Interrupted { .. }) => 130,
            _ => 1,
        }
    }
}

fn recipe_hint(error: &RecipeError) -> Option<String> {
    let program = invocation();
    Some(match error {
        RecipeError::Invalid(Invalid { setting, .. }) => {
            format!("change it by --set {setting}=VALUE{}, or in the configuration", flag(setting))
        }
        RecipeError::Setting { .. } | RecipeError::NotAConfig { .. } => {
            format!("`{program} train PRESET --print-config` prints all settings of a preset")
        }
        RecipeError::UnknownPreset(_) => format!("`{program} train --help` lists the presets"),
        RecipeError::CustomNetwork(_) => "use the program that brings this network".to_string(),
        RecipeError::Data(error) => return error.hint().map(ToString::to_string),
        RecipeError::Checkpoint(error) => return checkpoint_hint(error, &program),
        RecipeError::RunExists(_) => {
            "pass --overwrite to replace it, --out RUN for another folder, or --resume RUN to go on with it"
                .into()
        }
        RecipeError::NotARun(_) | RecipeError::FileInPlace(_) | RecipeError::ReplacesSource { .. } => {
            "pass --out RUN for another folder".to_string()
        }
        RecipeError::NoRun(_) => format!("pass the folder that `{program} train` made, e.g. runs/swissroll"),
        RecipeError::NoSamples(_) => "pass --out FILE for another name".to_string(),
        RecipeError::InUse(_) => "wait until it has ended, or pass --out RUN for another folder".to_string(),
        RecipeError::AlreadyLonger { .. } => "pass --steps with a larger number, or leave it out".to_string(),
        RecipeError::NothingToResume(_) => {
            "it was stopped before its first; train it again, with --overwrite".to_string()
        }
        RecipeError::Diverged { reason: NonFinite::Data { .. }, .. } | RecipeError::DataFailed { .. } => {
            format!(
                "repair or remove that example; `{program} train --resume RUN` then goes on after these steps"
            )
        }
        RecipeError::Diverged { .. } | RecipeError::NonFiniteWeights { .. } => format!(
            "try a smaller --lr, --set training.clip_norm=1 or --set training.lr_schedule.warmup=1000, and look at \
             loss.png, at gradient_norm in metrics.jsonl and at the data's range; `{program} train --resume RUN` tries \
             the steps that follow"
        ),
        RecipeError::Interrupted { .. } => format!("`{program} train --resume RUN` goes on with it"),
        RecipeError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => disk_full(&program),
        _ => return None,
    })
}

/// The option of its own that a setting has.
fn flag(setting: &str) -> &'static str {
    match setting {
        "training.steps" => " or --steps",
        "training.lr" => " or --lr",
        "training.seed" => " or --seed",
        "batch_size" => " or --batch-size",
        "checkpoint_every" => " or --checkpoint-every",
        "validation.every" => " or --val-every",
        "sampling.count" => " or --count",
        "sampling.steps" => " or --steps",
        _ if setting.starts_with("sampling.guidance") => " or --cfg-scale",
        _ if setting.starts_with("sampling.sampler") => " or --sampler",
        _ => "",
    }
}

fn checkpoint_hint(error: &CheckpointError, program: &str) -> Option<String> {
    Some(match error {
        CheckpointError::None(_) => {
            "the run was stopped before its first checkpoint; train it again, with --overwrite".to_string()
        }
        CheckpointError::NoneValid { .. } | CheckpointError::Damaged { .. } => {
            "the disk or a copy of the folder has lost bytes; take the folder from a backup, or train again"
                .to_string()
        }
        CheckpointError::NoneJudged(_) => {
            "pass --checkpoint latest; with [validation] in its config.toml a run is validated".to_string()
        }
        CheckpointError::NoOptimizer(_) => {
            format!("begin a new run with its weights: `{program} train --init-from RUN --out OTHER`")
        }
        CheckpointError::OtherModel { .. } => {
            "its config.toml was changed after training; change it back, or train another run".to_string()
        }
        CheckpointError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            disk_full(program)
        }
        _ => return None,
    })
}

fn disk_full(program: &str) -> String {
    format!("make room on the disk; `{program} train --resume RUN` then goes on from the last checkpoint")
}

fn cause(error: &PictureError) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

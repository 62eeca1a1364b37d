//! What can be wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds no checkpoint.
    #[error("{} holds no checkpoint", .0.display())]
    None(PathBuf),
    /// The folder holds checkpoints, and none of them can be used.
    #[error("{} holds no valid checkpoint: {}", folder.display(), sentences(damaged))]
    NoneValid {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with each of them, the newest first.
        damaged: Vec<CheckpointError>,
    },
    /// The folder holds no checkpoint of that step.
    #[error("{} holds no checkpoint of step {step}; it has those of {}", folder.display(), list(steps))]
    NoStep {
        /// The folder.
        folder: PathBuf,
        /// The step that was asked for.
        step: u64,
        /// The steps that there are.
        steps: Vec<u64>,
    },
    /// No checkpoint in the folder was judged by its validation loss.
    #[error("no checkpoint in {} was judged by its validation loss", .0.display())]
    NoneJudged(PathBuf),
    /// The metadata of the checkpoint cannot be read.
    #[error("{} is no checkpoint's metadata: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is another model's.
    #[error("{} holds weights for the {what} `{found}`, not for `{expected}`", path.display())]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// Network, prediction, schedule or seed.
        what: &'static str,
        /// What the checkpoint says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The checkpoint has no average of this name.
    #[error("{} has no average called {name}; it has {}", path.display(), averages(names))]
    NoAverage {
        /// The checkpoint.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// Those that there are, besides the first, which has none.
        names: Vec<String>,
    },
    /// The folder holds no snapshots, so that no other average can be made.
    #[error("{} holds no snapshots", .0.display())]
    NoSnapshots(PathBuf),
    /// The folder holds no snapshot of that step.
    #[error("{} holds no snapshot of step {step}; it has those of {}", folder.display(), list(steps))]
    NoSnapshot {
        /// The folder.
        folder: PathBuf,
        /// The step that was asked for.
        step: u64,
        /// The steps that there are.
        steps: Vec<u64>,
    },
    /// The snapshots say too little about an average of this width.
    #[error("{}", width_error(folder, *width, *step, range.as_ref()))]
    Width {
        /// The folder.
        folder: PathBuf,
        /// The width that was asked for.
        width: f64,
        /// The step that it was asked for.
        step: u64,
        /// The narrowest and the widest average that can be had of that step.
        range: Option<(f64, f64)>,
    },
    /// A file is no average that was made of snapshots.
    #[error("{} is no average that was made of snapshots: {reason}", path.display())]
    NotAnAverage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint has weights, but training cannot go on from it.
    #[error("{} has weights but no optimizer's state, so training cannot go on from it", .0.display())]
    NoOptimizer(PathBuf),
    /// The last update spoilt the weights under these paths, so no checkpoint was made.
    #[error(
        "no checkpoint was made of step {step}: the weights of {} are not finite",
        crate::health::list(paths)
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// The paths.
        paths: Vec<String>,
    },
    /// The tensors are not those of the module.
    #[error("{} does not fit the network: {}", path.display(), problems.join("; "))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One sentence per tensor.
        problems: Vec<String>,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found and expected, or what its reader says.
        reason: String,
    },
}

fn sentences(errors: &[CheckpointError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list(steps: &[u64]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn averages(names: &[String]) -> String {
    match names {
        [] => "no other than the one without a name".to_string(),
        names => format!("one without a name, and {}", names.join(", ")),
    }
}

fn width_error(folder: &Path, width: f64, step: u64, range: Option<&(f64, f64)>) -> String {
    let can = match range {
        Some((narrowest, widest)) => format!("they give widths from {narrowest:.3} to {widest:.3}"),
        None => "they give no other width".to_string(),
    };
    format!(
        "the snapshots in {} give no average of the width {width} at step {step}; {can}",
        folder.display()
    )
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { action, path, source }
}

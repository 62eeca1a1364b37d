//! Why a run cannot be made, trained or sampled, in one sentence each.

use crate::change::Change;
use diffusion::core::Invalid;
use diffusion::core::watch::Stopped;
use diffusion::data::{DataError, Problem};
use diffusion::eval::MetricError;
use diffusion::eval::extract::ExtractError;
use diffusion::latent::LatentError;
use diffusion::train::{CheckpointError, NonFinite};
use diffusion::weights::WeightsError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run cannot be made, trained or sampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A setting is out of its range.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// A setting that was to be changed is unknown, or its value of another type.
    #[error("{key}: {reason}")]
    Setting {
        /// The path of the setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no preset of this name.
    #[error("there is no preset {0:?}")]
    UnknownPreset(String),
    /// A file is not the configuration of a run.
    #[error("{} is not the configuration of a run: {reason}", path.display())]
    NotAConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// A configuration cannot be written as TOML.
    #[error("the configuration cannot be written as TOML: {0}")]
    WriteToml(String),
    /// A network of another crate, which only its own program can make.
    #[error("the network {0:?} is of another crate, and this program does not know it")]
    CustomNetwork(String),
    /// The data cannot be read.
    #[error("{0}")]
    Data(Box<DataError>),
    /// A checkpoint cannot be read or written.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    /// A file of weights does not fit.
    #[error("{0}")]
    StateDict(#[from] WeightsError),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a run in the folder.
    #[error("{} exists already", .0.display())]
    RunExists(PathBuf),
    /// There is something else in the folder.
    #[error("{} exists and is not a run's folder, so it is not replaced", .0.display())]
    NotARun(PathBuf),
    /// There is no run in the folder.
    #[error("{}", no_run(.0))]
    NoRun(PathBuf),
    /// A file, or a link to nothing, is in the place of the folder.
    #[error("{} is {}, and a run is a folder", .0.display(), kind(.0))]
    FileInPlace(PathBuf),
    /// A pretrained model cannot be opened.
    #[error("{0}")]
    Latent(#[from] LatentError),
    /// The pretrained model that a run begins with cannot be opened.
    #[error("the pretrained model of the run: {0}")]
    Pretrained(LatentError),
    /// There are latents of other images, captions or settings in the folder.
    #[error("{}", other_latents(path, differences))]
    OtherLatents {
        /// The folder.
        path: PathBuf,
        /// What is or may be another: size, images, captions, model, tiling, shards. Nothing where that is not known.
        differences: Vec<&'static str>,
    },
    /// There are other pairs in the folder than were to be drawn.
    #[error("{} has pairs of another run, seed or sampling, or another number of them", .0.display())]
    OtherPairs(PathBuf),
    /// There is a file of tensors in the folder that is none of its latents, and would be read with them.
    #[error("{} is in the way: it would be read with the latents in its folder", .0.display())]
    OtherTensors(PathBuf),
    /// Latents were to be written into the folder of the images that they are made of.
    #[error("the latents in {} would lie among the images in {}", out.display(), images.display())]
    LatentsAmongImages {
        /// The folder of latents.
        out: PathBuf,
        /// That of the images.
        images: PathBuf,
    },
    /// A folder has not as many latents as were to be written into it.
    #[error("{} has the latents of {found} of {expected} images", path.display())]
    LatentsCount {
        /// The folder.
        path: PathBuf,
        /// How many there are.
        found: usize,
        /// How many its encoded.toml says.
        expected: usize,
    },
    /// There is no folder of latents.
    #[error("{}", no_latents(.0))]
    NotEncoded(PathBuf),
    /// A file holds no latents.
    #[error("{} holds no latents: {reason}", path.display())]
    NoLatents {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        reason: String,
    },
    /// A file is there that holds no samples.
    #[error("{} exists and holds no samples, so it is not replaced", .0.display())]
    NoSamples(PathBuf),
    /// A file or folder has no examples that samples can be compared with, or no samples.
    #[error("{} has no examples: {reason}", path.display())]
    NoExamples {
        /// The file or folder.
        path: PathBuf,
        /// What it has instead.
        reason: String,
    },
    /// Samples are not finite, so that no distance from them is known.
    #[error("{count} of {of} samples are not finite, so that nothing can be measured of them")]
    UnmeasurableSamples {
        /// How many samples have values that are not finite.
        count: usize,
        /// How many samples there are.
        of: usize,
    },
    /// The network that makes features cannot be opened.
    #[error("{0}")]
    Extract(#[from] ExtractError),
    /// A metric has no value of these samples and data.
    #[error("{metric}: {error}")]
    Metric {
        /// Its name.
        metric: &'static str,
        /// Why.
        error: Box<MetricError>,
    },
    /// There are samples in the folder that were drawn otherwise.
    #[error("{} has samples that were drawn with another model, seed or settings", .0.display())]
    OtherSamples(PathBuf),
    /// There is something else in the folder than samples.
    #[error("{} has other files than samples, which would be mixed with them", .0.display())]
    NotSamples(PathBuf),
    /// The new run would replace what it is made from.
    #[error("the new run in {} would replace {}, which it is made from", out.display(), origin.display())]
    ReplacesSource {
        /// The new run's folder.
        out: PathBuf,
        /// What it is made from.
        origin: PathBuf,
    },
    /// Another process holds the folder's lock.
    #[error("another process is working in {}", .0.display())]
    InUse(PathBuf),
    /// The folder of a run was removed, moved or replaced by another while the run was going on.
    #[error(
        "the folder {} was removed, moved or replaced while its run was going on; {}",
        run.display(),
        rescued(*step, place, failure)
    )]
    FolderGone {
        /// Where it was.
        run: PathBuf,
        /// The last step.
        step: u64,
        /// The complete folder in which the run is now, if there is one.
        place: Option<PathBuf>,
        /// Why there is none, if it was tried to make one.
        failure: Option<Box<RecipeError>>,
    },
    /// A run was made longer before than it is to be now.
    #[error("{} was made longer than {steps} steps already: it has done {done}", run.display())]
    AlreadyLonger {
        /// The run's folder.
        run: PathBuf,
        /// The steps that it has done.
        done: u64,
        /// The steps that it is to have.
        steps: u64,
    },
    /// A run is to go on otherwise than it was until its checkpoint, without having been asked to.
    #[error("{} is not as it was when its checkpoint was made: {}", run.display(), list(changes))]
    Changed {
        /// The run's folder.
        run: PathBuf,
        /// What is otherwise.
        changes: Vec<Change>,
    },
    /// A run that began with another's weights has no checkpoint.
    #[error("{} has no checkpoint to go on from", .0.display())]
    NothingToResume(PathBuf),
    /// Too many steps in a row were skipped.
    #[error(
        "steps {} to {step} were skipped: {reason}; training stopped, and {}",
        step + 1 - skipped,
        kept(checkpoint)
    )]
    Diverged {
        /// The last step.
        step: u64,
        /// How many were skipped in a row.
        skipped: u64,
        /// Why the last one was.
        reason: NonFinite,
        /// The newest checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// The last step left weights that are not finite.
    #[error("the last step, {step}, left weights that are not finite; {}", kept(checkpoint))]
    NonFiniteWeights {
        /// The last step.
        step: u64,
        /// The newest checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// An example could not be read while training.
    #[error("training stopped after step {step}: {reason}; {}", kept(checkpoint))]
    DataFailed {
        /// The last step.
        step: u64,
        /// What is wrong with the data.
        reason: Box<DataError>,
        /// The newest checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// The caller stopped what was going on, other than training.
    #[error("stopped")]
    Stopped,
    /// Samples have values that are not finite.
    #[error("{count} of {of} samples are not finite")]
    NonFiniteSamples {
        /// How many samples have such values.
        count: usize,
        /// How many samples there are.
        of: usize,
    },
    /// The caller stopped training.
    #[error("interrupted after step {step}; the checkpoint is {}", checkpoint.display())]
    Interrupted {
        /// The last step.
        step: u64,
        /// The newest checkpoint.
        checkpoint: PathBuf,
    },
}

impl From<DataError> for RecipeError {
    fn from(error: DataError) -> Self {
        match error.problem {
            Problem::Stopped => Self::Stopped,
            _ => Self::Data(Box::new(error)),
        }
    }
}

impl From<Stopped> for RecipeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<MetricError> for RecipeError {
    fn from(error: MetricError) -> Self {
        match error {
            MetricError::Stopped(_) => Self::Stopped,
            MetricError::File(error) => error.into(),
            error => Self::Metric { metric: "features", error: Box::new(error) },
        }
    }
}

impl RecipeError {
    /// Why `action` on `path` failed.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref();
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn write_toml(error: toml::ser::Error) -> Self {
        Self::WriteToml(error.to_string())
    }
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn kept(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the weights from before are in {}", path.display()),
        None => "there is no checkpoint from before".to_string(),
    }
}

fn rescued(step: u64, place: &Option<PathBuf>, failure: &Option<Box<RecipeError>>) -> String {
    match (place, failure) {
        (Some(place), _) => format!("the run is in {} now, saved after step {step}", place.display()),
        (None, Some(error)) => format!("step {step} could not be saved elsewhere: {error}"),
        (None, None) => format!("what was saved in it, until step {step}, went with it"),
    }
}

fn no_run(path: &Path) -> String {
    let shown = path.display();
    match path.symlink_metadata() {
        Err(_) => format!("there is no run's folder {shown}"),
        Ok(_) if path.is_dir() => format!("{shown} is not a run's folder: it has no config.toml"),
        Ok(_) => format!("{shown} is not a run's folder: it is {}", kind(path)),
    }
}

fn other_latents(path: &Path, differences: &[&str]) -> String {
    let path = path.display();
    match differences {
        [] => format!("{path} has latents, and no encoded.toml that says of what"),
        _ => format!("{path} has latents of other {}", differences.join(", ")),
    }
}

fn no_latents(path: &Path) -> String {
    let shown = path.display();
    match path.symlink_metadata() {
        Err(_) => format!("there is no folder {shown}"),
        Ok(_) if path.is_dir() => format!("{shown} holds no latents: it has no encoded.toml"),
        Ok(_) => format!("{shown} is {}, and latents are in a folder", kind(path)),
    }
}

/// What is at the path, where it is no folder.
fn kind(path: &Path) -> &'static str {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => "a file",
        Ok(_) => "neither a file nor a folder",
        Err(_) => "a link that leads nowhere",
    }
}

//! What can go wrong, in one sentence each, with a hint where there is one.

use crate::invocation::{go_on, invocation, resume, word};
use crate::pictures::PictureError;
use crate::signals;
use diffusion::core::Invalid;
use diffusion::eval::ExtractError;
use diffusion::eval::extract::{DINOV2_WEIGHTS, INCEPTION_WEIGHTS};
use diffusion::latent::LatentError;
use diffusion::train::{Checkpoint, CheckpointError, NonFinite};
use diffusion::weights::{TensorProblem, WeightsError};
use diffusion_backends::BackendError;
use diffusion_recipe::RecipeError;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Why the program stopped.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Recipe(#[from] RecipeError),
    /// The data of a run are not where they were.
    #[error("{0}")]
    Moved(RecipeError),
    #[error("{0}{because}", because = cause(.0))]
    Picture(#[from] PictureError),
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// An option that cannot be used; `hint` says which can.
    #[error("{what}")]
    Usage { what: String, hint: &'static str },
    /// The value of the option of that name cannot be used.
    #[error("--{setting} {reason}", setting = .0.setting, reason = .0.reason)]
    Option(Invalid),
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

impl From<LatentError> for CliError {
    fn from(error: LatentError) -> Self {
        Self::Recipe(error.into())
    }
}

impl CliError {
    /// An option that cannot be used; `hint` says which can.
    pub fn usage(what: impl Into<String>, hint: &'static str) -> Self {
        Self::Usage { what: what.into(), hint }
    }

    /// Why the data of a run cannot be opened.
    pub fn moved(error: RecipeError) -> Self {
        let is_gone = |path: &PathBuf| !path.exists();
        match &error {
            RecipeError::Data(data) if data.path.as_ref().is_some_and(is_gone) => Self::Moved(error),
            _ => Self::Recipe(error),
        }
    }

    /// What happened.
    pub fn sentence(&self) -> String {
        match self {
            Self::Recipe(RecipeError::Stopped) => signals::sentence(),
            error => error.to_string(),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        if !matches!(self, Self::Output(_))
            && let Some(hint) = no_room(self)
        {
            return Some(hint);
        }
        let hint = match self {
            Self::Recipe(error) => return recipe_hint(error),
            Self::Moved(_) => "pass --data PATH if the data were moved, also with --resume",
            Self::Picture(_) | Self::Output(_) | Self::Option(_) => return None,
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
            // As shells expect it.
            Self::Recipe(RecipeError::Interrupted { .. } | RecipeError::Stopped) => {
                u8::try_from(128 + signals::received()).unwrap_or(1)
            }
            _ => 1,
        }
    }
}

/// How many files of a folder are looked at.
const LISTED: usize = 1000;

/// The file with weights in a folder whose name comes first, if one has such a name.
fn weights_in(folder: &Path) -> Option<PathBuf> {
    let endings = [".index.json", ".safetensors", ".pth", ".pt", ".ckpt", ".bin"];
    let files = fs::read_dir(folder).ok()?.take(LISTED).flatten().map(|entry| entry.path());
    let rank = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        Some((endings.iter().position(|ending| name.ends_with(ending))?, name.to_string()))
    };
    files.filter(|path| rank(path).is_some() && path.is_file()).min_by_key(rank)
}

/// What to do about tensors that do not fit, where something is known to help.
fn misfit_hint(others: &[(String, usize)], problems: &[TensorProblem]) -> Option<&'static str> {
    let is_numbered = |problem: &TensorProblem| match problem {
        TensorProblem::Extra { name, .. } => name.parse::<usize>().is_ok(),
        problem => matches!(problem, TensorProblem::Missing { .. }),
    };
    let is_extra = |problem: &TensorProblem| matches!(problem, TensorProblem::Extra { .. });
    let has_values = |problem: &TensorProblem| match problem {
        TensorProblem::Dtype { found, .. } => found.to_string() != "a tensor without values",
        _ => false,
    };
    if problems.iter().any(has_values) {
        Some(
            "in Python, convert them before saving: `tensor.float()`, of sparse ones `tensor.to_dense()`, of quantized ones \
             `tensor.dequantize()`",
        )
    } else if problems.iter().all(is_numbered) && problems.iter().any(is_extra) {
        Some(
            "a list of tensors has no names, as that of averages in an `EMAModel`; in Python, copy them to the model's \
             parameters, and save its `state_dict()`",
        )
    } else if !others.is_empty() {
        Some("pass --key with another of them, if that was meant")
    } else {
        None
    }
}

fn recipe_hint(error: &RecipeError) -> Option<String> {
    let program = invocation();
    Some(match error {
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "decoder" => {
            "pass the folder of the autoencoder that made them".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "condition" => {
            "choose by --condition what the network is told".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "pretrained" => {
            "pass a folder of Stable Diffusion 1 or 2 with --pretrained, and latents that it encoded".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "latents" => {
            format!("encode the images with another --size, by `{program} encode`")
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting.starts_with("composed") => {
            "change it by --also CLASS:WEIGHT".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "likelihood" => {
            "take a run that was trained by another objective".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) if setting == "validation" => {
            "leave it out by --set validation= or in the configuration".to_string()
        }
        RecipeError::Invalid(Invalid { setting, .. }) => {
            format!("change it by --set {setting}=VALUE{}, or in the configuration", flag(setting))
        }
        RecipeError::Setting { .. } | RecipeError::NotAConfig { .. } => {
            format!("`{program} train PRESET --print-config` prints all settings of a preset")
        }
        RecipeError::Pretrained(_) => "pass with --pretrained the folder where it is now".to_string(),
        RecipeError::UnknownPreset(_) => format!("`{program} train --help` lists the presets"),
        RecipeError::CustomNetwork(_) => "use the program that brings this network".to_string(),
        RecipeError::Data(error) => return error.hint().map(ToString::to_string),
        RecipeError::Checkpoint(error) => return checkpoint_hint(error, &program),
        RecipeError::StateDict(WeightsError::Refused { .. } | WeightsError::NoneFits { .. }) => {
            "in Python, save the `state_dict()` of the model by itself".to_string()
        }
        RecipeError::StateDict(WeightsError::Several { .. } | WeightsError::NoKey { .. }) => {
            "pass --key with one of them".to_string()
        }
        RecipeError::StateDict(WeightsError::Io { path, .. }) if path.is_dir() => {
            if path.join(".metadata").is_file() {
                let function = "torch.distributed.checkpoint.format_utils.dcp_to_torch_save";
                return Some(format!("in Python, make one file of it by `{function}`"));
            }
            format!("pass a file in it, {}", weights_in(path)?.display())
        }
        RecipeError::StateDict(WeightsError::Tensors { others, problems, .. }) => {
            return misfit_hint(others, problems).map(ToString::to_string);
        }
        RecipeError::RunExists(_) => {
            "pass --overwrite to replace it, --out RUN for another folder, or --resume RUN to go on with it"
                .into()
        }
        RecipeError::NotARun(_) | RecipeError::FileInPlace(_) | RecipeError::ReplacesSource { .. } => {
            "pass --out RUN for another folder".to_string()
        }
        RecipeError::NoRun(path) => match run_around(path) {
            Some(run) => format!("pass {}, the run that it is in", word(run)),
            None => format!("pass the folder that `{program} train` made, e.g. runs/swissroll"),
        },
        RecipeError::Latent(error) => return latent_hint(error).map(ToString::to_string),
        RecipeError::OtherLatents { differences, .. } => {
            let captions = match differences.contains(&"captions") {
                true => ", or --no-captions if they were made without captions",
                false => "",
            };
            format!("pass --overwrite to replace them, --out FOLDER for another folder{captions}")
        }
        RecipeError::OtherPairs(_) => {
            "pass --overwrite to replace them, or --out FOLDER for another folder".to_string()
        }
        RecipeError::OtherTensors(_) | RecipeError::LatentsAmongImages { .. } => {
            "pass --out FOLDER for another folder".to_string()
        }
        RecipeError::OtherSamples(_) => {
            "pass --overwrite to replace them, or --out FOLDER/ for another folder".to_string()
        }
        RecipeError::NotSamples(_) => "pass --out FOLDER/ for another folder".to_string(),
        RecipeError::LatentsCount { found, expected, .. } if found < expected => {
            format!("`{program} encode` was stopped before its end: the same command goes on with it")
        }
        RecipeError::LatentsCount { .. } => {
            format!(
                "remove the files of other latents, or encode the images by `{program} encode --out` into another folder"
            )
        }
        RecipeError::NotEncoded(_) => format!("pass a folder that `{program} encode` has made"),
        RecipeError::NoLatents { .. } => {
            format!("pass a file that `{program} sample` or `{program} encode` has written")
        }
        RecipeError::NoExamples { .. } => format!(
            "pass a run's folder (but not to --against), a folder of images, or a file that `{program} sample` has written; \
             --against also takes statistics in an .npz file"
        ),
        RecipeError::Extract(ExtractError::Weights(_)) => format!(
            "--feature-weights takes for inception {INCEPTION_WEIGHTS}; for dinov2 {DINOV2_WEIGHTS}"
        ),
        RecipeError::UnmeasurableSamples { .. } => format!(
            "`{program} sample RUN` with --cfg-scale 0, --sampler ddim, --no-ema or an earlier --checkpoint shows whether \
             guidance, the sampler or the weights are to blame"
        ),
        RecipeError::Metric { .. } => "leave it out by --metrics, or pass --count with more samples".to_string(),
        RecipeError::NoSamples(_) => "pass --out FILE for another name".to_string(),
        RecipeError::InUse(_) => "wait until it has ended; a new run can go into another folder, --out RUN".to_string(),
        RecipeError::AlreadyLonger { .. } => "pass --steps with a larger number, or leave it out".to_string(),
        RecipeError::Changed { .. } => {
            "put it back as it was; or pass --accept-changes to go on with it as it is, which is another run from there"
                .to_string()
        }
        RecipeError::NothingToResume(_) => {
            "it was stopped before its first; train it again, with --overwrite".to_string()
        }
        RecipeError::Diverged { reason: NonFinite::Data { .. }, checkpoint, .. }
        | RecipeError::DataFailed { checkpoint, .. } => {
            let resume = resume(&run_of(checkpoint.as_deref()));
            format!(
                "repair that example, and `{resume}` goes on after these steps; where it is removed, or has other values \
                 than it had, `{resume} --accept-changes` does"
            )
        }
        RecipeError::Diverged { checkpoint, .. } | RecipeError::NonFiniteWeights { checkpoint, .. } => {
            diverged_hint(checkpoint.as_deref())
        }
        RecipeError::FolderGone { place, .. } => return place.as_deref().map(go_on),
        RecipeError::NonFiniteSamples { .. } => format!(
            "the file is written; `{program} sample RUN` with --cfg-scale 0, --sampler ddim, --no-ema or an earlier \
             --checkpoint shows whether guidance, the sampler or the weights are to blame"
        ),
        RecipeError::Interrupted { checkpoint, .. } => go_on(&run_of(Some(checkpoint))),
        RecipeError::Stopped => return signals::advice(),
        RecipeError::Io { action: "write" | "write into" | "create" | "lock", source, .. }
            if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            "a new run or file can go elsewhere, --out; a run that is to go on needs a folder that can be written".into()
        }
        _ => return None,
    })
}

fn latent_hint(error: &LatentError) -> Option<&'static str> {
    Some(match error {
        LatentError::Io { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
            "only `generate` takes a checkpoint in one file; pass a folder as diffusers saves it, with model_index.json, or one \
             of its parts, with config.json"
        }
        LatentError::Io { .. } | LatentError::NoPart { .. } => {
            "pass a folder as diffusers saves it, with model_index.json, or one of its parts, with config.json"
        }
        LatentError::Setting { .. } => {
            "this kind of model is not supported; docs/pretrained.md lists those that are"
        }
        LatentError::NoPrediction { .. } => {
            "pass --prediction epsilon for a model of 512 pixels (base), or --prediction v_prediction for one of 768"
        }
        LatentError::NoLora { .. } => {
            "pass --lora FILE with low-rank changes, as kohya's scripts or PEFT write them"
        }
        LatentError::Lora { of_another: true, .. } => {
            "what is made for Stable Diffusion 1 fits no 2 or XL, nor the other way round: take one that was made for \
             this model"
        }
        LatentError::NoWeights { .. } => {
            "a copy without large files has none: fetch them, e.g. by `git lfs pull` or `huggingface-cli download`"
        }
        _ => return None,
    })
}

/// The run's folder in which the path is, if it is in one.
fn run_around(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|above| {
        !above.as_os_str().is_empty()
            && ["config.toml", "checkpoints"].iter().all(|name| above.join(name).exists())
    })
}

/// The folder of the run that has the checkpoint.
fn run_of(checkpoint: Option<&Path>) -> PathBuf {
    let run = checkpoint.and_then(Path::parent).and_then(Path::parent);
    run.unwrap_or(Path::new("RUN")).to_path_buf()
}

/// What helps against numbers beyond all bounds.
fn diverged_hint(checkpoint: Option<&Path>) -> String {
    let settings = "try a smaller --lr, --set training.clip_norm=1 or --set training.lr_schedule.warmup=1000, and look \
                    at loss.png, at gradient_norm in metrics.jsonl and at the data's range";
    let Some(checkpoint) = checkpoint else { return settings.to_string() };
    let resume = resume(&run_of(Some(checkpoint)));
    let best = checkpoint.parent().and_then(|folder| Checkpoint::best_loss(folder).ok().flatten());
    let (which, others) = match best {
        Some(_) => ("best", "latest or a step's too"),
        None => ("latest", "a step's too"),
    };
    format!(
        "{settings}; `{resume} --checkpoint {which} --set training.lr=VALUE` goes back to that checkpoint, {others}, and \
         on from there as another run; `{resume}` tries the steps that follow"
    )
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
        "sampling.guidance" | "sampling.guidance.kind" | "sampling.guidance.scale" => " or --cfg-scale",
        _ if setting.starts_with("sampling.guidance.modifiers") => match setting.rsplit('.').next() {
            Some("low" | "high") => " or --guidance-interval",
            Some("phi") => " or --guidance-rescale",
            Some("eta") => " or --apg",
            _ => "",
        },
        _ if setting.starts_with("sampling.sampler") => " or --sampler",
        _ if setting.starts_with("sampling.grid.spacing") => " or --grid",
        _ => "",
    }
}

fn checkpoint_hint(error: &CheckpointError, program: &str) -> Option<String> {
    Some(match error {
        CheckpointError::None(_) => {
            "it was stopped before its first, or they were removed; train it again, with --overwrite".to_string()
        }
        CheckpointError::Damaged { path, .. } | CheckpointError::State { path, .. } if is_snapshot_s(path) => {
            "the disk or a copy of the folder has lost bytes; remove the folder of that snapshot, and the others may do"
                .to_string()
        }
        CheckpointError::NoAverage { .. } => format!(
            "pass --ema with one of them; `{program} ema RUN --width X` makes others, where the run kept snapshots"
        ),
        CheckpointError::NoSnapshots(_) => {
            "a run keeps some where its config.toml has [training.snapshots], e.g. by --set training.snapshots.every=1000"
                .to_string()
        }
        CheckpointError::NoSnapshot { .. } => "pass --step with one of them".to_string(),
        CheckpointError::Width { range: Some(_), .. } => {
            "pass --width with one of them; more snapshots give more".to_string()
        }
        CheckpointError::NotAnAverage { .. } => format!("pass a file that `{program} ema` has written"),
        CheckpointError::NoneValid { .. } | CheckpointError::Damaged { .. } => {
            "the disk or a copy of the folder has lost bytes; take the folder from a backup, or train again"
                .to_string()
        }
        CheckpointError::NoneJudged(_) => {
            "pass --checkpoint latest; a run is validated where its config.toml has [validation], every so many steps".to_string()
        }
        CheckpointError::NoOptimizer(_) => {
            format!("begin a new run with its weights: `{program} train --init-from RUN --out OTHER`")
        }
        CheckpointError::OtherModel { .. } => {
            "its config.toml was changed after training; change it back, or train another run".to_string()
        }
        _ => return None,
    })
}

/// Whether a file is in the folder of a snapshot.
fn is_snapshot_s(path: &Path) -> bool {
    path.ancestors().nth(2).is_some_and(|folder| folder.ends_with("snapshots"))
}

/// What to do where the file system has no room, whatever was to be written.
fn no_room(error: &CliError) -> Option<String> {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let what = match kind {
            Some(io::ErrorKind::StorageFull) => "make room on the disk",
            Some(io::ErrorKind::QuotaExceeded) => "make room within your quota",
            Some(io::ErrorKind::FileTooLarge) => "raise the limit on the size of files (`ulimit -f`)",
            _ => {
                cause = error.source();
                continue;
            }
        };
        let advice = signals::advice().map(|advice| format!("; {advice}"));
        return Some(format!("{what}{}", advice.unwrap_or_default()));
    }
    None
}

fn cause(error: &PictureError) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}

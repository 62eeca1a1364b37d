//! What can be said on the command line.

use crate::interval::Interval;
use crate::presets::Preset;
use clap::{Parser, Subcommand, ValueEnum};
use diffusion::train::Which;
use diffusion_backends::BackendName;
use std::path::PathBuf;

/// Train diffusion models and sample from them.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model and draw what it makes.
    Train(TrainArgs),
    /// Draw samples from a trained model.
    Sample(SampleArgs),
    /// Make a run of a model that smalldiffusion trained.
    Import(ImportArgs),
    /// Write a run's weights as smalldiffusion loads them.
    Export(ExportArgs),
    /// Find out whether a device computes what a CPU computes, layer by layer.
    Doctor(DoctorArgs),
}

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// What to train; without it, `swissroll`, which needs no data.
    #[arg(value_enum)]
    pub preset: Option<Preset>,
    /// Repeat the run that this config.toml describes, instead of a preset.
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Begin with the configuration of another run, an imported one say, and the weights of its last step.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["preset", "config"])]
    pub from: Option<PathBuf>,
    /// Go on with a run that was interrupted or killed, from its newest whole checkpoint, as if nothing had happened.
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = ["preset", "config", "from", "data", "images", "batch_size", "accumulate", "lr",
            "lr_decay", "warmup", "clip_norm", "exam_every", "seed", "out", "overwrite", "print_config"],
    )]
    pub resume: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The folder, or for `datasaurus` the file, with the data.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Train on the PNG and JPEG images of a folder, brought to the network's size; a subfolder is a class.
    #[arg(long, value_name = "FOLDER", conflicts_with = "data")]
    pub images: Option<PathBuf>,
    /// Number of updates; with --resume, in all.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Examples per batch.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Batches per update, whose gradients are averaged: a larger batch in the memory of a small one.
    #[arg(long, value_name = "N")]
    pub accumulate: Option<usize>,
    /// Learning rate.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// How the learning rate falls after the warm-up.
    #[arg(long, value_enum, value_name = "DECAY")]
    pub lr_decay: Option<LrDecayName>,
    /// Steps in which the learning rate rises linearly from 0.
    #[arg(long, value_name = "N")]
    pub warmup: Option<u64>,
    /// Scale the gradients down where their common norm is larger.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub clip_norm: Option<f64>,
    /// Between checkpoints: steps, or minutes as in 10m.
    #[arg(long, value_name = "N|Nm")]
    pub checkpoint_every: Option<Interval>,
    /// How many checkpoints to keep, besides the best by its held-out loss.
    #[arg(long, value_name = "N")]
    pub checkpoint_keep: Option<usize>,
    /// Steps between exams, the loss per noise level on training and on held-out examples.
    #[arg(long, value_name = "N")]
    pub exam_every: Option<u64>,
    /// The seed of every random number of the run.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The run's folder; without it, runs/PRESET.
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Replace the run that is in the folder already.
    #[arg(long)]
    pub overwrite: bool,
    /// Print the configuration instead of training: a file for --config, to be changed at will.
    #[arg(long)]
    pub print_config: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LrDecayName {
    /// Not at all.
    Constant,
    /// Along half a cosine, to 0 at the last step.
    Cosine,
    /// As one over the root of the step, from the end of the warm-up on.
    InverseSqrt,
}

/// The newest, the best by its held-out loss, or that of a step.
fn which(text: &str) -> Result<Which, String> {
    match text {
        "latest" => Ok(Which::Latest),
        "best" => Ok(Which::Best),
        step => step
            .parse()
            .map(Which::Step)
            .map_err(|_| format!("found `{text}`, expected latest, best or a step")),
    }
}

#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    /// The folder of a finished or interrupted run.
    pub run: PathBuf,
    /// Number of samples.
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// How many to draw at once, for the sake of memory: it changes no sample.
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Number of sampling steps.
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// The sampler; without it, the run's own.
    #[arg(long, value_enum)]
    pub sampler: Option<SamplerName>,
    /// gam of the general sampler: 1 is DDIM or DDPM, 2 is accelerated.
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub gam: Option<f64>,
    /// mu of the general sampler, in [0, 1): 0 is deterministic, 0.5 is DDPM.
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    pub mu: Option<f64>,
    /// Strength of classifier-free guidance; 0 is off.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub cfg_scale: Option<f64>,
    /// The labels of the samples, repeated as often as needed; without them, all classes in turn.
    #[arg(long, value_name = "0,1,2", value_delimiter = ',')]
    pub labels: Option<Vec<usize>>,
    /// The seed of the noise: sample i depends on it and on i alone.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The picture, or the tensors where it ends in .safetensors; without it, samples-seed-N.png in the run's folder.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Which checkpoint: latest, best (by its held-out loss), or the number of its step.
    #[arg(long, value_name = "WHICH", value_parser = which, default_value = "latest")]
    pub checkpoint: Which,
    /// Use the weights themselves instead of their moving average.
    #[arg(long)]
    pub raw: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SamplerName {
    /// The reference's sampler: DDPM, DDIM and accelerated sampling.
    General,
    /// Heun's second-order method.
    Heun,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A state dict: a .pth or .pt file by `torch.save(model.state_dict(), …)`, or a safetensors file.
    pub file: PathBuf,
    /// The preset whose network the weights are for.
    #[arg(long = "as", value_enum, value_name = "PRESET", required_unless_present = "config")]
    pub preset: Option<Preset>,
    /// The config.toml of the run that the weights are for, instead of a preset.
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The run's folder; without it, runs/PRESET.
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Replace the run that is in the folder already.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The folder of a run.
    pub run: PathBuf,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The file; without it, state_dict.safetensors in the run's folder.
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: Option<PathBuf>,
    /// Replace the file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// Which checkpoint: latest, best (by its held-out loss), or the number of its step.
    #[arg(long, value_name = "WHICH", value_parser = which, default_value = "latest")]
    pub checkpoint: Which,
    /// Use the weights themselves instead of their moving average.
    #[arg(long)]
    pub raw: bool,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// What to examine.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// What to hold it against; without it, flex, and for flex ndarray.
    #[arg(long, value_enum)]
    pub reference: Option<BackendName>,
    /// Examine with this preset's model; without it, with a small one of every kind.
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Add a fault of 1 % to the output of these layers on the device examined, to see that the doctor finds it.
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub plant: Vec<String>,
}

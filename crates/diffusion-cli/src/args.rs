//! What can be given on the command line.

mod evaluate;
mod guidance;
mod latent;
mod location;
mod names;
mod reflow;
mod sampling;
mod task;
mod weights;

pub use evaluate::EvalArgs;
pub use guidance::{GuidanceArgs, with_weight};
pub use latent::{DecodeArgs, EncodeArgs, GenerateArgs, PredictionArg, SpacingArg};
pub use location::LocationArgs;
pub use reflow::ReflowArgs;
pub use sampling::SamplingArgs;
pub use task::{LikelihoodArgs, TaskArgs};
pub use weights::WeightsArgs;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgMatches, Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};
use diffusion::train::Which;
use diffusion_backends::BackendName;
use diffusion_recipe::{
    ImageNetwork, ImageSize, Interval, LatentCondition, ModelSize, PictureInterval, Preset,
};
use names::of_names;
use std::env;
use std::path::PathBuf;
use weights::which;

/// Train diffusion models and sample from them.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// What was typed, or why it cannot be understood.
    pub fn typed() -> Result<Self, clap::Error> {
        let mut clap = Self::clap();
        let matches: ArgMatches = clap.try_get_matches_from_mut(env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut clap))
    }

    /// A number below zero is the value of the option before it, which says what it takes instead.
    fn clap() -> Clap {
        let with_numbers = |arg: Arg| match arg.get_long().is_some() && arg.get_action().takes_values() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        };
        Self::command().mut_subcommands(|command| command.mut_args(with_numbers))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model and draw what it makes.
    Train(Box<TrainArgs>),
    /// Draw samples from a trained model.
    Sample(Box<SampleArgs>),
    /// Measure how far samples are from data: those of a trained model, or those in a file or folder.
    Eval(Box<EvalArgs>),
    /// Measure how likely data are under a trained model, in bits per dimension.
    Likelihood(LikelihoodArgs),
    /// Draw a picture of a text or a class, by a pretrained model.
    Generate(Box<GenerateArgs>),
    /// Turn a folder of images into latents, by the autoencoder of a pretrained model.
    Encode(EncodeArgs),
    /// Turn latents into images.
    Decode(DecodeArgs),
    /// Draw pairs of noise and sample from a trained flow, to train another on that samples in fewer steps.
    Reflow(ReflowArgs),
    /// Make a run of a model that smalldiffusion trained.
    Import(ImportArgs),
    /// Write a run's weights as smalldiffusion loads them.
    Export(ExportArgs),
    /// Make an average of a run's weights of another width, after the training.
    Ema(EmaArgs),
    /// Find out whether a device computes what a CPU computes, layer by layer.
    Doctor(DoctorArgs),
    /// Compare all samplers on data whose denoiser is known, by how often they evaluate it.
    Samplers(SamplersArgs),
}

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// What to train [default: swissroll, which needs no data].
    #[arg(value_parser = presets())]
    pub preset: Option<String>,
    /// Repeat the run that this config.toml describes, instead of a preset.
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Begin with the configuration of another run, e.g. an imported one, and the weights of its last step or of
    /// --checkpoint.
    #[arg(long, value_name = "RUN", group = "before", conflicts_with_all = ["preset", "config"])]
    pub init_from: Option<PathBuf>,
    /// Go on with a run that was interrupted or killed, from its newest valid checkpoint, as if nothing had happened; or
    /// from --checkpoint, with other settings where they are given. --data and --images say where its data are now.
    #[arg(
        long,
        value_name = "RUN",
        group = "before",
        conflicts_with_all = ["preset", "config", "init_from", "seed", "out", "overwrite", "print_config"],
    )]
    pub resume: Option<PathBuf>,
    /// From which checkpoint of that run: latest, best (by its validation loss), or the number of its step. With --resume
    /// what came after it is moved aside [default: latest].
    #[arg(long, value_name = "WHICH", value_parser = which, requires = "before")]
    pub checkpoint: Option<Which>,
    /// With --init-from, begin with the exponential moving average of the weights.
    #[arg(long, requires = "init_from", conflicts_with = "resume")]
    pub ema: bool,
    /// With --init-from, begin with the weights themselves; the default.
    #[arg(long, requires = "init_from", conflicts_with_all = ["ema", "resume"])]
    pub no_ema: bool,
    /// The trained run that the objective consistency-distillation learns from; with --resume, where it is now.
    #[arg(long, value_name = "RUN")]
    pub teacher: Option<PathBuf>,
    /// With --resume, go on also where the data or config.toml were changed since the checkpoint was made.
    #[arg(long, requires = "resume")]
    pub accept_changes: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The folder, or for `datasaurus` the file, with the data [default: the configuration's].
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Train on the images of a folder (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM); a subfolder is a class. Without a preset or configuration all
    /// settings follow from the images.
    #[arg(long, value_name = "FOLDER", conflicts_with = "data", group = "folder")]
    pub images: Option<PathBuf>,
    /// Train on the latents of a folder, as `encode` makes them of images. Without a preset or configuration all settings
    /// follow from them.
    #[arg(long, value_name = "FOLDER", conflicts_with = "data", group = "folder")]
    pub latents: Option<PathBuf>,
    /// Train on the pairs of a folder, as `reflow` draws them, with the settings of a preset, a configuration or another run.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["data", "images", "latents"])]
    pub pairs: Option<PathBuf>,
    /// The height and width that the images are brought to.
    #[arg(long, value_name = "N|HxW", default_value = "64", requires = "images", conflicts_with_all = CONFIGURED)]
    pub image_size: ImageSize,
    /// The network for the images or latents.
    #[arg(long, value_parser = of_names::<ImageNetwork, 2>(ImageNetwork::NAMES), default_value = "unet",
        requires = "folder", conflicts_with_all = CONFIGURED)]
    pub network: ImageNetwork,
    /// How large that network is.
    #[arg(long, value_parser = of_names::<ModelSize, 2>(ModelSize::NAMES), default_value = "small",
        requires = "folder", conflicts_with_all = CONFIGURED)]
    pub size: ModelSize,
    /// What the network for latents is told of each [default: captions where there are some, and else labels].
    #[arg(long, value_parser = of_names::<LatentCondition, 3>(LatentCondition::NAMES),
        requires = "latents", conflicts_with_all = CONFIGURED)]
    pub condition: Option<LatentCondition>,
    /// Train a pretrained text model further on latents with captions: a folder of diffusers with Stable Diffusion 1 or 2.
    /// Low-rank changes (LoRA) of its U-Net are trained. With --resume, where that folder is now.
    #[arg(long, value_name = "FOLDER",
        conflicts_with_all = ["preset", "config", "init_from", "network", "size", "condition"])]
    pub pretrained: Option<PathBuf>,
    /// With --pretrained, the rank of the changes.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "pretrained", conflicts_with = "resume")]
    pub lora_rank: usize,
    /// With --pretrained, train all weights of its U-Net instead.
    #[arg(long, requires = "pretrained", conflicts_with_all = ["lora_rank", "resume"])]
    pub all_weights: bool,
    /// Number of updates; with --resume, in all [default: the configuration's].
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Examples per batch [default: the configuration's].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate [default: the configuration's].
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// Between checkpoints: steps, or minutes as in 10m [default: the configuration's].
    #[arg(long, value_name = "N|Nm")]
    pub checkpoint_every: Option<Interval>,
    /// Steps between validations, which measure the loss per noise level on training and on validation examples
    /// [default: the configuration's].
    #[arg(long, value_name = "N")]
    pub val_every: Option<u64>,
    /// Draws samples into the run's folder `samples` on the way: after every N steps, `never`, or `auto`, which is about ten
    /// times in a run and takes at most 2 % of its time [default: the configuration's].
    #[arg(long, value_name = "N|auto|never")]
    pub sample_every: Option<PictureInterval>,
    /// The seed of every random number of the run [default: the configuration's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Any other setting of config.toml by its path, e.g. training.clip_norm=1 or network.depth=8; repeat it as often
    /// as needed. An element of a list is NAME[0], and `KEY=` leaves a setting out. --print-config shows all settings.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The run's folder [default: runs/PRESET].
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Replace the run that is in the folder already; only what a run writes is removed.
    #[arg(long)]
    pub overwrite: bool,
    /// Print the configuration instead of training: a file for --config, to be changed at will.
    #[arg(long)]
    pub print_config: bool,
}

/// What has settings already.
const CONFIGURED: [&str; 4] = ["preset", "config", "init_from", "resume"];

#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    /// The folder of a finished or interrupted run.
    pub run: PathBuf,
    /// Number of samples [default: the run's].
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Of a run that is told texts, what is to be seen; repeat it for several, which take turns [default: no text].
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// Of a run that trains a pretrained model further, where that is now [default: where it was].
    #[arg(long, value_name = "FOLDER")]
    pub pretrained: Option<PathBuf>,
    /// The folder of diffusers whose text encoders read --prompt: of the same kind as that which encoded the captions
    /// [default: that of --decoder, or the pretrained model of the run].
    #[arg(long, value_name = "FOLDER", requires = "prompt")]
    pub text_encoder: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The number of the first sample: `--first 100 --count 50` are the samples 100 to 149 of the seed.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "interpolate")]
    pub first: usize,
    /// The picture; the tensors where it ends in .safetensors; the bytes of all pixels where it ends in .npz; an animation of
    /// the way from noise where it ends in .gif or .apng; or where it ends in / a folder of single pictures, which goes on
    /// with those that are missing [default: samples-seed-N.png in the run's folder].
    #[arg(long, value_name = "FILE|FOLDER/")]
    pub out: Option<PathBuf>,
    /// Replace what is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// Of a run on latents: a folder of diffusers whose autoencoder makes images of the samples.
    #[arg(long, value_name = "FOLDER")]
    pub decoder: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub weights: WeightsArgs,
}

#[derive(Debug, clap::Args)]
pub struct EmaArgs {
    /// The folder of a run that kept snapshots (training.snapshots).
    pub run: PathBuf,
    /// The width of the average, as a share of the training: 0.05 is narrow, 0.2 wide.
    #[arg(long, value_name = "X")]
    pub width: f64,
    /// The step after which it is: that of a snapshot [default: the last].
    #[arg(long, value_name = "N")]
    pub step: Option<u64>,
    /// The file [default: ema-WIDTH.safetensors in the run's folder, where `sample --ema WIDTH` finds it].
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: Option<PathBuf>,
    /// Replace the file that is there already.
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// A state dict, or a training script's checkpoint with one in it: a file by `torch.save`, or a safetensors file.
    pub file: PathBuf,
    /// The path of keys to the state dict in a checkpoint that holds several, e.g. ema or state.ema [default: the only one
    /// that fits].
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// The preset whose network the weights are for.
    #[arg(long = "as", value_parser = presets(), value_name = "PRESET", required_unless_present = "config")]
    pub preset: Option<String>,
    /// The config.toml of the run that the weights are for, instead of a preset.
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The run's folder [default: runs/PRESET].
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
    /// The file [default: state_dict.safetensors in the run's folder].
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: Option<PathBuf>,
    /// Replace the file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// Of a run that trains a pretrained model further, where that is now [default: where it was].
    #[arg(long, value_name = "FOLDER")]
    pub pretrained: Option<PathBuf>,
    #[command(flatten)]
    pub weights: WeightsArgs,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// What to examine.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// What to compare it with [default: flex, and for flex ndarray].
    #[arg(long, value_enum)]
    pub reference: Option<BackendName>,
    /// Examine with this preset's model [default: a small one of every kind].
    #[arg(long, value_parser = presets())]
    pub preset: Option<String>,
    /// Add a fault of 1 % to the output of these layers on the device examined, to see that the doctor finds it.
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub inject_fault: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct SamplersArgs {
    /// How many evaluations of the network a run may cost.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [5, 10, 20, 50])]
    pub evaluations: Vec<usize>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Draw the distances of the best known samplers.
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// Replace the file that is there already.
    #[arg(long, requires = "out")]
    pub overwrite: bool,
}

/// The presets' names, with a sentence on each.
fn presets() -> PossibleValuesParser {
    let value = |preset: Preset| PossibleValue::new(preset.name).help(preset.description);
    PossibleValuesParser::new(Preset::all().map(value).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Args::clap().debug_assert();
    }

    /// Where they are taken for options, the advice is to give them as no option's value.
    #[test]
    fn numbers_below_zero_are_values() {
        let typed = |line: &str| Args::clap().try_get_matches_from(line.split(' ').map(String::from));
        for line in [
            "diffusion train --steps -1",
            "diffusion train --batch-size -1",
            "diffusion train --val-every -3",
            "diffusion train --sample-every -3",
            "diffusion train --seed -1",
            "diffusion train --images a --image-size -8",
            "diffusion train --checkpoint-every -1",
            "diffusion train --latents a --pretrained b --lora-rank -1",
            "diffusion sample a --count -1",
            "diffusion sample a --init b --inpaint c --repaint -1",
            "diffusion likelihood a --count -1",
            "diffusion eval a --count -1",
            "diffusion generate a b --steps -1",
            "diffusion generate a b --preview-every -2",
            "diffusion encode a --images b --batch-size -1",
            "diffusion decode a b --batch-size -1",
        ] {
            let kind = typed(line).unwrap_err().kind();
            assert_eq!(kind, clap::error::ErrorKind::ValueValidation, "{line}");
        }
        for line in ["diffusion train --lr -0.001", "diffusion sample a --cfg-scale -0.5"] {
            typed(line).unwrap();
        }
    }
}

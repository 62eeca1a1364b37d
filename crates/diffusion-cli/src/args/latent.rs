//! What can be given to the commands of latent diffusion.

use super::guidance::ModifierArgs;
use clap::builder::PossibleValuesParser;
use diffusion::core::AnySampler;
use diffusion::core::schedule::AnySpacing;
use diffusion_backends::BackendName;
use diffusion_recipe::ImageSize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// The folder of a model as diffusers saves it, Stable Diffusion 1, 2 or XL or a diffusion transformer; or a checkpoint
    /// of Stable Diffusion in one file.
    pub folder: PathBuf,
    /// What is to be seen; of a diffusion transformer a class, by its name or number.
    pub prompt: String,
    /// What is not to be seen.
    #[arg(long, value_name = "TEXT")]
    pub negative: Option<String>,
    /// Number of sampling steps.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub steps: usize,
    /// Strength of guidance, as other programs count it: 1 is none [default: 7.5 by a text, 4 by a class].
    #[arg(long, value_name = "G")]
    pub guidance: Option<f64>,
    #[command(flatten)]
    pub modifiers: ModifierArgs,
    /// Height and width of the picture in pixels, multiples of 8 [default: those that the model was trained with].
    #[arg(long, value_name = "N|HxW")]
    pub size: Option<ImageSize>,
    /// How many pictures; each has a seed of its own, one more than the one before.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u64,
    /// The seed of the noise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// The sampler [default: that of the folder].
    #[arg(long, value_parser = PossibleValuesParser::new(AnySampler::names_for_any_model()))]
    pub sampler: Option<String>,
    /// Which of the training's timesteps are taken [default: as the folder says].
    #[arg(long, value_enum)]
    pub spacing: Option<SpacingArg>,
    /// How the noise levels lie between the largest and the smallest, e.g. karras [default: as the folder says].
    #[arg(long, value_parser = PossibleValuesParser::new(AnySpacing::NAMES), conflicts_with = "spacing")]
    pub grid: Option<String>,
    /// A picture to begin with.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// How much of that picture is made new, above 0 and at most 1 [default: 0.8; with --mask 1].
    #[arg(long, value_name = "S", requires = "image")]
    pub strength: Option<f64>,
    /// A picture that is white where the other is painted anew; both are brought to the size of what is drawn.
    #[arg(long, value_name = "FILE")]
    pub mask: Option<PathBuf>,
    /// Decode large pictures in tiles, for the sake of memory: it changes the picture.
    #[arg(long)]
    pub tiles: bool,
    /// Write a small preview every so many steps: NAME-preview.png beside NAME.png.
    #[arg(long, value_name = "N")]
    pub preview_every: Option<usize>,
    /// A file of LoRA, as kohya's scripts or PEFT write it, with its weight; repeat it as often as needed.
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub lora: Vec<String>,
    /// Which files of weights to take where there are several, e.g. fp16.
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Of a checkpoint in one file: the folder of the tokenizer, that of any Stable Diffusion, or the one that it is in.
    #[arg(long, value_name = "FOLDER")]
    pub tokenizer: Option<PathBuf>,
    /// Of a checkpoint in one file: what it predicts [default: epsilon; of Stable Diffusion 2 there is none].
    #[arg(long, value_enum)]
    pub prediction: Option<PredictionArg>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// The picture [default: generated-seed-N.png]; of several, each with its seed in its name.
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// Replace files that are there already.
    #[arg(long)]
    pub overwrite: bool,
}

/// Which of the training's timesteps a run visits.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum SpacingArg {
    /// Evenly, from the smallest on.
    Leading,
    /// Evenly, from the largest on.
    Trailing,
    /// Evenly, with both ends.
    Linspace,
}

/// What the output of a network means.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum PredictionArg {
    /// The noise.
    Epsilon,
    /// v, as the models of 768 pixels of Stable Diffusion 2.
    #[value(name = "v_prediction")]
    VPrediction,
}

#[derive(Debug, clap::Args)]
pub struct EncodeArgs {
    /// A folder of diffusers with an autoencoder: of a whole model, or its `vae` alone.
    pub folder: PathBuf,
    /// The folder of images (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM); a subfolder is a class.
    #[arg(long, value_name = "FOLDER")]
    pub images: PathBuf,
    /// Leave captions out, which are encoded otherwise: in a .txt beside an image, or in a metadata.jsonl, whose lines have
    /// file_name and text.
    #[arg(long)]
    pub no_captions: bool,
    /// The height and width that the images are brought to, multiples of the autoencoder's factor.
    #[arg(long, value_name = "N|HxW", default_value = "256")]
    pub size: ImageSize,
    /// The folder of latents.
    #[arg(long, value_name = "FOLDER", default_value = "latents")]
    pub out: PathBuf,
    /// How many images to encode at once.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub batch_size: usize,
    /// Encode large images in tiles, for the sake of memory: it changes the latents.
    #[arg(long)]
    pub tiles: bool,
    /// Replace latents of other images or settings in the folder.
    #[arg(long)]
    pub overwrite: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
}

#[derive(Debug, clap::Args)]
pub struct DecodeArgs {
    /// A folder of diffusers with an autoencoder: of a whole model, or its `vae` alone.
    pub folder: PathBuf,
    /// A safetensors file of latents, as `sample` and `encode` write them.
    #[arg(value_name = "FILE.safetensors")]
    pub file: PathBuf,
    /// The picture [default: the file's name with .png].
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// How many latents to decode at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch_size: usize,
    /// Decode large images in tiles, for the sake of memory: it changes the images.
    #[arg(long)]
    pub tiles: bool,
    /// Replace the file that is there already.
    #[arg(long)]
    pub overwrite: bool,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
}

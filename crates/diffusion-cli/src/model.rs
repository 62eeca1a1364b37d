//! The model that `generate` draws with: a folder of diffusers, or a checkpoint in one file.

use crate::args::{GenerateArgs, PredictionArg};
use crate::display::Display;
use crate::error::CliError;
use burn::tensor::backend::Backend;
use diffusion::latent::original::{Checkpoint, Predicts};
use diffusion::latent::{
    AnyPipeline, Folder, LatentError, LoraFile, StableDiffusion, Tokenizer, check_parts,
};
use diffusion::weights::WeightsError;
use std::path::{Path, PathBuf};

/// A model that is there, its weights unread.
pub enum Model {
    Folder(Folder),
    File { checkpoint: Checkpoint, tokenizer: PathBuf, predicts: Predicts },
}

impl Model {
    /// Finds out what is wrong with it before a device is looked for.
    pub fn find(args: &GenerateArgs) -> Result<Self, CliError> {
        match args.folder.is_file() {
            true => Self::file(args),
            false => Self::folder(args),
        }
    }

    fn folder(args: &GenerateArgs) -> Result<Self, CliError> {
        let folder = Folder::open(&args.folder)?;
        let given = [("--tokenizer", args.tokenizer.is_some()), ("--prediction", args.prediction.is_some())];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            let what = format!("{option} was given, and {} is a folder, which has it", args.folder.display());
            return Err(CliError::usage(what, "leave it out; it is for checkpoints in one file"));
        }
        check_parts(&folder)?;
        let Some(variant) = &args.variant else { return Ok(Self::Folder(folder)) };
        if !folder.has_variant(variant) {
            let what = format!(
                "--variant {variant} was given, and {} has no weights of it, e.g. \
                 unet/diffusion_pytorch_model.{variant}.safetensors",
                args.folder.display()
            );
            return Err(CliError::usage(what, "leave it out, and the weights that there are will be taken"));
        }
        Ok(Self::Folder(folder.with_variant(variant)))
    }

    fn file(args: &GenerateArgs) -> Result<Self, CliError> {
        let path = args.folder.display();
        let checkpoint = Checkpoint::open(&args.folder).map_err(|error| match error {
            LatentError::NoPart { .. } | LatentError::Weights(WeightsError::NotAStateDict { .. }) => {
                let hint = "pass a folder as diffusers saves it, or a checkpoint of Stable Diffusion in one file, \
                            .safetensors or .ckpt";
                CliError::usage(error.to_string(), hint)
            }
            error => error.into(),
        })?;
        if args.variant.is_some() {
            let what = format!("--variant was given, and {path} is one file");
            return Err(CliError::usage(what, "leave it out; it is for folders"));
        }
        let Some(tokenizer) = args.tokenizer.clone() else {
            return Err(CliError::usage(
                format!(
                    "{path} is a checkpoint in one file, none of which has a tokenizer, and --tokenizer is missing"
                ),
                TOKENIZER,
            ));
        };
        let tokenizer = tokenizer_in(tokenizer)?;
        let stated = args.prediction.map(|prediction| match prediction {
            PredictionArg::Epsilon => Predicts::Noise,
            PredictionArg::VPrediction => Predicts::Velocity,
        });
        let predicts = checkpoint.predicts(stated)?;
        Ok(Self::File { checkpoint, tokenizer, predicts })
    }

    /// Reads it, with the changes of files of LoRA.
    pub fn open<B: Backend>(
        &self,
        lora: &[String],
        display: &Display,
        device: &B::Device,
    ) -> Result<AnyPipeline<B>, CliError> {
        let mut reading = |part: &str| display.begin(&format!("reading {part}"));
        let mut pipe = match self {
            Self::Folder(folder) => AnyPipeline::of(folder, device, &mut reading)?,
            Self::File { checkpoint, tokenizer, predicts } => {
                let predicts = Some(*predicts);
                let pipe =
                    StableDiffusion::from_checkpoint(checkpoint, tokenizer, predicts, device, &mut reading);
                AnyPipeline::StableDiffusion(pipe?)
            }
        };
        for text in lora {
            let (path, weight) = file_and_weight(text)?;
            display.begin(&format!("applying {}", path.display()));
            pipe = pipe.with_lora(&LoraFile::open(path)?, weight)?;
        }
        Ok(pipe)
    }
}

/// Where tokenizers are.
const TOKENIZER: &str = "pass --tokenizer FOLDER with vocab.json and merges.txt, or tokenizer.json: the folder `tokenizer` \
                         of any Stable Diffusion on the Hugging Face Hub, of some 2 MB";

/// The folder, or `tokenizer` in the folder of a whole model; a tokenizer that opens.
fn tokenizer_in(folder: PathBuf) -> Result<PathBuf, CliError> {
    let has = |folder: &Path| ["vocab.json", "tokenizer.json"].iter().any(|name| folder.join(name).exists());
    let inner = folder.join("tokenizer");
    let folder = if !has(&folder) && has(&inner) { inner } else { folder };
    match folder.is_dir() {
        false => {
            let what = format!("--tokenizer {} is no folder that there is", folder.display());
            Err(CliError::usage(what, TOKENIZER))
        }
        true => match Tokenizer::open(&folder) {
            Err(LatentError::NoPart { .. }) => {
                let what = format!(
                    "--tokenizer {} has no tokenizer: neither vocab.json with merges.txt nor tokenizer.json",
                    folder.display()
                );
                Err(CliError::usage(what, TOKENIZER))
            }
            opened => Ok(opened.map(|_| folder)?),
        },
    }
}

/// The file and the weight of `FILE` or `FILE:WEIGHT`; a file of the whole name comes first.
fn file_and_weight(text: &str) -> Result<(PathBuf, f64), CliError> {
    let whole = PathBuf::from(text);
    match text.rsplit_once(':') {
        Some((path, weight)) if !whole.exists() => match weight.parse::<f64>() {
            Ok(weight) if weight.is_finite() => Ok((PathBuf::from(path), weight)),
            _ => Err(CliError::usage(
                format!("--lora {text} ends in {weight}, which is no finite number"),
                "pass --lora FILE or --lora FILE:WEIGHT, e.g. style.safetensors:0.7",
            )),
        },
        _ => Ok((whole, 1.0)),
    }
}

//! The model that `generate` draws with: a folder of diffusers, or a checkpoint in one file.

use crate::args::{GenerateArgs, PredictionArg};
use crate::display::Display;
use crate::error::CliError;
use burn::tensor::backend::Backend;
use diffusion::latent::original::{Checkpoint, Predicts};
use diffusion::latent::{AnyPipeline, Folder, LatentError, LoraFile, StableDiffusion};
use diffusion::weights::WeightsError;
use std::path::PathBuf;

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
        Ok(Self::Folder(match &args.variant {
            Some(variant) => folder.with_variant(variant),
            None => folder,
        }))
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
                "pass --tokenizer FOLDER with vocab.json and merges.txt, or tokenizer.json, and tokenizer_config.json: the \
                 folder `tokenizer` of any Stable Diffusion on the Hugging Face Hub, of some 2 MB",
            ));
        };
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

    /// Whose sampler is taken where none is asked for.
    pub fn sampler(&self) -> &'static str {
        match self {
            Self::Folder(_) => "of the folder",
            Self::File { .. } => "of Stable Diffusion",
        }
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

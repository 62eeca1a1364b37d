//! Stable Diffusion from a checkpoint in one file.

use super::{Reading, StableDiffusion, misfit};
use crate::error::LatentError;
use crate::original::{Checkpoint, Family, Predicts};
use crate::prompt::PromptEncoder;
use crate::schedule::LatentSchedule;
use crate::tokens::Tokenizer;
use crate::unet::UnetConfig;
use burn::tensor::backend::Backend;
use diffusion_weights::WeightsError;
use std::path::Path;

/// Height and width of the latents of Stable Diffusion 2 where it predicts v.
const SIDE_OF_V: usize = 96;

impl<B: Backend> StableDiffusion<B> {
    /// Opens a checkpoint in one file, with the tokenizer in a folder of its own: that of any Stable Diffusion, for all have
    /// one vocabulary, and what texts are filled up with follows from the checkpoint. `reading` is told which part is being
    /// read.
    ///
    /// Noise levels and scheduler are those of the published models: of PNDM where noise is predicted, of DDIM where v is,
    /// and in Stable Diffusion XL of Euler.
    ///
    /// # Errors
    /// If a part is missing, not supported, or does not fit; if it is a Stable Diffusion 2 and `predicts` does not say what
    /// it predicts, which no file does.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        tokenizer: impl AsRef<Path>,
        predicts: Option<Predicts>,
        device: &B::Device,
        reading: Reading<'_>,
    ) -> Result<Self, LatentError> {
        // What is small and may be wrong comes first.
        let family = checkpoint.family()?;
        let predicts = checkpoint.predicts(predicts)?;
        let folder = tokenizer.as_ref();
        let tokenizer = Tokenizer::open(folder)?;
        let schedule = LatentSchedule::of_stable_diffusion(checkpoint.path(), family, predicts)?;
        reading("the text encoder");
        let clip = |pads_with_end: bool| {
            let pad = if pads_with_end { tokenizer.end() } else { OPEN_CLIP_PAD };
            (folder.to_path_buf(), tokenizer.clone().with_pad(pad))
        };
        let encoders = match family {
            Family::StableDiffusion1 => vec![(clip(true), checkpoint.text_encoder(device))],
            Family::StableDiffusion2 => vec![(clip(false), checkpoint.text_encoder(device))],
            Family::StableDiffusionXl => vec![
                (clip(true), checkpoint.text_encoder(device)),
                (clip(false), checkpoint.second_text_encoder(device)),
            ],
        };
        let is_xl = family == Family::StableDiffusionXl;
        // What does not fit is told of all parts at once.
        let mut faults = Faults::default();
        let encoders: Vec<_> = encoders
            .into_iter()
            .filter_map(|(tokenizer, encoder)| Some((tokenizer, faults.without(encoder)?)))
            .collect();
        reading("the autoencoder");
        let autoencoder = faults.without(checkpoint.autoencoder(device));
        reading("the U-Net");
        let config = checkpoint.unet_config()?;
        let is_large = family == Family::StableDiffusion2 && predicts == Predicts::Velocity;
        let sample_size = if is_large { SIDE_OF_V } else { config.sample_size };
        let unet = faults.without(checkpoint.unet_of(&UnetConfig { sample_size, ..config }, device));
        let (Some(autoencoder), Some(unet), None) = (autoencoder, unet, &faults.0) else {
            return Err(faults.0.expect("a part that is left out has a fault"));
        };
        let prompts = PromptEncoder::joined(encoders, is_xl)?;
        let empty = prompts.encode(&[""]);
        if let Some((key, expected)) = misfit(&unet, &empty, autoencoder.config.latent_channels) {
            let reason =
                format!("the `{key}` of its U-Net does not fit its other parts, expected {expected}");
            return Err(LatentError::Malformed { path: checkpoint.path().to_path_buf(), reason });
        }
        let empty = if is_xl { empty.zeros_like() } else { empty };
        Ok(Self::new(unet, autoencoder, prompts, schedule, empty))
    }
}

/// What is wrong with parts: all tensors that do not fit, unless something else is wrong with the first of them.
#[derive(Default)]
struct Faults(Option<LatentError>);

impl Faults {
    /// The part, if nothing is wrong with it.
    fn without<T>(&mut self, part: Result<T, LatentError>) -> Option<T> {
        let error = match part {
            Ok(part) => return Some(part),
            Err(error) => error,
        };
        match (&mut self.0, error) {
            (
                Some(LatentError::Weights(WeightsError::Tensors { problems, .. })),
                LatentError::Weights(WeightsError::Tensors { problems: more, .. }),
            ) => problems.extend(more),
            (Some(_), _) => {}
            (first @ None, error) => *first = Some(error),
        }
        None
    }
}

/// What OpenCLIP fills texts up with.
const OPEN_CLIP_PAD: usize = 0;

//! CLIP's text encoder (Radford et al. 2021, arXiv:2103.00020), as transformers' `CLIPTextModel`.

mod config;
mod layers;

pub use config::{TextActivation, TextEncoderConfig};
pub use layers::{TextAttention, TextEmbeddings, TextLayer, TextLayers, TextMlp, TextTransformer};

use crate::error::LatentError;
use crate::folder::{Folder, Part};
use crate::layer::Build;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::linear;
use std::path::Path;

/// The class of transformers that has a projection.
const WITH_PROJECTION: &str = "CLIPTextModelWithProjection";

/// The classes of transformers that a [`TextEncoder`] stands for.
pub const CLASSES: &[&str] = &["CLIPTextModel", WITH_PROJECTION];

impl TextEncoderConfig {
    /// The network, its weights drawn from `seed`, with a projection or without.
    pub fn init<B: Backend>(&self, has_projection: bool, seed: u64, device: &B::Device) -> TextEncoder<B> {
        self.build(has_projection, &mut Build::random(seed, device))
    }

    pub(crate) fn build<B: Backend>(&self, has_projection: bool, build: &mut Build<'_, B>) -> TextEncoder<B> {
        let sizes = [self.hidden_size, self.projection_dim];
        TextEncoder {
            text_model: TextTransformer::new(build, self),
            text_projection: has_projection.then(|| build.linear(false, sizes)),
            config: self.clone(),
        }
    }
}

/// Turns tokens into vectors, each of which knows those before it.
#[derive(Module, Debug)]
pub struct TextEncoder<B: Backend> {
    /// All but the projection.
    pub text_model: TextTransformer<B>,
    /// From the vector of the end to that of the whole text, which only some have.
    pub text_projection: Option<Linear<B>>,
    /// The sizes.
    #[module(skip)]
    pub config: TextEncoderConfig,
}

/// What a [`TextEncoder`] makes of texts.
#[derive(Clone, Debug)]
pub struct TextStates<B: Backend> {
    /// Behind the last layer and the final norm, `[batch, tokens, hidden_size]`.
    pub last: Tensor<B, 3>,
    /// What goes into the last layer, without the final norm, of the same shape.
    pub penultimate: Tensor<B, 3>,
    /// The last state at the first token that is the end, projected where there is a projection:
    /// `[batch, projection_dim]`, or `[batch, hidden_size]`.
    pub pooled: Tensor<B, 2>,
}

impl<B: Backend> TextEncoder<B> {
    /// Opens the text encoder `name` of a pipeline, e.g. `text_encoder`, or the folder itself.
    ///
    /// # Errors
    /// If there is none; if its settings are not supported; if the weights do not fit, with all that does not.
    pub fn open(folder: impl AsRef<Path>, name: &str, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?, name, device)
    }

    /// As [`open`](Self::open), of a folder that is open.
    ///
    /// # Errors
    /// As there.
    pub fn of(folder: &Folder, name: &str, device: &B::Device) -> Result<Self, LatentError> {
        Self::of_part(&folder.part(name, CLASSES)?, device)
    }

    /// As [`open`](Self::open), of a part.
    ///
    /// # Errors
    /// As there.
    pub fn of_part(part: &Part, device: &B::Device) -> Result<Self, LatentError> {
        let config = TextEncoderConfig::from_settings(part.settings())?;
        let has_projection = part.class() == WITH_PROJECTION;
        let module = config.build(has_projection, &mut Build::to_load(device));
        part.load(module, |name| renamed(name, has_projection))
    }

    /// What it makes of texts, given by the ids of their tokens.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    ///
    /// # Panics
    /// If there is no text; if texts differ in length, have no token or more than `max_position_embeddings`; if an id is
    /// not below `vocab_size`.
    pub fn forward(&self, ids: &[Vec<usize>]) -> TextStates<B> {
        let (last, penultimate) = self.text_model.forward(ids);
        let ends = ids.iter().enumerate().map(|(text, ids)| {
            last.clone().narrow(0, text, 1).narrow(1, self.end(ids), 1).squeeze_dim::<2>(1)
        });
        let pooled = Tensor::cat(ends.collect(), 0);
        let pooled = match &self.text_projection {
            Some(projection) => linear(projection, pooled),
            None => pooled,
        };
        TextStates { last, penultimate, pooled }
    }

    /// The place of the token that ends a text; the first, if there is none.
    fn end(&self, ids: &[usize]) -> usize {
        let end = match self.config.eos_token_id {
            // Of folders from before transformers 4.31, whose numbers are not those of their tokenizer.
            2 => ids.iter().copied().max().unwrap_or(0),
            end => end,
        };
        ids.iter().position(|&id| id == end).unwrap_or(0)
    }
}

/// The name here of a tensor in a file; none for what is not of the text encoder, or no weight.
fn renamed(name: &str, has_projection: bool) -> Option<String> {
    const OTHERS: [&str; 3] = ["vision_model.", "visual_projection.", "logit_scale"];
    if name.ends_with("position_ids") || OTHERS.iter().any(|other| name.starts_with(other)) {
        return None;
    }
    if name.starts_with("text_projection.") {
        return has_projection.then(|| name.to_string());
    }
    // Inside of transformers 5, names have no prefix.
    Some(if name.starts_with("text_model.") { name.to_string() } else { format!("text_model.{name}") })
}

//! The settings of a text encoder.

use crate::config::Settings;
use crate::error::LatentError;
use serde::{Deserialize, Serialize};

/// A size that no network has.
const MAX_SIZE: usize = 1 << 16;
/// A number of tokens that no tokenizer has.
const MAX_VOCABULARY: usize = 1 << 24;

/// The function between both layers of a perceptron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextActivation {
    /// `x·sigmoid(1.702·x)`, of OpenAI's models.
    #[default]
    QuickGelu,
    /// The exact GELU, of OpenCLIP's.
    Gelu,
}

/// The sizes of a [`TextEncoder`](super::TextEncoder), with the names and defaults of transformers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextEncoderConfig {
    /// Rows of the table of tokens.
    pub vocab_size: usize,
    /// Values per token.
    pub hidden_size: usize,
    /// Values per token inside the perceptrons.
    pub intermediate_size: usize,
    /// Values of a whole text, behind the projection.
    pub projection_dim: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of attention.
    pub num_attention_heads: usize,
    /// The largest number of tokens.
    pub max_position_embeddings: usize,
    /// The function inside the perceptrons.
    pub hidden_act: TextActivation,
    /// What is added to variances in norms.
    pub layer_norm_eps: f64,
    /// The token that ends a text; 2 means that with the largest number.
    pub eos_token_id: usize,
}

impl Default for TextEncoderConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: TextActivation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

impl TextEncoderConfig {
    /// The sizes in a `config.json`.
    ///
    /// # Errors
    /// If a value is not supported, names the key, the value and the file.
    pub fn from_settings(settings: &Settings) -> Result<Self, LatentError> {
        settings.expect("hidden_act", &[r#""quick_gelu""#, r#""gelu""#])?;
        let config: Self = settings.parse()?;
        for (key, size) in [
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("projection_dim", config.projection_dim),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("max_position_embeddings", config.max_position_embeddings),
        ] {
            if !(1..=MAX_SIZE).contains(&size) {
                return Err(settings.unsupported(key, format!("1 to {MAX_SIZE}")));
            }
        }
        if !(1..=MAX_VOCABULARY).contains(&config.vocab_size) {
            return Err(settings.unsupported("vocab_size", format!("1 to {MAX_VOCABULARY}")));
        }
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let heads = config.num_attention_heads;
            return Err(settings.unsupported("hidden_size", format!("a multiple of {heads} heads")));
        }
        Ok(config)
    }
}

//! The settings of a diffusion transformer.

use crate::config::Settings;
use crate::error::LatentError;
use serde::{Deserialize, Serialize};

/// What the class was called before diffusers 0.30.
pub(super) const OLD_CLASS: &str = "Transformer2DModel";

/// The sizes of a [`DiTTransformer2DModel`](super::DiTTransformer2DModel), with the names and defaults of diffusers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DitTransformerConfig {
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Values per head.
    pub attention_head_dim: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output; as many as of the input if it is not given, and twice as many with a learned variance.
    pub out_channels: Option<usize>,
    /// Blocks.
    pub num_layers: usize,
    /// Height and width of the latents that it was trained with.
    pub sample_size: usize,
    /// Height and width of a patch.
    pub patch_size: usize,
    /// Classes.
    pub num_embeds_ada_norm: usize,
    /// The ε of the norms before the MLPs.
    pub norm_eps: f64,
    /// Whether queries, keys and values have biases.
    pub attention_bias: bool,
}

impl Default for DitTransformerConfig {
    fn default() -> Self {
        Self {
            num_attention_heads: 16,
            attention_head_dim: 72,
            in_channels: 4,
            out_channels: None,
            num_layers: 28,
            sample_size: 32,
            patch_size: 2,
            num_embeds_ada_norm: 1000,
            norm_eps: 1e-5,
            attention_bias: true,
        }
    }
}

/// The settings of which other values than these are not supported; a missing one has the first.
const EXPECTED: &[(&str, &[&str])] = &[
    ("activation_fn", &[r#""gelu-approximate""#]),
    ("cross_attention_dim", &[]),
    ("double_self_attention", &["false"]),
    ("norm_elementwise_affine", &["false"]),
    ("norm_type", &[r#""ada_norm_zero""#]),
    ("num_vector_embeds", &[]),
    ("only_cross_attention", &["false"]),
];

/// A size that no network has.
const MAX_SIZE: usize = 1 << 16;

impl DitTransformerConfig {
    /// The sizes in a `config.json`.
    ///
    /// # Errors
    /// If a value is not supported, names the key, the value and the file.
    pub fn from_settings(settings: &Settings) -> Result<Self, LatentError> {
        // The old class had transformers of all kinds.
        if settings.text("_class_name") == Some(OLD_CLASS) && settings.get("norm_type").is_none() {
            return Err(settings.unsupported("norm_type", r#""ada_norm_zero""#));
        }
        for (key, supported) in EXPECTED {
            settings.expect(key, supported)?;
        }
        let config: Self = settings.parse()?;
        match config.problem() {
            Some((key, expected)) => Err(settings.unsupported(key, expected)),
            None => Ok(config),
        }
    }

    /// A setting that no network has, and what was expected.
    fn problem(&self) -> Option<(&'static str, String)> {
        let sizes = [
            ("num_attention_heads", self.num_attention_heads),
            ("attention_head_dim", self.attention_head_dim),
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("patch_size", self.patch_size),
            ("sample_size", self.sample_size),
            ("num_embeds_ada_norm", self.num_embeds_ada_norm),
        ];
        let is_size = |size: usize| (1..=MAX_SIZE).contains(&size);
        if let Some((key, _)) = sizes.into_iter().find(|(_, size)| !is_size(*size)) {
            return Some((key, format!("1 to {MAX_SIZE}")));
        }
        if !self.dim().is_multiple_of(4) || !is_size(self.dim()) {
            let expected =
                format!("tokens of a multiple of 4 values, at most {MAX_SIZE}, not of {}", self.dim());
            return Some(("attention_head_dim", expected));
        }
        let channels = self.in_channels;
        if self.outputs() != channels && self.outputs() != 2 * channels {
            return Some((
                "out_channels",
                format!("{channels}, or {} with a learned variance", 2 * channels),
            ));
        }
        if !self.sample_size.is_multiple_of(self.patch_size) {
            return Some(("sample_size", format!("a multiple of the patch size {}", self.patch_size)));
        }
        let is_positive = self.norm_eps.is_finite() && self.norm_eps > 0.0;
        (!is_positive).then(|| ("norm_eps", "a positive number".to_string()))
    }

    /// Values of a token.
    pub fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Channels of the output, with those of a learned variance.
    pub fn outputs(&self) -> usize {
        self.out_channels.unwrap_or(self.in_channels)
    }

    /// Patches along each axis of the latents that it was trained with.
    pub fn grid(&self) -> usize {
        self.sample_size / self.patch_size
    }
}

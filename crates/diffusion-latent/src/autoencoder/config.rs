//! The settings of an autoencoder.

use crate::config::Settings;
use crate::error::LatentError;
use serde::{Deserialize, Serialize};

/// A size that no network has.
const MAX_SIZE: usize = 1 << 16;

/// The sizes of an [`Autoencoder`](super::Autoencoder), with the names and defaults of diffusers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoencoderConfig {
    /// Channels of the images that are encoded.
    pub in_channels: usize,
    /// Channels of the images that are decoded.
    pub out_channels: usize,
    /// Channels of each level, from the largest images to the smallest.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of all norms.
    pub norm_num_groups: usize,
    /// Height and width of the images that it was trained with; here, of tiles.
    pub sample_size: usize,
    /// What latents are multiplied by to have a variance of about 1.
    pub scaling_factor: f64,
    /// What is subtracted from latents before.
    pub shift_factor: f64,
    /// Whether a kernel of one pixel follows the encoder.
    pub use_quant_conv: bool,
    /// Whether one comes before the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle blocks have attention.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![64],
            layers_per_block: 1,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: 32,
            scaling_factor: 0.18215,
            shift_factor: 0.0,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderConfig {
    /// The sizes in a `config.json`.
    ///
    /// # Errors
    /// If a value is not supported, names the key, the value and the file.
    pub fn from_settings(settings: &Settings) -> Result<Self, LatentError> {
        settings.expect("act_fn", &[r#""silu""#, r#""swish""#])?;
        for (key, block) in
            [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
        {
            let blocks = settings.get(key).and_then(serde_json::Value::as_array);
            if blocks.is_some_and(|blocks| blocks.iter().any(|found| found.as_str() != Some(block))) {
                return Err(settings.unsupported(key, format!("\"{block}\" at each level")));
            }
        }
        for key in ["latents_mean", "latents_std"] {
            settings.expect(key, &[])?;
        }
        let config: Self = settings.parse()?;
        let groups = config.norm_num_groups;
        let is_divisible = |channels: &usize| *channels > 0 && groups > 0 && channels.is_multiple_of(groups);
        if config.block_out_channels.is_empty() || !config.block_out_channels.iter().all(is_divisible) {
            return Err(settings.unsupported("block_out_channels", format!("multiples of {groups} groups")));
        }
        for (key, size) in [
            ("in_channels", config.in_channels),
            ("out_channels", config.out_channels),
            ("latent_channels", config.latent_channels),
            ("layers_per_block", config.layers_per_block),
        ] {
            if !(1..=MAX_SIZE).contains(&size) {
                return Err(settings.unsupported(key, format!("1 to {MAX_SIZE}")));
            }
        }
        Ok(config)
    }

    /// How many pixels of an image, along each axis, are one of the latents.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

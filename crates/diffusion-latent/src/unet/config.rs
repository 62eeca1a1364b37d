//! The settings of a U-Net.

use crate::config::{PerLevel, Settings};
use crate::error::LatentError;
use diffusion_core::invalid::Invalid;
use serde::{Deserialize, Serialize};

/// The kind of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockType {
    /// Going down, residual blocks alone.
    DownBlock2D,
    /// Going down, with attention to the text.
    CrossAttnDownBlock2D,
    /// Going up, residual blocks alone.
    UpBlock2D,
    /// Going up, with attention to the text.
    CrossAttnUpBlock2D,
}

impl BlockType {
    /// Whether the level has attention to the text.
    pub fn has_attention(self) -> bool {
        matches!(self, Self::CrossAttnDownBlock2D | Self::CrossAttnUpBlock2D)
    }
}

/// What a U-Net is told besides time and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdditionEmbed {
    /// The pooled text and the sizes of the picture, as in SDXL.
    TextTime,
}

/// The sizes of a [`UNet2DConditionModel`](super::UNet2DConditionModel), with the names and defaults of diffusers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnetConfig {
    /// Height and width of the latents that it was trained with.
    pub sample_size: usize,
    /// Channels of the input: 4, or 9 for inpainting.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of each level, from the largest images to the smallest.
    pub block_out_channels: Vec<usize>,
    /// Going down, the kind of each level.
    pub down_block_types: Vec<BlockType>,
    /// Going up, from the smallest images to the largest.
    pub up_block_types: Vec<BlockType>,
    /// Residual blocks of a level going down; going up there is one more.
    pub layers_per_block: PerLevel,
    /// The number of heads, in spite of its name.
    pub attention_head_dim: PerLevel,
    /// Values of each token of the text.
    pub cross_attention_dim: PerLevel,
    /// Blocks of each transformer.
    pub transformer_layers_per_block: PerLevel,
    /// Whether files have the first and last layer of transformers as matrices, and not as kernels of one pixel.
    pub use_linear_projection: bool,
    /// Groups of all norms of images.
    pub norm_num_groups: usize,
    /// The ε of the norms outside of transformers.
    pub norm_eps: f64,
    /// Whether cosines come before sines.
    pub flip_sin_to_cos: bool,
    /// What is subtracted from the number of frequencies.
    pub freq_shift: f64,
    /// What it is told besides time and text.
    pub addition_embed_type: Option<AdditionEmbed>,
    /// How many sines and cosines each of the sizes gets.
    pub addition_time_embed_dim: usize,
    /// How many values the pooled text and the sizes have together.
    pub projection_class_embeddings_input_dim: usize,
}

impl Default for UnetConfig {
    fn default() -> Self {
        use BlockType::*;
        Self {
            sample_size: 64,
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: vec![
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                DownBlock2D,
            ],
            up_block_types: vec![UpBlock2D, CrossAttnUpBlock2D, CrossAttnUpBlock2D, CrossAttnUpBlock2D],
            layers_per_block: PerLevel::All(2),
            attention_head_dim: PerLevel::All(8),
            cross_attention_dim: PerLevel::All(1280),
            transformer_layers_per_block: PerLevel::All(1),
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            addition_embed_type: None,
            addition_time_embed_dim: 0,
            projection_class_embeddings_input_dim: 0,
        }
    }
}

/// The settings of which other values than these are not supported; a missing one has the first.
const EXPECTED: &[(&str, &[&str])] = &[
    ("act_fn", &[r#""silu""#, r#""swish""#]),
    ("attention_type", &[r#""default""#]),
    ("center_input_sample", &["false"]),
    ("class_embed_type", &[]),
    ("class_embeddings_concat", &["false"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &[]),
    ("downsample_padding", &["1"]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim", &[]),
    ("encoder_hid_dim_type", &[]),
    ("mid_block_only_cross_attention", &["false"]),
    ("mid_block_scale_factor", &["1"]),
    ("mid_block_type", &[r#""UNetMidBlock2DCrossAttn""#]),
    ("num_attention_heads", &[]),
    ("num_class_embeds", &[]),
    ("only_cross_attention", &["false"]),
    ("resnet_out_scale_factor", &["1"]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &[r#""default""#]),
    ("reverse_transformer_layers_per_block", &[]),
    ("time_cond_proj_dim", &[]),
    ("time_embedding_act_fn", &[]),
    ("time_embedding_dim", &[]),
    ("time_embedding_type", &[r#""positional""#]),
    ("timestep_post_act", &[]),
];

/// A size that no network has.
const MAX_SIZE: usize = 1 << 16;

impl UnetConfig {
    /// The sizes in a `config.json`.
    ///
    /// # Errors
    /// If a value is not supported, names the key, the value and the file.
    pub fn from_settings(settings: &Settings) -> Result<Self, LatentError> {
        for (key, supported) in EXPECTED {
            settings.expect(key, supported)?;
        }
        let mut config: Self = settings.parse()?;
        // Folders of before diffusers 0.9 say 32 for latents of 64.
        let version = settings.text("_diffusers_version").and_then(minor_version);
        if version.is_some_and(|minor| minor < 9) && config.sample_size < 64 {
            config.sample_size = 64;
        }
        match config.problem() {
            Some((key, expected)) => Err(settings.unsupported(key, expected)),
            None => Ok(config),
        }
    }

    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a setting is one that no network has; it is named.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.problem() {
            Some((key, expected)) => Err(Invalid::new(key, format!("is not as expected: {expected}"))),
            None => Ok(()),
        }
    }

    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// A setting that no network has, and what was expected.
    fn problem(&self) -> Option<(&'static str, String)> {
        let (levels, groups) = (self.levels(), self.norm_num_groups);
        let is_size = |size: usize| (1..=MAX_SIZE).contains(&size);
        let sizes = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("norm_num_groups", groups),
            ("sample_size", self.sample_size),
        ];
        if let Some((key, _)) = sizes.into_iter().find(|(_, size)| !is_size(*size)) {
            return Some((key, format!("1 to {MAX_SIZE}")));
        }
        let is_divisible = |channels: &usize| is_size(*channels) && channels.is_multiple_of(groups);
        if levels == 0
            || !self.block_out_channels.iter().all(is_divisible)
            || self.block_out_channels[0] % 2 == 1
        {
            return Some(("block_out_channels", format!("even multiples of {groups} groups")));
        }
        let goes_down =
            |kind: &BlockType| matches!(kind, BlockType::DownBlock2D | BlockType::CrossAttnDownBlock2D);
        if self.down_block_types.len() != levels || !self.down_block_types.iter().all(goes_down) {
            return Some((
                "down_block_types",
                format!("DownBlock2D or CrossAttnDownBlock2D, {levels} times"),
            ));
        }
        if self.up_block_types.len() != levels || self.up_block_types.iter().any(goes_down) {
            return Some(("up_block_types", format!("UpBlock2D or CrossAttnUpBlock2D, {levels} times")));
        }
        for (key, value) in [
            ("layers_per_block", &self.layers_per_block),
            ("attention_head_dim", &self.attention_head_dim),
            ("cross_attention_dim", &self.cross_attention_dim),
            ("transformer_layers_per_block", &self.transformer_layers_per_block),
        ] {
            if !value.is_for(levels) {
                return Some((key, format!("a positive number, or one for each of {levels} levels")));
            }
        }
        let undivided =
            |level: usize| !self.block_out_channels[level].is_multiple_of(self.attention_head_dim.at(level));
        if (0..levels).any(undivided) {
            return Some(("attention_head_dim", "numbers of heads that divide the channels".to_string()));
        }
        let takes_sizes = self.addition_embed_type.is_some();
        let dims = [self.addition_time_embed_dim, self.projection_class_embeddings_input_dim];
        if takes_sizes
            && !(dims.into_iter().all(is_size) && dims[0].is_multiple_of(2) && dims[1] > SIZES * dims[0])
        {
            return Some((
                "projection_class_embeddings_input_dim",
                "the pooled text and six sizes".to_string(),
            ));
        }
        None
    }

    /// How many values the pooled text has, if the network is told it.
    pub fn pooled_dim(&self) -> Option<usize> {
        self.addition_embed_type
            .map(|_| self.projection_class_embeddings_input_dim - SIZES * self.addition_time_embed_dim)
    }
}

/// How many sizes SDXL is told.
const SIZES: usize = 6;

/// The second number of a version that begins with 0.
fn minor_version(version: &str) -> Option<u32> {
    let (major, rest) = version.split_once('.')?;
    (major == "0").then_some(())?;
    rest.split('.').next()?.parse().ok()
}

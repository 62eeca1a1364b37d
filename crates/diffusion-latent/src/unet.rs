//! The U-Net of Stable Diffusion 1, 2 and XL, as diffusers' `UNet2DConditionModel`.

mod block;
mod config;
mod count;
mod sized;

pub use block::{DownBlock, MiddleBlock, UpBlock};
pub use config::{AdditionEmbed, BlockType, UnetConfig};
pub use sized::SizedUnet;

use crate::error::LatentError;
use crate::folder::{Folder, Part};
use crate::layer::{Build, TimestepEmbedding, sinusoid};
use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Window, conv2d, group_norm_silu};
use std::path::Path;

/// The classes of diffusers that a [`UNet2DConditionModel`] stands for.
pub const CLASSES: &[&str] = &["UNet2DConditionModel"];

/// A U-Net that is told a time and a text (Rombach et al. 2022, arXiv:2112.10752, §3.3; Podell et al. 2023,
/// arXiv:2307.01952, §2 for SDXL).
#[derive(Module, Debug)]
pub struct UNet2DConditionModel<B: Backend> {
    /// The first convolution.
    pub conv_in: Conv2d<B>,
    /// From sines of the time to its embedding.
    pub time_embedding: TimestepEmbedding<B>,
    /// From the pooled text and the sizes of the picture to what is added to that.
    pub add_embedding: Option<TimestepEmbedding<B>>,
    /// The levels, from the largest images to the smallest.
    pub down_blocks: Vec<DownBlock<B>>,
    /// At the smallest images.
    pub mid_block: MiddleBlock<B>,
    /// The levels, from the smallest images to the largest.
    pub up_blocks: Vec<UpBlock<B>>,
    /// The last norm.
    pub conv_norm_out: GroupNorm<B>,
    /// The last convolution.
    pub conv_out: Conv2d<B>,
    /// The sizes.
    #[module(skip)]
    pub config: UnetConfig,
}

/// What SDXL is told besides the text.
#[derive(Clone, Debug)]
pub struct Added<B: Backend> {
    /// The pooled text, `[batch, width]`.
    pub pooled: Tensor<B, 2>,
    /// Original height and width, top and left of the crop, target height and width, `[batch, 6]`.
    pub size: Tensor<B, 2>,
}

impl UnetConfig {
    /// The network, its weights drawn from `seed` as PyTorch does.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> UNet2DConditionModel<B> {
        self.build(&mut Build::random(seed, device))
    }

    pub(crate) fn build<B: Backend>(&self, build: &mut Build<'_, B>) -> UNet2DConditionModel<B> {
        let first = self.block_out_channels[0];
        let time_dim = 4 * first;
        let groups = self.norm_num_groups;
        let add_embedding = (self.addition_embed_type == Some(AdditionEmbed::TextTime))
            .then(|| TimestepEmbedding::new(build, self.projection_class_embeddings_input_dim, time_dim));
        UNet2DConditionModel {
            conv_in: build.conv2d([self.in_channels, first], Window::conv3x3()),
            time_embedding: TimestepEmbedding::new(build, first, time_dim),
            add_embedding,
            down_blocks: DownBlock::all(build, self),
            mid_block: MiddleBlock::new(build, self),
            up_blocks: UpBlock::all(build, self),
            conv_norm_out: build.group_norm(first, groups, self.norm_eps),
            conv_out: build.conv2d([first, self.out_channels], Window::conv3x3()),
            config: self.clone(),
        }
    }
}

impl<B: Backend> UNet2DConditionModel<B> {
    /// Opens the U-Net of a folder: the part `unet` of a pipeline, or the folder itself.
    ///
    /// # Errors
    /// If there is none; if its settings are not supported; if the weights do not fit, with all that does not.
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?.part("unet", CLASSES)?, device)
    }

    /// As [`open`](Self::open), of a part that is open.
    ///
    /// # Errors
    /// As there.
    pub fn of(part: &Part, device: &B::Device) -> Result<Self, LatentError> {
        let config = UnetConfig::from_settings(part.settings())?;
        part.load(config.build(&mut Build::to_load(device)), |name| Some(name.to_string()))
    }

    /// The network's output.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`, scaled by c_in
    /// - `t`: `[batch]`, 0 to 999, fractions too
    /// - `context`: `[batch, tokens, cross_attention_dim]`
    /// - returns `[batch, out_channels, height, width]`
    ///
    /// # Panics
    /// If shapes do not fit, or the network is to be told sizes and is not.
    pub fn forward(
        &self,
        x: Tensor<B, 4>,
        t: Tensor<B, 1>,
        context: Tensor<B, 3>,
        added: Option<Added<B>>,
    ) -> Tensor<B, 4> {
        let time = self.embedding(t, added);
        let mut h = conv2d(&self.conv_in, x);
        let mut skips = vec![h.clone()];
        for block in &self.down_blocks {
            h = block.forward(h, &time, &context, &mut skips);
        }
        h = self.mid_block.forward(h, &time, &context);
        for block in &self.up_blocks {
            h = block.forward(h, &time, &context, &mut skips);
        }
        conv2d(&self.conv_out, group_norm_silu(&self.conv_norm_out, h))
    }

    /// The embedding of the time and of what else there is besides the text, `[batch, 4 · first level's channels]`.
    fn embedding(&self, t: Tensor<B, 1>, added: Option<Added<B>>) -> Tensor<B, 2> {
        let config = &self.config;
        let sines = |t, size| sinusoid(t, size, config.flip_sin_to_cos, config.freq_shift);
        let time = self.time_embedding.forward(sines(t, config.block_out_channels[0]));
        let Some(layers) = &self.add_embedding else { return time };
        let Added { pooled, size } = added.expect("a network of SDXL is told the pooled text and sizes");
        let [batch, ids] = size.dims();
        let dim = config.addition_time_embed_dim;
        let size = sines(size.reshape([batch * ids]), dim).reshape([batch, ids * dim]);
        time + layers.forward(Tensor::cat(vec![pooled, size], 1))
    }
}

//! The two halves of an autoencoder.

use super::config::AutoencoderConfig;
use crate::layer::{Build, CrossAttention, Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D};
use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Window, conv2d, group_norm, group_norm_silu, transpose};

/// The ε of every norm in an autoencoder.
const EPSILON: f64 = 1e-6;

fn resnet<B: Backend>(build: &mut Build<'_, B>, channels: [usize; 2], groups: usize) -> ResnetBlock2D<B> {
    ResnetBlock2D::new(build, ResnetConfig { channels, groups, epsilon: EPSILON, time_dim: None })
}

/// From images to moments.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// The first convolution.
    pub conv_in: Conv2d<B>,
    /// The levels.
    pub down_blocks: Vec<EncoderBlock<B>>,
    /// At the smallest images.
    pub mid_block: MiddleBlock<B>,
    /// The last norm.
    pub conv_norm_out: GroupNorm<B>,
    /// To the mean and the logarithm of the variance.
    pub conv_out: Conv2d<B>,
}

/// A level of an [`Encoder`].
#[derive(Module, Debug)]
pub struct EncoderBlock<B: Backend> {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One, but at the last level.
    pub downsamplers: Vec<Downsample2D<B>>,
}

impl<B: Backend> Encoder<B> {
    pub(super) fn new(build: &mut Build<'_, B>, config: &AutoencoderConfig) -> Self {
        let (sizes, groups) = (&config.block_out_channels, config.norm_num_groups);
        let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
        let conv_in = build.conv2d([config.in_channels, first], Window::conv3x3());
        let mut before = first;
        let down_blocks = sizes.iter().enumerate().map(|(level, &size)| {
            let resnets = (0..config.layers_per_block)
                .map(|i| resnet(build, [if i == 0 { before } else { size }, size], groups))
                .collect();
            before = size;
            let is_last = level + 1 == sizes.len();
            let downsamplers =
                (0..usize::from(!is_last)).map(|_| Downsample2D::new(build, size, [0, 0, 1, 1]));
            EncoderBlock { resnets, downsamplers: downsamplers.collect() }
        });
        let down_blocks = down_blocks.collect();
        Self {
            conv_in,
            down_blocks,
            mid_block: MiddleBlock::new(build, config, last),
            conv_norm_out: build.group_norm(last, groups, EPSILON),
            conv_out: build.conv2d([last, 2 * config.latent_channels], Window::conv3x3()),
        }
    }

    /// Mean and logarithm of the variance, one behind the other.
    ///
    /// # Shapes
    /// - `images`: `[batch, in_channels, height, width]`
    /// - returns `[batch, 2 · latent_channels, height / factor, width / factor]`
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut h = conv2d(&self.conv_in, images);
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                h = resnet.forward(h, None);
            }
            for downsample in &block.downsamplers {
                h = downsample.forward(h);
            }
        }
        h = self.mid_block.forward(h);
        conv2d(&self.conv_out, group_norm_silu(&self.conv_norm_out, h))
    }
}

/// From latents to images.
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// The first convolution.
    pub conv_in: Conv2d<B>,
    /// At the smallest images.
    pub mid_block: MiddleBlock<B>,
    /// The levels, from the smallest images to the largest.
    pub up_blocks: Vec<DecoderBlock<B>>,
    /// The last norm.
    pub conv_norm_out: GroupNorm<B>,
    /// To channels of images.
    pub conv_out: Conv2d<B>,
}

/// A level of a [`Decoder`].
#[derive(Module, Debug)]
pub struct DecoderBlock<B: Backend> {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One, but at the last level.
    pub upsamplers: Vec<Upsample2D<B>>,
}

impl<B: Backend> Decoder<B> {
    pub(super) fn new(build: &mut Build<'_, B>, config: &AutoencoderConfig) -> Self {
        let (sizes, groups) = (&config.block_out_channels, config.norm_num_groups);
        let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
        let conv_in = build.conv2d([config.latent_channels, last], Window::conv3x3());
        let mid_block = MiddleBlock::new(build, config, last);
        let mut before = last;
        let up_blocks = sizes.iter().enumerate().rev().map(|(level, &size)| {
            let resnets = (0..=config.layers_per_block)
                .map(|i| resnet(build, [if i == 0 { before } else { size }, size], groups))
                .collect();
            before = size;
            let upsamplers = (0..usize::from(level > 0)).map(|_| Upsample2D::new(build, size));
            DecoderBlock { resnets, upsamplers: upsamplers.collect() }
        });
        let up_blocks = up_blocks.collect();
        Self {
            conv_in,
            mid_block,
            up_blocks,
            conv_norm_out: build.group_norm(first, groups, EPSILON),
            conv_out: build.conv2d([first, config.out_channels], Window::conv3x3()),
        }
    }

    /// The images of latents, unscaled.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latent_channels, height, width]`
    /// - returns `[batch, out_channels, height · factor, width · factor]`
    pub fn forward(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut h = self.mid_block.forward(conv2d(&self.conv_in, latents));
        for block in &self.up_blocks {
            for resnet in &block.resnets {
                h = resnet.forward(h, None);
            }
            for upsample in &block.upsamplers {
                let [_, _, height, width] = h.dims();
                h = upsample.forward(h, [2 * height, 2 * width]);
            }
        }
        conv2d(&self.conv_out, group_norm_silu(&self.conv_norm_out, h))
    }
}

/// A residual block, attention between pixels, and another residual block.
#[derive(Module, Debug)]
pub struct MiddleBlock<B: Backend> {
    /// Two.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One, or none.
    pub attentions: Vec<PixelAttention<B>>,
}

impl<B: Backend> MiddleBlock<B> {
    fn new(build: &mut Build<'_, B>, config: &AutoencoderConfig, channels: usize) -> Self {
        let groups = config.norm_num_groups;
        let attentions = usize::from(config.mid_block_add_attention);
        Self {
            resnets: (0..2).map(|_| resnet(build, [channels; 2], groups)).collect(),
            attentions: (0..attentions).map(|_| PixelAttention::new(build, channels, groups)).collect(),
        }
    }

    /// # Shapes
    /// - `h`, returns: `[batch, channels, height, width]`
    pub fn forward(&self, h: Tensor<B, 4>) -> Tensor<B, 4> {
        let mut h = self.resnets[0].forward(h, None);
        for attention in &self.attentions {
            h = attention.forward(h);
        }
        self.resnets[1].forward(h, None)
    }
}

/// Attention between all pixels, of one head, around which the input passes.
#[derive(Module, Debug)]
pub struct PixelAttention<B: Backend> {
    /// The norm before.
    pub group_norm: GroupNorm<B>,
    /// Attention, a pixel being a token.
    pub attention: CrossAttention<B>,
}

impl<B: Backend> PixelAttention<B> {
    fn new(build: &mut Build<'_, B>, channels: usize, groups: usize) -> Self {
        Self {
            group_norm: build.group_norm(channels, groups, EPSILON),
            attention: CrossAttention::new(build, channels, channels, 1, true),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = transpose(group_norm(&self.group_norm, x.clone()).flatten::<3>(2, 3));
        let pixels = transpose(self.attention.forward(tokens, None));
        x + pixels.reshape([batch, channels, height, width])
    }
}

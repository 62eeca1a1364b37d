//! The blocks that U-Nets and autoencoders share, under the names of diffusers.

mod attention;
mod resnet;
mod time;
mod transformer;

pub use attention::CrossAttention;
pub use resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D, nearest_to};

pub use time::{TimestepEmbedding, sinusoid};
pub use transformer::{BasicTransformerBlock, FeedForward, Transformer2D, TransformerConfig};

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::{Embedding, GroupNorm, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Init, Window};
use diffusion_core::random::{Purpose, Stream};

/// Makes layers whose weights are drawn, or that wait for the values of a file.
#[derive(Debug)]
pub struct Build<'a, B: Backend> {
    init: Init,
    stream: Stream,
    device: &'a B::Device,
}

impl<'a, B: Backend> Build<'a, B> {
    /// Layers whose values come from a file: nothing is drawn, and before their values they take no memory.
    pub fn to_load(device: &'a B::Device) -> Self {
        Self { init: Init::Unset, stream: Stream::new(0, Purpose::PARAMETERS, 0, 0), device }
    }

    /// Layers initialized as PyTorch does, from a seed.
    pub fn random(seed: u64, device: &'a B::Device) -> Self {
        Self { init: Init::Torch, stream: Stream::new(seed, Purpose::PARAMETERS, 0, 0), device }
    }

    /// The device that the layers are on.
    pub fn device(&self) -> &'a B::Device {
        self.device
    }

    /// A linear layer of `[inputs, outputs]` values.
    pub fn linear(&mut self, has_bias: bool, sizes: [usize; 2]) -> Linear<B> {
        self.init.linear(has_bias.then_some(self.init), sizes, &mut self.stream, self.device)
    }

    /// A convolution from and to so many `channels`, with a bias.
    pub fn conv2d(&mut self, channels: [usize; 2], window: Window) -> Conv2d<B> {
        self.init.conv2d(self.init, channels, window, &mut self.stream, self.device)
    }

    /// A table of vectors, `[rows, size]`.
    pub fn embedding(&mut self, sizes: [usize; 2]) -> Embedding<B> {
        let init = if self.init == Init::Unset { Init::Unset } else { Init::Normal(1.0) };
        init.embedding(sizes, &mut self.stream, self.device)
    }

    /// A group norm (Wu & He 2018, arXiv:1803.08494) with a scale and a shift per channel.
    pub fn group_norm(&self, channels: usize, groups: usize, epsilon: f64) -> GroupNorm<B> {
        GroupNorm {
            gamma: Some(Param::from_tensor(Tensor::ones([channels], self.device))),
            beta: Some(Param::from_tensor(Tensor::zeros([channels], self.device))),
            num_groups: groups,
            num_channels: channels,
            epsilon,
            affine: true,
        }
    }

    /// A layer norm over the last axis, with a scale and a shift.
    pub fn layer_norm(&self, size: usize, epsilon: f64) -> LayerNorm<B> {
        LayerNormConfig::new(size).with_epsilon(epsilon).init(self.device)
    }
}

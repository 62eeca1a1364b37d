//! From images to tokens.

use super::{Init, conv2d, linear_params};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::random::Stream;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes of a [`PatchEmbed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchEmbedConfig {
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Channels of the images.
    pub channels: usize,
    /// The token dimension.
    pub embed_dim: usize,
}

impl PatchEmbedConfig {
    /// Whether there is such a layer.
    ///
    /// # Errors
    /// If a size is 0 or too large.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("patch_size", self.patch_size, MAX_SIZE)?;
        Invalid::unless_positive("channels", self.channels, MAX_SIZE)?;
        Invalid::unless_positive("embed_dim", self.embed_dim, MAX_SIZE)
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        linear_params(self.patch_size * self.patch_size * self.channels, self.embed_dim)
    }

    /// The layer, its weight drawn as that of the linear layer that it is; its bias starts at zero.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the sizes.
    pub fn init<B: Backend>(&self, weight: Init, stream: &mut Stream, device: &B::Device) -> PatchEmbed<B> {
        expect_valid(self.validate());
        let Self { patch_size, channels, embed_dim } = *self;
        let fans = (channels * patch_size * patch_size, embed_dim);
        let proj = Conv2d {
            weight: weight.param([embed_dim, channels, patch_size, patch_size], fans, stream, device),
            bias: Some(Init::Zeros.param([embed_dim], fans, stream, device)),
            stride: [patch_size, patch_size],
            kernel_size: [patch_size, patch_size],
            dilation: [1, 1],
            groups: 1,
            padding: PaddingConfig2d::Valid,
        };
        PatchEmbed { proj }
    }
}

/// Cuts an image into square patches and maps each to a token, by one convolution whose stride is its size.
#[derive(Module, Debug)]
pub struct PatchEmbed<B: Backend> {
    /// The convolution.
    pub proj: Conv2d<B>,
}

impl<B: Backend> PatchEmbed<B> {
    /// The tokens, row by row.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - returns `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        conv2d(&self.proj, x).flatten::<3>(2, 3).swap_dims(1, 2)
    }
}

/// Sines and cosines of a patch's column, then of its row, for `side`×`side` patches (DiT's, after Vaswani et al.
/// 2017, arXiv:1706.03762, §3.5).
///
/// # Shapes
/// - returns `[1, side², dim]`
///
/// # Panics
/// If `dim` is no multiple of 4.
pub fn position_embedding<B: Backend>(side: usize, dim: usize, device: &B::Device) -> Tensor<B, 3> {
    assert!(
        dim.is_multiple_of(4),
        "a position embedding of size {dim} was asked for, expected a multiple of 4"
    );
    let quarter = dim / 4;
    let angles = |position: usize| {
        (0..quarter).map(move |i| position as f64 / 10_000f64.powf(i as f64 / quarter as f64))
    };
    let half = |position| angles(position).map(f64::sin).chain(angles(position).map(f64::cos));
    let values: Vec<f32> = (0..side * side)
        .flat_map(|token| half(token % side).chain(half(token / side)))
        .map(|value| value as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [1, side * side, dim]), device)
}

//! Residual blocks and resampling of images.

use super::Build;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, Linear, PaddingConfig2d};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use diffusion_core::layer::{Window, conv2d, group_norm_silu, linear, nearest, shift_channels, silu};

/// The sizes of a [`ResnetBlock2D`].
#[derive(Clone, Copy, Debug)]
pub struct ResnetConfig {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Groups of the norms.
    pub groups: usize,
    /// The ε of the norms.
    pub epsilon: f64,
    /// The size of the embedding of the time, if there is one.
    pub time_dim: Option<usize>,
}

/// Two convolutions, each behind a norm and SiLU, around which the input passes, through a kernel of one pixel where the
/// channels differ.
#[derive(Module, Debug)]
pub struct ResnetBlock2D<B: Backend> {
    /// The norm before the first convolution.
    pub norm1: GroupNorm<B>,
    /// The first convolution, 3×3.
    pub conv1: Conv2d<B>,
    /// From the embedding of the time to channels; SiLU comes before it.
    pub time_emb_proj: Option<Linear<B>>,
    /// The norm before the second convolution.
    pub norm2: GroupNorm<B>,
    /// The second convolution, 3×3.
    pub conv2: Conv2d<B>,
    /// From the input's channels to the output's, where they differ.
    pub conv_shortcut: Option<Conv2d<B>>,
}

impl<B: Backend> ResnetBlock2D<B> {
    /// The block of these sizes.
    pub fn new(build: &mut Build<'_, B>, config: ResnetConfig) -> Self {
        let ResnetConfig { channels: [inputs, outputs], groups, epsilon, time_dim } = config;
        Self {
            norm1: build.group_norm(inputs, groups, epsilon),
            conv1: build.conv2d([inputs, outputs], Window::conv3x3()),
            time_emb_proj: time_dim.map(|dim| build.linear(true, [dim, outputs])),
            norm2: build.group_norm(outputs, groups, epsilon),
            conv2: build.conv2d([outputs, outputs], Window::conv3x3()),
            conv_shortcut: (inputs != outputs).then(|| build.conv2d([inputs, outputs], Window::pointwise())),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - `time`: `[batch, time_dim]`, where the block has a place for it
    /// - returns `[batch, outputs, height, width]`
    pub fn forward(&self, x: Tensor<B, 4>, time: Option<Tensor<B, 2>>) -> Tensor<B, 4> {
        let mut h = conv2d(&self.conv1, group_norm_silu(&self.norm1, x.clone()));
        if let (Some(layer), Some(time)) = (&self.time_emb_proj, time) {
            h = shift_channels(h, linear(layer, silu(time)));
        }
        let h = conv2d(&self.conv2, group_norm_silu(&self.norm2, h));
        match &self.conv_shortcut {
            Some(shortcut) => conv2d(shortcut, x) + h,
            None => x + h,
        }
    }
}

/// A convolution that halves the size of images.
#[derive(Module, Debug)]
pub struct Downsample2D<B: Backend> {
    /// The convolution, 3×3.
    pub conv: Conv2d<B>,
}

impl<B: Backend> Downsample2D<B> {
    /// The layer for `channels` channels; `padding` is the rows and columns of zeros at the top, left, bottom and right:
    /// one everywhere in U-Nets, one at the bottom and right only in autoencoders.
    pub fn new(build: &mut Build<'_, B>, channels: usize, [top, left, bottom, right]: [usize; 4]) -> Self {
        let padding = PaddingConfig2d::Explicit(top, left, bottom, right);
        Self { conv: build.conv2d([channels; 2], Window { kernel: 3, stride: 2, padding }) }
    }

    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - returns half the height and width, rounded by the padding
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        conv2d(&self.conv, x)
    }
}

/// Enlarges images, each pixel taking the value of the nearest, then a convolution.
#[derive(Module, Debug)]
pub struct Upsample2D<B: Backend> {
    /// The convolution, 3×3.
    pub conv: Conv2d<B>,
}

impl<B: Backend> Upsample2D<B> {
    /// The layer for `channels` channels.
    pub fn new(build: &mut Build<'_, B>, channels: usize) -> Self {
        Self { conv: build.conv2d([channels; 2], Window::conv3x3()) }
    }

    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - returns `[batch, channels, size[0], size[1]]`
    pub fn forward(&self, x: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
        conv2d(&self.conv, nearest_to(x, size))
    }
}

/// Images of another size: pixel i is taken from ⌊i·in/out⌋, along each axis.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - returns `[batch, channels, size[0], size[1]]`
pub fn nearest_to<B: Backend>(x: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
    let [_, _, height, width] = x.dims();
    if size == [height, width] {
        return x;
    }
    if size == [2 * height, 2 * width] {
        return nearest(x);
    }
    let device = x.device();
    let places = |from: usize, to: usize| {
        let places: Vec<i32> = (0..to).map(|i| (i * from / to) as i32).collect();
        Tensor::<B, 1, Int>::from_data(TensorData::new(places, [to]), &device)
    };
    let (rows, columns) = (places(height, size[0]), places(width, size[1]));
    x.select(2, rows).select(3, columns)
}

//! Doubling and halving the size of images.

use super::{Init, Window, conv2d};
use crate::random::Stream;
use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};

/// Doubles height and width: every pixel four times, then a convolution.
#[derive(Module, Debug)]
pub struct Upsample<B: Backend> {
    /// The convolution, 3×3.
    pub conv: Conv2d<B>,
}

impl<B: Backend> Upsample<B> {
    /// The layer for `channels` channels, initialized as PyTorch does.
    pub fn new(channels: usize, stream: &mut Stream, device: &B::Device) -> Self {
        Self { conv: Init::Torch.conv2d(Init::Torch, [channels; 2], Window::conv3x3(), stream, device) }
    }

    /// The larger images.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - returns `[batch, channels, 2·height, 2·width]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        conv2d(&self.conv, nearest(x))
    }
}

/// Every pixel four times, as a square.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - returns `[batch, channels, 2·height, 2·width]`
pub fn nearest<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    if let Some(larger) = diffusion_kernels::upsample(&x) {
        return larger;
    }
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch * channels, height, 1, width, 1])
        .repeat(&[1, 1, 2, 1, 2]) // [batch · channels, height, 2, width, 2]
        .reshape([batch, channels, 2 * height, 2 * width])
}

/// Halves height and width: a convolution that moves by two pixels.
///
/// The images get a border of zeros below and to the right only, as in smalldiffusion and in DDPM before it (Ho et al.
/// 2020, arXiv:2006.11239); a kernel's center then lies on every odd row and column.
#[derive(Module, Debug)]
pub struct Downsample<B: Backend> {
    /// The convolution, 3×3.
    pub conv: Conv2d<B>,
}

impl<B: Backend> Downsample<B> {
    /// The layer for `channels` channels, initialized as PyTorch does.
    pub fn new(channels: usize, stream: &mut Stream, device: &B::Device) -> Self {
        let padding = PaddingConfig2d::Explicit(0, 0, 1, 1); // top, left, bottom, right
        let window = Window { kernel: 3, stride: 2, padding };
        Self { conv: Init::Torch.conv2d(Init::Torch, [channels; 2], window, stream, device) }
    }

    /// The smaller images.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`, height and width even
    /// - returns `[batch, channels, height/2, width/2]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        conv2d(&self.conv, x)
    }
}

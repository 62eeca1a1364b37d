//! The blocks of the U-Net: residual convolutions and attention between pixels.

use super::norm::{GROUPS, group_norm, group_norm_layer, group_norm_silu};
use super::{
    Attention, AttentionConfig, CondModule, Init, Window, conv2d, conv3x3_params, linear, linear_params,
    norm_params, silu,
};
use crate::invalid::{Invalid, expect_valid};
use crate::random::Stream;
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, GroupNorm, Linear};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes of a [`ResnetBlock`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResnetBlockConfig {
    /// Channels of the input, a multiple of 32.
    pub in_ch: usize,
    /// Channels of the output, a multiple of 32.
    pub out_ch: usize,
    /// Size of the embedding of noise level and condition.
    pub temb_channels: usize,
    /// The probability with which training sets a value to zero before the second convolution.
    pub dropout: f64,
    /// Whether a shortcut between different numbers of channels is a 3×3 convolution; else it is 1×1.
    pub conv_shortcut: bool,
}

impl ResnetBlockConfig {
    /// Whether there is such a block.
    ///
    /// # Errors
    /// If a number of channels is no multiple of 32, or `dropout` is not in [0, 1).
    pub fn validate(&self) -> Result<(), Invalid> {
        validate_channels("in_ch", self.in_ch)?;
        validate_channels("out_ch", self.out_ch)?;
        validate_dropout(self.dropout)
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        let Self { in_ch, out_ch, temb_channels, conv_shortcut, .. } = *self;
        let shortcut = match (in_ch == out_ch, conv_shortcut) {
            (true, _) => 0,
            (false, true) => conv3x3_params(in_ch, out_ch),
            (false, false) => linear_params(in_ch, out_ch),
        };
        norm_params(in_ch)
            + conv3x3_params(in_ch, out_ch)
            + linear_params(temb_channels, out_ch)
            + norm_params(out_ch)
            + conv3x3_params(out_ch, out_ch)
            + shortcut
    }

    /// The block, initialized as PyTorch does.
    ///
    /// # Panics
    /// If a number of channels is no multiple of 32, or `dropout` is not in [0, 1).
    pub fn init<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> ResnetBlock<B> {
        expect_valid(self.validate());
        let Self { in_ch, out_ch, temb_channels, dropout, conv_shortcut } = *self;
        let torch = Init::Torch;
        let window = if conv_shortcut { Window::conv3x3() } else { Window::pointwise() };
        ResnetBlock {
            norm1: group_norm_layer(in_ch, device),
            conv1: torch.conv2d(torch, [in_ch, out_ch], Window::conv3x3(), stream, device),
            temb_proj: torch.linear(Some(torch), [temb_channels, out_ch], stream, device),
            norm2: group_norm_layer(out_ch, device),
            dropout: Dropout { prob: dropout },
            conv2: torch.conv2d(torch, [out_ch, out_ch], Window::conv3x3(), stream, device),
            shortcut: (in_ch != out_ch).then(|| torch.conv2d(torch, [in_ch, out_ch], window, stream, device)),
        }
    }
}

/// Two convolutions, each behind a norm and SiLU, around which the input passes unchanged (He et al. 2016,
/// arXiv:1603.05027); noise level and condition are added to each channel between them (Ho et al. 2020,
/// arXiv:2006.11239, appendix B).
///
/// Dropout is active on backends that differentiate, and only there; it draws from the device's own generator, which
/// training reseeds at each step.
#[derive(Module, Debug)]
pub struct ResnetBlock<B: Backend> {
    /// The norm before the first convolution.
    pub norm1: GroupNorm<B>,
    /// The first convolution.
    pub conv1: Conv2d<B>,
    /// From the embedding to channels; SiLU comes before it.
    pub temb_proj: Linear<B>,
    /// The norm before the second convolution.
    pub norm2: GroupNorm<B>,
    /// Between SiLU and the second convolution.
    pub dropout: Dropout,
    /// The second convolution.
    pub conv2: Conv2d<B>,
    /// From the input's channels to the output's, where they differ.
    pub shortcut: Option<Conv2d<B>>,
}

impl<B: Backend> CondModule<B, 4> for ResnetBlock<B> {
    /// # Shapes
    /// - `x`: `[batch, in_ch, height, width]`
    /// - `y`: `[batch, temb_channels]`
    /// - returns `[batch, out_ch, height, width]`
    fn forward(&self, x: Tensor<B, 4>, y: Tensor<B, 2>) -> Tensor<B, 4> {
        self.trace(x, y, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(&self, x: Tensor<B, 4>, y: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, 4> {
        let h = tracer.layer(&"norm1", group_norm_silu(&self.norm1, x.clone()));
        let h = tracer.layer(&"conv1", conv2d(&self.conv1, h));
        let y = tracer.layer(&"temb_proj", linear(&self.temb_proj, silu(y))); // [batch, out_ch]
        let h = shift_channels(h, y);
        let h = tracer.layer(&"norm2", group_norm_silu(&self.norm2, h));
        let h = tracer.layer(&"conv2", conv2d(&self.conv2, dropout(&self.dropout, h)));
        match &self.shortcut {
            Some(shortcut) => tracer.layer(&"shortcut", conv2d(shortcut, x)) + h,
            None => x + h,
        }
    }
}

/// The sizes of an [`AttnBlock`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttnBlockConfig {
    /// Channels, a multiple of 32 and of the number of heads.
    pub ch: usize,
    /// Number of attention heads; smalldiffusion's U-Net has one.
    pub num_heads: usize,
}

impl AttnBlockConfig {
    /// Whether there is such a block.
    ///
    /// # Errors
    /// If `ch` is no multiple of 32 or of `num_heads`.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { ch, num_heads } = *self;
        validate_channels("ch", ch)?;
        Invalid::unless(num_heads > 0 && ch.is_multiple_of(num_heads), "num_heads", || {
            format!("is {num_heads}, expected a divisor of {ch} channels")
        })
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        norm_params(self.ch) + self.attention().num_params() + linear_params(self.ch, self.ch)
    }

    fn attention(&self) -> AttentionConfig {
        let Self { ch, num_heads } = *self;
        AttentionConfig { head_dim: ch / num_heads, num_heads, qkv_bias: false }
    }

    /// The block, initialized as PyTorch does.
    ///
    /// # Panics
    /// If `ch` is no multiple of 32 or of `num_heads`.
    pub fn init<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> AttnBlock<B> {
        expect_valid(self.validate());
        let (ch, attention) = (self.ch, self.attention());
        AttnBlock {
            norm: group_norm_layer(ch, device),
            attn: attention.init(Init::Torch, stream, device),
            proj_out: Init::Torch.conv2d(Init::Torch, [ch; 2], Window::pointwise(), stream, device),
        }
    }
}

/// Attention between the pixels of an image, around which the input passes unchanged.
#[derive(Module, Debug)]
pub struct AttnBlock<B: Backend> {
    /// The norm before attention.
    pub norm: GroupNorm<B>,
    /// Attention, a pixel being a token.
    pub attn: Attention<B>,
    /// From pixel to pixel.
    pub proj_out: Conv2d<B>,
}

impl<B: Backend> AttnBlock<B> {
    /// Lets every pixel look at every other.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, ch, height, width]`
    pub fn forward(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.trace(x, &mut Untraced)
    }

    /// The same output, while `tracer` sees those of the layers inside.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, ch, height, width]`
    pub fn trace<T: Tracer<B>>(&self, x: Tensor<B, 4>, tracer: &mut T) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = tracer.layer(&"norm", group_norm(&self.norm, x.clone()));
        let tokens = transpose(tokens.flatten::<3>(2, 3)); // [batch, tokens, ch]
        let pixels = tracer.layer(&"attn", self.attn.forward(tokens));
        let pixels = transpose(pixels).reshape([batch, channels, height, width]);
        x + tracer.layer(&"proj_out", conv2d(&self.proj_out, pixels))
    }
}

/// Refuses channels that the groups of a norm cannot share.
pub(crate) fn validate_channels(setting: &str, ch: usize) -> Result<(), Invalid> {
    Invalid::unless(ch > 0 && ch.is_multiple_of(GROUPS), setting, || {
        format!("is {ch}, expected a multiple of {GROUPS}, the number of groups in the norms")
    })
}

/// Refuses a dropout that is no probability, or leaves nothing.
pub(crate) fn validate_dropout(dropout: f64) -> Result<(), Invalid> {
    Invalid::unless((0.0..1.0).contains(&dropout), "dropout", || {
        format!("is {dropout}, expected a probability in [0, 1)")
    })
}

/// What `layer.forward(x)` gives, by a fused operation where the backend has one.
fn dropout<B: Backend>(layer: &Dropout, x: Tensor<B, 4>) -> Tensor<B, 4> {
    if layer.prob == 0.0 || !B::ad_enabled(&x.device()) {
        return x;
    }
    diffusion_kernels::dropout(&x, layer.prob).unwrap_or_else(|| layer.forward(x))
}

/// Images with a value added to each channel.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
/// - `shift`: `[batch, channels]`
pub fn shift_channels<B: Backend>(x: Tensor<B, 4>, shift: Tensor<B, 2>) -> Tensor<B, 4> {
    diffusion_kernels::shift_channels(&x, &shift).unwrap_or_else(|| x + shift.unsqueeze_dims::<4>(&[2, 3]))
}

/// The channels of one image behind those of the other.
///
/// # Shapes
/// - `x`: `[batch, first, height, width]`, `y`: `[batch, second, height, width]`
/// - returns `[batch, first + second, height, width]`
pub fn join_channels<B: Backend>(x: Tensor<B, 4>, y: Tensor<B, 4>) -> Tensor<B, 4> {
    diffusion_kernels::join_channels(&x, &y).unwrap_or_else(|| Tensor::cat(vec![x, y], 1))
}

/// The last two axes exchanged.
///
/// # Shapes
/// - `x`: `[batch, rows, columns]`
/// - returns `[batch, columns, rows]`
pub fn transpose<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    diffusion_kernels::transpose(&x).unwrap_or_else(|| x.swap_dims(1, 2))
}

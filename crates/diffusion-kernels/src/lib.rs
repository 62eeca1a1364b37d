//! Fused operations of diffusion networks, with their gradients, for the backends that gain by them.
//!
//! Burn composes a layer of primitive operations, and on the CPU each of them is a pass over memory, most by one
//! thread. The functions here do a whole layer at once where the backend is [`Flex`](burn::backend::Flex) or
//! `Autodiff<Flex>` and the feature `flex` is on; on every other backend they return nothing, and the caller goes on
//! with Burn's own operations. So networks stay generic over the backend, without a bound of their own.
//!
//! The numbers are those of the plain operations up to rounding, whatever the number of threads: work is cut where the
//! shapes say, and sums are taken in one order.

#[cfg(feature = "flex")]
mod flex;
mod memory;

pub use memory::keep_memory;

use burn::tensor::{Tensor, backend::Backend};

/// An activation, applied to each number by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x·Φ(x)` (Hendrycks & Gimpel 2016, arXiv:1606.08415, §2).
    Gelu,
    /// The same with Φ approximated by a tanh (ibid.).
    GeluTanh,
    /// `x·sigmoid(x)`, also called swish.
    Silu,
}

/// The activation of every number.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn activation<B: Backend, const D: usize>(
    activation: Activation,
    x: &Tensor<B, D>,
) -> Option<Tensor<B, D>> {
    call::activation(activation, x)
}

/// A linear layer, `x·weight + bias`.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - `weight`: `[inputs, outputs]`, `bias`: `[outputs]`
/// - returns `[.., outputs]`
pub fn linear<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
    weight: &Tensor<B, 2>,
    bias: Option<&Tensor<B, 1>>,
) -> Option<Tensor<B, D>> {
    call::linear(x, weight, bias)
}

/// Layer norm over the last axis, scaled and shifted for each example: `norm(x)·(1 + scale) + shift`.
///
/// # Shapes
/// - `x`, returns: `[batch, tokens, dim]`
/// - `scale`, `shift`: `[batch, dim]`
pub fn modulated_layer_norm<B: Backend>(
    x: &Tensor<B, 3>,
    scale: &Tensor<B, 2>,
    shift: &Tensor<B, 2>,
    epsilon: f64,
) -> Option<Tensor<B, 3>> {
    call::modulated_layer_norm(x, scale, shift, epsilon)
}

/// A gated residual, `x + h·gate`.
///
/// # Shapes
/// - `x`, `h`, returns: `[batch, tokens, dim]`
/// - `gate`: `[batch, dim]`
pub fn gated<B: Backend>(x: &Tensor<B, 3>, h: &Tensor<B, 3>, gate: &Tensor<B, 2>) -> Option<Tensor<B, 3>> {
    call::gated(x, h, gate)
}

/// Attention of every token to every other, softmax(QKᵀ/√head_dim)·V per head, without keeping its matrix.
///
/// # Shapes
/// - `qkv`: `[batch, tokens, 3 · heads · head_dim]`, queries first, then keys, then values
/// - returns `[batch, tokens, heads · head_dim]`
pub fn attention<B: Backend>(qkv: &Tensor<B, 3>, heads: usize) -> Option<Tensor<B, 3>> {
    call::attention(qkv, heads)
}

/// Group norm with a scale and a shift per channel, and SiLU behind it if `silu` says so.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
/// - `gamma`, `beta`: `[channels]`
pub fn group_norm<B: Backend>(
    x: &Tensor<B, 4>,
    gamma: &Tensor<B, 1>,
    beta: &Tensor<B, 1>,
    groups: usize,
    epsilon: f64,
    silu: bool,
) -> Option<Tensor<B, 4>> {
    call::group_norm(x, gamma, beta, groups, epsilon, silu)
}

/// A convolution of all channels, `stride` pixels from place to place, between `padding` zeros above, left, below and
/// right.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, kernel height, kernel width]`, `bias`: `[outputs]`
/// - returns `[batch, outputs, height, width]` of the result
pub fn conv2d<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    bias: &Tensor<B, 1>,
    stride: [usize; 2],
    padding: [usize; 4],
) -> Option<Tensor<B, 4>> {
    call::conv2d(x, weight, bias, stride, padding)
}

/// Sets each number to zero with `probability` and divides the others by that of being kept (Srivastava et al. 2014,
/// JMLR 15, §4, with the division in training). It draws from the backend's own generator.
///
/// # Shapes
/// - `x`, returns: any, the same
///
/// # Panics
/// If `probability` is not in [0, 1).
pub fn dropout<B: Backend, const D: usize>(x: &Tensor<B, D>, probability: f64) -> Option<Tensor<B, D>> {
    call::dropout(x, probability)
}

/// Adds a number to each channel of each image.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
/// - `shift`: `[batch, channels]`
pub fn shift_channels<B: Backend>(x: &Tensor<B, 4>, shift: &Tensor<B, 2>) -> Option<Tensor<B, 4>> {
    call::shift_channels(x, shift)
}

/// The channels of `y` behind those of `x`.
///
/// # Shapes
/// - `x`: `[batch, first, height, width]`, `y`: `[batch, second, height, width]`
/// - returns `[batch, first + second, height, width]`
pub fn join_channels<B: Backend>(x: &Tensor<B, 4>, y: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    call::join_channels(x, y)
}

/// The last two axes exchanged, in memory too, which spares what comes next a slow walk.
///
/// # Shapes
/// - `x`: `[batch, rows, columns]`
/// - returns `[batch, columns, rows]`
pub fn transpose<B: Backend>(x: &Tensor<B, 3>) -> Option<Tensor<B, 3>> {
    call::transpose(x)
}

/// Every pixel four times, as a square.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - returns `[batch, channels, 2·height, 2·width]`
pub fn upsample<B: Backend>(x: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    call::upsample(x)
}

/// One step of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2), without AMSGrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// The memory of the mean gradient.
    pub beta_1: f64,
    /// The memory of the mean squared gradient.
    pub beta_2: f64,
    /// What is added to the denominator.
    pub epsilon: f64,
    /// The weights' decay per step, in units of the learning rate.
    pub weight_decay: f64,
    /// The step's number for this weight, from 1.
    pub time: u64,
}

/// The weight and its two moments after a step of AdamW, in one pass and in the memory of the old ones where nobody else
/// holds it.
///
/// # Shapes
/// - all the same
///
/// # Errors
/// Gives weight, gradient and moments back where there is no kernel.
pub fn adamw<B: Backend, const D: usize>(
    step: &AdamW,
    weight: Tensor<B, D>,
    gradient: Tensor<B, D>,
    moments: [Tensor<B, D>; 2],
) -> Result<[Tensor<B, D>; 3], [Tensor<B, D>; 4]> {
    call::adamw(step, weight, gradient, moments)
}

/// `average + rate·(new - average)`, for a `rate` from 0 to 1, in the memory of `average` where nobody else holds it.
///
/// # Shapes
/// - all the same
///
/// # Errors
/// Gives both back where there is no kernel.
pub fn average<B: Backend, const D: usize>(
    average: Tensor<B, D>,
    new: Tensor<B, D>,
    rate: f64,
) -> Result<Tensor<B, D>, [Tensor<B, D>; 2]> {
    call::average(average, new, rate)
}

/// The sum of the squares of all numbers, where that is known at once.
///
/// # Errors
/// Gives the tensor back where there is no kernel.
pub fn sum_of_squares<B: Backend, const D: usize>(x: Tensor<B, D>) -> Result<f32, Tensor<B, D>> {
    call::sum_of_squares(x)
}

#[cfg(feature = "flex")]
use flex as call;

/// Without a feature there is nothing to call.
#[cfg(not(feature = "flex"))]
mod call {
    use super::{Activation, AdamW, Backend, Tensor};

    pub fn activation<B: Backend, const D: usize>(_: Activation, _: &Tensor<B, D>) -> Option<Tensor<B, D>> {
        None
    }

    pub fn linear<B: Backend, const D: usize>(
        _: &Tensor<B, D>,
        _: &Tensor<B, 2>,
        _: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, D>> {
        None
    }

    pub fn modulated_layer_norm<B: Backend>(
        _: &Tensor<B, 3>,
        _: &Tensor<B, 2>,
        _: &Tensor<B, 2>,
        _: f64,
    ) -> Option<Tensor<B, 3>> {
        None
    }

    pub fn gated<B: Backend>(_: &Tensor<B, 3>, _: &Tensor<B, 3>, _: &Tensor<B, 2>) -> Option<Tensor<B, 3>> {
        None
    }

    pub fn attention<B: Backend>(_: &Tensor<B, 3>, _: usize) -> Option<Tensor<B, 3>> {
        None
    }

    pub fn group_norm<B: Backend>(
        _: &Tensor<B, 4>,
        _: &Tensor<B, 1>,
        _: &Tensor<B, 1>,
        _: usize,
        _: f64,
        _: bool,
    ) -> Option<Tensor<B, 4>> {
        None
    }

    pub fn conv2d<B: Backend>(
        _: &Tensor<B, 4>,
        _: &Tensor<B, 4>,
        _: &Tensor<B, 1>,
        _: [usize; 2],
        _: [usize; 4],
    ) -> Option<Tensor<B, 4>> {
        None
    }

    pub fn dropout<B: Backend, const D: usize>(_: &Tensor<B, D>, _: f64) -> Option<Tensor<B, D>> {
        None
    }

    pub fn shift_channels<B: Backend>(_: &Tensor<B, 4>, _: &Tensor<B, 2>) -> Option<Tensor<B, 4>> {
        None
    }

    pub fn join_channels<B: Backend>(_: &Tensor<B, 4>, _: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        None
    }

    pub fn transpose<B: Backend>(_: &Tensor<B, 3>) -> Option<Tensor<B, 3>> {
        None
    }

    pub fn upsample<B: Backend>(_: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        None
    }

    pub fn adamw<B: Backend, const D: usize>(
        _: &AdamW,
        weight: Tensor<B, D>,
        gradient: Tensor<B, D>,
        [first, second]: [Tensor<B, D>; 2],
    ) -> Result<[Tensor<B, D>; 3], [Tensor<B, D>; 4]> {
        Err([weight, gradient, first, second])
    }

    pub fn average<B: Backend, const D: usize>(
        average: Tensor<B, D>,
        new: Tensor<B, D>,
        _: f64,
    ) -> Result<Tensor<B, D>, [Tensor<B, D>; 2]> {
        Err([average, new])
    }

    pub fn sum_of_squares<B: Backend, const D: usize>(x: Tensor<B, D>) -> Result<f32, Tensor<B, D>> {
        Err(x)
    }
}

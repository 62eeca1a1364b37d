//! Fused operations of diffusion networks, with their gradients, for the backends that gain by them.
//!
//! Burn composes a layer of primitive operations, and on the CPU each of them is a pass over memory, most by one
//! thread. The functions here do a whole layer at once where the backend is [`Flex`](burn::backend::Flex) or
//! `Autodiff<Flex>` and the feature `flex` is on; on every other backend they return `None`, and the caller falls back
//! on Burn's own operations. So networks stay generic over the backend, without a bound of their own.
//!
//! Results equal those of the plain operations up to rounding, and do not depend on the number of threads: work is split
//! by the shapes alone, and sums are taken in a fixed order.
//!
//! Each function checks its arguments and asks the module of each backend in turn (`call`, `update`). A module has two
//! traits, `Kernel` and `Update`, for its implementations of the operations, and two functions, `apply` and `update`,
//! which run them if the tensors are its backend's and give the tensors back otherwise.

#[cfg(feature = "flex")]
mod flex;
mod memory;
#[cfg(not(feature = "flex"))]
mod none;
mod operation;

use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

#[cfg(not(feature = "flex"))]
use none as flex;
use operation::{
    Attend, Attention, Conv2d, Dropout, EmaUpdate, Gated, Geglu, GroupNorm, JoinChannels, Linear,
    ModulatedLayerNorm, ShiftChannels, SumOfSquares, Transpose, Upsample,
};

pub use memory::{TellingAllocator, keep_memory};
pub use operation::{Activation, AdamW};

/// The activation of every element.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn activation<B: Backend, const D: usize>(
    activation: Activation,
    x: &Tensor<B, D>,
) -> Option<Tensor<B, D>> {
    call(activation, [float(x)?])
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
    let (x, weight) = (float(x)?, float(weight)?);
    match bias {
        Some(bias) => call(Linear, [x, weight, float(bias)?]),
        None => call(Linear, [x, weight]),
    }
}

/// Layer norm over the last axis with a scale and a shift per example: `norm(x)·(1 + scale) + shift`.
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
    let [batch, _, dim] = x.dims();
    assert_eq!(
        [scale.dims(), shift.dims()],
        [[batch, dim]; 2],
        "a scale and a shift for each example and feature"
    );
    call(ModulatedLayerNorm { epsilon: epsilon as f32 }, [float(x)?, float(scale)?, float(shift)?])
}

/// A gated residual, `x + h·gate`.
///
/// # Shapes
/// - `x`, `h`, returns: `[batch, tokens, dim]`
/// - `gate`: `[batch, dim]`
pub fn gated<B: Backend>(x: &Tensor<B, 3>, h: &Tensor<B, 3>, gate: &Tensor<B, 2>) -> Option<Tensor<B, 3>> {
    let [batch, _, dim] = x.dims();
    assert_eq!((h.dims(), gate.dims()), (x.dims(), [batch, dim]), "a gate for each example and feature");
    call(Gated, [float(x)?, float(h)?, float(gate)?])
}

/// Multi-head self-attention, softmax(QKᵀ/√head_dim)·V per head, without saving the attention matrix for the gradient.
///
/// # Shapes
/// - `qkv`: `[batch, tokens, 3 · heads · head_dim]`, queries first, then keys, then values
/// - returns `[batch, tokens, heads · head_dim]`
pub fn attention<B: Backend>(qkv: &Tensor<B, 3>, heads: usize) -> Option<Tensor<B, 3>> {
    assert!(qkv.dims()[2].is_multiple_of(3 * heads), "queries, keys and values for {heads} heads");
    call(Attention { heads }, [float(qkv)?])
}

/// Multi-head attention, softmax(QKᵀ/√head_dim)·V per head, in tiles: no scores are saved, and those held at a time do not
/// grow with the number of tokens. If it is `causal`, a query sees only the keys up to its own place.
///
/// # Shapes
/// - `q`, returns: `[batch, queries, heads · head_dim]`
/// - `k`, `v`: `[batch, keys, heads · head_dim]`
pub fn attend<B: Backend>(
    q: &Tensor<B, 3>,
    k: &Tensor<B, 3>,
    v: &Tensor<B, 3>,
    heads: usize,
    causal: bool,
) -> Option<Tensor<B, 3>> {
    let [[batch, _, dim], [given, keys, size]] = [q.dims(), k.dims()];
    assert!(dim.is_multiple_of(heads), "queries for {heads} heads");
    assert_eq!(([given, size], v.dims()), ([batch, dim], k.dims()), "keys and values for each example");
    assert!(keys > 0, "something to look at");
    call(Attend { heads, causal }, [float(q)?, float(k)?, float(v)?])
}

/// The first half of each row times the GELU of its second (Shazeer 2020, arXiv:2002.05202, eq. 6): `value·gelu(gate)`.
///
/// # Shapes
/// - `x`: `[.., 2·dim]`, values first
/// - returns `[.., dim]`
pub fn geglu<B: Backend, const D: usize>(x: &Tensor<B, D>) -> Option<Tensor<B, D>> {
    assert!(x.dims()[D - 1].is_multiple_of(2), "a gate for each value");
    call(Geglu, [float(x)?])
}

/// Group norm with a scale and a shift per channel, followed by SiLU if `silu` is set.
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
    let [_, channels, ..] = x.dims();
    assert!(channels.is_multiple_of(groups), "{channels} channels in {groups} groups");
    assert_eq!([gamma.dims(), beta.dims()], [[channels]; 2], "a scale and a shift for each channel");
    let kernel = GroupNorm { groups, epsilon: epsilon as f32, silu };
    call(kernel, [float(x)?, float(gamma)?, float(beta)?])
}

/// A 2D convolution over all input channels. `stride` is vertical and horizontal, `padding` is the rows and columns of
/// zeros at the top, left, bottom and right.
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
    let [[_, inputs, ..], [outputs, given, ..]] = [x.dims(), weight.dims()];
    assert_eq!((given, bias.dims()), (inputs, [outputs]), "weights for each channel, a bias for each output");
    call(Conv2d { stride, padding }, [float(x)?, float(weight)?, float(bias)?])
}

/// Dropout: sets each element to zero with `probability` and divides the others by the probability of being kept
/// (Srivastava et al. 2014, JMLR 15, §4, with the division in training). It draws from the backend's own generator.
///
/// # Shapes
/// - `x`, returns: any, the same
///
/// # Panics
/// If `probability` is not in [0, 1).
pub fn dropout<B: Backend, const D: usize>(x: &Tensor<B, D>, probability: f64) -> Option<Tensor<B, D>> {
    assert!((0.0..1.0).contains(&probability), "dropout is {probability}, expected a probability in [0, 1)");
    call(Dropout { probability }, [float(x)?])
}

/// Adds one value to each channel of each image.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
/// - `shift`: `[batch, channels]`
pub fn shift_channels<B: Backend>(x: &Tensor<B, 4>, shift: &Tensor<B, 2>) -> Option<Tensor<B, 4>> {
    let [batch, channels, ..] = x.dims();
    assert_eq!(shift.dims(), [batch, channels], "a shift for each example and channel");
    call(ShiftChannels, [float(x)?, float(shift)?])
}

/// The concatenation of `x` and `y` along their channels.
///
/// # Shapes
/// - `x`: `[batch, first, height, width]`, `y`: `[batch, second, height, width]`
/// - returns `[batch, first + second, height, width]`
pub fn join_channels<B: Backend>(x: &Tensor<B, 4>, y: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    let [[batch, _, height, width], second] = [x.dims(), y.dims()];
    assert_eq!([second[0], second[2], second[3]], [batch, height, width], "images of one size");
    call(JoinChannels, [float(x)?, float(y)?])
}

/// Swaps the last two axes, in memory too, so that what follows reads contiguous memory.
///
/// # Shapes
/// - `x`: `[batch, rows, columns]`
/// - returns `[batch, columns, rows]`
pub fn transpose<B: Backend>(x: &Tensor<B, 3>) -> Option<Tensor<B, 3>> {
    call(Transpose, [float(x)?])
}

/// Nearest-neighbor upsampling by a factor of 2: every pixel becomes a square of four.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - returns `[batch, channels, 2·height, 2·width]`
pub fn upsample<B: Backend>(x: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    call(Upsample, [float(x)?])
}

/// The weight and its two moments after a step of AdamW, in one pass, and in place where no other tensor shares the
/// memory.
///
/// # Shapes
/// - all the same
///
/// # Errors
/// Gives weight, gradient and moments back if there is no kernel.
pub fn adamw<B: Backend, const D: usize>(
    step: &AdamW,
    weight: Tensor<B, D>,
    gradient: Tensor<B, D>,
    moments: [Tensor<B, D>; 2],
) -> Result<[Tensor<B, D>; 3], [Tensor<B, D>; 4]> {
    let [first, second] = moments;
    update(step, [weight, gradient, first, second])
}

/// The EMA after an update, `ema + rate·(new - ema)` for a `rate` from 0 to 1, in place where no other tensor shares the
/// memory of `ema`.
///
/// # Shapes
/// - all the same
///
/// # Errors
/// Gives both back if there is no kernel.
pub fn ema_update<B: Backend, const D: usize>(
    ema: Tensor<B, D>,
    new: Tensor<B, D>,
    rate: f64,
) -> Result<Tensor<B, D>, [Tensor<B, D>; 2]> {
    update(&EmaUpdate { rate }, [ema, new])
}

/// The sum of the squares of all elements, on the backends that know it at once.
///
/// # Errors
/// Gives the tensor back if there is no kernel.
pub fn sum_of_squares<B: Backend, const D: usize>(x: Tensor<B, D>) -> Result<f32, Tensor<B, D>> {
    update(&SumOfSquares, [x]).map_err(|[x]| x)
}

/// The result of `operation` by the first backend's module that has a kernel for these tensors.
fn call<B: Backend, K, const N: usize, const D: usize>(
    operation: K,
    inputs: [FloatTensor<B>; N],
) -> Option<Tensor<B, D>>
where
    K: flex::Kernel<N>,
{
    let result = flex::apply::<B, _, N>(&operation, inputs);
    result.ok().map(|primitive| Tensor::from_primitive(TensorPrimitive::Float(primitive)))
}

/// The same for an operation that takes its tensors and has no gradient; gives them back if there is no kernel.
fn update<B: Backend, U, const N: usize, const D: usize>(
    operation: &U,
    tensors: [Tensor<B, D>; N],
) -> Result<U::Output<Tensor<B, D>>, [Tensor<B, D>; N]>
where
    U: flex::Update<N>,
{
    flex::update(operation, tensors)
}

/// A tensor's primitive, unless it is quantized.
fn float<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FloatTensor<B>> {
    match tensor.clone().into_primitive() {
        TensorPrimitive::Float(primitive) => Some(primitive),
        TensorPrimitive::QFloat(_) => None,
    }
}

//! The operations as values: the arguments that are not tensors, by which each backend's module knows them.
#![cfg_attr(not(feature = "flex"), allow(dead_code, reason = "only a backend's kernels read them"))]

/// An activation, applied element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x·Φ(x)` (Hendrycks & Gimpel 2016, arXiv:1606.08415, §2).
    Gelu,
    /// The same with Φ approximated by a tanh (ibid.).
    GeluTanh,
    /// `x·sigmoid(1.702·x)` (ibid.), the activation of CLIP's first text encoders.
    QuickGelu,
    /// `x·sigmoid(x)`, also called swish.
    Silu,
}

/// `x·weight` of two tensors, `x·weight + bias` of three.
#[derive(Clone, Debug)]
pub struct Linear;

/// `norm(x)·(1 + scale) + shift` with one scale and shift per example and feature.
#[derive(Clone, Debug)]
pub struct ModulatedLayerNorm {
    pub epsilon: f32,
}

/// `x + h·gate` with one gate per example and feature.
#[derive(Clone, Debug)]
pub struct Gated;

/// Attention between all tokens of an example, head by head.
#[derive(Clone, Debug)]
pub struct Attention {
    pub heads: usize,
}

/// Attention of an example's queries to its keys, head by head.
#[derive(Clone, Debug)]
pub struct Attend {
    pub heads: usize,
    /// Whether a query sees only the keys up to its own place.
    pub causal: bool,
}

/// The first half of the last axis times the GELU of the second.
#[derive(Clone, Debug)]
pub struct Geglu;

/// Group norm, followed by SiLU if asked for.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    pub groups: usize,
    pub epsilon: f32,
    pub silu: bool,
}

/// A 2D convolution over all input channels.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// Pixels from one position of the kernel to the next, vertically and horizontally.
    pub stride: [usize; 2],
    /// Rows and columns of zeros at the top, left, bottom and right of the image.
    pub padding: [usize; 4],
}

/// Zeroes elements with this probability and divides the others by the probability of being kept.
#[derive(Clone, Debug)]
pub struct Dropout {
    pub probability: f64,
}

/// Adds one value to each channel of each image.
#[derive(Clone, Debug)]
pub struct ShiftChannels;

/// Concatenates two images along their channels.
#[derive(Clone, Debug)]
pub struct JoinChannels;

/// Swaps the last two axes, in memory too.
#[derive(Clone, Debug)]
pub struct Transpose;

/// Nearest-neighbor upsampling by a factor of 2.
#[derive(Clone, Debug)]
pub struct Upsample;

/// An operation without a gradient, which may reuse the memory of the `N` tensors that it takes.
pub(crate) trait Update<const N: usize> {
    /// The result where a tensor is a `T`.
    type Output<T: 'static>: 'static;
}

/// One step of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2), without AMSGrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// The decay rate β₁ of the first moment, the EMA of the gradient.
    pub beta_1: f64,
    /// The decay rate β₂ of the second moment, the EMA of the squared gradient.
    pub beta_2: f64,
    /// What is added to the denominator.
    pub epsilon: f64,
    /// The weight decay per step, in units of the learning rate.
    pub weight_decay: f64,
    /// The number of this step for this weight, from 1.
    pub time: u64,
}

/// Weight, gradient, first and second moment to weight, first and second moment.
impl Update<4> for AdamW {
    type Output<T: 'static> = [T; 3];
}

/// `ema + rate·(new - ema)`.
#[derive(Clone, Copy, Debug)]
pub struct EmaUpdate {
    pub rate: f64,
}

impl Update<2> for EmaUpdate {
    type Output<T: 'static> = T;
}

/// The sum of the squares of all elements.
#[derive(Clone, Copy, Debug)]
pub struct SumOfSquares;

impl Update<1> for SumOfSquares {
    type Output<T: 'static> = f32;
}

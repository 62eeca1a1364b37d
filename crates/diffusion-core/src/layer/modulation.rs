//! Scale and shift that depend on the condition: adaptive layer norm.

use super::{Init, linear, linear_params, silu};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::precision::check_factor;
use crate::random::Stream;
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes of a [`Modulation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModulationConfig {
    /// The size of a vector.
    pub dim: usize,
    /// Number of vectors.
    pub n: usize,
}

impl ModulationConfig {
    /// Whether there is such a layer.
    ///
    /// # Errors
    /// If there are no vectors, or they have no values.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("dim", self.dim, MAX_SIZE)?;
        Invalid::unless_positive("n", self.n, MAX_SIZE)
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        linear_params(self.dim, self.n * self.dim)
    }

    /// The layer, its weight drawn from `weight`; its bias starts at zero.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the sizes.
    pub fn init<B: Backend>(&self, weight: Init, stream: &mut Stream, device: &B::Device) -> Modulation<B> {
        expect_valid(self.validate());
        let sizes = [self.dim, self.n * self.dim];
        Modulation { proj: weight.linear(Some(Init::Zeros), sizes, stream, device) }
    }
}

/// From a conditioning vector to vectors that modulate tokens: SiLU, then one linear layer.
#[derive(Module, Debug)]
pub struct Modulation<B: Backend> {
    /// To all the vectors at once.
    pub proj: Linear<B>,
}

impl<B: Backend> Modulation<B> {
    /// The vectors.
    ///
    /// # Shapes
    /// - `y`: `[batch, dim]`
    /// - returns `N` tensors `[batch, dim]`
    ///
    /// # Panics
    /// If the layer was made for another number than `N`.
    pub fn forward<const N: usize>(&self, y: Tensor<B, 2>) -> [Tensor<B, 2>; N] {
        self.trace(y, &mut Untraced)
    }

    /// The same vectors, while `tracer` sees them.
    ///
    /// # Shapes
    /// - as [`forward`](Self::forward)
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn trace<T: Tracer<B>, const N: usize>(&self, y: Tensor<B, 2>, tracer: &mut T) -> [Tensor<B, 2>; N] {
        let [batch, dim] = y.dims();
        let all = linear(&self.proj, silu(y));
        assert_eq!(all.dims()[1], N * dim, "modulation vectors asked for and made differ in size");
        let all = tracer.layer(&"proj", all.reshape([batch, N, dim]));
        std::array::from_fn(|i| all.clone().narrow(1, i, 1).squeeze_dim::<2>(1))
    }
}

/// A vector for every token: a broadcast along the middle axis would save the copy, but the CPU backends walk it
/// element by element, forward and backward.
fn repeat<B: Backend>(vector: Tensor<B, 2>, tokens: usize) -> Tensor<B, 3> {
    vector.unsqueeze_dim::<3>(1).repeat_dim(1, tokens)
}

/// A gated residual, `x + h·gate` (Peebles & Xie 2023, arXiv:2212.09748, §3.2, "adaLN-Zero block").
///
/// # Shapes
/// - `x`, `h`, returns: `[batch, tokens, dim]`
/// - `gate`: `[batch, dim]`
pub fn gated<B: Backend>(x: Tensor<B, 3>, h: Tensor<B, 3>, gate: Tensor<B, 2>) -> Tensor<B, 3> {
    diffusion_kernels::gated(&x, &h, &gate).unwrap_or_else(|| {
        let tokens = x.dims()[1];
        x + h * repeat(gate, tokens)
    })
}

/// The size of a [`ModulatedLayerNorm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModulatedLayerNormConfig {
    /// The token dimension.
    pub dim: usize,
    /// ε of the layer norm, 1e-6 in DiT.
    pub epsilon: f64,
}

impl ModulatedLayerNormConfig {
    /// Whether there is such a layer.
    ///
    /// # Errors
    /// If tokens have no values, or ε is negative or not finite in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        ModulationConfig { dim: self.dim, n: 2 }.validate()?;
        check_factor("epsilon", self.epsilon)?;
        let reason = || format!("is {}, expected at least 0", self.epsilon);
        Invalid::unless(self.epsilon >= 0.0, "epsilon", reason)
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        ModulationConfig { dim: self.dim, n: 2 }.num_params()
    }

    /// The norm of tokens of dimension `dim`, with DiT's ε.
    pub fn new(dim: usize) -> Self {
        Self { dim, epsilon: 1e-6 }
    }

    /// The layer, its modulation's weight drawn from `weight`.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        weight: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> ModulatedLayerNorm<B> {
        expect_valid(self.validate());
        let modulation = ModulationConfig { dim: self.dim, n: 2 }.init(weight, stream, device);
        ModulatedLayerNorm { modulation, epsilon: self.epsilon }
    }
}

/// Layer norm without parameters of its own, scaled and shifted by the condition (Peebles & Xie 2023,
/// arXiv:2212.09748, §3.2, "adaptive layer norm").
#[derive(Module, Debug)]
pub struct ModulatedLayerNorm<B: Backend> {
    /// Scale and shift, in this order.
    pub modulation: Modulation<B>,
    epsilon: f64,
}

impl<B: Backend> ModulatedLayerNorm<B> {
    /// `norm(x)·(1 + scale(y)) + shift(y)`.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    /// - `y`: `[batch, dim]`
    pub fn forward(&self, x: Tensor<B, 3>, y: Tensor<B, 2>) -> Tensor<B, 3> {
        let [scale, shift] = self.modulation.forward(y);
        modulated_layer_norm(x, scale, shift, self.epsilon)
    }
}

/// `layer_norm(x)·(1 + scale) + shift`, by a fused operation where the backend has one.
///
/// # Shapes
/// - `x`, returns: `[batch, tokens, dim]`
/// - `scale`, `shift`: `[batch, dim]`
pub fn modulated_layer_norm<B: Backend>(
    x: Tensor<B, 3>,
    scale: Tensor<B, 2>,
    shift: Tensor<B, 2>,
    epsilon: f64,
) -> Tensor<B, 3> {
    diffusion_kernels::modulated_layer_norm(&x, &scale, &shift, epsilon).unwrap_or_else(|| {
        let tokens = x.dims()[1];
        layer_norm(x, epsilon) * (repeat(scale, tokens) + 1.0) + repeat(shift, tokens)
    })
}

/// Layer norm over the last axis without scale and shift, which Burn's own layer always has.
///
/// # Shapes
/// - `x`, returns: `[batch, tokens, dim]`
pub fn layer_norm<B: Backend>(x: Tensor<B, 3>, epsilon: f64) -> Tensor<B, 3> {
    let centered = x.clone() - x.mean_dim(2);
    let variance = centered.clone().square().mean_dim(2); // [batch, tokens, 1]
    centered / (variance + epsilon).sqrt()
}

//! Activations that Burn has only in a slow or in a coarse form.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_kernels::{Activation, activation};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415, §2): `x·Φ(x) = ½x·(1 + erf(x/√2))`.
///
/// Burn's own gives the same value, but on every backend except flex and libtorch its gradient is that of the tanh
/// form, which is off by up to 8e-4.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation(Activation::Gelu, &x).unwrap_or_else(|| {
        let half = (x.clone() * FRAC_1_SQRT_2).erf() * 0.5 + 0.5;
        x * half
    })
}

/// GELU in its tanh form (ibid.): `½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
///
/// Written as `x·sigmoid(2√(2/π)·(x + 0.044715·x³))`, the same function: Burn's own takes a power and a tanh, element
/// by element, which together cost a CPU a quarter of a transformer's training step.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn gelu_tanh<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation(Activation::GeluTanh, &x).unwrap_or_else(|| {
        let scale = 2.0 * (2.0 / PI).sqrt();
        let polynomial = x.clone().square() * (0.044715 * scale) + scale;
        x.clone() * sigmoid(x * polynomial)
    })
}

/// GELU in its quick form (ibid.): `x·sigmoid(1.702·x)`.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn quick_gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation(Activation::QuickGelu, &x).unwrap_or_else(|| x.clone() * sigmoid(x * 1.702))
}

/// A gated linear unit with GELU (Shazeer 2020, arXiv:2002.05202, eq. 6): the first half of the last axis times the GELU
/// of the second.
///
/// # Shapes
/// - `x`: `[.., 2·dim]`, values first
/// - returns `[.., dim]`
///
/// # Panics
/// If the last axis is odd.
pub fn geglu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    diffusion_kernels::geglu(&x).unwrap_or_else(|| {
        let dim = x.dims()[D - 1] / 2;
        let (values, gates) = (x.clone().narrow(D - 1, 0, dim), x.narrow(D - 1, dim, dim));
        values * gelu(gates)
    })
}

/// SiLU (Hendrycks & Gimpel 2016, arXiv:1606.08415, §4), also called swish: `x·sigmoid(x)`.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn silu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    activation(Activation::Silu, &x).unwrap_or_else(|| burn::tensor::activation::silu(x))
}

//! Activations that Burn has only in a slow form.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, backend::Backend};
use std::f64::consts::PI;

/// GELU in its tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415, §2): `½x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
///
/// Written as `x·sigmoid(2√(2/π)·(x + 0.044715·x³))`, the same function: Burn's own takes a power and a tanh, element
/// by element, which together cost a CPU a quarter of a transformer's training step.
///
/// # Shapes
/// - `x`, returns: any, the same
pub fn gelu_tanh<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let scale = 2.0 * (2.0 / PI).sqrt();
    let polynomial = x.clone().square() * (0.044715 * scale) + scale;
    x.clone() * sigmoid(x * polynomial)
}

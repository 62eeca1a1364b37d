//! Linear layers.

use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};

/// What `layer.forward(x)` gives, `x·weight + bias`, by a fused operation where the backend has one.
///
/// # Shapes
/// - `x`: `[.., inputs]`
/// - returns `[.., outputs]`
pub fn linear<B: Backend, const D: usize>(layer: &Linear<B>, x: Tensor<B, D>) -> Tensor<B, D> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    diffusion_kernels::linear(&x, &layer.weight.val(), bias.as_ref()).unwrap_or_else(|| layer.forward(x))
}

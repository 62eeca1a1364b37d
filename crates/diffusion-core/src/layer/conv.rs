//! Convolutions.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};

/// What `layer.forward(x)` gives, by a fused operation where the backend has one for the layer.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - returns `[batch, outputs, height, width]` of the result
pub fn conv2d<B: Backend>(layer: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    fused(layer, &x).unwrap_or_else(|| layer.forward(x))
}

fn fused<B: Backend>(layer: &Conv2d<B>, x: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    let padding = match layer.padding {
        PaddingConfig2d::Valid => [0; 4],
        PaddingConfig2d::Explicit(top, left, bottom, right) => [top, left, bottom, right],
        PaddingConfig2d::Same => return None,
    };
    if layer.groups != 1 || layer.dilation != [1, 1] {
        return None;
    }
    let bias = layer.bias.as_ref()?.val();
    diffusion_kernels::conv2d(x, &layer.weight.val(), &bias, layer.stride, padding)
}

//! The kernels for `Flex` and `Autodiff<Flex>`.

mod activation;
mod attention;
mod conv;
mod gemm;
mod kernel;
mod linear;
mod math;
mod norm;

use crate::Activation;
use burn::tensor::{Tensor, backend::Backend};
use kernel::{apply, float, tensor};

pub fn activation<B: Backend, const D: usize>(which: Activation, x: &Tensor<B, D>) -> Option<Tensor<B, D>> {
    apply::<B, _, 1>(activation::Elementwise(which), [float(x)?]).map(tensor)
}

pub fn linear<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
    weight: &Tensor<B, 2>,
    bias: Option<&Tensor<B, 1>>,
) -> Option<Tensor<B, D>> {
    let inputs = [float(x)?, float(weight)?];
    match bias {
        Some(bias) => {
            let [x, weight] = inputs;
            apply::<B, _, 3>(linear::Linear, [x, weight, float(bias)?])
        }
        None => apply::<B, _, 2>(linear::Linear, inputs),
    }
    .map(tensor)
}

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
        "a scale and a shift for each example and number"
    );
    let inputs = [float(x)?, float(scale)?, float(shift)?];
    apply::<B, _, 3>(norm::ModulatedLayerNorm { epsilon: epsilon as f32 }, inputs).map(tensor)
}

pub fn gated<B: Backend>(x: &Tensor<B, 3>, h: &Tensor<B, 3>, gate: &Tensor<B, 2>) -> Option<Tensor<B, 3>> {
    let [batch, _, dim] = x.dims();
    assert_eq!((h.dims(), gate.dims()), (x.dims(), [batch, dim]), "a gate for each example and number");
    apply::<B, _, 3>(norm::Gated, [float(x)?, float(h)?, float(gate)?]).map(tensor)
}

pub fn attention<B: Backend>(qkv: &Tensor<B, 3>, heads: usize) -> Option<Tensor<B, 3>> {
    assert!(qkv.dims()[2].is_multiple_of(3 * heads), "queries, keys and values for {heads} heads");
    apply::<B, _, 1>(attention::Attention { heads }, [float(qkv)?]).map(tensor)
}

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
    let kernel = norm::GroupNorm { groups, epsilon: epsilon as f32, silu };
    apply::<B, _, 3>(kernel, [float(x)?, float(gamma)?, float(beta)?]).map(tensor)
}

pub fn conv2d<B: Backend>(
    x: &Tensor<B, 4>,
    weight: &Tensor<B, 4>,
    bias: &Tensor<B, 1>,
    stride: [usize; 2],
    padding: [usize; 4],
) -> Option<Tensor<B, 4>> {
    let [[_, inputs, ..], [outputs, given, ..]] = [x.dims(), weight.dims()];
    assert_eq!((given, bias.dims()), (inputs, [outputs]), "weights for each channel, a bias for each result");
    let inputs = [float(x)?, float(weight)?, float(bias)?];
    apply::<B, _, 3>(conv::Conv2d { stride, padding }, inputs).map(tensor)
}

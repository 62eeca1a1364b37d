//! The kernels for `Flex` and `Autodiff<Flex>`.

mod activation;
mod attention;
mod conv;
mod dropout;
mod gemm;
mod image;
mod kernel;
mod linear;
mod math;
mod norm;
mod update;
mod winograd;

use crate::{Activation, AdamW};
use burn::backend::Flex;
use burn::tensor::{DType, Tensor, backend::Backend};
use burn_flex::FlexTensor;
use kernel::{apply, float, same, tensor};

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

pub fn dropout<B: Backend, const D: usize>(x: &Tensor<B, D>, probability: f64) -> Option<Tensor<B, D>> {
    assert!((0.0..1.0).contains(&probability), "dropout is {probability}, expected a probability in [0, 1)");
    apply::<B, _, 1>(dropout::Dropout { probability }, [float(x)?]).map(tensor)
}

pub fn shift_channels<B: Backend>(x: &Tensor<B, 4>, shift: &Tensor<B, 2>) -> Option<Tensor<B, 4>> {
    let [batch, channels, ..] = x.dims();
    assert_eq!(shift.dims(), [batch, channels], "a shift for each example and channel");
    apply::<B, _, 2>(image::Shift, [float(x)?, float(shift)?]).map(tensor)
}

pub fn join_channels<B: Backend>(x: &Tensor<B, 4>, y: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    let [[batch, _, height, width], second] = [x.dims(), y.dims()];
    assert_eq!([second[0], second[2], second[3]], [batch, height, width], "images of one size");
    apply::<B, _, 2>(image::Join, [float(x)?, float(y)?]).map(tensor)
}

pub fn transpose<B: Backend>(x: &Tensor<B, 3>) -> Option<Tensor<B, 3>> {
    apply::<B, _, 1>(image::Transpose, [float(x)?]).map(tensor)
}

pub fn upsample<B: Backend>(x: &Tensor<B, 4>) -> Option<Tensor<B, 4>> {
    apply::<B, _, 1>(image::Upsample, [float(x)?]).map(tensor)
}

pub fn adamw<B: Backend, const D: usize>(
    step: &AdamW,
    weight: Tensor<B, D>,
    gradient: Tensor<B, D>,
    moments: [Tensor<B, D>; 2],
) -> Result<[Tensor<B, D>; 3], [Tensor<B, D>; 4]> {
    let [first, second] = moments;
    let tensors = plain([weight, gradient, first, second])?;
    let [weight, gradient, first, second] = tensors;
    Ok(update::adamw(step, weight, gradient, [first, second]).map(back))
}

pub fn average<B: Backend, const D: usize>(
    average: Tensor<B, D>,
    new: Tensor<B, D>,
    rate: f64,
) -> Result<Tensor<B, D>, [Tensor<B, D>; 2]> {
    let [average, new] = plain([average, new])?;
    Ok(back(update::average(average, new, rate)))
}

pub fn sum_of_squares<B: Backend, const D: usize>(x: Tensor<B, D>) -> Result<f32, Tensor<B, D>> {
    let [x] = plain([x]).map_err(|[x]| x)?;
    Ok(update::sum_of_squares(x))
}

/// The primitives of `tensors`, if they are of `Flex` and in f32.
fn plain<B: Backend, const D: usize, const N: usize>(
    tensors: [Tensor<B, D>; N],
) -> Result<[FlexTensor; N], [Tensor<B, D>; N]> {
    if tensors.iter().any(|tensor| tensor.dtype() != DType::F32) {
        return Err(tensors);
    }
    same::<_, [Tensor<Flex, D>; N]>(tensors)
        .map(|tensors| tensors.map(|tensor| tensor.into_primitive().tensor()))
}

fn back<B: Backend, const D: usize>(primitive: FlexTensor) -> Tensor<B, D> {
    tensor(same(primitive).expect("the backend is Flex"))
}

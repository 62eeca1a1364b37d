//! Runs a case, with and without gradients, and compares what comes out.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::case::{Case, Inputs, Layout};

pub fn leaf<B: Backend>(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_data(TensorData::from(values), &B::Device::default())
}

pub fn host<B: Backend>(tensor: Tensor<B, 1>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

pub fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The operation without a gradient.
pub fn result(case: Case, values: &[Vec<f32>], layout: Layout, fused: bool) -> Vec<f32> {
    let leaves = values.iter().map(|x| leaf(x)).collect();
    let inputs = Inputs::<Flex> { leaves, shapes: case.shapes(), layout };
    host(if fused { case.fused(&inputs).unwrap() } else { case.plain(&inputs) })
}

/// The operation's result, and the gradient of every input that is `tracked`, of the result's sum with the `weights`.
pub struct Gradients {
    pub result: Vec<f32>,
    pub gradients: Vec<Option<Vec<f32>>>,
}

pub fn gradients(
    case: Case,
    values: &[Vec<f32>],
    layout: Layout,
    fused: bool,
    tracked: impl Fn(usize) -> bool,
    weights: &[f32],
) -> Gradients {
    let track = |(i, x): (usize, &Vec<f32>)| leaf(x).set_require_grad(tracked(i));
    let leaves: Vec<Tensor<Autodiff<Flex>, 1>> = values.iter().enumerate().map(track).collect();
    let inputs = Inputs { leaves: leaves.clone(), shapes: case.shapes(), layout };
    let out = if fused { case.fused(&inputs).unwrap() } else { case.plain(&inputs) };
    let gradients = (out.clone() * leaf(weights)).sum().backward();
    let gradients = leaves.iter().map(|leaf| leaf.grad(&gradients).map(host)).collect();
    Gradients { result: host(out), gradients }
}

/// The largest difference, relative to the largest value.
pub fn off(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |top, x| f64::max(top, f64::from(x.abs())));
    let differences = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // A difference that is NaN counts.
    differences.fold(0.0, |top, x| if x <= top { top } else { x }) / largest
}

/// Values between -1 and 1 (Steele et al. 2014, "Fast splittable pseudorandom number generators", SplitMix64).
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let value = |i: u64| {
        let mut z = (seed + 1).wrapping_mul(0xd134_2543_de82_ef95) ^ i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count as u64).map(value).collect()
}

//! Updates of weights between two training steps.

use burn::backend::Flex;
use burn::tensor::{DType, Tensor, TensorPrimitive, backend::Backend};
use rayon::prelude::*;

use super::kernel::{Array, back, same};
use super::math::{simd, sum};
use crate::operation::{self, AdamW, EmaUpdate, SumOfSquares};

/// Elements of one task.
const CHUNK: usize = 1 << 15;

/// An update of tensors of `Flex` in f32.
pub(crate) trait Update<const N: usize>: operation::Update<N> {
    /// The updated tensors.
    fn run<const D: usize>(&self, tensors: [Tensor<Flex, D>; N]) -> Self::Output<Tensor<Flex, D>>;
}

/// The result of `update`, if the tensors are of `Flex` and in f32; else the tensors.
pub fn update<B: Backend, U: Update<N>, const N: usize, const D: usize>(
    update: &U,
    tensors: [Tensor<B, D>; N],
) -> Result<U::Output<Tensor<B, D>>, [Tensor<B, D>; N]> {
    if tensors.iter().any(|tensor| tensor.dtype() != DType::F32) {
        return Err(tensors);
    }
    same::<_, [Tensor<Flex, D>; N]>(tensors).map(|tensors| back(update.run(tensors)))
}

fn array<const D: usize>(tensor: Tensor<Flex, D>) -> Array {
    Array::of(tensor.into_primitive().tensor())
}

fn tensor<const D: usize>(values: Vec<f32>, shape: &[usize]) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(Array::new(values, shape).into_tensor()))
}

impl Update<4> for AdamW {
    /// # Panics
    /// If the tensors differ in size.
    fn run<const D: usize>(&self, tensors: [Tensor<Flex, D>; 4]) -> [Tensor<Flex, D>; 3] {
        let [weight, gradient, first, second] = tensors.map(array);
        let shape = weight.shape();
        let (mut weight, mut first, mut second) =
            (weight.into_values(), first.into_values(), second.into_values());
        let all = [weight.len(), first.len(), second.len(), gradient.values().len()];
        assert!(all.iter().all(|&len| len == all[0]), "tensors of {all:?} elements in a step of AdamW");
        adamw(self, (((&mut weight, &mut first), &mut second), gradient.values()));
        [weight, first, second].map(|values| tensor(values, &shape))
    }
}

impl Update<2> for EmaUpdate {
    /// # Panics
    /// If the tensors differ in size.
    fn run<const D: usize>(&self, tensors: [Tensor<Flex, D>; 2]) -> Tensor<Flex, D> {
        let [ema, new] = tensors.map(array);
        let shape = ema.shape();
        let mut ema = ema.into_values();
        assert_eq!(ema.len(), new.values().len(), "an EMA and its new values are of one size");
        ema_update(&mut ema, new.values(), self.rate);
        tensor(ema, &shape)
    }
}

impl Update<1> for SumOfSquares {
    fn run<const D: usize>(&self, [x]: [Tensor<Flex, D>; 1]) -> f32 {
        sum_of_squares(array(x).values())
    }
}

/// Weights, both of their moments, and their gradients.
type Part<'a> = (((&'a mut [f32], &'a mut [f32]), &'a mut [f32]), &'a [f32]);

fn adamw(step: &AdamW, all: Part<'_>) {
    let time = i32::try_from(step.time).unwrap_or(i32::MAX);
    let of_second = (1.0 - step.beta_2.powi(time)).sqrt();
    let factor = (step.lr * of_second / (1.0 - step.beta_1.powi(time))) as f32;
    let epsilon = (step.epsilon * of_second) as f32;
    let decay = (1.0 - step.lr * step.weight_decay) as f32;
    let [beta_1, beta_2] = [step.beta_1 as f32, step.beta_2 as f32];
    let [new_1, new_2] = [(1.0 - step.beta_1) as f32, (1.0 - step.beta_2) as f32];
    let part = |(((weight, first), second), gradient): Part<'_>| {
        simd(
            #[inline(always)]
            || {
                for (((weight, first), second), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
                    *first = *first * beta_1 + g * new_1;
                    *second = *second * beta_2 + g * g * new_2;
                    *weight = *weight * decay - *first / (second.sqrt() + epsilon) * factor;
                }
            },
        );
    };
    let (((weight, first), second), gradient) = all;
    if weight.len() <= CHUNK {
        part((((weight, first), second), gradient));
    } else {
        let parts = weight.par_chunks_mut(CHUNK).zip(first.par_chunks_mut(CHUNK));
        parts.zip(second.par_chunks_mut(CHUNK)).zip(gradient.par_chunks(CHUNK)).for_each(part);
    }
}

/// `ema + rate·(new - ema)`, for a `rate` from 0 to 1.
fn ema_update(ema: &mut [f32], new: &[f32], rate: f64) {
    // From the nearer end, so that a rate of 1 gives the new values.
    let (is_near_new, rate) = (rate >= 0.5, rate.min(1.0 - rate) as f32);
    let part = |(ema, new): (&mut [f32], &[f32])| {
        simd(
            #[inline(always)]
            || {
                for (ema, new) in ema.iter_mut().zip(new) {
                    let (from, to) = if is_near_new { (*new, *ema) } else { (*ema, *new) };
                    *ema = from + (to - from) * rate;
                }
            },
        );
    };
    if ema.len() <= CHUNK {
        part((ema, new));
    } else {
        ema.par_chunks_mut(CHUNK).zip(new.par_chunks(CHUNK)).for_each(part);
    }
}

/// The sum of the squares.
fn sum_of_squares(x: &[f32]) -> f32 {
    let part = |x: &[f32]| {
        simd(
            #[inline(always)]
            || {
                // Several sums side by side, because the next addition can start before the last one is done.
                let (whole, rest) = x.as_chunks::<64>();
                let mut lanes = [0.0; 64];
                for x in whole {
                    for i in 0..64 {
                        lanes[i] += x[i] * x[i];
                    }
                }
                sum(64, |i| lanes[i]) + sum(rest.len(), |i| rest[i] * rest[i])
            },
        )
    };
    if x.len() <= CHUNK {
        return part(x);
    }
    let parts: Vec<f32> = x.par_chunks(CHUNK).map(part).collect();
    parts.into_iter().map(f64::from).sum::<f64>() as f32
}

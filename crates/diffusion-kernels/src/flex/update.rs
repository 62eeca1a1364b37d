//! What happens to weights between two steps.

use super::kernel::Array;
use super::math::{sum, wide};
use crate::AdamW;
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// How many numbers a thread takes at once.
const CHUNK: usize = 1 << 15;

/// Weights, both of their moments, and their gradients.
type Part<'a> = (((&'a mut [f32], &'a mut [f32]), &'a mut [f32]), &'a [f32]);

/// One step of AdamW.
///
/// # Panics
/// If the tensors differ in size.
pub fn adamw(
    step: &AdamW,
    weight: FlexTensor,
    gradient: FlexTensor,
    moments: [FlexTensor; 2],
) -> [FlexTensor; 3] {
    let (gradient, weight) = (Array::of(gradient), Array::of(weight));
    let [first, second] = moments.map(Array::of);
    let shape = weight.shape();
    let (mut weight, mut first, mut second) =
        (weight.into_values(), first.into_values(), second.into_values());
    let all = [weight.len(), first.len(), second.len(), gradient.values().len()];
    assert!(all.iter().all(|&len| len == all[0]), "tensors of {all:?} numbers in a step of AdamW");
    let time = i32::try_from(step.time).unwrap_or(i32::MAX);
    let of_second = (1.0 - step.beta_2.powi(time)).sqrt();
    let factor = (step.lr * of_second / (1.0 - step.beta_1.powi(time))) as f32;
    let epsilon = (step.epsilon * of_second) as f32;
    let kept = (1.0 - step.lr * step.weight_decay) as f32;
    let [beta_1, beta_2] = [step.beta_1 as f32, step.beta_2 as f32];
    let [new_1, new_2] = [(1.0 - step.beta_1) as f32, (1.0 - step.beta_2) as f32];
    let part = |(((weight, first), second), gradient): Part<'_>| {
        wide(
            #[inline(always)]
            || {
                for (((weight, first), second), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
                    *first = *first * beta_1 + g * new_1;
                    *second = *second * beta_2 + g * g * new_2;
                    *weight = *weight * kept - *first / (second.sqrt() + epsilon) * factor;
                }
            },
        );
    };
    if weight.len() <= CHUNK {
        part((((&mut weight, &mut first), &mut second), gradient.values()));
    } else {
        let parts = weight.par_chunks_mut(CHUNK).zip(first.par_chunks_mut(CHUNK));
        parts.zip(second.par_chunks_mut(CHUNK)).zip(gradient.values().par_chunks(CHUNK)).for_each(part);
    }
    [weight, first, second].map(|values| Array::new(values, &shape).into_tensor())
}

/// `average + rate·(new - average)`, for a `rate` from 0 to 1.
///
/// # Panics
/// If the tensors differ in size.
pub fn average(average: FlexTensor, new: FlexTensor, rate: f64) -> FlexTensor {
    let (average, new) = (Array::of(average), Array::of(new));
    let shape = average.shape();
    let mut average = average.into_values();
    assert_eq!(average.len(), new.values().len(), "an average and what it takes in are of one size");
    // From the nearer end, so that a rate of 1 gives the new one.
    let (is_near_new, rate) = (rate >= 0.5, rate.min(1.0 - rate) as f32);
    let part = |(average, new): (&mut [f32], &[f32])| {
        wide(
            #[inline(always)]
            || {
                for (average, new) in average.iter_mut().zip(new) {
                    let (from, to) = if is_near_new { (*new, *average) } else { (*average, *new) };
                    *average = from + (to - from) * rate;
                }
            },
        );
    };
    if average.len() <= CHUNK {
        part((&mut average, new.values()));
    } else {
        average.par_chunks_mut(CHUNK).zip(new.values().par_chunks(CHUNK)).for_each(part);
    }
    Array::new(average, &shape).into_tensor()
}

/// The sum of the squares.
pub fn sum_of_squares(x: FlexTensor) -> f32 {
    let x = Array::of(x);
    let part = |x: &[f32]| {
        wide(
            #[inline(always)]
            || {
                // Several sums side by side, for an addition takes longer than to begin the next.
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
    if x.values().len() <= CHUNK {
        return part(x.values());
    }
    let parts: Vec<f32> = x.values().par_chunks(CHUNK).map(part).collect();
    parts.into_iter().map(f64::from).sum::<f64>() as f32
}

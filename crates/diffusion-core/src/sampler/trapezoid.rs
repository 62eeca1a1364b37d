//! The step of Heun's method, which several samplers take.

use crate::denoiser::Denoiser;
use crate::linear_combination::LinearCombination;
use burn::tensor::{Tensor, backend::Backend};

/// The state at `to` by the mean of the velocities at both ends; at `to` = 0 by that at the begin.
pub(super) fn trapezoid<B: Backend, const D: usize, M: Denoiser<B, D>>(
    denoiser: &M,
    x: Tensor<B, D>,
    from: f64,
    to: f64,
) -> Tensor<B, D> {
    let h = to - from;
    let x = LinearCombination::of(x);
    let here = x.evaluate(denoiser, from).velocity;
    let euler = x.clone().plus(h, &here);
    if to == 0.0 {
        return euler.tensor();
    }
    let there = euler.evaluate(denoiser, to).velocity;
    x.plus(0.5 * h, &here).plus(0.5 * h, &there).tensor()
}

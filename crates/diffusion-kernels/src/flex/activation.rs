//! Activations.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use super::kernel::{Array, Kernel};
use super::math::{erf, exp, map, sigmoid, zip};
use crate::operation::Activation;

/// `2√(2/π)`, for `½(1 + tanh(u)) = sigmoid(2u)`.
const SCALE: f32 = 1.595_769_2;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    x * sigmoid(SCALE * x * (1.0 + CUBIC * x * x))
}

#[inline(always)]
fn gelu_tanh_derivative(x: f32) -> f32 {
    let s = sigmoid(SCALE * x * (1.0 + CUBIC * x * x));
    s + x * s * (1.0 - s) * SCALE * (1.0 + 3.0 * CUBIC * x * x)
}

/// The factor in the quick form of GELU.
const QUICK: f32 = 1.702;

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(QUICK * x)
}

#[inline(always)]
fn quick_gelu_derivative(x: f32) -> f32 {
    let s = sigmoid(QUICK * x);
    s * (1.0 + QUICK * x * (1.0 - s))
}

#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

#[inline(always)]
pub fn gelu_derivative(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * exp(-0.5 * x * x) / (2.0 * PI).sqrt()
}

#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

#[inline(always)]
pub fn silu_derivative(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0 + x * (1.0 - s))
}

impl Kernel<1> for Activation {
    type Saved = ();

    fn forward(&self, [x]: &[Array; 1]) -> (Array, ()) {
        let y = match self {
            Activation::Gelu => map(x.values(), gelu),
            Activation::GeluTanh => map(x.values(), gelu_tanh),
            Activation::QuickGelu => map(x.values(), quick_gelu),
            Activation::Silu => map(x.values(), silu),
        };
        (Array::new(y, &x.shape()), ())
    }

    fn backward(&self, [x]: &[Array; 1], (): &(), gradient: &Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let (values, g) = (x.values(), gradient.values());
        let g = match self {
            Activation::Gelu => zip(values, g, |x, g| g * gelu_derivative(x)),
            Activation::GeluTanh => zip(values, g, |x, g| g * gelu_tanh_derivative(x)),
            Activation::QuickGelu => zip(values, g, |x, g| g * quick_gelu_derivative(x)),
            Activation::Silu => zip(values, g, |x, g| g * silu_derivative(x)),
        };
        [Some(Array::new(g, &x.shape()))]
    }
}

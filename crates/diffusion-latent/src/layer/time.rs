//! The time of a network, as a vector.

use super::Build;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{linear, silu, sinusoids};

/// Sines and cosines of times (Vaswani et al. 2017, arXiv:1706.03762, §3.5, with `shift` as diffusers has it): the
/// frequencies are `exp(−ln 10000 · i/(size/2 − shift))`.
///
/// # Shapes
/// - `t`: `[n]`
/// - returns `[n, size]`, of an even size: first the sines, or the cosines if `cos_first`
pub fn sinusoid<B: Backend>(t: Tensor<B, 1>, size: usize, cos_first: bool, shift: f64) -> Tensor<B, 2> {
    let half = size / 2;
    let frequency = |i: usize| (-(10000f64.ln()) * i as f64 / (half as f64 - shift)).exp();
    let frequencies: Vec<f64> = (0..half).map(frequency).collect();
    let [sin, cos] = sinusoids(t, &frequencies); // [n, half]
    Tensor::cat(if cos_first { vec![cos, sin] } else { vec![sin, cos] }, 1)
}

/// Two linear layers with SiLU between them.
#[derive(Module, Debug)]
pub struct TimestepEmbedding<B: Backend> {
    /// The first.
    pub linear_1: Linear<B>,
    /// The second.
    pub linear_2: Linear<B>,
}

impl<B: Backend> TimestepEmbedding<B> {
    /// The layers from `inputs` to `size` values.
    pub fn new(build: &mut Build<'_, B>, inputs: usize, size: usize) -> Self {
        Self { linear_1: build.linear(true, [inputs, size]), linear_2: build.linear(true, [size, size]) }
    }

    /// # Shapes
    /// - `x`: `[batch, inputs]`
    /// - returns `[batch, size]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(&self.linear_2, silu(linear(&self.linear_1, x)))
    }
}

//! An oracle: the exact denoiser of normally distributed data, which needs no training.

use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::{Denoiser, Evaluation, Path};
use std::marker::PhantomData;

/// D = α·c²/(α²·c² + σ²)·x, the mean of x₀ ~ N(0, c²) given x = α·x₀ + σ·ε.
pub struct Gaussian<P> {
    /// The data's standard deviation c.
    std: f64,
    path: PhantomData<P>,
}

impl<P: Path> Gaussian<P> {
    pub fn new(std: f64) -> Self {
        Self { std, path: PhantomData }
    }

    /// The standard deviation of x at noise level `sigma`: the solution of the probability flow is x in proportion.
    pub fn std_at(&self, sigma: f64) -> f64 {
        (P::alpha(sigma) * self.std).hypot(sigma)
    }
}

impl<B: Backend, P: Path, const D: usize> Denoiser<B, D> for Gaussian<P> {
    type Path = P;

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D> {
        let weight = P::alpha(sigma) * self.std.powi(2) / self.std_at(sigma).powi(2);
        let denoised = x.clone() * weight;
        Evaluation::from_denoised::<P>(x, denoised, sigma)
    }
}

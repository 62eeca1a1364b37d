//! An oracle: the exact denoiser of normally distributed data, which needs no training.

use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::{Denoiser, DenoiserOutput, Path};

/// D = α·c²/(α²·c² + σ²)·x, the mean of x₀ ~ N(0, c²) given x = α·x₀ + σ·ε.
pub struct Gaussian<P> {
    /// The data's standard deviation c.
    std: f64,
    path: P,
}

impl<P: Path + Default> Gaussian<P> {
    pub fn new(std: f64) -> Self {
        Self { std, path: P::default() }
    }

    /// The standard deviation of x at noise level `sigma`: the solution of the probability flow is x in proportion.
    pub fn std_at(&self, sigma: f64) -> f64 {
        (self.path.alpha(sigma) * self.std).hypot(sigma)
    }
}

impl<B: Backend, P: Path + Default, const D: usize> Denoiser<B, D> for Gaussian<P> {
    type Path = P;

    fn path(&self) -> P {
        self.path.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        std::array::from_fn(|axis| if axis == 0 { batch } else { 1 })
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        let weight = self.path.alpha(sigma) * self.std.powi(2) / self.std_at(sigma).powi(2);
        let denoised = x.clone() * weight;
        DenoiserOutput::from_denoised(&self.path, x, denoised, sigma)
    }
}

//! What a sampler may know of a model.

use crate::parameterization::Scalings;
use crate::path::Path;
use crate::sigma::{Sigma, combine};
use burn::tensor::{Tensor, backend::Backend};

/// Anything that can estimate the data behind a noisy input: all that a sampler sees of a model.
///
/// An unconditional [`Diffusion`](crate::Diffusion) is one as it is; a conditional one becomes one by
/// [`given`](crate::Diffusion::given); [guidance](crate::guidance) makes one out of two others.
pub trait Denoiser<B: Backend, const D: usize> {
    /// The path on which the noise levels lie.
    type Path: Path;

    /// The path itself.
    fn path(&self) -> Self::Path;

    /// The shape of a batch of inputs.
    fn input_shape(&self, batch: usize) -> [usize; D];

    /// The denoiser's one output at `x`, from which everything else follows.
    ///
    /// # Shapes
    /// - `x`: `[batch, …]`
    /// - `sigma`: positive, the same for the whole batch
    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D>;

    /// The same for one sampling run, in the course of which a denoiser may remember something, as guidance with
    /// momentum does. What it remembers belongs to the function that is returned, and ends with it.
    fn start(&self) -> impl FnMut(Tensor<B, D>, f64) -> DenoiserOutput<B, D> {
        |x, sigma| self.evaluate(x, sigma)
    }
}

impl<B: Backend, const D: usize, M: Denoiser<B, D>> Denoiser<B, D> for &M {
    type Path = M::Path;

    fn path(&self) -> Self::Path {
        (**self).path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        (**self).input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        (**self).evaluate(x, sigma)
    }

    fn start(&self) -> impl FnMut(Tensor<B, D>, f64) -> DenoiserOutput<B, D> {
        (**self).start()
    }
}

/// What a denoiser found at one point: its raw output, and how the estimates follow from it.
#[derive(Clone, Debug)]
pub struct DenoiserOutput<B: Backend, const D: usize> {
    pub(crate) x: Tensor<B, D>,
    pub(crate) output: Tensor<B, D>,
    pub(crate) denoised: Scalings,
    pub(crate) velocity: Scalings,
}

impl<B: Backend, const D: usize> DenoiserOutput<B, D> {
    /// The output of a denoiser that knows its estimate of x₀ itself, without a network.
    ///
    /// # Shapes
    /// - `x`, `denoised`: `[batch, …]`
    pub fn from_denoised(path: &impl Path, x: Tensor<B, D>, denoised: Tensor<B, D>, sigma: f64) -> Self {
        // The output is x₀ itself: a = 1 and b = 0 in the formulas of `Parameterization`.
        let (alpha, grad_alpha) = (path.alpha(sigma), path.alpha_derivative(sigma));
        Self {
            x,
            output: denoised,
            denoised: Scalings { skip: 0.0, out: 1.0 },
            velocity: Scalings { skip: 1.0 / sigma, out: grad_alpha - alpha / sigma },
        }
    }

    /// The estimate D of x₀.
    pub fn denoised(self) -> Tensor<B, D> {
        combine(&Sigma::All(0.0), |_| self.denoised, self.x, self.output)
    }

    /// The estimate of dx/dσ.
    pub fn velocity(self) -> Tensor<B, D> {
        combine(&Sigma::All(0.0), |_| self.velocity, self.x, self.output)
    }
}

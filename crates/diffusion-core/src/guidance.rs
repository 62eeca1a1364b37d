//! What a sampler may know of a model, and guidance: a denoiser made of denoisers.

use crate::diffusion::Diffusion;
use crate::network::{Condition, Network, NullCondition};
use crate::parameterization::{Combination, Parameterization};
use crate::path::Path;
use crate::sigma::{Sigma, mix};
use burn::tensor::{Tensor, backend::Backend};

/// Anything that can estimate the data behind a noisy input: all that a sampler sees of a model.
///
/// An unconditional [`Diffusion`] is one as it is; a conditional one becomes one by
/// [`given`](Diffusion::given); guidance makes one out of others.
pub trait Denoiser<B: Backend, const D: usize> {
    /// The path on which the noise levels lie.
    type Path: Path;

    /// The denoiser's one output at `x`, from which everything else follows.
    ///
    /// # Shapes
    /// - `x`: `[batch, …]`
    /// - `sigma`: positive, the same for the whole batch
    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D>;
}

impl<B: Backend, const D: usize, M: Denoiser<B, D>> Denoiser<B, D> for &M {
    type Path = M::Path;

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D> {
        (**self).evaluate(x, sigma)
    }
}

/// What a denoiser found at one point: its raw output, and how the estimates follow from it.
#[derive(Clone, Debug)]
pub struct Evaluation<B: Backend, const D: usize> {
    pub(crate) x: Tensor<B, D>,
    pub(crate) output: Tensor<B, D>,
    pub(crate) denoised: Combination,
    pub(crate) velocity: Combination,
}

impl<B: Backend, const D: usize> Evaluation<B, D> {
    /// The evaluation of a denoiser that knows its estimate of x₀ itself, without a network.
    ///
    /// # Shapes
    /// - `x`, `denoised`: `[batch, …]`
    pub fn from_denoised<P: Path>(x: Tensor<B, D>, denoised: Tensor<B, D>, sigma: f64) -> Self {
        // The output is x₀ itself: a = 1 and b = 0 in the formulas of `Parameterization`.
        let (alpha, slope) = (P::alpha(sigma), P::alpha_derivative(sigma));
        Self {
            x,
            output: denoised,
            denoised: Combination { x: 0.0, output: 1.0 },
            velocity: Combination { x: 1.0 / sigma, output: slope - alpha / sigma },
        }
    }

    /// The estimate D of x₀.
    pub fn denoised(self) -> Tensor<B, D> {
        combine(self.denoised, self.x, self.output)
    }

    /// The estimate of dx/dσ.
    pub fn velocity(self) -> Tensor<B, D> {
        combine(self.velocity, self.x, self.output)
    }
}

fn combine<B: Backend, const D: usize>(
    weights: Combination,
    x: Tensor<B, D>,
    output: Tensor<B, D>,
) -> Tensor<B, D> {
    mix((Sigma::All(weights.x), x), (Sigma::All(weights.output), output))
}

impl<B: Backend, N, P: Parameterization, const D: usize> Denoiser<B, D> for Diffusion<B, N, P>
where
    N: Network<B, D, Condition = ()>,
{
    type Path = P::Path;

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D> {
        self.given(()).evaluate(x, sigma)
    }
}

/// A model with its condition bound; made by [`Diffusion::given`].
#[derive(Debug)]
pub struct Given<'a, M, C> {
    pub(crate) model: &'a M,
    pub(crate) condition: C,
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> Given<'a, Diffusion<B, N, P>, C> {
    /// Classifier-free guidance away from "no condition" (Ho & Salimans 2022, arXiv:2207.12598, eq. 6).
    ///
    /// The output is `F_c + scale·(F_c − F_u)`; a scale of 0 turns guidance off, as in the reference. Elsewhere the
    /// scale is often written as G = 1 + scale.
    pub fn guided(self, scale: f64) -> Guided<'a, Diffusion<B, N, P>, C>
    where
        N: NullCondition<Condition = C>,
    {
        let against = self.model.network.null_condition(&self.condition);
        self.guided_by(against, scale)
    }

    /// Guidance away from a condition of the caller's choice, a "negative prompt" say; `scale` is as in
    /// [`guided`](Self::guided).
    pub fn guided_by(self, against: C, scale: f64) -> Guided<'a, Diffusion<B, N, P>, C> {
        Guided { given: self, against, scale }
    }
}

impl<B: Backend, N, P: Parameterization, const D: usize> Denoiser<B, D>
    for Given<'_, Diffusion<B, N, P>, N::Condition>
where
    N: Network<B, D>,
{
    type Path = P::Path;

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D> {
        let output = self.model.predict(x.clone(), sigma, self.condition.clone());
        self.model.evaluation(x, output, sigma)
    }
}

/// A model under classifier-free guidance; made by [`Given::guided`].
///
/// Both halves go through the network in one batch. Guiding the network's output guides the estimates of x₀, ε and
/// the velocity alike, because each is linear in it and the input's weights cancel in the difference.
#[derive(Debug)]
pub struct Guided<'a, M, C> {
    given: Given<'a, M, C>,
    against: C,
    scale: f64,
}

impl<B: Backend, N, P: Parameterization, const D: usize> Denoiser<B, D>
    for Guided<'_, Diffusion<B, N, P>, N::Condition>
where
    N: Network<B, D>,
{
    type Path = P::Path;

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> Evaluation<B, D> {
        if self.scale == 0.0 {
            return self.given.evaluate(x, sigma);
        }
        let Given { model, condition } = &self.given;
        let batch = x.dims()[0];
        let both = Tensor::cat(vec![x.clone(), x.clone()], 0); // [2·batch, …]
        let output = model.predict(both, sigma, condition.clone().join(self.against.clone()));
        let (with, without) = (output.clone().narrow(0, 0, batch), output.narrow(0, batch, batch));
        let output = with.clone() + (with - without) * self.scale;
        model.evaluation(x, output, sigma)
    }
}

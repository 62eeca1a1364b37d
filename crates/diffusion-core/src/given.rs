//! A model as a denoiser: with its condition bound, or as it is where it has none.

use crate::condition::Unconditional;
use crate::denoiser::{Denoiser, DenoiserOutput, Evaluate};
use crate::diffusion::Diffusion;
use crate::invalid::Invalid;
use crate::last_estimate::LastEstimate;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::sigma::Sigma;
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// A model with its condition bound; made by [`Diffusion::given`].
///
/// A network that is [given its own estimate](Network::self_conditioned) gets, in the course of a sampling run, what it
/// found at the beginning of the last step; an evaluation by itself, as a likelihood asks for them, gives it none.
#[derive(Clone, Debug)]
pub struct Given<'a, M, C> {
    pub(crate) model: &'a M,
    pub(crate) condition: C,
}

impl<B: Backend, N, P: Parameterization> Diffusion<B, N, P> {
    /// The model with its condition bound, ready to be sampled from or guided.
    pub fn given<C>(&self, condition: C) -> Given<'_, Self, C> {
        Given { model: self, condition }
    }

    /// A sampling run under the condition as `told` puts it at a noise level in a step.
    fn run<'a, const D: usize>(
        &'a self,
        told: impl Fn(f64, SamplerStep) -> N::Condition + 'a,
    ) -> Evaluate<'a, B, D>
    where
        N: Network<B, D>,
    {
        let mut last = LastEstimate::none();
        Box::new(move |x, sigma, step| {
            let estimate = last.given(step, &x);
            let output = self.output(x.clone(), &sigma.into(), told(sigma, step), estimate);
            let found = self.denoiser_output(x, output, sigma);
            if self.network.self_conditioned() {
                last.found(step, sigma, || found.clone().denoised());
            }
            found
        })
    }

    /// The same with the mean velocities over the steps of the run; nothing if the network does not know them.
    fn run_averaged<const D: usize>(&self, condition: N::Condition) -> Option<Evaluate<'_, B, D>>
    where
        N: Network<B, D>,
    {
        self.network.averaged(condition.clone(), Sigma::All(0.0))?;
        Some(self.run(move |sigma, step| {
            let over = Sigma::All(step.length_below(sigma));
            self.network.averaged(condition.clone(), over).expect("it has just been asked for that")
        }))
    }
}

impl<B: Backend, N, P: Parameterization, const D: usize> Denoiser<B, D> for Diffusion<B, N, P>
where
    N: Network<B, D, Condition: Unconditional>,
{
    type Path = P::Path;

    fn path(&self) -> P::Path {
        self.parameterization.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.network.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        self.given(<N::Condition as Unconditional>::NONE).evaluate(x, sigma)
    }

    fn start(&self) -> Evaluate<'_, B, D> {
        self.run(|_, _| <N::Condition as Unconditional>::NONE)
    }

    fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
        self.run_averaged(<N::Condition as Unconditional>::NONE)
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.parameterization.check_levels(sigmas)
    }
}

impl<B: Backend, N, P: Parameterization, const D: usize> Denoiser<B, D>
    for Given<'_, Diffusion<B, N, P>, N::Condition>
where
    N: Network<B, D>,
{
    type Path = P::Path;

    fn path(&self) -> P::Path {
        self.model.parameterization.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.model.network.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        let output = self.model.output(x.clone(), &sigma.into(), self.condition.clone(), None);
        self.model.denoiser_output(x, output, sigma)
    }

    fn start(&self) -> Evaluate<'_, B, D> {
        self.model.run(|_, _| self.condition.clone())
    }

    fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
        self.model.run_averaged(self.condition.clone())
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.model.parameterization.check_levels(sigmas)
    }
}

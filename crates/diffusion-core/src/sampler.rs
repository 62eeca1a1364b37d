//! A sampler turns noise into data, one noise level at a time; sampling is an iterator over the states.

mod general;
mod heun;

pub use general::General;
pub use heun::Heun;

use crate::guidance::Denoiser;
use crate::path::Path;
use crate::random::Noise;
use crate::schedule::Sigmas;
use burn::tensor::{Tensor, backend::Backend};

/// A rule that takes a state from one noise level to the next.
///
/// What it remembers between steps is an explicit value, so that a sampler itself never changes and one may serve
/// many runs at once.
pub trait Sampler {
    /// What one run remembers from step to step.
    type Memory<B: Backend, const D: usize>: Default;

    /// The state at `step.to`, given the state `x` at `step.from`.
    ///
    /// `noise` gives fresh unit normal noise of the state's shape at each call; a step calls it at most once.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        step: Step,
        noise: &mut dyn FnMut() -> Tensor<B, D>,
        memory: &mut Self::Memory<B, D>,
    ) -> Tensor<B, D>;
}

/// One step of a sampling run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its place in the run, from 0.
    pub index: usize,
    /// The number of steps of the run.
    pub steps: usize,
    /// The noise level that it starts from, positive.
    pub from: f64,
    /// The noise level that it ends at, at most `from`; 0 is data.
    pub to: f64,
}

/// Where a run's noise comes from: [`Noise`] for a seed, or a function from the step's index to given noise.
pub trait NoiseSource<B: Backend, const D: usize> {
    /// Unit normal noise of the shape of `x` for the step `index`.
    fn draw(&mut self, index: usize, x: &Tensor<B, D>) -> Tensor<B, D>;
}

impl<B: Backend, const D: usize> NoiseSource<B, D> for Noise {
    fn draw(&mut self, index: usize, x: &Tensor<B, D>) -> Tensor<B, D> {
        self.step(index, x.dims(), &x.device())
    }
}

impl<B: Backend, const D: usize, F: FnMut(usize) -> Tensor<B, D>> NoiseSource<B, D> for F {
    fn draw(&mut self, index: usize, _x: &Tensor<B, D>) -> Tensor<B, D> {
        self(index)
    }
}

/// Samples from `denoiser`: yields the state after each step along `sigmas`, the last of which is the sample.
///
/// `x` is the state at the first noise level, usually `model.rand_input(…) * sigmas[0]`. Nothing is computed before
/// the iterator is asked: stop early, keep every state for an animation, or take `.last()`.
///
/// The grid and the model are on one path,
/// ```
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, FlowPrediction, General, Noise, network::mlp::TimeInputMlpConfig, sample};
/// # use diffusion_core::schedule::{Ddpm, Flow, Schedule};
/// # let device = Default::default();
/// let model = Diffusion::new(TimeInputMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
/// let x = model.rand_input::<2>(4, Noise::new(0), &device);
/// sample(&model, General::DDIM, &Flow::default().sigmas(10), x, Noise::new(0)).last();
/// ```
/// and others do not compile:
/// ```compile_fail,E0308
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, FlowPrediction, General, Noise, network::mlp::TimeInputMlpConfig, sample};
/// # use diffusion_core::schedule::{Ddpm, Flow, Schedule};
/// # let device = Default::default();
/// let model = Diffusion::new(TimeInputMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
/// let x = model.rand_input::<2>(4, Noise::new(0), &device);
/// sample(&model, General::DDIM, &Ddpm::default().sigmas(10), x, Noise::new(0)).last();
/// ```
///
/// # Shapes
/// - `x`, yields: `[batch, …]`
pub fn sample<'a, B, const D: usize, M, S, Z>(
    denoiser: &'a M,
    sampler: S,
    sigmas: &'a Sigmas<M::Path>,
    mut x: Tensor<B, D>,
    mut noise: Z,
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S, Z>
where
    B: Backend,
    M: Denoiser<B, D>,
    S: Sampler,
    Z: NoiseSource<B, D>,
{
    let mut memory = S::Memory::default();
    sigmas.windows(2).enumerate().map(move |(index, levels)| {
        let step = Step { index, steps: sigmas.steps(), from: levels[0], to: levels[1] };
        let mut draw = || noise.draw(index, &x);
        x = sampler.step(denoiser, x.clone(), step, &mut draw, &mut memory);
        x.clone()
    })
}

/// Takes the state `x` from noise level `from` up to `to` by adding fresh noise, so that it stays on the path:
/// `r·x + √(to² − r²·from²)·z` with `r = α(to)/α(from)`.
///
/// On the variance-exploding path r = 1, which is the reference's rule; the reference uses it for flow models too,
/// whose variance then grows.
fn renoise<P: Path, B: Backend, const D: usize>(
    x: Tensor<B, D>,
    from: f64,
    to: f64,
    noise: impl FnOnce() -> Tensor<B, D>,
) -> Tensor<B, D> {
    if to == from {
        return x;
    }
    let ratio = P::alpha(to) / P::alpha(from);
    let fresh = (to * to - (ratio * from).powi(2)).max(0.0).sqrt();
    let x = if ratio == 1.0 { x } else { x * ratio };
    x + noise() * fresh
}

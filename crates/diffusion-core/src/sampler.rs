//! A sampler turns noise into data, one noise level at a time; sampling is an iterator over the states.

mod any;
mod multistep;
mod noise;
mod pure_noise;
mod quadrature;
mod trapezoid;
mod way;

pub use crate::step::SamplerStep;
pub use any::*;
pub use multistep::Remainders;
pub use noise::{AnyNoise, NoiseKind, NoiseRequest, NoiseSource};
pub use pure_noise::FromPureNoise;

use crate::denoiser::{Denoiser, DenoiserOutput, Evaluate};
use crate::invalid::expect_valid;
use crate::path::Path;
use crate::random::Noise;
use crate::schedule::Sigmas;
use burn::tensor::{Tensor, backend::Backend};
use std::cell::{Cell, RefCell};

/// A rule that takes a state from one noise level to the next.
///
/// What it remembers between steps is an explicit value, so that a sampler itself never changes and one may serve
/// many runs at once.
///
/// A sampler of your own: the Euler method, which is DDIM.
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, TensorData, backend::Backend};
/// use diffusion_core::network::ideal::IdealDenoiser;
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{Combination, Denoiser, GradientEstimation, Noise, Sampler, SamplerStep, sample};
///
/// struct Euler;
///
/// impl Sampler for Euler {
///     type State<B: Backend, const D: usize> = ();
///
///     fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) {}
///
///     fn order(&self) -> u32 {
///         1
///     }
///
///     fn evaluations(&self, _step: SamplerStep) -> Option<usize> {
///         Some(1)
///     }
///
///     fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
///         &self,
///         denoiser: &M,
///         x: Tensor<B, D>,
///         step: SamplerStep,
///         _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
///         _state: &mut (),
///     ) -> Tensor<B, D> {
///         let along = Combination { x: 1.0, velocity: step.to - step.from, ..Combination::default() };
///         denoiser.evaluate(x, step.from).combined(along)
///     }
/// }
///
/// let device = Default::default();
/// let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// let (model, sigmas) = (IdealDenoiser::<Flex, 2>::new(&data, &device), LogLinear::default().sigmas(10));
/// let ours = sample(&model, Euler, &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// let ddim = sample(&model, GradientEstimation::DDIM, &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// assert_eq!(ours.into_data(), ddim.into_data());
/// ```
pub trait Sampler {
    /// What one run remembers from step to step.
    type State<B: Backend, const D: usize>;

    /// The state before the first step of a run along `sigmas`, or of one whose grid begins so.
    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> Self::State<B, D>;

    /// The order of convergence: with n times as many steps, the error of the end falls by n to the power of this. Of a
    /// sampler that adds noise, it is that of the distribution of the ends.
    fn order(&self) -> u32;

    /// How often `step` evaluates the denoiser; none if that is not known before.
    fn evaluations(&self, step: SamplerStep) -> Option<usize>;

    /// Which noise the sampler is used with, unless its user chooses another; [`sample`] takes it.
    fn noise_kind(&self) -> NoiseKind {
        NoiseKind::Steps
    }

    /// Whether a run asks for noise on its way; without it, a sample follows from the state that the run began with. It does,
    /// unless a sampler says otherwise.
    fn adds_noise(&self) -> bool {
        true
    }

    /// Whether the velocities that it asks the denoiser for are means over its steps
    /// ([`Denoiser::start_averaged`]).
    fn takes_mean_velocity(&self) -> bool {
        false
    }

    /// The state at `step.to`, given the state `x` at `step.from`.
    ///
    /// `noise(from, to)` gives unit normal noise of the state's shape for the way between two noise levels. It is
    /// independent of that for any other way: a step asks for the ways down that it consists of, each at most once, and
    /// for ways up as often as it goes them. Whoever gives the noise may let it depend on the way, as that of one Brownian
    /// motion does.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        step: SamplerStep,
        noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        state: &mut Self::State<B, D>,
    ) -> Tensor<B, D>;
}

/// Samples from `denoiser`: yields the state after each step along `sigmas`, the last of which is the sample.
///
/// The run starts by itself, from the noise for the samples 0 to `count` of `noise`, times the first noise level; on its
/// way it has noise of the kind that the sampler is used with ([`Sampler::noise_kind`]). No
/// step is computed before the iterator is asked: stop early, keep every state for an animation, or take `.last()`.
///
/// The grid and the model are on one path,
/// ```
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, FlowPrediction, GradientEstimation, Noise, sample};
/// # use diffusion_core::network::mlp::TimeInputMlpConfig;
/// # use diffusion_core::schedule::{Ddpm, Flow, Schedule};
/// # let device = Default::default();
/// let model = Diffusion::new(TimeInputMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
/// sample(&model, GradientEstimation::DDIM, &Flow::default().sigmas(10), 4, Noise::new(0), &device).last();
/// ```
/// and others do not compile:
/// ```compile_fail,E0308
/// # use burn::backend::Flex;
/// # use diffusion_core::{Diffusion, FlowPrediction, GradientEstimation, Noise, sample};
/// # use diffusion_core::network::mlp::TimeInputMlpConfig;
/// # use diffusion_core::schedule::{Ddpm, Flow, Schedule};
/// # let device = Default::default();
/// let model = Diffusion::new(TimeInputMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
/// sample(&model, GradientEstimation::DDIM, &Ddpm::default().sigmas(10), 4, Noise::new(0), &device).last();
/// ```
///
/// # Shapes
/// - yields the denoiser's input shape for `count` examples
///
/// # Panics
/// As [`sample_from`].
pub fn sample<'a, B, const D: usize, M, S>(
    denoiser: &'a M,
    sampler: S,
    sigmas: &'a Sigmas<M::Path>,
    count: usize,
    noise: Noise,
    device: &B::Device,
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S>
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler,
{
    let x = noise.initial(denoiser.input_shape(count), device) * sigmas[0];
    let noise = sampler.noise_kind().of(noise);
    sample_from(denoiser, sampler, sigmas, x, noise)
}

/// Samples as [`sample`] does, from the given state `x` at the first noise level.
///
/// # Shapes
/// - `x`, yields: `[batch, …]`
///
/// # Panics
/// If the denoiser and the noise levels are on different paths, the sampler's parameters are out of their range, the
/// denoiser cannot be evaluated at the noise levels ([`Denoiser::check_levels`]), or the sampler asks for mean velocities that
/// it does not know ([`Denoiser::start_averaged`]).
pub fn sample_from<'a, B, const D: usize, M, S, Z>(
    denoiser: &'a M,
    sampler: S,
    sigmas: &'a Sigmas<M::Path>,
    x: Tensor<B, D>,
    noise: Z,
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S, Z>
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler,
    Z: NoiseSource<B, D>,
{
    sample_changed(denoiser, sampler, sigmas, x, noise, |_, x| x)
}

/// Samples as [`sample_from`] does, while `change` may put another state in the place of the one that a step has reached:
/// the run goes on from there. It is given the step and the state at `step.to`.
///
/// What a sampler remembers from step to step is not changed.
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// # use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{GradientEstimation, Noise, sample_changed};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// # let (model, sigmas) = (IdealDenoiser::<Flex, 2>::new(&data, &device), LogLinear::default().sigmas(10));
/// // No state leaves a box.
/// let x = Tensor::<Flex, 2>::ones([4, 2], &device) * sigmas[0];
/// let clamped = |_, x: Tensor<Flex, 2>| x.clamp(-2.0, 2.0);
/// let states = sample_changed(&model, GradientEstimation::DDIM, &sigmas, x, Noise::new(0), clamped);
/// assert!(states.into_iter().all(|x| x.abs().max().into_scalar() <= 2.0));
/// ```
///
/// # Shapes
/// - `x`, what `change` is given and returns, yields: `[batch, …]`
///
/// # Panics
/// As [`sample_from`].
pub fn sample_changed<'a, B, const D: usize, M, S, Z, F>(
    denoiser: &'a M,
    sampler: S,
    sigmas: &'a Sigmas<M::Path>,
    mut x: Tensor<B, D>,
    mut noise: Z,
    mut change: F,
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S, Z, F>
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler,
    Z: NoiseSource<B, D>,
    F: FnMut(SamplerStep, Tensor<B, D>) -> Tensor<B, D>,
{
    assert_eq!(denoiser.path(), sigmas.path(), "the denoiser and the noise levels are on different paths");
    expect_valid(denoiser.check_levels(sigmas));
    let path = denoiser.path();
    let mut state = sampler.start::<B, D>(sigmas);
    let run = Run::new(denoiser, sigmas[0], sampler.takes_mean_velocity());
    sigmas.windows(2).enumerate().map(move |(index, levels)| {
        let step = SamplerStep { index, from: levels[0], to: levels[1] };
        run.step.set(step);
        let mut draws = 0..;
        let mut draw = |from, to| {
            let snr = [from, to].map(|level| way::snr(&path, level));
            let draw = draws.next().unwrap_or_default();
            noise.draw(NoiseRequest { index, draw, from, to, snr }, &x)
        };
        let reached = sampler.step(&run, x.clone(), step, &mut draw, &mut state);
        x = change(step, reached);
        x.clone()
    })
}

/// Of a denoiser that is no mean flow.
const UNKNOWN: &str =
    "the sampler asks for mean velocities over its steps, and the model was not made to know them";

/// A denoiser in the course of a sampling run, with what it remembers.
struct Run<'a, B: Backend, const D: usize, M: ?Sized> {
    denoiser: &'a M,
    evaluate: RefCell<Evaluate<'a, B, D>>,
    /// The step that it is in.
    step: Cell<SamplerStep>,
}

impl<'a, B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized> Run<'a, B, D, M> {
    /// A run that begins at the noise level `first`, with mean velocities or those at each point.
    fn new(denoiser: &'a M, first: f64, averaged: bool) -> Self {
        let step = Cell::new(SamplerStep::to_data(first));
        let evaluate = match averaged {
            true => denoiser.start_averaged().expect(UNKNOWN),
            false => denoiser.start(),
        };
        Self { denoiser, evaluate: RefCell::new(evaluate), step }
    }
}

impl<B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized> Denoiser<B, D> for Run<'_, B, D, M> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.denoiser.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.denoiser.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        (self.evaluate.borrow_mut())(x, sigma, self.step.get())
    }
}

/// The weights of the state and of fresh unit noise that take a state from noise level `from` up to `to`, so that it stays
/// on the path: `r·x + √(to² − r²·from²)·z` with `r = α(to)/α(from)`.
///
/// On the variance-exploding path r = 1, which is smalldiffusion's rule; smalldiffusion uses it for flow models too,
/// whose variance then grows.
pub(crate) fn renoise(path: &impl Path, from: f64, to: f64) -> (f64, f64) {
    if to == from {
        return (1.0, 0.0);
    }
    let ratio = path.alpha(to) / path.alpha(from);
    (ratio, (to * to - (ratio * from).powi(2)).max(0.0).sqrt())
}

//! What a sampler may know of a model.

use crate::invalid::Invalid;
use crate::parameterization::Scalings;
use crate::path::Path;
use crate::sigma::sum;
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// Anything that can estimate the data behind a noisy input: all that a sampler sees of a model.
///
/// An unconditional [`Diffusion`](crate::Diffusion) is one as it is; a conditional one becomes one by
/// [`given`](crate::Diffusion::given); [guidance](crate::guidance) makes one out of two others.
///
/// The trait is dyn-compatible, and a `Box`, an `Arc` or a `&` of a denoiser is one. So models of different types can
/// be sampled from in turn:
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, TensorData, backend::Backend};
/// use diffusion_core::network::{ideal::IdealDenoiser, mlp::TimeInputMlpConfig};
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{
///     Denoiser, DenoiserOutput, Diffusion, EpsPrediction, GradientEstimation, Noise, VarianceExploding, sample,
/// };
///
/// /// Knows that the data are one point.
/// struct AlwaysZero;
///
/// impl<B: Backend> Denoiser<B, 2> for AlwaysZero {
///     type Path = VarianceExploding;
///
///     fn path(&self) -> VarianceExploding {
///         VarianceExploding
///     }
///
///     fn input_shape(&self, batch: usize) -> [usize; 2] {
///         [batch, 2]
///     }
///
///     fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
///         let x0 = x.zeros_like();
///         DenoiserOutput::from_denoised(&VarianceExploding, x, x0, sigma)
///     }
/// }
///
/// let device = Default::default();
/// let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// let model = Diffusion::new(TimeInputMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let denoisers: Vec<Box<dyn Denoiser<Flex, 2, Path = VarianceExploding>>> =
///     vec![Box::new(AlwaysZero), Box::new(IdealDenoiser::new(&data, &device)), Box::new(model)];
///
/// let sigmas = LogLinear::default().sigmas(10).to_zero();
/// for denoiser in &denoisers {
///     let x0 = sample(denoiser, GradientEstimation::DDIM, &sigmas, 4, Noise::new(0), &device).last().unwrap();
///     assert_eq!(x0.dims(), [4, 2]);
/// }
/// ```
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
    /// momentum does, or a model whose network is given its last estimate. What it remembers belongs to the function that is
    /// returned, and ends with it.
    fn start(&self) -> Evaluate<'_, B, D> {
        Box::new(|x, sigma, _step| self.evaluate(x, sigma))
    }

    /// The same, whose velocity is the mean on the way of the flow from the noise level of the evaluation down to the end of the
    /// step, for a [sampler](crate::Sampler::takes_mean_velocity) that asks for that. Nothing where the denoiser does not
    /// know it: only a model does that was [trained for it](crate::objective::MeanFlow).
    fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
        None
    }

    /// Whether the denoiser can be evaluated at these noise levels, of which the last may be 0; a sampling run asks
    /// before it begins.
    ///
    /// # Errors
    /// If a model's [parameterization](crate::Parameterization::check_levels) cannot be used at one of them.
    fn check_levels(&self, _sigmas: &[f64]) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A denoiser in the course of one sampling run: a function of the state, its noise level, and the step that the run is in.
///
/// The noise level is that of the evaluation, which is anywhere in the step, and above its start where a sampler adds noise
/// first.
pub type Evaluate<'a, B, const D: usize> =
    Box<dyn FnMut(Tensor<B, D>, f64, SamplerStep) -> DenoiserOutput<B, D> + 'a>;

macro_rules! forward_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized> Denoiser<B, D> for $pointer {
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

            fn start(&self) -> Evaluate<'_, B, D> {
                (**self).start()
            }

            fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
                (**self).start_averaged()
            }

            fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
                (**self).check_levels(sigmas)
            }
        }
    )*};
}

forward_to_pointee!(&M, Box<M>, std::rc::Rc<M>, std::sync::Arc<M>);

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

    /// `x·(noisy input) + denoised·D + velocity·dx/dσ` for three weights, as a sampler's step is one.
    ///
    /// The coefficients of the noisy input and of the output are added on the host, in f64, before a tensor is touched:
    /// at high noise levels the terms are large and nearly cancel, and their sum does not.
    ///
    /// # Shapes
    /// - returns `[batch, …]`
    pub fn combined(self, weights: Combination) -> Tensor<B, D> {
        let Combination { x, denoised, velocity } = weights;
        let skip = x + denoised * self.denoised.skip + velocity * self.velocity.skip;
        let out = denoised * self.denoised.out + velocity * self.velocity.out;
        sum([(skip, self.x), (out, self.output)])
    }

    /// The estimate D of x₀.
    pub fn denoised(self) -> Tensor<B, D> {
        self.combined(Combination { denoised: 1.0, ..Combination::default() })
    }

    /// The estimate of dx/dσ.
    pub fn velocity(self) -> Tensor<B, D> {
        self.combined(Combination { velocity: 1.0, ..Combination::default() })
    }
}

/// The weights of what is known at one point, for [`DenoiserOutput::combined`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Combination {
    /// Of the noisy input.
    pub x: f64,
    /// Of the estimate D of x₀.
    pub denoised: f64,
    /// Of the estimate of dx/dσ.
    pub velocity: f64,
}

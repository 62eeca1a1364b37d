//! Guidance: a denoiser made of two denoisers, which follows one away from the other.
//!
//! The two may be one model under two conditions, which then are evaluated in one batch, or any two denoisers on one
//! path, e.g. a model and a smaller one.

mod any;
mod pair;

pub use any::*;
pub use pair::{DenoiserPair, TwoConditions};

use crate::condition::Condition;
use crate::denoiser::{Denoiser, DenoiserOutput, Evaluate};
use crate::diffusion::{Diffusion, Given};
use crate::invalid::Invalid;
use crate::parameterization::Parameterization;
use burn::tensor::{Tensor, backend::Backend};

/// A rule that combines the outputs of two denoisers.
///
/// What it remembers between the steps of one sampling run is an explicit value, as of a [`Sampler`](crate::Sampler).
///
/// A guidance of your own: classifier-free guidance in an interval of noise levels (Kynkäänniemi et al. 2024,
/// arXiv:2404.07724).
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_core::network::mlp::ConditionalMlpConfig;
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{
///     Diffusion, EpsPrediction, Guidance, Heun, Labels, Noise, NullCondition, sample,
/// };
///
/// struct Interval {
///     scale: f64,
///     low: f64,
///     high: f64,
/// }
///
/// impl Guidance for Interval {
///     type State<B: Backend, const D: usize> = ();
///
///     fn start<B: Backend, const D: usize>(&self) {}
///
///     fn is_active(&self, sigma: f64) -> bool {
///         self.low < sigma && sigma <= self.high
///     }
///
///     fn combine<B: Backend, const D: usize>(
///         &self,
///         with: Tensor<B, D>,
///         without: Tensor<B, D>,
///         _sigma: f64,
///         _state: &mut (),
///     ) -> Tensor<B, D> {
///         with.clone() + (with - without) * self.scale
///     }
/// }
///
/// let device = Default::default();
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let labels = Labels(vec![0, 1, 2, 3]);
/// let null = model.network.null_condition(&labels);
/// let guided = model.given(labels).guided_with(null, Interval { scale: 2.0, low: 0.3, high: 3.0 });
/// let sigmas = LogLinear::default().sigmas(5);
/// let x0 = sample(&guided, Heun::default(), &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// assert_eq!(x0.dims(), [4, 2]);
/// ```
pub trait Guidance {
    /// What one run remembers from evaluation to evaluation.
    type State<B: Backend, const D: usize>;

    /// The state before the first evaluation of a run.
    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D>;

    /// Whether the rule does anything at `sigma`; where it does not, the second denoiser is not evaluated.
    fn is_active(&self, sigma: f64) -> bool;

    /// The output that takes the place of `with`.
    ///
    /// Both outputs mean the same, so that a combination whose weights add up to 1 guides the estimates of x₀, ε and
    /// the velocity alike: each is linear in the output, and the input's weights cancel in the difference.
    ///
    /// # Shapes
    /// - `with`, `without`, returns: `[batch, …]`
    fn combine<B: Backend, const D: usize>(
        &self,
        with: Tensor<B, D>,
        without: Tensor<B, D>,
        sigma: f64,
        state: &mut Self::State<B, D>,
    ) -> Tensor<B, D>;
}

/// A denoiser under guidance; made by [`Guided::new`] of any two, or by [`Given::guided`].
#[derive(Clone, Debug)]
pub struct Guided<M, G> {
    pair: M,
    guidance: G,
}

impl<M, W, G> Guided<(M, W), G> {
    /// The denoiser that follows `with` away from `without`.
    ///
    /// The outputs are combined as they are where both mean the same at a noise level, else as estimates of x₀.
    ///
    /// # Panics
    /// Where it is evaluated, if the two differ in path or in input shape.
    pub fn new(with: M, without: W, guidance: G) -> Self {
        Self { pair: (with, without), guidance }
    }
}

impl<B: Backend, M: DenoiserPair<B, D>, G: Guidance, const D: usize> Denoiser<B, D> for Guided<M, G> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.pair.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.pair.input_shape(batch)
    }

    /// With a fresh state at each call; a sampling run keeps it.
    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        self.start()(x, sigma)
    }

    fn start(&self) -> Evaluate<'_, B, D> {
        let (mut evaluate, mut state) = (self.pair.start(), self.guidance.start::<B, D>());
        Box::new(move |x, sigma| {
            let mut combine = |with, without| self.guidance.combine(with, without, sigma, &mut state);
            let combine: Option<pair::Combine<'_, B, D>> = match self.guidance.is_active(sigma) {
                true => Some(&mut combine),
                false => None,
            };
            evaluate(x, sigma, combine)
        })
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.pair.check_levels(sigmas)
    }
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> Given<'a, Diffusion<B, N, P>, C> {
    /// Guidance by any rule away from the condition `against`.
    pub fn guided_with<G: Guidance>(
        self,
        against: C,
        guidance: G,
    ) -> Guided<TwoConditions<'a, Diffusion<B, N, P>, C>, G> {
        Guided { pair: TwoConditions { given: self, against }, guidance }
    }
}

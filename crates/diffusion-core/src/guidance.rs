//! Guidance: a denoiser made of two denoisers, which follows one away from the other.
//!
//! The two may be one model under two conditions, which then are evaluated in one batch, or any two denoisers on one
//! path, e.g. a model and a smaller one. A [rule](Guidance) has a scale, and a stack of [`Modifier`]s that change it.

mod any;
mod conditions;
mod estimate;
mod modifier;
mod pair;
mod point;

pub use any::*;
pub use conditions::{Conditions, GivenAll};
pub use estimate::GuidedEstimate;
pub use modifier::{
    AnyModifier, AnyModifierState, Apg, CfgPlusPlus, Interval, Modifier, Momentum, Rescale, ScaleCurve,
    ScaleSchedule,
};
pub use pair::{Compared, DenoiserPair};
pub use point::GuidancePoint;

use crate::condition::Condition;
use crate::denoiser::{Denoiser, DenoiserOutput, Evaluate};
use crate::diffusion::Diffusion;
use crate::given::Given;
use crate::invalid::Invalid;
use crate::parameterization::Parameterization;
use crate::path::Path;
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// A rule that moves the estimate of one denoiser, given that of a second one.
///
/// What it remembers between the steps of one sampling run is an explicit value, as of a [`Sampler`](crate::Sampler). To
/// change where a rule acts, its scale, or what comes out of it, write a [`Modifier`] instead.
///
/// A guidance of your own: one that pushes twice as hard in the first step.
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::backend::Backend;
/// use diffusion_core::guidance::{GuidancePoint, GuidedEstimate};
/// use diffusion_core::network::mlp::ConditionalMlpConfig;
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{
///     Diffusion, EpsPrediction, Guidance, Heun, Labels, Noise, NullCondition, sample,
/// };
///
/// struct Push {
///     scale: f64,
/// }
///
/// impl Guidance for Push {
///     type State<B: Backend, const D: usize> = ();
///
///     fn start<B: Backend, const D: usize>(&self) {}
///
///     fn is_active(&self, _at: &GuidancePoint) -> bool {
///         true
///     }
///
///     fn guide<B: Backend, const D: usize>(
///         &self,
///         estimate: GuidedEstimate<B, D>,
///         at: &GuidancePoint,
///         _state: &mut (),
///     ) -> GuidedEstimate<B, D> {
///         estimate.scaled(if at.step.index == 0 { 2.0 * self.scale } else { self.scale })
///     }
/// }
///
/// let device = Default::default();
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let labels = Labels(vec![0, 1, 2, 3]);
/// let null = model.network.null_condition(&labels);
/// let guided = model.given(labels).guided_with(null, Push { scale: 2.0 });
/// let sigmas = LogLinear::default().sigmas(5);
/// let x0 = sample(&guided, Heun::default(), &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// assert_eq!(x0.dims(), [4, 2]);
/// ```
pub trait Guidance {
    /// What one run remembers from evaluation to evaluation.
    type State<B: Backend, const D: usize>;

    /// The state before the first evaluation of a run.
    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D>;

    /// Whether the rule does anything here; where it does not, the second denoiser is not evaluated.
    fn is_active(&self, at: &GuidancePoint) -> bool;

    /// The estimate under guidance. It comes with a scale of 0, so that a rule which does nothing changes nothing.
    fn guide<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        state: &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D>;
}

/// A denoiser under guidance; made by [`Guided::new`] of any two, or by [`Given::guided`] or
/// [`GivenAll::guided`].
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
        self.start()(x, sigma, SamplerStep::to_data(sigma))
    }

    fn start(&self) -> Evaluate<'_, B, D> {
        guided(&self.guidance, self.pair.path(), self.pair.start())
    }

    fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
        Some(guided(&self.guidance, self.pair.path(), self.pair.start_averaged()?))
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.pair.check_levels(sigmas)
    }
}

/// A sampling run under guidance, in which both denoisers are evaluated by `evaluate`.
fn guided<'a, B: Backend, P: Path + 'a, G: Guidance, const D: usize>(
    guidance: &'a G,
    path: P,
    mut evaluate: impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D> + 'a,
) -> Evaluate<'a, B, D> {
    let mut state = guidance.start::<B, D>();
    Box::new(move |x, sigma, step| {
        let at = GuidancePoint::new(&path, sigma, step);
        let (output, difference) = evaluate(x, sigma, step, guidance.is_active(&at));
        let Some(difference) = difference else { return output };
        guidance.guide(GuidedEstimate::new(output, difference), &at, &mut state).into_output()
    })
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> Given<'a, Diffusion<B, N, P>, C> {
    /// Guidance by any rule away from the condition `against`.
    pub fn guided_with<G: Guidance>(
        self,
        against: C,
        guidance: G,
    ) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, G> {
        GivenAll::from(self).guided_with(against, guidance)
    }
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> GivenAll<'a, Diffusion<B, N, P>, C> {
    /// Guidance by any rule away from the condition `against`.
    pub fn guided_with<G: Guidance>(
        self,
        against: C,
        guidance: G,
    ) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, G> {
        Guided { pair: self.away_from(against), guidance }
    }
}

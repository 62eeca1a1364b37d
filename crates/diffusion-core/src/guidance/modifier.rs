//! What changes guidance on its way, one change after the other.

mod any;

pub use any::*;

use super::estimate::GuidedEstimate;
use super::point::GuidancePoint;
use burn::tensor::backend::Backend;

/// A change of guidance: of where it acts, of its scale, or of the estimate itself. Changes make up a stack, of which each
/// changes what those before it left.
///
/// What it remembers between the evaluations of one sampling run is an explicit value, as of a [`Sampler`](crate::Sampler).
/// A list of modifiers is a modifier, and so are two in parentheses, of whatever types.
///
/// One of your own: no value of the guided estimate leaves [−1, 1], as Saharia et al. 2022 clip it (arXiv:2205.11487,
/// §2.3); here together with a modifier that is there.
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::backend::Backend;
/// use diffusion_core::guidance::{GuidancePoint, GuidedEstimate, Interval, Modifier};
/// use diffusion_core::network::mlp::ConditionalMlpConfig;
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{
///     ClassifierFree, Diffusion, EpsPrediction, Heun, Labels, Noise, NullCondition, sample,
/// };
///
/// struct Clip;
///
/// impl Modifier for Clip {
///     type State<B: Backend, const D: usize> = ();
///
///     fn start<B: Backend, const D: usize>(&self) {}
///
///     fn modify<B: Backend, const D: usize>(
///         &self,
///         estimate: GuidedEstimate<B, D>,
///         _at: &GuidancePoint,
///         _state: &mut (),
///     ) -> GuidedEstimate<B, D> {
///         let clipped = estimate.guided().clamp(-1.0, 1.0);
///         estimate.with_guided(clipped)
///     }
/// }
///
/// let device = Default::default();
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let labels = Labels(vec![0, 1, 2, 3]);
/// let null = model.network.null_condition(&labels);
/// let rule = ClassifierFree::new(2.0).with((Interval { low: 0.0, high: 3.0 }, Clip));
/// let guided = model.given(labels).guided_with(null, rule);
/// let sigmas = LogLinear::default().sigmas(5).to_zero();
/// let x0 = sample(&guided, Heun::default(), &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// assert!(x0.abs().max().into_scalar() < 1.001);
/// ```
pub trait Modifier {
    /// What one run remembers from evaluation to evaluation.
    type State<B: Backend, const D: usize>;

    /// The state before the first evaluation of a run.
    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D>;

    /// Whether there is guidance here at all; where there is none, the second denoiser is not evaluated.
    fn is_active(&self, _at: &GuidancePoint) -> bool {
        true
    }

    /// The scale that takes the place of `scale`. It is asked before the denoisers are evaluated, of which the second is
    /// not needed where the last one's scale is 0.
    fn scale(&self, scale: f64, _at: &GuidancePoint) -> f64 {
        scale
    }

    /// The estimate that takes the place of `estimate`. It has the scale that all modifiers together gave it.
    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        _at: &GuidancePoint,
        _state: &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        estimate
    }
}

/// No change.
impl Modifier for () {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}
}

impl<M: Modifier + ?Sized> Modifier for &M {
    type State<B: Backend, const D: usize> = M::State<B, D>;

    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D> {
        (**self).start()
    }

    fn is_active(&self, at: &GuidancePoint) -> bool {
        (**self).is_active(at)
    }

    fn scale(&self, scale: f64, at: &GuidancePoint) -> f64 {
        (**self).scale(scale, at)
    }

    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        state: &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        (**self).modify(estimate, at, state)
    }
}

/// One after the other.
impl<M: Modifier, N: Modifier> Modifier for (M, N) {
    type State<B: Backend, const D: usize> = (M::State<B, D>, N::State<B, D>);

    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D> {
        (self.0.start(), self.1.start())
    }

    fn is_active(&self, at: &GuidancePoint) -> bool {
        self.0.is_active(at) && self.1.is_active(at)
    }

    fn scale(&self, scale: f64, at: &GuidancePoint) -> f64 {
        self.1.scale(self.0.scale(scale, at), at)
    }

    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        (first, second): &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        self.1.modify(self.0.modify(estimate, at, first), at, second)
    }
}

/// From the first to the last one.
impl<M: Modifier> Modifier for Vec<M> {
    type State<B: Backend, const D: usize> = Vec<M::State<B, D>>;

    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D> {
        self.iter().map(Modifier::start).collect()
    }

    fn is_active(&self, at: &GuidancePoint) -> bool {
        self.iter().all(|modifier| modifier.is_active(at))
    }

    fn scale(&self, scale: f64, at: &GuidancePoint) -> f64 {
        self.iter().fold(scale, |scale, modifier| modifier.scale(scale, at))
    }

    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        states: &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        let both = self.iter().zip(states);
        both.fold(estimate, |estimate, (modifier, state)| modifier.modify(estimate, at, state))
    }
}

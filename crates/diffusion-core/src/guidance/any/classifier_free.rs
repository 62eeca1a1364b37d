//! Classifier-free guidance.

use crate::condition::{Condition, NullCondition};
use crate::denoiser::Denoiser;
use crate::diffusion::Diffusion;
use crate::given::Given;
use crate::guidance::conditions::{Conditions, GivenAll};
use crate::guidance::estimate::GuidedEstimate;
use crate::guidance::modifier::{AnyModifier, Modifier, validate};
use crate::guidance::point::GuidancePoint;
use crate::guidance::{Guidance, Guided};
use crate::invalid::Invalid;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::precision::check_factor;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6), `D + scale·(D − D_u)`, and what is changed of it.
///
/// A scale of 0 turns it off, as in smalldiffusion. Elsewhere the scale is often written as G = 1 + scale.
///
/// Of any two denoisers it is the same rule: of a model and a weaker one it is autoguidance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(serialize = "M: Default + PartialEq + Serialize", deserialize = "M: Default + Deserialize<'de>")
)]
pub struct ClassifierFree<M = Vec<AnyModifier>> {
    /// How far to go beyond the first output.
    pub scale: f64,
    /// What changes it, one after the other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub modifiers: M,
}

fn is_default<M: Default + PartialEq>(modifiers: &M) -> bool {
    *modifiers == M::default()
}

impl ClassifierFree {
    /// That of a scale, without modifiers.
    pub fn new(scale: f64) -> Self {
        Self { scale, modifiers: Vec::new() }
    }

    /// Whether there is such guidance.
    ///
    /// # Errors
    /// If the scale is not finite in f32, or a modifier's parameter is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("scale", self.scale)?;
        validate(self.scale, &self.modifiers)
    }
}

impl<M> ClassifierFree<M> {
    /// The same scale with these modifiers instead; of several of different types, make pairs.
    ///
    /// ```
    /// use diffusion_core::ClassifierFree;
    /// use diffusion_core::guidance::{Apg, Interval, Rescale};
    ///
    /// let interval = Interval { low: 0.3, high: 3.0 };
    /// let listed = ClassifierFree::new(2.0).with(vec![interval.into(), Rescale { phi: 0.7 }.into()]);
    /// assert_eq!(listed.validate(), Ok(()));
    /// let typed = ClassifierFree::new(2.0).with((interval, (Apg::default(), Rescale { phi: 0.7 })));
    /// assert_eq!(typed.scale, 2.0);
    /// ```
    pub fn with<N>(self, modifiers: N) -> ClassifierFree<N> {
        ClassifierFree { scale: self.scale, modifiers }
    }
}

impl<M: Modifier> ClassifierFree<M> {
    /// The scale that is left of it.
    fn scale_at(&self, at: &GuidancePoint) -> f64 {
        self.modifiers.scale(self.scale, at)
    }
}

impl<M: Modifier> Guidance for ClassifierFree<M> {
    type State<B: Backend, const D: usize> = M::State<B, D>;

    fn start<B: Backend, const D: usize>(&self) -> M::State<B, D> {
        self.modifiers.start()
    }

    fn is_active(&self, at: &GuidancePoint) -> bool {
        self.modifiers.is_active(at) && self.scale_at(at) != 0.0
    }

    fn guide<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        state: &mut M::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        self.modifiers.modify(estimate.scaled(self.scale_at(at)), at, state)
    }
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> Given<'a, Diffusion<B, N, P>, C> {
    /// Classifier-free guidance away from "no condition" with this scale, of which 0 is off.
    pub fn guided(self, scale: f64) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, ClassifierFree>
    where
        N: NullCondition<Condition = C>,
    {
        GivenAll::from(self).guided(scale)
    }

    /// Classifier-free guidance away from a condition of the caller's choice, e.g. a "negative prompt".
    pub fn guided_by(
        self,
        against: C,
        scale: f64,
    ) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, ClassifierFree> {
        self.guided_with(against, ClassifierFree::new(scale))
    }
}

impl<'a, B: Backend, N, P: Parameterization, C: Condition> GivenAll<'a, Diffusion<B, N, P>, C> {
    /// Classifier-free guidance away from "no condition" with this scale, of which 0 is none beyond the conditions
    /// themselves.
    pub fn guided(self, scale: f64) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, ClassifierFree>
    where
        N: NullCondition<Condition = C>,
    {
        let (_, condition) = &self.conditions[0];
        let against = self.model.network.null_condition(condition);
        self.guided_by(against, scale)
    }

    /// The same away from a condition of the caller's choice.
    pub fn guided_by(
        self,
        against: C,
        scale: f64,
    ) -> Guided<Conditions<'a, Diffusion<B, N, P>, C>, ClassifierFree> {
        self.guided_with(against, ClassifierFree::new(scale))
    }
}

impl<B: Backend, N, P: Parameterization> Diffusion<B, N, P> {
    /// The estimate of ε under classifier-free guidance, `ε_c + scale·(ε_c − ε_u)`: 0 is off, and other authors' G
    /// is `1 + scale`.
    ///
    /// For flow models this is ε itself; smalldiffusion's `predict_eps_cfg` of a flow model is the velocity, from which
    /// ε differs by the estimate of the data:
    /// ```
    /// # use burn::backend::Flex;
    /// # use diffusion_core::network::mlp::ConditionalMlpConfig;
    /// # use diffusion_core::{Denoiser, Diffusion, FlowPrediction, Labels, Noise};
    /// # let device = Default::default();
    /// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), FlowPrediction);
    /// let (x, labels) = (model.rand_input::<2>(4, Noise::new(0), &device), Labels(vec![0, 1, 2, 3]));
    /// let eps = model.predict_eps_cfg(x.clone(), 0.5, labels.clone(), 2.0);
    /// let guided = model.given(labels).guided(2.0).evaluate(x, 0.5);
    /// let velocity = guided.clone().velocity(); // what smalldiffusion returns
    /// let difference = eps - velocity - guided.denoised();
    /// assert!(difference.abs().max().into_scalar() < 1e-5);
    /// ```
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    pub fn predict_eps_cfg<const D: usize>(
        &self,
        x: Tensor<B, D>,
        sigma: f64,
        condition: <N as Network<B, D>>::Condition,
        scale: f64,
    ) -> Tensor<B, D>
    where
        N: Network<B, D> + NullCondition<Condition = <N as Network<B, D>>::Condition>,
    {
        let output = self.given(condition).guided(scale).evaluate(x.clone(), sigma).output;
        self.eps_of(x, output, sigma)
    }
}

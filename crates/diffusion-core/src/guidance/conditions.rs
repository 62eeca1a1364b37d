//! One model under several conditions at once.

use super::pair::{Compared, DenoiserPair};
use crate::condition::Condition;
use crate::diffusion::{Diffusion, Given};
use crate::invalid::Invalid;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::sigma::sum;
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// A model under one condition or several, and the one that guidance leads away from; all go through the network in one
/// batch.
///
/// Several are composed (Liu et al. 2022, arXiv:2206.01714): `D = D_u + Σ wᵢ·(Dᵢ − D_u)`, where a weight of 1 is the
/// condition as it is, and D_u the estimate under that which guidance leads away from. Guidance with the scale s then is
/// `D_u + Σ (1 + s)·wᵢ·(Dᵢ − D_u)`.
#[derive(Clone, Debug)]
pub struct Conditions<'a, M, C> {
    told: GivenAll<'a, M, C>,
    against: C,
}

/// A model with several conditions bound, each with a weight; made by [`Diffusion::given_all`].
#[derive(Clone, Debug)]
pub struct GivenAll<'a, M, C> {
    pub(super) model: &'a M,
    pub(super) conditions: Vec<(f64, C)>,
}

impl<'a, M, C> GivenAll<'a, M, C> {
    pub(super) fn away_from(self, against: C) -> Conditions<'a, M, C> {
        Conditions { told: self, against }
    }
}

impl<'a, M, C> From<Given<'a, M, C>> for GivenAll<'a, M, C> {
    fn from(given: Given<'a, M, C>) -> Self {
        Self { model: given.model, conditions: vec![(1.0, given.condition)] }
    }
}

impl<B: Backend, N, P: Parameterization> Diffusion<B, N, P> {
    /// The model with several conditions bound, each with its weight, of which 1 is the condition as it is; they are composed
    /// as [`Conditions`] are. It is sampled from under guidance, of which a scale of 0 composes and does nothing more.
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use diffusion_core::network::mlp::ConditionalMlpConfig;
    /// use diffusion_core::schedule::{LogLinear, Schedule};
    /// use diffusion_core::{Diffusion, EpsPrediction, GradientEstimation, Labels, Noise, sample};
    ///
    /// let device = Default::default();
    /// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
    /// // Of two samples, the first is told the classes 0 and 1 at once, the second 2 and 3.
    /// let composed = model.given_all([(1.0, Labels(vec![0, 2])), (0.5, Labels(vec![1, 3]))]).guided(2.0);
    /// let sigmas = LogLinear::default().sigmas(5);
    /// let x0 = sample(&composed, GradientEstimation::DDIM, &sigmas, 2, Noise::new(0), &device).last().unwrap();
    /// assert_eq!(x0.dims(), [2, 2]);
    /// ```
    ///
    /// # Panics
    /// If there is none.
    pub fn given_all<C>(&self, conditions: impl IntoIterator<Item = (f64, C)>) -> GivenAll<'_, Self, C> {
        let conditions = Vec::from_iter(conditions);
        assert!(!conditions.is_empty(), "a model is given no condition at all, expected at least one");
        GivenAll { model: self, conditions }
    }
}

impl<M, C> Conditions<'_, M, C> {
    /// The weight of the estimate under that which guidance leads away from: what the others leave to 1.
    fn rest(&self) -> f64 {
        let rest = 1.0 - self.told.conditions.iter().map(|(weight, _)| weight).sum::<f64>();
        // Weights such as 0.1, 0.2 and 0.7 add up to 1 but for rounding.
        if rest.abs() < 1e-12 { 0.0 } else { rest }
    }
}

impl<B: Backend, N, P: Parameterization, const D: usize> DenoiserPair<B, D>
    for Conditions<'_, Diffusion<B, N, P>, N::Condition>
where
    N: Network<B, D>,
{
    type Path = P::Path;

    fn path(&self) -> P::Path {
        self.told.model.parameterization.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.told.model.network.input_shape(batch)
    }

    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D> {
        let (GivenAll { model, conditions }, rest) = (&self.told, self.rest());
        move |x, sigma, _step, both| {
            let against = (both || rest != 0.0).then_some(&self.against);
            let told = conditions.iter().map(|(_, condition)| condition);
            let outputs = in_one_batch(model, x.clone(), sigma, told.chain(against));
            let without = against.and(outputs.last().cloned());
            let weights = conditions.iter().map(|(weight, _)| *weight).chain(against.map(|_| rest));
            let output = sum(weights.zip(outputs));
            let difference = without.filter(|_| both).map(|without| output.clone() - without);
            (model.denoiser_output(x, output, sigma), difference)
        }
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.told.model.parameterization.check_levels(sigmas)
    }
}

/// The network's outputs at one state under each of these conditions.
fn in_one_batch<'c, B: Backend, N: Network<B, D>, P: Parameterization, const D: usize>(
    model: &Diffusion<B, N, P>,
    x: Tensor<B, D>,
    sigma: f64,
    conditions: impl Iterator<Item = &'c N::Condition>,
) -> Vec<Tensor<B, D>>
where
    N::Condition: 'c,
{
    let conditions: Vec<_> = conditions.cloned().collect();
    let (batch, count) = (x.dims()[0], conditions.len());
    let joined = conditions.into_iter().reduce(Condition::join).expect("there is a condition");
    let all = if count == 1 { x } else { Tensor::cat(vec![x; count], 0) }; // [count·batch, …]
    let output = model.predict(all, sigma, joined);
    if count == 1 {
        return vec![output];
    }
    (0..count).map(|i| output.clone().narrow(0, i * batch, batch)).collect()
}

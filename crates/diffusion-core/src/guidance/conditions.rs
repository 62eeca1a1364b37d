//! One model under several conditions at once.

use super::pair::{Compared, DenoiserPair};
use crate::condition::Condition;
use crate::diffusion::Diffusion;
use crate::given::Given;
use crate::invalid::Invalid;
use crate::last_estimate::LastEstimate;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::sigma::{Sigma, sum};
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// A model under one condition or several, and the one that guidance leads away from; all go through the network in one
/// batch.
///
/// Several are composed (Liu et al. 2022, arXiv:2206.01714): `D = D_u + Σ wᵢ·(Dᵢ − D_u)`, where a weight of 1 is the
/// condition as it is, and D_u the estimate under that which guidance leads away from. Guidance with the scale s then is
/// `D_u + Σ (1 + s)·wᵢ·(Dᵢ − D_u)`.
///
/// A network that is [given its own estimate](Network::self_conditioned) gets under each condition the one that it found
/// under that condition, at the beginning of the last step, without guidance: so it is in training.
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
        self.compare(|condition, _, _| condition.clone())
    }

    fn start_averaged(&self) -> Option<impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>> {
        let network = &self.told.model.network;
        network.averaged(self.against.clone(), Sigma::All(0.0))?;
        Some(self.compare(|condition, sigma, step| {
            let asked = network.averaged(condition.clone(), Sigma::All(step.length_below(sigma)));
            asked.expect("it has just been asked for that")
        }))
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.told.model.parameterization.check_levels(sigmas)
    }
}

impl<B: Backend, N, P: Parameterization, C: Condition> Conditions<'_, Diffusion<B, N, P>, C> {
    /// A sampling run, in which the network is told the conditions as `asked` puts them at a noise level in a step.
    fn compare<const D: usize>(
        &self,
        asked: impl Fn(&C, f64, SamplerStep) -> C,
    ) -> impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>
    where
        N: Network<B, D, Condition = C>,
    {
        let (GivenAll { model, conditions }, rest) = (&self.told, self.rest());
        // Of each condition, the one that guidance leads away from being the last.
        let mut last = vec![LastEstimate::none(); conditions.len() + 1];
        move |x, sigma, step, both| {
            let against = (both || rest != 0.0).then_some(&self.against);
            let told = conditions.iter().map(|(_, condition)| condition).chain(against);
            let told = told.map(|condition| asked(condition, sigma, step));
            let branches = told.zip(&mut last).map(|(condition, last)| Branch { condition, last });
            let outputs = in_one_batch(model, x.clone(), sigma, step, branches.collect());
            let without = against.and(outputs.last().cloned());
            let weights = conditions.iter().map(|(weight, _)| *weight).chain(against.map(|_| rest));
            let output = sum(weights.zip(outputs));
            let difference = without.filter(|_| both).map(|without| output.clone() - without);
            (model.denoiser_output(x, output, sigma), difference)
        }
    }
}

/// One of the conditions, with what the network found under it.
struct Branch<'a, B: Backend, C, const D: usize> {
    condition: C,
    last: &'a mut LastEstimate<B, D>,
}

/// The network's outputs at one state under each of these conditions.
fn in_one_batch<B: Backend, N: Network<B, D>, P: Parameterization, const D: usize>(
    model: &Diffusion<B, N, P>,
    x: Tensor<B, D>,
    sigma: f64,
    step: SamplerStep,
    branches: Vec<Branch<'_, B, N::Condition, D>>,
) -> Vec<Tensor<B, D>> {
    let (batch, count) = (x.dims()[0], branches.len());
    let conditions = branches.iter().map(|branch| branch.condition.clone());
    let joined = conditions.reduce(Condition::join).expect("there is a condition");
    let is_told = model.network.self_conditioned();
    let estimates = is_told.then(|| {
        let given = branches.iter().map(|branch| branch.last.given(step, &x));
        stacked(given.map(|given| given.unwrap_or_else(|| x.zeros_like())).collect())
    });
    let output = model.predict_after(stacked(vec![x.clone(); count]), sigma, joined, estimates);
    let part = |i| if count == 1 { output.clone() } else { output.clone().narrow(0, i * batch, batch) };
    let outputs: Vec<_> = (0..count).map(part).collect();
    if is_told {
        for (Branch { last, .. }, output) in branches.into_iter().zip(&outputs) {
            let estimate = || model.denoiser_output(x.clone(), output.clone(), sigma).denoised();
            last.found(step, sigma, estimate);
        }
    }
    outputs
}

/// One batch after the other, `[count·batch, …]`.
fn stacked<B: Backend, const D: usize>(mut batches: Vec<Tensor<B, D>>) -> Tensor<B, D> {
    match batches.len() {
        1 => batches.remove(0),
        _ => Tensor::cat(batches, 0),
    }
}

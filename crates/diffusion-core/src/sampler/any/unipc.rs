//! UniPC: a multistep predictor, and a corrector that costs no evaluation.

use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::linear_combination::LinearCombination;
use crate::path::Path;
use crate::sampler::quadrature::{exponential_moments, weights};
use crate::sampler::way::Way;
use crate::sampler::{Sampler, SamplerStep};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// UniPC (Zhao et al. 2023, arXiv:2302.04867, Alg. 1 to 3) in data prediction; diffusers' `UniPCMultistepScheduler`.
///
/// With λ = ln(α/σ) a step is `(σ'/σ)·x + α'·Σ wᵢ·Dᵢ`, where the weights w integrate the polynomial through the last
/// estimates of the data. When the estimate at the step's end is known, which the next step needs anyway, the step is made once
/// more with it (UniC); the next step goes on from there. Each step evaluates the model once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UniPc {
    /// How many estimates the predictor looks at, 1 to 3; the corrector one more. The first steps have fewer.
    pub order: usize,
    /// B(h), by which the weights of few estimates are simplified.
    pub variant: BVariant,
    /// Whether the last steps look at fewer estimates: as many as steps are left, which is steadier in few steps.
    pub lower_order_final: bool,
}

/// B(h) of UniPC, in §3.1 of its paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BVariant {
    /// B₁(h) = h.
    Bh1,
    /// B₂(h) = e^h − 1, in data prediction 1 − e^(−h).
    #[default]
    Bh2,
}

impl Default for UniPc {
    fn default() -> Self {
        Self { order: 2, variant: BVariant::Bh2, lower_order_final: true }
    }
}

impl UniPc {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If the order is none of 1 to 3.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("order", self.order, 3)
    }

    /// Half of B(h) over the first moment's place: the weight of a slope by the simplification for one unknown.
    fn half(&self, h: f64) -> f64 {
        0.5 * match self.variant {
            BVariant::Bh1 => h,
            BVariant::Bh2 => -(-h).exp_m1(),
        }
    }

    /// The weights of the estimates at `nodes`, places in units of the step of which the first is 0, in a step of the length
    /// `h`; those of two nodes are simplified.
    fn weights(&self, h: f64, nodes: &[f64]) -> Vec<f64> {
        let moments = exponential_moments(h);
        match *nodes {
            [_, other] => {
                let slope = self.half(h) / other;
                vec![moments[0] - slope, slope]
            }
            _ => weights(nodes, &moments),
        }
    }
}

/// What UniPC remembers of a run.
#[derive(Debug)]
pub struct Corrections<B: Backend, const D: usize> {
    /// The number of steps of the run.
    steps: usize,
    /// The estimates of the data so far with their λ, the latest first.
    past: Vec<(LinearCombination<B, D>, f64)>,
    /// The state that the last step began with, its noise level, and how many estimates it looked at.
    last: Option<(LinearCombination<B, D>, f64, usize)>,
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](UniPc::validate) is an error.
impl Sampler for UniPc {
    type State<B: Backend, const D: usize> = Corrections<B, D>;

    fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> Corrections<B, D> {
        expect_valid(self.validate());
        Corrections { steps: sigmas.len().saturating_sub(1), past: Vec::new(), last: None }
    }

    /// One more than the predictor's, by the corrector. The first steps are of lower order: they have to be small, as on grids
    /// that begin at noise alone, where the estimate hardly changes. Else the order is 2.
    fn order(&self) -> u32 {
        self.order as u32 + 1
    }

    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        Some(if step.to < step.from { 1 } else { 0 })
    }

    fn adds_noise(&self) -> bool {
        false
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        SamplerStep { index, from, to }: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        state: &mut Corrections<B, D>,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        let path = denoiser.path();
        let x = LinearCombination::of(x);
        let denoised = x.evaluate(denoiser, from).denoised;
        let x = state.corrected(self, &path, &denoised, from).unwrap_or(x);

        let way = Way::on(&path, from, to);
        let (lambda, h) = ((way.data_from / from).ln(), way.length());
        let left = if self.lower_order_final { state.steps - index } else { self.order };
        let order = if h.is_finite() { self.order.min(state.past.len() + 1).min(left) } else { 1 };
        state.past.insert(0, (LinearCombination::of(denoised.tensor()), lambda));
        let nodes = state.nodes(h, order);
        let reached = state.stepped(&x, &way, &self.weights(h, &nodes), None);
        // What is at an infinite λ is no node, and its step cannot be made again.
        if !lambda.is_finite() {
            state.past.clear();
        }
        state.past.truncate(self.order);
        state.last = h.is_finite().then(|| (LinearCombination::of(x.tensor()), from, order));
        reached.tensor()
    }
}

impl<B: Backend, const D: usize> Corrections<B, D> {
    /// The state at `sigma`, when the estimate there is known: the last step made once more; nothing where none can be.
    fn corrected(
        &mut self,
        solver: &UniPc,
        path: &impl Path,
        denoised: &LinearCombination<B, D>,
        sigma: f64,
    ) -> Option<LinearCombination<B, D>> {
        let (x, from, order) = self.last.take()?;
        let way = Way::on(path, from, sigma);
        let h = way.length();
        let nodes = [&self.nodes(h, order)[..], &[1.0]].concat();
        Some(self.stepped(&x, &way, &solver.weights(h, &nodes), Some(denoised)))
    }

    /// The places in λ of the latest `count` estimates, from the latest and in units of a step of the length `h`.
    fn nodes(&self, h: f64, count: usize) -> Vec<f64> {
        let latest = self.past.first().map_or(0.0, |(_, lambda)| *lambda);
        let place = |(i, (_, lambda)): (usize, &(_, f64))| if i == 0 { 0.0 } else { (lambda - latest) / h };
        self.past.iter().enumerate().take(count).map(place).collect()
    }

    /// `(σ'/σ)·x + α'·Σ wᵢ·Dᵢ` of the latest estimates, and of the one at the step's end where that is known.
    fn stepped(
        &self,
        x: &LinearCombination<B, D>,
        way: &Way,
        weights: &[f64],
        end: Option<&LinearCombination<B, D>>,
    ) -> LinearCombination<B, D> {
        let known =
            self.past.iter().map(|(denoised, _)| denoised).take(weights.len() - usize::from(end.is_some()));
        let terms = weights.iter().zip(known.chain(end));
        terms.fold(x.clone().times(way.to / way.from), |sum, (weight, denoised)| {
            sum.plus(way.data_to * weight, denoised)
        })
    }
}

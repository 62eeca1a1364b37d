//! MeanFlow.

use crate::invalid::{Invalid, Number};
use crate::objective::{BatchPlace, NoisyBatch, Objective, TRAINING_SIGMA, TrainedModel, Weight};
use crate::parameterization::Parameterization;
use crate::precision::{check_factor, check_level};
use crate::random::Stream;
use crate::schedule::Schedule;
use crate::sigma::{Sigma, mix};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// MeanFlow (Geng et al. 2025, arXiv:2505.13447): a flow model learns the mean velocity u on the way of the flow from the time t
/// down to an earlier one r, so that one step over the whole way is a sample.
///
/// Two times are drawn whose logits are normal; t is the later, and r the earlier one, or t itself for all but a share
/// [`ratio`](Self::ratio) of the examples, where the loss is that of flow matching. With `z = (1 − t)·x₀ + t·ε` and
/// `v = ε − x₀` the target is (eq. 10 and 11 there)
///
/// ```text
/// u_tgt = v − (t − r)·(v·∂_z u + ∂_t u)
/// ```
///
/// through which no gradient flows, and the loss is `w·‖u − u_tgt‖²`, a sum over the values of an example with the weight
/// `w = 1/(‖u − u_tgt‖² + c)^p`, which is a constant to the gradient (eq. 22). With p = 1 that is 1 or little less wherever
/// training is: how good the model is validation says, by the error of v at r = t. It is the gradient of `ln(‖u − u_tgt‖² + c)`,
/// and where examples have few values the least of that is near a mode rather than the mean: take p = 0 for points.
///
/// The derivative along (v, 1) is a central difference between `t ± h` with `h = (t − r)/100`, so that `t − h` stays positive:
/// two evaluations without gradients, of the examples with r < t alone. For an MLP trained on a spiral, whose (t − r)·du/dt is
/// 0.3 long on average, it is off by 1.2e-5 in the median and by 2e-4 at most, all times being drawn as in training. A
/// hundredth is the best of them all: with a tenth curvature makes that 4e-4 and 2e-2, with a thousandth the rounding of f32
/// 7e-5 and 1e-3.
///
/// The network is one that can be [asked for mean velocities](crate::Network::averaged), such as
/// [`DitConfig::init_averaged`](crate::network::dit::DitConfig::init_averaged) makes; it is a flow model for every sampler, and
/// samples in few steps by [`MeanFlowSteps`](crate::sampler::MeanFlowSteps). Embed its noise level smoothly
/// ([`SigmaEmbedding::SinCos`](crate::layer::SigmaEmbedding)): the waves of
/// [`Timestep`](crate::layer::SigmaEmbedding::Timestep) are too fast for the difference. Guidance within the target is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeanFlow {
    /// The mean of the times' logit, −0.4 in the paper.
    pub mean: f64,
    /// Its standard deviation, 1 in the paper.
    pub std: f64,
    /// The share of examples with r < t, 0.25 in the paper.
    pub ratio: f64,
    /// p: the power of the weight, 1 in the paper; with 0 there is none.
    pub power: f64,
    /// c: what is added to the squared error in the weight, 10⁻³ in the paper.
    pub floor: f64,
}

impl Default for MeanFlow {
    fn default() -> Self {
        Self { mean: -0.4, std: 1.0, ratio: 0.25, power: 1.0, floor: 1e-3 }
    }
}

/// h in units of the way t − r.
const REACH: f64 = 0.01;

impl MeanFlow {
    /// Whether there is such an objective.
    ///
    /// # Errors
    /// The first number that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("mean", self.mean)?;
        check_level("std", self.std)?;
        Invalid::unless_probability("ratio", self.ratio)?;
        Invalid::unless((0.0..=2.0).contains(&self.power), "power", || {
            format!("is {}, expected a number from 0 to 2", Number(self.power))
        })?;
        check_level("floor", self.floor)
    }

    /// The later and the earlier of two times, the later one within the schedule's.
    fn times<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> [f64; 2] {
        let mut time = || 1.0 / (1.0 + (-self.mean - self.std * stream.normal()).exp());
        let (one, other) = (time(), time());
        let levels = schedule.levels();
        let (first, last) = (levels.first().copied().unwrap_or(0.0), levels.last().copied().unwrap_or(1.0));
        let later = one.max(other).clamp(first, last);
        [later, one.min(other).min(later)]
    }

    /// t − r of each example.
    fn lengths<S: Schedule + ?Sized>(&self, schedule: &S, place: &BatchPlace) -> Vec<f64> {
        let length = |(i, u): (usize, f64)| {
            let [later, earlier] = self.times(schedule, &mut place.stream(TRAINING_SIGMA, i));
            if u < self.ratio { later - earlier } else { 0.0 }
        };
        place.stratified().into_iter().enumerate().map(length).collect()
    }

    /// The weighted squared error of each example, `[batch]`.
    fn weighted<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, 1> {
        let squared = error.square().flatten::<2>(1, D - 1).sum_dim(1).squeeze_dim::<1>(1);
        if self.power == 0.0 {
            return squared;
        }
        let weight = (squared.clone().detach() + self.floor).powf_scalar(-self.power);
        squared * weight
    }
}

/// (t − r)·du/dt along (v, 1), by a central difference; 0 of examples with r = t.
///
/// # Shapes
/// - `z`, `v`, returns: `[batch, …]`
fn change<B: AutodiffBackend, M: TrainedModel<B, D>, const D: usize>(
    model: &M,
    z: Tensor<B::InnerBackend, D>,
    v: Tensor<B::InnerBackend, D>,
    times: &[f64],
    lengths: &[f64],
) -> Tensor<B::InnerBackend, D> {
    let moving: Vec<usize> = (0..times.len()).filter(|&i| lengths[i] > 0.0).collect();
    if moving.is_empty() {
        return z.zeros_like();
    }
    let (start, along) = (select(z, &moving), select(v, &moving));
    let there = |reach: f64| {
        let ways: Vec<f64> = moving.iter().map(|&i| reach * lengths[i]).collect();
        let beyond = |from: &[f64]| moving.iter().zip(&ways).map(|(&i, way)| from[i] + way).collect();
        let (times, lengths): (Vec<f64>, Vec<f64>) = (beyond(times), beyond(lengths));
        let ways = Sigma::Each(ways);
        let z = mix((ways.map(|_| 1.0), start.clone()), (ways, along.clone()));
        model.frozen_mean_velocity(z, &times, &lengths, &moving).expect(UNTOLD)
    };
    let found = (there(REACH) - there(-REACH)) / (2.0 * REACH);
    // A row of zeros behind them, for all others.
    let none = found.zeros_like().narrow(0, 0, 1);
    let place = |i| moving.iter().position(|&row| row == i).unwrap_or(moving.len());
    let places: Vec<usize> = (0..times.len()).map(place).collect();
    select(Tensor::cat(vec![found, none], 0), &places)
}

/// Of a network that is told no lengths.
const UNTOLD: &str = "MeanFlow needs a network that can be asked for mean velocities";

/// These rows of `x`.
fn select<B: Backend, const D: usize>(x: Tensor<B, D>, rows: &[usize]) -> Tensor<B, D> {
    let (count, device) = (rows.len(), x.device());
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    x.select(0, Tensor::<B, 1, Int>::from_data(TensorData::new(rows, [count]), &device))
}

/// # Panics
/// [`batch_losses`](Objective::batch_losses) panics where the model is not on the straight path, or its network cannot be
/// asked for mean velocities.
impl Objective for MeanFlow {
    /// The later of two times.
    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        let [later, _] = self.times(schedule, stream);
        later
    }

    /// That of flow matching, which the loss is at r = t.
    fn weight<P: Parameterization>(&self, _parameterization: &P, _sigma: f64) -> Weight {
        Weight::OnOutput(1.0)
    }

    fn batch_losses<B: AutodiffBackend, M: TrainedModel<B, D>, S: Schedule + ?Sized, const D: usize>(
        &self,
        model: &M,
        schedule: &S,
        batch: &NoisyBatch<B, D>,
        place: &BatchPlace,
    ) -> Option<Tensor<B, 1>> {
        assert_eq!(
            model.alpha(0.5),
            0.5,
            "MeanFlow needs a model on the straight path; α is another at σ = 0.5"
        );
        let (times, lengths) = (&batch.sigmas, self.lengths(schedule, place));
        let t = Sigma::from(times);
        let z = mix((t.map(|t| 1.0 - t), batch.x0.clone()), (t, batch.eps.clone()));
        let v = batch.eps.clone() - batch.x0.clone();
        let target = v.clone() - change(model, z.clone(), v, times, &lengths);
        let found = model.mean_velocity(Tensor::from_inner(z), times, &lengths).expect(UNTOLD);
        Some(self.weighted(found - Tensor::from_inner(target)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{AnyObjective, Memory};
    use crate::schedule::Flow;

    fn place(first: u64, examples: usize, total: usize) -> BatchPlace {
        BatchPlace { seed: 4, step: 9, first, examples, total }
    }

    /// The times that a batch's levels are and its lengths belong to are the same two, whatever a step consists of.
    #[test]
    fn times_belong_to_their_places() {
        let (schedule, objective) = (Flow::default(), MeanFlow { ratio: 0.5, ..MeanFlow::default() });
        let both = |place: BatchPlace| {
            let levels = objective.levels(&schedule, &place, &Memory::default());
            let levels = levels.into_iter().map(|level| level.sigma);
            levels.zip(objective.lengths(&schedule, &place)).collect::<Vec<_>>()
        };
        let whole = both(place(0, 64, 64));
        assert_eq!([both(place(0, 20, 64)), both(place(20, 44, 64))].concat(), whole);
        assert!(whole.iter().all(|&(t, length)| (0.001..=1.0).contains(&t) && length >= 0.0 && length < t));
        // Spread evenly over the step.
        assert_eq!(whole.iter().filter(|(_, length)| *length > 0.0).count(), 32);
        for (ratio, expected) in [(0.0, 0), (1.0, 64)] {
            let objective = MeanFlow { ratio, ..MeanFlow::default() };
            let lengths = objective.lengths(&schedule, &place(0, 64, 64));
            assert_eq!(lengths.iter().filter(|&&length| length > 0.0).count(), expected);
        }
    }

    /// Of two normal logits the later one's mean is higher by σ/√π, and the two together are normal.
    #[test]
    fn times_are_logit_normal() {
        let (schedule, objective) = (Flow::new(1000, 1e-6, 1.0), MeanFlow::default());
        let logit = |t: f64| (t / (1.0 - t)).ln();
        let n = 20_000;
        let times: Vec<[f64; 2]> = (0..n)
            .map(|i| objective.times(&schedule, &mut place(0, n, n).stream(TRAINING_SIGMA, i)).map(logit))
            .collect();
        let mean = |f: &dyn Fn(&[f64; 2]) -> f64| times.iter().map(f).sum::<f64>() / n as f64;
        let later = mean(&|[later, _]| *later);
        assert!((later - (-0.4 + 1.0 / std::f64::consts::PI.sqrt())).abs() < 0.02, "{later}");
        let center = mean(&|[later, earlier]| 0.5 * (later + earlier));
        let variance = mean(&|both| both.iter().map(|x| 0.5 * (x + 0.4).powi(2)).sum());
        assert!((center + 0.4).abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{center}, {variance}");
    }

    #[test]
    fn files_say_every_setting_and_bad_ones_are_named() {
        let text = r#"{"kind":"mean-flow","mean":0.0,"std":1.5,"ratio":0.5,"power":0.75,"floor":0.01}"#;
        let objective: AnyObjective = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&objective).unwrap(), text);
        let least: AnyObjective = serde_json::from_str(r#"{"kind":"mean-flow"}"#).unwrap();
        assert_eq!(least, MeanFlow::default().into());
        assert_eq!(least.validate(), Ok(()));
        for (text, setting) in [
            (r#"{"mean":1e300}"#, "mean"),
            (r#"{"std":0.0}"#, "std"),
            (r#"{"ratio":1.5}"#, "ratio"),
            (r#"{"ratio":-0.1}"#, "ratio"),
            (r#"{"power":-1.0}"#, "power"),
            (r#"{"power":3.0}"#, "power"),
            (r#"{"floor":0.0}"#, "floor"),
        ] {
            let objective: MeanFlow = serde_json::from_str(text).unwrap();
            assert_eq!(objective.validate().unwrap_err().setting, setting);
        }
        assert!(serde_json::from_str::<MeanFlow>(r#"{"rate":0.25}"#).is_err());
    }
}

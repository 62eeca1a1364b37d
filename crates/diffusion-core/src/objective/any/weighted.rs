//! An objective that is put together of parts.

use crate::invalid::Invalid;
use crate::objective::pairing::paired;
use crate::objective::{
    Adaptive, AnyLoss, AnyPairing, AnySigmas, AnyWeight, BatchPlace, Drawn, LearnedVariance, Loss, Memory,
    Objective, OffsetNoise, Seen, SigmaDistribution, TRAINING_SIGMA, Weight, Weighting,
};
use crate::parameterization::Parameterization;
use crate::random::Stream;
use crate::schedule::Schedule;
use crate::sigma::Sigma;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// An objective that is put together of a distribution of noise levels, a weight and a loss, and of what changes draws,
/// noise and weights besides. As it is by default it is [`PredictionMse`](crate::PredictionMse).
///
/// EDM's, as a configuration file has it:
/// ```
/// use diffusion_core::objective::{AnyLoss, AnyObjective, EdmWeight, LogNormal, Weighted};
///
/// let text = r#"{"kind": "weighted", "sigmas": {"kind": "log-normal"}, "weight": {"kind": "edm"}}"#;
/// let objective: AnyObjective = serde_json::from_str(text)?;
/// assert_eq!(objective, AnyObjective::from(Weighted::edm(0.5)));
/// // The same with its parts as types, of which some could be your own.
/// let typed = Weighted::<LogNormal, EdmWeight, AnyLoss>::default();
/// assert_eq!((typed.sigmas.mean, typed.weight.sigma_data), (-1.2, 0.5));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    bound(
        serialize = "S: Serialize, W: Serialize, L: Serialize",
        deserialize = "S: Deserialize<'de> + Default, W: Deserialize<'de> + Default, L: Deserialize<'de> + Default"
    )
)]
pub struct Weighted<S = AnySigmas, W = AnyWeight, L = AnyLoss> {
    /// Which noise levels are drawn; as the schedule draws them by default.
    pub sigmas: S,
    /// What an error counts at each; the same for each error of the prediction by default.
    pub weight: W,
    /// How an error is measured; squared by default.
    pub loss: L,
    /// Whether the levels of a step are spread evenly over the distribution, which is less noise for free
    /// ([`BatchPlace::stratified`]); not by default.
    pub stratified: bool,
    /// Levels that are drawn the more often, the larger their losses are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
    /// A loss that is expected at each level, by which errors there are divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned_variance: Option<LearnedVariance>,
    /// Noise that is the same for all values of a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_noise: Option<OffsetNoise>,
    /// Which noise goes with which example; as they were drawn where this is absent. Where examples have labels, noise is
    /// paired within each class. What else examples are told, such as texts, makes no classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairing: Option<AnyPairing>,
}

impl Weighted {
    /// [`PredictionMse`](crate::PredictionMse) by parts that can be chosen while the program runs, as a start for others:
    /// `Weighted { stratified: true, ..Weighted::new() }`.
    pub fn new() -> Self {
        Self::default()
    }

    /// EDM's objective (Karras et al. 2022, arXiv:2206.00364, Table 1) for data of standard deviation `sigma_data`: log-normal
    /// noise levels, and a weight that is 1 on the output of [`Edm`](crate::Edm).
    pub fn edm(sigma_data: f64) -> Self {
        use crate::objective::{EdmWeight, LogNormal};
        Self {
            sigmas: LogNormal::default().into(),
            weight: EdmWeight { sigma_data }.into(),
            ..Self::default()
        }
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// The first that cannot, with its path.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.sigmas.validate().map_err(|invalid| invalid.within("sigmas"))?;
        self.weight.validate().map_err(|invalid| invalid.within("weight"))?;
        self.loss.validate().map_err(|invalid| invalid.within("loss"))?;
        let within = |part: Option<Result<(), Invalid>>, name: &str| {
            part.unwrap_or(Ok(())).map_err(|invalid| invalid.within(name))
        };
        within(self.adaptive.as_ref().map(Adaptive::validate), "adaptive")?;
        within(self.learned_variance.as_ref().map(LearnedVariance::validate), "learned_variance")?;
        within(self.offset_noise.as_ref().map(OffsetNoise::validate), "offset_noise")?;
        within(self.pairing.as_ref().map(AnyPairing::validate), "pairing")
    }
}

impl<S: SigmaDistribution, W: Weighting, L: Loss> Weighted<S, W, L> {
    /// The level at the rank `u` of the distribution.
    fn at<T: Schedule + ?Sized>(&self, schedule: &T, u: f64) -> Drawn {
        let slope = if self.weight.is_per_log_sigma() { self.sigmas.log_slope(schedule, u) } else { 1.0 };
        Drawn { rank: Some(u), importance: slope, ..Drawn::plain(self.sigmas.quantile(schedule, u)) }
    }

    /// The levels of a batch by their ranks.
    fn ranked<T: Schedule + ?Sized>(&self, schedule: &T, place: &BatchPlace, memory: &Memory) -> Vec<Drawn> {
        let uniform = |i| place.stream(TRAINING_SIGMA, i).uniform();
        let draws = match self.stratified {
            true => place.stratified(),
            false => (0..place.examples).map(uniform).collect(),
        };
        let densities = self.adaptive.map(|adaptive| adaptive.densities(memory));
        let level = |u| match &densities {
            None => self.at(schedule, u),
            Some(densities) => {
                let (rank, importance) = Adaptive::rank(densities, u);
                let drawn = self.at(schedule, rank);
                Drawn { importance: drawn.importance * importance, ..drawn }
            }
        };
        draws.into_iter().map(level).collect()
    }
}

impl<S: SigmaDistribution, W: Weighting, L: Loss> Objective for Weighted<S, W, L> {
    fn draw<T: Schedule + ?Sized>(&self, schedule: &T, stream: &mut Stream) -> f64 {
        self.sigmas.draw(schedule, stream)
    }

    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        self.weight.weight(parameterization, sigma)
    }

    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        self.loss.penalty(error)
    }

    /// Of a loss that is not quadratic, the error is that of which the weight is stated: an error of D is one of the
    /// output times c_out.
    fn losses<P: Parameterization, B: Backend, const D: usize>(
        &self,
        parameterization: &P,
        sigma: &Sigma,
        error: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let weight = |s| self.weight(parameterization, s);
        if self.loss.is_quadratic() {
            let weights = sigma.map(|s| weight(s).on_output(parameterization, s));
            return weights.times(self.penalty(error));
        }
        let scales = sigma.map(|s| match weight(s) {
            Weight::OnOutput(_) => 1.0,
            Weight::OnDenoised(_) => parameterization.denoised(s).out,
        });
        let weights = sigma.map(|s| match weight(s) {
            Weight::OnOutput(weight) | Weight::OnDenoised(weight) => weight,
        });
        weights.times(self.penalty(scales.times(error)))
    }

    fn levels<T: Schedule + ?Sized>(&self, schedule: &T, place: &BatchPlace, memory: &Memory) -> Vec<Drawn> {
        let by_rank = self.stratified || self.adaptive.is_some() || self.weight.is_per_log_sigma();
        let mut levels = match by_rank {
            true => self.ranked(schedule, place, memory),
            false => {
                let draw = |i| Drawn::plain(self.draw(schedule, &mut place.stream(TRAINING_SIGMA, i)));
                (0..place.examples).map(draw).collect()
            }
        };
        if let Some(learned) = self.learned_variance {
            let sigmas: Vec<f64> = levels.iter().map(|level| level.sigma).collect();
            for (level, u) in levels.iter_mut().zip(learned.log_variances(memory, &sigmas)) {
                level.log_variance = u;
            }
        }
        levels
    }

    fn level_at<T: Schedule + ?Sized>(&self, schedule: &T, rank: f64) -> Option<Drawn> {
        Some(self.at(schedule, rank))
    }

    fn noise(
        &self,
        noise: TensorData,
        x0: &TensorData,
        classes: Option<&[usize]>,
        place: &BatchPlace,
    ) -> TensorData {
        let noise = match &self.offset_noise {
            Some(offset) => offset.add(&noise, place),
            None => noise,
        };
        match &self.pairing {
            Some(pairing) => paired(pairing, &noise, x0, classes, place),
            None => noise,
        }
    }

    fn memory(&self) -> Memory {
        let adaptive = self.adaptive.map(|adaptive| adaptive.memory()).unwrap_or_default();
        adaptive.and(self.learned_variance.map(|learned| learned.memory()).unwrap_or_default())
    }

    fn observe(&self, memory: &mut Memory, seen: &Seen<'_>) {
        if let Some(adaptive) = self.adaptive {
            adaptive.observe(memory, seen);
        }
        if let Some(learned) = self.learned_variance {
            learned.observe(memory, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{
        AnyObjective, Assignment, Likelihood, LogUniform, MinSnr, PredictionMse, PseudoHuber,
    };
    use crate::schedule::LogLinear;

    fn place(first: u64, examples: usize, total: usize) -> BatchPlace {
        BatchPlace { seed: 4, step: 9, first, examples, total }
    }

    /// To the bit, so that more can be said without saying everything anew.
    #[test]
    fn the_default_draws_as_prediction_mse_does() {
        let (schedule, memory) = (LogLinear::default(), Memory::default());
        let found = Weighted::new().levels(&schedule, &place(2, 9, 12), &memory);
        assert_eq!(found, PredictionMse.levels(&schedule, &place(2, 9, 12), &memory));
    }

    /// Whatever a step consists of, its draws belong to places.
    #[test]
    fn levels_belong_to_their_places() {
        let schedule = LogLinear::default();
        let adaptive = Some(Adaptive { warmup: 0, bins: 4, ..Adaptive::default() });
        for objective in [
            Weighted { stratified: true, ..Weighted::edm(0.5) },
            Weighted { adaptive, ..Weighted::new() },
            Weighted {
                adaptive,
                stratified: true,
                learned_variance: Some(LearnedVariance::default()),
                ..Weighted::edm(1.0)
            },
            Weighted { weight: Likelihood {}.into(), ..Weighted::new() },
        ] {
            let memory = objective.memory();
            let levels = |first, n| objective.levels(&schedule, &place(first, n, 12), &memory);
            assert_eq!([levels(0, 5), levels(5, 7)].concat(), levels(0, 12), "{objective:?}");
        }
    }

    /// Under the weight of the likelihood the same integral over ln σ is estimated, whatever levels are drawn from.
    #[test]
    fn likelihood_counts_what_a_level_stands_for() {
        let schedule = LogLinear::new(400, 0.05, 20.0);
        let error = |sigma: f64| sigma.sqrt() / (1.0 + sigma);
        let integral = |sigmas: AnySigmas| {
            let weight = AnyWeight::from(Likelihood {});
            let objective = Weighted { sigmas, weight, stratified: true, ..Weighted::edm(0.5) };
            let levels = objective.levels(&schedule, &place(0, 20_000, 20_000), &Memory::default());
            levels.iter().map(|level| error(level.sigma) * level.factor()).sum::<f64>() / 20_000.0
        };
        let expected = integral(LogUniform {}.into());
        for sigmas in [AnySigmas::default(), crate::objective::LogNormal { mean: 0.0, std: 1.5 }.into()] {
            let found = integral(sigmas);
            assert!((found / expected - 1.0).abs() < 0.02, "{sigmas:?}: {found}, expected {expected}");
        }
    }

    #[test]
    fn every_part_is_read_and_written() {
        let text = r#"{"kind":"weighted","sigmas":{"kind":"logit-normal","mean":0.0,"std":1.0,"shift":3.0},"weight":{"kind":"min-snr","gamma":5.0},"loss":{"kind":"pseudo-huber","c":0.1},"stratified":true,"adaptive":{"bins":16,"floor":0.1,"decay":0.99,"warmup":10},"learned_variance":{"channels":64},"offset_noise":{"strength":0.1},"pairing":{"kind":"assignment"}}"#;
        let objective: AnyObjective = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&objective).unwrap(), text);
        let AnyObjective::Weighted(weighted) = &objective else { panic!("{objective:?}") };
        assert_eq!(weighted.weight, MinSnr { gamma: 5.0 }.into());
        assert_eq!(weighted.loss, PseudoHuber { c: Some(0.1) }.into());
        assert_eq!(weighted.pairing, Some(Assignment {}.into()));
        assert_eq!(objective.validate(), Ok(()));
        let least: AnyObjective = serde_json::from_str(r#"{"kind":"weighted"}"#).unwrap();
        assert_eq!(least, Weighted::default().into());
        assert!(
            serde_json::from_str::<AnyObjective>(r#"{"kind":"weighted","weigth":{"kind":"edm"}}"#).is_err()
        );
    }

    #[test]
    fn bad_values_are_named_with_their_parts() {
        for (text, setting) in [
            (r#"{"sigmas":{"kind":"log-normal","std":0.0}}"#, "sigmas.std"),
            (r#"{"weight":{"kind":"p2","k":0.0}}"#, "weight.k"),
            (r#"{"loss":{"kind":"pseudo-huber","c":-1.0}}"#, "loss.c"),
            (r#"{"adaptive":{"bins":0}}"#, "adaptive.bins"),
            (r#"{"learned_variance":{"channels":0}}"#, "learned_variance.channels"),
            (r#"{"offset_noise":{"strength":-1.0}}"#, "offset_noise.strength"),
            (r#"{"pairing":{"kind":"sinkhorn","iterations":0}}"#, "pairing.iterations"),
        ] {
            let weighted: Weighted = serde_json::from_str(text).unwrap();
            assert_eq!(weighted.validate().unwrap_err().setting, setting);
        }
    }
}

//! The loss at each noise level, on examples, levels and noise that stay the same.

use crate::metric::Metric;
use crate::strata::strata;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::objective::{BatchPlace, Objective, PredictionMse};
use diffusion_core::path::Path;
use diffusion_core::random::{Purpose, Stream, normal_data};
use diffusion_core::watch::{Stopped, Watch};
use diffusion_core::{
    Condition, ConditionFor, Diffusion, Invalid, Network, Parameterization, Schedule, Sigma,
};
use serde::{Deserialize, Serialize};

/// When and on what a model is validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between two validations.
    pub every: u64,
    /// Examples that are kept from training for it: at most a tenth of the data.
    pub examples: usize,
    /// Ranges of noise levels, each as likely in training as any other.
    pub bins: usize,
    /// Examples in each of them.
    pub per_bin: usize,
    /// What is measured of samples besides, which are drawn for it; nothing by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Of how many samples.
    #[serde(default = "usual_samples", skip_serializing_if = "is_usual")]
    pub samples: usize,
}

/// Enough to see a model get better, and few enough to draw often.
fn usual_samples() -> usize {
    256
}

fn is_usual(samples: &usize) -> bool {
    *samples == usual_samples()
}

impl Default for ValidationConfig {
    /// Every 1,000 steps, on 1,024 examples, in 10 ranges of 32 examples, without samples.
    fn default() -> Self {
        let (metrics, samples) = (Vec::new(), usual_samples());
        Self { every: 1_000, examples: 1_024, bins: 10, per_bin: 32, metrics, samples }
    }
}

impl ValidationConfig {
    /// The most examples, and the most triples: beyond it validation would cost more than training.
    const MOST: usize = 1_000_000;
    /// The fewest samples of which metrics say anything.
    const FEWEST_SAMPLES: usize = 16;

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// If there is nothing to validate on, or never, or more than 10⁶ examples, triples or samples; if a metric is none of
    /// samples and data, or there are fewer than 16 samples for them.
    pub fn validate(&self) -> Result<(), Invalid> {
        let &Self { every, examples, bins, per_bin, ref metrics, samples } = self;
        Invalid::unless(every > 0, "every", || "is 0, expected at least 1 step between validations".into())?;
        Invalid::unless_positive("examples", examples, Self::MOST)?;
        Invalid::unless_positive("bins", bins, Self::MOST)?;
        Invalid::unless_positive("per_bin", per_bin, Self::MOST)?;
        let triples = bins.saturating_mul(per_bin);
        let reason =
            || format!("is {per_bin} in each of {bins} bins, expected at most {} in all", Self::MOST);
        Invalid::unless(triples <= Self::MOST, "per_bin", reason)?;
        if metrics.is_empty() {
            return Ok(());
        }
        let other = metrics.iter().find(|metric| matches!(metric, Metric::Memorization | Metric::BitsPerDim));
        Invalid::unless(other.is_none(), "metrics", || {
            format!(
                "name {}, expected metrics that compare samples with data",
                other.map_or("", |metric| metric.name())
            )
        })?;
        Invalid::unless_positive("samples", samples, Self::MOST)?;
        Invalid::unless(samples >= Self::FEWEST_SAMPLES, "samples", || {
            format!("is {samples}, expected at least {} to measure", Self::FEWEST_SAMPLES)
        })
    }
}

/// The noise of validation.
pub const VALIDATION_NOISE: Purpose = Purpose(11);
/// The examples of validation.
pub const VALIDATION_EXAMPLE: Purpose = Purpose(12);

/// A fixed set of (example, σ, noise) triples, stratified in σ: the same for every model that is evaluated and for
/// every run of a seed, so that what changes is the model. The loss of a training batch jumps with its noise levels;
/// this one does not.
///
/// Let one hold examples that the model never sees, and a second one, of the same seed, examples that it is trained
/// on: both have the same levels and noise, and their difference is how far the model overfits.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::TensorData;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_core::schedule::LogLinear;
/// use diffusion_core::{Diffusion, EpsPrediction};
/// use diffusion_eval::{Validation, ValidationConfig};
/// use std::convert::Infallible;
///
/// // 50 points on a line; a data set's `gather` may fail.
/// let gather = |indices: &[usize]| {
///     let values: Vec<f32> = indices.iter().flat_map(|&i| [i as f32 / 50.0, 0.5]).collect();
///     Ok::<_, Infallible>((TensorData::new(values, [indices.len(), 2]), ()))
/// };
/// let config = ValidationConfig { bins: 4, per_bin: 8, ..Default::default() };
/// let validation = Validation::new(config, 0, &LogLinear::default(), 50, gather)?;
///
/// let device = Default::default();
/// let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<Flex>(0, &device);
/// let losses = validation.evaluate(&Diffusion::new(network, EpsPrediction), &device);
/// assert_eq!(losses.0.len(), 4);
/// assert!(losses.0[0].sigma_max <= losses.0[1].sigma_min && losses.mean().is_finite());
/// # Ok::<(), Infallible>(())
/// ```
#[derive(Clone, Debug)]
pub struct Validation<C, O = PredictionMse> {
    bins: Vec<Triples<C>>,
    objective: O,
    seed: u64,
}

/// The triples of one range of noise levels.
#[derive(Clone, Debug)]
struct Triples<C> {
    x0: TensorData,
    condition: C,
    sigmas: Vec<f64>,
    /// How much the loss of each counts.
    factors: Vec<f64>,
    /// The place of the first one among all.
    first: u64,
}

/// How well a model did at each range of noise levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossBySigma(pub Vec<SigmaBin>);

/// How well a model did in one range of noise levels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigmaBin {
    /// The smallest σ.
    pub sigma_min: f64,
    /// The largest σ.
    pub sigma_max: f64,
    /// The mean loss of its examples.
    pub loss: f64,
    /// The standard error of that mean, as far as examples and noise go.
    pub error: f64,
}

impl LossBySigma {
    /// The mean over all ranges: an estimate of the training loss, for each range is as likely in training.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|bin| bin.loss).sum::<f64>() / self.0.len() as f64
    }

    /// The standard error of [`mean`](Self::mean).
    pub fn error(&self) -> f64 {
        self.0.iter().map(|bin| bin.error.powi(2)).sum::<f64>().sqrt() / self.0.len() as f64
    }
}

/// Of work that nobody can stop.
const NOT_STOPPED: &str = "this watch is never asked to stop";

/// An error of what nobody can stop.
struct Unstopped<E>(E);

impl<E> From<Stopped> for Unstopped<E> {
    fn from(_: Stopped) -> Self {
        unreachable!("{NOT_STOPPED}")
    }
}

impl<C: Condition> Validation<C> {
    /// The triples of `seed` with some of `examples` examples, as many different ones as there are triples if there
    /// are enough; `gather` returns those at given indices and their condition. The loss is smalldiffusion's
    /// ([`PredictionMse`]); see [`under`](Self::under) for others.
    ///
    /// # Errors
    /// Those of `gather`.
    ///
    /// # Panics
    /// If there are no examples, no ranges, or none in a range.
    pub fn new<S: Schedule + ?Sized, E>(
        config: ValidationConfig,
        seed: u64,
        schedule: &S,
        examples: usize,
        gather: impl Fn(&[usize]) -> Result<(TensorData, C), E>,
    ) -> Result<Self, E> {
        Validation::under(PredictionMse, config, seed, schedule, examples, gather)
    }
}

impl<C: Condition, O: Objective> Validation<C, O> {
    /// As [`new`](Validation::new), with the noise levels, the noise and the loss of `objective`: that of training, but for
    /// what it learns there.
    ///
    /// # Errors
    /// Those of `gather`.
    ///
    /// # Panics
    /// If there are no examples, no ranges, or none in a range.
    pub fn under<S: Schedule + ?Sized, E>(
        objective: O,
        config: ValidationConfig,
        seed: u64,
        schedule: &S,
        examples: usize,
        gather: impl Fn(&[usize]) -> Result<(TensorData, C), E>,
    ) -> Result<Self, E> {
        let gather = |indices: &[usize]| gather(indices).map_err(Unstopped);
        let watch = Watch::default();
        Self::under_watched(objective, config, seed, schedule, examples, gather, &watch)
            .map_err(|error| error.0)
    }

    /// As [`under`](Self::under); `watch` is told how far it is, and may stop it.
    ///
    /// # Errors
    /// Those of `gather`, or if `watch` stops it.
    ///
    /// # Panics
    /// If there are no examples, no ranges, or none in a range.
    pub fn under_watched<S: Schedule + ?Sized, E: From<Stopped>>(
        objective: O,
        config: ValidationConfig,
        seed: u64,
        schedule: &S,
        examples: usize,
        gather: impl Fn(&[usize]) -> Result<(TensorData, C), E>,
        watch: &Watch,
    ) -> Result<Self, E> {
        let ValidationConfig { bins, per_bin, .. } = config;
        assert!(
            examples > 0 && bins > 0 && per_bin > 0,
            "a validation set of {bins} ranges with {per_bin} examples of {examples} was asked for, expected at least 1 of each"
        );
        let mut order: Vec<usize> = (0..examples).collect();
        let report = |done| watch.report("choosing validation examples", done as u64, Some(examples as u64));
        Stream::new(seed, VALIDATION_EXAMPLE, 0, 0).try_shuffle(&mut order, report)?;
        let levels = strata(&objective, schedule, seed, bins * per_bin, watch)?;
        let triples = levels.chunks(per_bin).enumerate().map(|(bin, levels)| {
            let first = bin * per_bin;
            watch.check()?;
            let indices: Vec<usize> = (first..first + per_bin).map(|i| order[i % examples]).collect();
            let (x0, condition) = gather(&indices)?;
            let (sigmas, factors) = levels.iter().map(|level| (level.sigma, level.factor())).unzip();
            Ok(Triples { x0, condition, sigmas, factors, first: first as u64 })
        });
        Ok(Self { bins: triples.collect::<Result<_, E>>()?, objective, seed })
    }

    /// The losses of `model`.
    ///
    /// # Panics
    /// If the examples do not have the network's shape.
    pub fn evaluate<B, N, P, const D: usize>(
        &self,
        model: &Diffusion<B, N, P>,
        device: &B::Device,
    ) -> LossBySigma
    where
        B: Backend,
        N: Network<B, D>,
        C: ConditionFor<N::Condition>,
        P: Parameterization,
    {
        self.evaluate_watched(model, device, &Watch::default()).expect(NOT_STOPPED)
    }

    /// The losses of `model`, as of [`evaluate`](Self::evaluate); `watch` is told after each range, and may stop it.
    ///
    /// # Errors
    /// If `watch` stops it.
    ///
    /// # Panics
    /// If the examples do not have the network's shape.
    pub fn evaluate_watched<B, N, P, const D: usize>(
        &self,
        model: &Diffusion<B, N, P>,
        device: &B::Device,
        watch: &Watch,
    ) -> Result<LossBySigma, Stopped>
    where
        B: Backend,
        N: Network<B, D>,
        C: ConditionFor<N::Condition>,
        P: Parameterization,
    {
        self.curve("validating", watch, |triples| {
            let eps = triples.noise::<B, D>(&self.objective, self.seed, device);
            let x0 = Tensor::from_data(triples.x0.clone(), device);
            let (sigmas, condition) = (triples.sigmas.clone(), triples.condition.clone().into_condition());
            model.loss_per_example_under(&self.objective, x0, sigmas, eps, condition)
        })
    }

    /// The losses of a model with `parameterization` that denoised as `denoised` does, which maps (noisy examples of
    /// variance-exploding σ, those σ, condition) to examples: with the ideal denoiser of the data this is the
    /// optimal denoiser's loss, below which no model goes on the same data, unless the objective changes or pairs the
    /// noise.
    ///
    /// With F = a·x₀ + b·ε and x = α·x₀ + σ·ε, an error of D in x₀ is an error of (a − b·α/σ)·D in F.
    ///
    /// # Shapes
    /// - `denoised`: (`[batch, …]`, `[batch]`, for `batch` examples) to `[batch, …]`
    pub fn evaluate_denoiser<B, P, const D: usize>(
        &self,
        parameterization: &P,
        device: &B::Device,
        denoised: impl Fn(Tensor<B, D>, Tensor<B, 1>, &C) -> Tensor<B, D>,
    ) -> LossBySigma
    where
        B: Backend,
        P: Parameterization,
    {
        let watch = Watch::default();
        self.evaluate_denoiser_watched(parameterization, device, denoised, &watch).expect(NOT_STOPPED)
    }

    /// As [`evaluate_denoiser`](Self::evaluate_denoiser); `watch` is told after each range, and may stop it.
    ///
    /// # Shapes
    /// - `denoised`: (`[batch, …]`, `[batch]`, for `batch` examples) to `[batch, …]`
    ///
    /// # Errors
    /// If `watch` stops it.
    pub fn evaluate_denoiser_watched<B, P, const D: usize>(
        &self,
        parameterization: &P,
        device: &B::Device,
        denoised: impl Fn(Tensor<B, D>, Tensor<B, 1>, &C) -> Tensor<B, D>,
        watch: &Watch,
    ) -> Result<LossBySigma, Stopped>
    where
        B: Backend,
        P: Parameterization,
    {
        self.curve("validating the optimal denoiser", watch, |triples| {
            let x0 = Tensor::<B, D>::from_data(triples.x0.clone(), device);
            let batch = triples.sigmas.len();
            let tensor_of = |f: &dyn Fn(f64) -> f64| {
                let values: Vec<f32> = triples.sigmas.iter().map(|&sigma| f(sigma) as f32).collect();
                Tensor::<B, 1>::from_data(TensorData::new(values, [batch]), device)
            };
            // At α = 0 nothing is left of the data; a little keeps the values finite.
            let path = parameterization.path();
            let exploding = |sigma: f64| sigma / path.alpha(sigma).max(1e-6);
            let sigma = tensor_of(&exploding);
            let per_example: [usize; D] = std::array::from_fn(|axis| if axis == 0 { batch } else { 1 });
            let eps = triples.noise::<B, D>(&self.objective, self.seed, device);
            let x = x0.clone() + eps * sigma.clone().reshape(per_example);
            let error = denoised(x, sigma, &triples.condition) - x0;
            let factor = tensor_of(&|sigma| {
                let target = parameterization.target(sigma);
                target.x0 - target.eps * path.alpha(sigma) / sigma
            });
            let (sigmas, error) = (Sigma::from(&triples.sigmas), error * factor.reshape(per_example));
            let losses = self.objective.losses(parameterization, &sigmas, error);
            losses.flatten::<2>(1, D - 1).mean_dim(1).squeeze_dim(1)
        })
    }

    /// The losses in each range; `watch` is told that `work` is done after each.
    fn curve<B: Backend>(
        &self,
        work: &str,
        watch: &Watch,
        losses: impl Fn(&Triples<C>) -> Tensor<B, 1>,
    ) -> Result<LossBySigma, Stopped> {
        let bin = |triples: &Triples<C>| {
            let losses = losses(triples).into_data();
            let losses: Vec<f64> =
                losses.iter::<f64>().zip(&triples.factors).map(|(loss, factor)| loss * factor).collect();
            let n = losses.len() as f64;
            let loss = losses.iter().sum::<f64>() / n;
            let variance = losses.iter().map(|l| (l - loss).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
            let [sigma_min, .., sigma_max] = triples.sigmas[..] else {
                let sigma = triples.sigmas[0];
                return SigmaBin { sigma_min: sigma, sigma_max: sigma, loss, error: 0.0 };
            };
            SigmaBin { sigma_min, sigma_max, loss, error: (variance / n).sqrt() }
        };
        let total = self.bins.len() as u64;
        let mut bins = Vec::with_capacity(self.bins.len());
        watch.report(work, 0, Some(total))?;
        for (done, triples) in (1..).zip(&self.bins) {
            bins.push(bin(triples));
            watch.report(work, done, Some(total))?;
        }
        Ok(LossBySigma(bins))
    }
}

impl<C: Condition> Triples<C> {
    /// The noise as training has it under `objective`.
    fn noise<B: Backend, const D: usize>(
        &self,
        objective: &impl Objective,
        seed: u64,
        device: &B::Device,
    ) -> Tensor<B, D> {
        let (examples, first) = (self.sigmas.len(), self.first);
        let shape: [usize; D] = self.x0.shape.dims();
        let noise = normal_data(seed, VALIDATION_NOISE, 0, first, shape);
        let place = BatchPlace { seed, step: VALIDATION_STEP, first, examples, total: examples };
        Tensor::from_data(objective.noise(noise, &self.x0, self.condition.classes(), &place), device)
    }
}

/// What an objective draws for validation is no step's of training.
const VALIDATION_STEP: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strata::{DRAWS, VALIDATION_SIGMA};
    use diffusion_core::schedule::LogLinear;
    use std::sync::{Arc, Mutex, OnceLock};

    /// Of 1,000 levels, so many draws that they are made and sorted in several pieces.
    const MANY: ValidationConfig =
        ValidationConfig { every: 1, examples: 1, bins: 2, per_bin: 500, metrics: Vec::new(), samples: 256 };

    fn many(watch: &Watch) -> Result<Validation<(), PredictionMse>, Stopped> {
        let gather = |indices: &[usize]| Ok((TensorData::zeros::<f32, _>([indices.len(), 2]), ()));
        Validation::under_watched(PredictionMse, MANY, 3, &LogLinear::default(), 10, gather, watch)
    }

    /// Of any number of values, in pieces or not.
    #[test]
    fn levels_are_the_middles_of_groups_of_sorted_draws() {
        let draw = |i| {
            let stream = &mut Stream::new(3, VALIDATION_SIGMA, 0, i as u64);
            PredictionMse.draw(&LogLinear::default(), stream)
        };
        let mut draws: Vec<f64> = (0..1_000 * DRAWS).map(draw).collect();
        draws.sort_by(f64::total_cmp);
        let expected: Vec<f64> = draws.chunks(DRAWS).map(|group| group[DRAWS / 2]).collect();
        let found = many(&Watch::default()).expect("nobody stops it");
        assert_eq!(found.bins.iter().flat_map(|bin| bin.sigmas.clone()).collect::<Vec<_>>(), expected);
    }

    /// Each of its parts is told of, and can be stopped after it has begun.
    #[test]
    fn making_triples_is_watched() {
        let works = Arc::new(Mutex::new(Vec::new()));
        let heard = works.clone();
        let listen = Watch::new(move |progress| {
            heard.lock().expect("no panic").push((progress.work.to_string(), progress.done))
        });
        assert!(many(&listen).is_ok());
        let works = works.lock().expect("no panic").clone();
        for part in ["choosing", "drawing", "sorting"] {
            let told: Vec<_> = works.iter().filter(|(work, _)| work.starts_with(part)).collect();
            assert!(told.len() > 1 || part == "choosing", "{part}: {told:?}");
            let (work, done) = told.last().copied().expect("it is told of").clone();
            let watch = Arc::new(OnceLock::<Watch>::new());
            let handle = watch.clone();
            let stopping = Watch::new(move |progress| {
                assert!(!handle.get().is_some_and(Watch::is_stopped), "{} after the stop", progress.work);
                if progress.work == work && progress.done == done {
                    handle.get().expect("it is set below").stop();
                }
            });
            watch.set(stopping.clone()).expect("it is set once");
            assert_eq!(many(&stopping).err(), Some(Stopped), "{part}");
        }
    }

    #[test]
    fn settings_are_refused_by_name() {
        let good = ValidationConfig::default();
        assert_eq!(good.validate(), Ok(()));
        for (config, setting) in [
            (ValidationConfig { every: 0, ..good.clone() }, "every"),
            (ValidationConfig { examples: 0, ..good.clone() }, "examples"),
            (ValidationConfig { bins: 0, ..good.clone() }, "bins"),
            (ValidationConfig { per_bin: 0, ..good.clone() }, "per_bin"),
            (ValidationConfig { bins: 1_001, per_bin: 1_000, ..good.clone() }, "per_bin"),
            (ValidationConfig { bins: 2, per_bin: usize::MAX, ..good.clone() }, "per_bin"),
            (ValidationConfig { metrics: vec![Metric::Memorization], ..good.clone() }, "metrics"),
            (ValidationConfig { metrics: vec![Metric::Fd], samples: 15, ..good.clone() }, "samples"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting, setting, "{config:?}");
        }
    }
}

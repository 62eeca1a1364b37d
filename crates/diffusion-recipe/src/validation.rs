//! The losses of a run at each noise level, on what it is trained on and on what it never sees.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::watched::Watched;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::watch::{Stopped, Watch};
use diffusion::core::{AnyCondition, AnyObjective, AnyPrediction, AnySchedule, Diffusion, Labels, Network};
use diffusion::data::{AnyDataset, Dataset, TrainingData};
use diffusion::eval::{LossBySigma, Validation, ValidationConfig};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most values of a data set for which the optimal denoiser is asked too.
const OPTIMAL: usize = 1 << 24;

/// Examples that the optimal denoiser is asked for at once.
const ROWS: usize = 256;

/// The losses of the EMA weights after some step. Lists go from the lowest noise to the highest.
#[derive(Clone, Debug, Serialize)]
pub struct ValidationLosses {
    /// The smallest σ of each bin.
    pub sigma_min: Vec<f64>,
    /// The largest σ of each bin.
    pub sigma_max: Vec<f64>,
    /// On examples that the run is trained on.
    pub training: Losses,
    /// On examples that it never sees, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Losses>,
    /// The optimal denoiser's loss on the training examples: below it a model has learned them by heart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimal: Option<Losses>,
    /// What was measured of samples, by the names of [`Metric::values`](diffusion::eval::Metric::values), where the
    /// configuration asks for it; not a number where samples are not finite or too few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

impl ValidationLosses {
    /// The loss that checkpoints are compared by: on validation examples, where there are some.
    pub fn loss(&self) -> f64 {
        self.validation.as_ref().unwrap_or(&self.training).mean
    }
}

/// A loss over all noise levels, and in each bin.
#[derive(Clone, Debug, Serialize)]
pub struct Losses {
    /// The mean.
    pub mean: f64,
    /// The standard error of the mean.
    pub error: f64,
    /// The mean in each bin.
    pub bins: Vec<f64>,
}

impl From<&LossBySigma> for Losses {
    fn from(losses: &LossBySigma) -> Self {
        let bins = losses.0.iter().map(|bin| bin.loss).collect();
        Self { mean: losses.mean(), error: losses.error(), bins }
    }
}

/// The fixed examples, noise levels and noise that a run is validated on.
pub(crate) struct Validations {
    training: Validation<AnyCondition, AnyObjective>,
    validation: Option<Validation<AnyCondition, AnyObjective>>,
    optimal: Option<LossBySigma>,
}

impl Validations {
    /// Those that `settings` ask for, of the run `config` on `data`.
    ///
    /// # Errors
    /// If an example cannot be read, or `watch` stops it.
    pub fn new<B: Backend, const D: usize>(
        settings: &ValidationConfig,
        config: &RunConfig,
        data: &TrainingData,
        schedule: &AnySchedule,
        device: &B::Device,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        let (prediction, seed) = (config.prediction, config.training.seed);
        let of = |data: &AnyDataset| {
            let data = Watched::new(data, watch, "reading validation examples");
            let data = data.of(settings.bins * settings.per_bin);
            let gather = |indices: &[usize]| data.gather(indices);
            let objective = config.objective.clone();
            Validation::under_watched(objective, settings.clone(), seed, schedule, data.len(), gather, watch)
        };
        let training = of(&data.training)?;
        let examples = &data.training;
        let is_small = examples.shape().iter().product::<usize>().saturating_mul(examples.len()) <= OPTIMAL;
        let optimal = |examples: &AnyDataset| {
            let all: Vec<usize> = (0..examples.len()).collect();
            let (values, condition) =
                Watched::new(examples, watch, "reading the examples").of(all.len()).gather(&all)?;
            let optimal = Optimal::<B, D>::new(&values, condition.labels(), device, watch)?;
            let denoised =
                |x, sigma, condition: &AnyCondition| optimal.denoised(x, sigma, condition.labels(), watch);
            Ok::<_, RecipeError>(training.evaluate_denoiser_watched(&prediction, device, denoised, watch)?)
        };
        // Of other noise the optimal denoiser is another.
        let is_known = is_small && !config.objective.changes_noise();
        let optimal = is_known.then(|| optimal(examples)).transpose()?;
        let validation = data.validation.as_ref().map(of).transpose()?;
        Ok(Self { training, validation, optimal })
    }

    /// The losses of `model`.
    pub fn evaluate<B, N, const D: usize>(
        &self,
        model: &Diffusion<B, N, AnyPrediction>,
        device: &B::Device,
        watch: &Watch,
    ) -> Result<ValidationLosses, Stopped>
    where
        B: Backend,
        N: Network<B, D, Condition = AnyCondition>,
    {
        let of = |set: &Validation<_, _>| set.evaluate_watched(model, device, watch);
        let training = of(&self.training)?;
        let validation = self.validation.as_ref().map(of).transpose()?;
        Ok(ValidationLosses {
            sigma_min: training.0.iter().map(|bin| bin.sigma_min).collect(),
            sigma_max: training.0.iter().map(|bin| bin.sigma_max).collect(),
            training: (&training).into(),
            validation: validation.as_ref().map(Losses::from),
            optimal: self.optimal.as_ref().map(Losses::from),
            metrics: BTreeMap::new(),
        })
    }
}

/// The optimal denoiser of a data set, for each label one of its own.
struct Optimal<B: Backend, const D: usize>(BTreeMap<Option<usize>, IdealDenoiser<B, D>>);

impl<B: Backend, const D: usize> Optimal<B, D> {
    /// Of `examples`, `[examples, …]`, and their labels, unless `watch` stops it.
    fn new(
        examples: &TensorData,
        labels: Option<&Labels>,
        device: &B::Device,
        watch: &Watch,
    ) -> Result<Self, Stopped> {
        let row: usize = examples.shape[1..].iter().product();
        let mut classes: BTreeMap<Option<usize>, Vec<f32>> = BTreeMap::new();
        let values: Vec<f32> = examples.iter::<f32>().collect();
        for (i, example) in values.chunks(row).enumerate() {
            watch.check()?;
            classes.entry(labels.map(|labels| labels.0[i])).or_default().extend(example);
        }
        let optimal = |values: Vec<f32>| {
            let mut shape = examples.shape.to_vec();
            shape[0] = values.len() / row;
            IdealDenoiser::new(&TensorData::new(values, shape), device)
        };
        let optimal = classes.into_iter().map(|(label, values)| {
            watch.check()?;
            Ok((label, optimal(values)))
        });
        Ok(Self(optimal.collect::<Result<_, _>>()?))
    }

    /// The denoised examples; of no meaning once `watch` was asked to stop.
    fn denoised(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        labels: Option<&Labels>,
        watch: &Watch,
    ) -> Tensor<B, D> {
        let batch = x.dims()[0];
        let (rows, of) = match labels {
            Some(_) => (1, labels),
            None => (ROWS, None),
        };
        let parts = (0..batch).step_by(rows).map(|first| {
            let n = rows.min(batch - first);
            let (x, sigma) = (x.clone().narrow(0, first, n), sigma.clone().narrow(0, first, n));
            match watch.is_stopped() {
                true => x,
                false => self.0[&of.map(|Labels(labels)| labels[first])].denoise(x, sigma),
            }
        });
        Tensor::cat(parts.collect(), 0)
    }
}

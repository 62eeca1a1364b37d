//! The losses of a run at each noise level, on what it is trained on and on what it never sees.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::{AnyCondition, AnyObjective, AnyPrediction, AnySchedule, Diffusion, Labels, Network};
use diffusion::data::{AnyDataset, Dataset, TrainingData};
use diffusion::eval::{LossBySigma, Validation, ValidationConfig};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most values of a data set for which the optimal denoiser is asked too.
const OPTIMAL: usize = 1 << 24;

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
    /// Those of `config`, of the data `data`.
    pub fn new<B: Backend, const D: usize>(
        config: ValidationConfig,
        objective: AnyObjective,
        seed: u64,
        data: &TrainingData,
        schedule: &AnySchedule,
        prediction: AnyPrediction,
        device: &B::Device,
    ) -> Self {
        let of = |data: &AnyDataset| {
            Validation::under(objective, config, seed, schedule, data.len(), |indices| data.gather(indices))
        };
        let training = of(&data.training);
        let examples = &data.training;
        let is_small = examples.shape().iter().product::<usize>().saturating_mul(examples.len()) <= OPTIMAL;
        let optimal = is_small.then(|| {
            let all: Vec<usize> = (0..examples.len()).collect();
            let (values, condition) = examples.gather(&all);
            let optimal = Optimal::<B, D>::new(&values, condition.labels(), device);
            training.evaluate_denoiser(&prediction, device, |x, sigma, condition: &AnyCondition| {
                optimal.denoised(x, sigma, condition.labels())
            })
        });
        Self { training, validation: data.validation.as_ref().map(of), optimal }
    }

    /// The losses of `model`.
    pub fn evaluate<B, N, const D: usize>(
        &self,
        model: &Diffusion<B, N, AnyPrediction>,
        device: &B::Device,
    ) -> ValidationLosses
    where
        B: Backend,
        N: Network<B, D, Condition = AnyCondition>,
    {
        let training = self.training.evaluate(model, device);
        ValidationLosses {
            sigma_min: training.0.iter().map(|bin| bin.sigma_min).collect(),
            sigma_max: training.0.iter().map(|bin| bin.sigma_max).collect(),
            training: (&training).into(),
            validation: self.validation.as_ref().map(|set| (&set.evaluate(model, device)).into()),
            optimal: self.optimal.as_ref().map(Losses::from),
        }
    }
}

/// The optimal denoiser of a data set, for each label one of its own.
struct Optimal<B: Backend, const D: usize>(BTreeMap<Option<usize>, IdealDenoiser<B, D>>);

impl<B: Backend, const D: usize> Optimal<B, D> {
    /// Of `examples`, `[examples, …]`, and their labels.
    fn new(examples: &TensorData, labels: Option<&Labels>, device: &B::Device) -> Self {
        let row: usize = examples.shape[1..].iter().product();
        let mut classes: BTreeMap<Option<usize>, Vec<f32>> = BTreeMap::new();
        let values: Vec<f32> = examples.iter::<f32>().collect();
        for (i, example) in values.chunks(row).enumerate() {
            classes.entry(labels.map(|labels| labels.0[i])).or_default().extend(example);
        }
        let optimal = |values: Vec<f32>| {
            let mut shape = examples.shape.to_vec();
            shape[0] = values.len() / row;
            IdealDenoiser::new(&TensorData::new(values, shape), device)
        };
        Self(classes.into_iter().map(|(label, values)| (label, optimal(values))).collect())
    }

    fn denoised(&self, x: Tensor<B, D>, sigma: Tensor<B, 1>, labels: Option<&Labels>) -> Tensor<B, D> {
        let Some(Labels(labels)) = labels else { return self.0[&None].denoise(x, sigma) };
        let rows = labels.iter().enumerate().map(|(i, &label)| {
            self.0[&Some(label)].denoise(x.clone().narrow(0, i, 1), sigma.clone().narrow(0, i, 1))
        });
        Tensor::cat(rows.collect(), 0)
    }
}

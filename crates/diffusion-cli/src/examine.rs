//! The exams of a run: its loss at each noise level, on what it is trained on and on what it never sees.

use crate::condition::{BoxedData, Examples, RunCondition};
use crate::config::{HeldOutConfig, RunConfig};
use crate::error::CliError;
use crate::pictures;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::prelude::{
    Dataset, Diffusion, Exam, ExamConfig, IdealDenoiser, LossCurve, Network, Parameterization, Schedule,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The largest number of numbers in a data set whose ideal denoiser is asked too.
const IDEAL: usize = 1 << 24;

/// The exams of a run.
pub struct Exams<C> {
    every: u64,
    training: Exam<C>,
    held_out: Option<Exam<C>>,
    floor: Option<LossCurve>,
}

/// The outcome of an exam. Lists go from the lowest noise to the highest.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The smallest σ of each range.
    sigma_min: Vec<f64>,
    /// The largest σ of each range.
    sigma_max: Vec<f64>,
    training: Losses,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out: Option<Losses>,
    /// What the ideal denoiser of the training data gets on the training exam.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Losses>,
}

/// A loss over all noise levels, and in each range.
#[derive(Clone, Debug, Serialize)]
struct Losses {
    mean: f64,
    /// The standard error of the mean.
    error: f64,
    bins: Vec<f64>,
}

impl From<&LossCurve> for Losses {
    fn from(curve: &LossCurve) -> Self {
        Self { mean: curve.mean(), error: curve.error(), bins: curve.0.iter().map(|bin| bin.loss).collect() }
    }
}

impl<C: RunCondition> Exams<C> {
    /// The exams that `config` asks for, if any.
    pub fn new<B: Backend, P: Parameterization, const D: usize>(
        config: &RunConfig,
        examples: &Examples<C::Label>,
        schedule: &dyn Schedule<Path = P::Path>,
        parameterization: &P,
        device: &B::Device,
    ) -> Option<Self> {
        let &HeldOutConfig { every, bins, per_bin, .. } = config.held_out.as_ref()?;
        let exam = |data: &BoxedData<C::Label>| {
            let config_of = ExamConfig { bins, per_bin };
            Exam::new(config_of, config.training.seed, schedule, data.len(), |indices| data.gather(indices))
        };
        let training = exam(&examples.training);
        let data = &examples.training;
        let is_small = data.shape().iter().product::<usize>().saturating_mul(data.len()) <= IDEAL;
        let floor = is_small.then(|| {
            let all: Vec<usize> = (0..data.len()).collect();
            let (values, condition) = data.gather(&all);
            let ideal = Ideal::<B, D>::new(&values, condition.labels().as_deref(), device);
            training.of_denoiser(parameterization, device, |x, sigma, condition: &C| {
                ideal.denoised(x, sigma, condition.clone().labels())
            })
        });
        Some(Self { every, training, held_out: examples.held_out.as_ref().map(exam), floor })
    }

    /// Whether there is an exam after the step `step`: every so many, and after the last of a run that is long enough for
    /// one.
    pub fn is_due(&self, step: u64, is_last: bool) -> bool {
        step.is_multiple_of(self.every) || is_last && step > self.every
    }

    /// Examines `model`.
    pub fn of<B, N, P, const D: usize>(&self, model: &Diffusion<B, N, P>, device: &B::Device) -> Results
    where
        B: Backend,
        N: Network<B, D, Condition = C>,
        P: Parameterization,
    {
        let training = self.training.of(model, device);
        Results {
            sigma_min: training.0.iter().map(|bin| bin.sigma_min).collect(),
            sigma_max: training.0.iter().map(|bin| bin.sigma_max).collect(),
            training: (&training).into(),
            held_out: self.held_out.as_ref().map(|exam| (&exam.of(model, device)).into()),
            floor: self.floor.as_ref().map(Losses::from),
        }
    }
}

/// The ideal denoiser of a data set, for each label one of its own.
struct Ideal<B: Backend, const D: usize>(BTreeMap<Option<usize>, IdealDenoiser<B, D>>);

impl<B: Backend, const D: usize> Ideal<B, D> {
    /// Of `examples`, `[examples, …]`, and their labels.
    fn new(examples: &TensorData, labels: Option<&[usize]>, device: &B::Device) -> Self {
        let row: usize = examples.shape[1..].iter().product();
        let mut classes: BTreeMap<Option<usize>, Vec<f32>> = BTreeMap::new();
        let values: Vec<f32> = examples.iter::<f32>().collect();
        for (i, example) in values.chunks(row).enumerate() {
            classes.entry(labels.map(|labels| labels[i])).or_default().extend(example);
        }
        let ideal = |values: Vec<f32>| {
            let mut shape = examples.shape.to_vec();
            shape[0] = values.len() / row;
            IdealDenoiser::new(&TensorData::new(values, shape), device)
        };
        Self(classes.into_iter().map(|(label, values)| (label, ideal(values))).collect())
    }

    fn denoised(&self, x: Tensor<B, D>, sigma: Tensor<B, 1>, labels: Option<Vec<usize>>) -> Tensor<B, D> {
        let Some(labels) = labels else { return self.0[&None].denoise(x, sigma) };
        let rows = labels.into_iter().enumerate().map(|(i, label)| {
            self.0[&Some(label)].denoise(x.clone().narrow(0, i, 1), sigma.clone().narrow(0, i, 1))
        });
        Tensor::cat(rows.collect(), 0)
    }
}

impl Results {
    /// The loss that checkpoints are judged by: held out, where something is.
    pub fn judged(&self) -> f64 {
        self.held_out.as_ref().unwrap_or(&self.training).mean
    }

    /// One line: means and the gap between them.
    pub fn sentence(&self) -> String {
        let mut text = format!("loss of the average at fixed noise: {}", figure(&self.training));
        if let Some(held_out) = &self.held_out {
            let gap = 100.0 * (held_out.mean / self.training.mean - 1.0);
            text = format!(
                "{text} on training examples, {} on held-out ones, gap {gap:+.1} %",
                figure(held_out)
            );
        }
        match &self.floor {
            Some(floor) => format!("{text}; the training data's floor is {:.4}", floor.mean),
            None => text,
        }
    }

    /// A row for each range of noise levels.
    pub fn table(&self) -> String {
        let mut text = format!("{:>20}  {:>9}", "noise level σ", "training");
        let columns = [("held out", &self.held_out), ("floor", &self.floor)];
        for (name, column) in columns {
            if column.is_some() {
                text += &format!("  {name:>9}");
            }
        }
        if self.held_out.is_some() {
            text += &format!("  {:>8}", "gap");
        }
        for bin in 0..self.sigma_min.len() {
            let range = format!("{:.4} to {:.4}", self.sigma_min[bin], self.sigma_max[bin]);
            let training = self.training.bins[bin];
            text += &format!("\n{range:>20}  {training:>9.5}");
            for column in columns.into_iter().filter_map(|(_, column)| column.as_ref()) {
                text += &format!("  {:>9.5}", column.bins[bin]);
            }
            if let Some(held_out) = &self.held_out {
                text += &format!("  {:>6.1} %", 100.0 * (held_out.bins[bin] / training - 1.0));
            }
        }
        text
    }

    /// Draws the loss over σ.
    pub fn draw(&self, path: &Path, title: &str) -> Result<(), CliError> {
        let sigmas = self.sigma_min.iter().zip(&self.sigma_max).map(|(low, high)| (low * high).sqrt());
        let points = |losses: &Losses| sigmas.clone().zip(losses.bins.iter().copied()).collect::<Vec<_>>();
        let mut curves = vec![("training examples", points(&self.training))];
        curves.extend(self.held_out.iter().map(|losses| ("held-out examples", points(losses))));
        curves
            .extend(self.floor.iter().map(|losses| ("ideal denoiser of the training data", points(losses))));
        Ok(pictures::curves(path, title, "noise level σ", &curves)?)
    }
}

fn figure(losses: &Losses) -> String {
    format!("{:.4} ± {:.4}", losses.mean, losses.error)
}

//! The loss at each noise level, on examples, levels and noise that stay the same.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::network::Condition;
use diffusion_core::path::Path;
use diffusion_core::random::{Purpose, Stream, normal};
use diffusion_core::{Diffusion, Network, Parameterization, Schedule};
use serde::{Deserialize, Serialize};

/// How a model is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamConfig {
    /// Ranges of noise levels, each as likely in training as any other.
    pub bins: usize,
    /// Examples in each of them.
    pub per_bin: usize,
}

impl Default for ExamConfig {
    /// 10 ranges of 32 examples.
    fn default() -> Self {
        Self { bins: 10, per_bin: 32 }
    }
}

/// A fixed set of (example, σ, noise), stratified in σ: the same for every model that is asked and for every run of a
/// seed, so that what changes is the model. The loss of a training batch jumps with its noise levels; this one does
/// not.
///
/// Let one hold examples that the model never sees, and a second one, of the same seed, examples that it is trained
/// on: both have the same levels and noise, and their difference is what the model knows by heart.
#[derive(Clone, Debug)]
pub struct Exam<C> {
    bins: Vec<Questions<C>>,
    seed: u64,
}

/// The questions of one range of noise levels.
#[derive(Clone, Debug)]
struct Questions<C> {
    x0: TensorData,
    condition: C,
    sigmas: Vec<f64>,
    /// The place of the first one among all.
    first: u64,
}

/// How well a model did at each range of noise levels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve(pub Vec<BinLoss>);

/// How well a model did in one range of noise levels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinLoss {
    /// The smallest σ.
    pub sigma_min: f64,
    /// The largest σ.
    pub sigma_max: f64,
    /// The mean loss of its examples.
    pub loss: f64,
    /// The standard error of that mean, as far as examples and noise go.
    pub error: f64,
}

impl LossCurve {
    /// The mean over all ranges: an estimate of the training loss, for each range is as likely in training.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|bin| bin.loss).sum::<f64>() / self.0.len() as f64
    }

    /// The standard error of [`mean`](Self::mean).
    pub fn error(&self) -> f64 {
        self.0.iter().map(|bin| bin.error.powi(2)).sum::<f64>().sqrt() / self.0.len() as f64
    }
}

/// Draws from the schedule for each level that is used: their ranks are known to a part in so many.
const DRAWS: usize = 64;

impl<C: Condition> Exam<C> {
    /// The questions of `seed` about some of `examples` examples, as many of them as there are questions if there are
    /// enough; `gather` returns those at given indices and their condition.
    ///
    /// # Panics
    /// If there are no examples, no ranges, or none in a range.
    pub fn new<S: Schedule + ?Sized>(
        config: ExamConfig,
        seed: u64,
        schedule: &S,
        examples: usize,
        gather: impl Fn(&[usize]) -> (TensorData, C),
    ) -> Self {
        let ExamConfig { bins, per_bin } = config;
        assert!(
            examples > 0 && bins > 0 && per_bin > 0,
            "an exam of {bins} ranges with {per_bin} examples of {examples} was asked for, expected at least 1 of each"
        );
        let mut order: Vec<usize> = (0..examples).collect();
        Stream::new(seed, Purpose::ExamExample, 0, 0).shuffle(&mut order);
        let levels = strata(schedule, seed, bins * per_bin);
        let questions = levels.chunks(per_bin).enumerate().map(|(bin, sigmas)| {
            let first = bin * per_bin;
            let indices: Vec<usize> = (first..first + per_bin).map(|i| order[i % examples]).collect();
            let (x0, condition) = gather(&indices);
            Questions { x0, condition, sigmas: sigmas.to_vec(), first: first as u64 }
        });
        Self { bins: questions.collect(), seed }
    }

    /// The losses of `model`.
    ///
    /// # Panics
    /// If the examples do not have the network's shape.
    pub fn of<B, N, P, const D: usize>(&self, model: &Diffusion<B, N, P>, device: &B::Device) -> LossCurve
    where
        B: Backend,
        N: Network<B, D, Condition = C>,
        P: Parameterization,
    {
        self.curve(|questions| {
            let eps = questions.noise::<B, D>(self.seed, device);
            let x0 = Tensor::from_data(questions.x0.clone(), device);
            model.loss_per_example(x0, questions.sigmas.clone(), eps, questions.condition.clone())
        })
    }

    /// The losses of a model with `parameterization` that denoised as `denoised` does, which maps (noisy examples of
    /// variance-exploding σ, those σ, condition) to examples: with the ideal denoiser of the data a floor for every
    /// model that is asked about the same data.
    ///
    /// With F = a·x₀ + b·ε and x = α·x₀ + σ·ε, an error of D in x₀ is an error of (a − b·α/σ)·D in F.
    ///
    /// # Shapes
    /// - `denoised`: (`[batch, …]`, `[batch]`, for `batch` examples) to `[batch, …]`
    pub fn of_denoiser<B, P, const D: usize>(
        &self,
        parameterization: &P,
        device: &B::Device,
        denoised: impl Fn(Tensor<B, D>, Tensor<B, 1>, &C) -> Tensor<B, D>,
    ) -> LossCurve
    where
        B: Backend,
        P: Parameterization,
    {
        self.curve(|questions| {
            let x0 = Tensor::<B, D>::from_data(questions.x0.clone(), device);
            let batch = questions.sigmas.len();
            let numbers = |f: &dyn Fn(f64) -> f64| {
                let values: Vec<f32> = questions.sigmas.iter().map(|&sigma| f(sigma) as f32).collect();
                Tensor::<B, 1>::from_data(TensorData::new(values, [batch]), device)
            };
            // At α = 0 nothing is left of the data; a little keeps the numbers finite.
            let exploding = |sigma: f64| sigma / P::Path::alpha(sigma).max(1e-6);
            let sigma = numbers(&exploding);
            let per_example: [usize; D] = std::array::from_fn(|axis| if axis == 0 { batch } else { 1 });
            let eps = questions.noise::<B, D>(self.seed, device);
            let x = x0.clone() + eps * sigma.clone().reshape(per_example);
            let error = denoised(x, sigma, &questions.condition) - x0;
            let factor = numbers(&|sigma| {
                let target = parameterization.prediction(sigma);
                target.x0 - target.eps * P::Path::alpha(sigma) / sigma
            });
            let errors: Tensor<B, 1> = error.square().flatten::<2>(1, D - 1).mean_dim(1).squeeze_dim(1);
            errors * factor.square()
        })
    }

    fn curve<B: Backend>(&self, losses: impl Fn(&Questions<C>) -> Tensor<B, 1>) -> LossCurve {
        let bins = self.bins.iter().map(|questions| {
            let losses: Vec<f64> = losses(questions).into_data().iter::<f64>().collect();
            let n = losses.len() as f64;
            let loss = losses.iter().sum::<f64>() / n;
            let variance = losses.iter().map(|l| (l - loss).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
            let [sigma_min, .., sigma_max] = questions.sigmas[..] else {
                let sigma = questions.sigmas[0];
                return BinLoss { sigma_min: sigma, sigma_max: sigma, loss, error: 0.0 };
            };
            BinLoss { sigma_min, sigma_max, loss, error: (variance / n).sqrt() }
        });
        LossCurve(bins.collect())
    }
}

impl<C> Questions<C> {
    fn noise<B: Backend, const D: usize>(&self, seed: u64, device: &B::Device) -> Tensor<B, D> {
        normal(seed, Purpose::ExamNoise, 0, self.first, self.x0.shape.dims(), device)
    }
}

/// `n` noise levels in increasing order, which lie among training's as evenly as can be: the middle ones of `n`
/// equally large groups of many draws in order.
fn strata<S: Schedule + ?Sized>(schedule: &S, seed: u64, n: usize) -> Vec<f64> {
    let draw = |i| schedule.draw(&mut Stream::new(seed, Purpose::ExamSigma, 0, i as u64));
    let mut draws: Vec<f64> = (0..n * DRAWS).map(draw).collect();
    draws.sort_by(f64::total_cmp);
    (0..n).map(|i| draws[i * DRAWS + DRAWS / 2]).collect()
}

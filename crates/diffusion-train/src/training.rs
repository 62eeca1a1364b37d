//! The training loop, as an iterator that yields after every update.

use crate::ema::{Ema, EmaConfig};
use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamW, GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor, TensorData};
use diffusion_core::random::{Purpose, Stream, normal_data};
use diffusion_core::{Diffusion, Network, Parameterization, Schedule};
use serde::{Deserialize, Serialize};

/// How long and how fast to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of updates.
    pub steps: u64,
    /// Learning rate, 1e-3 in the reference.
    pub lr: f64,
    /// The seed of noise, noise levels and dropped conditions.
    pub seed: u64,
    /// The optimizer's other settings.
    pub adamw: AdamWConfig,
    /// The average of the weights.
    pub ema: EmaConfig,
}

impl TrainConfig {
    /// `steps` updates at the reference's settings: learning rate 1e-3, seed 0.
    pub fn new(steps: u64) -> Self {
        Self { steps, lr: 1e-3, seed: 0, adamw: AdamWConfig::default(), ema: EmaConfig::default() }
    }
}

/// The settings of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); the defaults are PyTorch's, not Burn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// β₁, the memory of the mean gradient.
    pub beta_1: f64,
    /// β₂, the memory of the mean squared gradient.
    pub beta_2: f64,
    /// ε in the denominator.
    pub epsilon: f64,
    /// The weights' decay per step, in units of the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

impl AdamWConfig {
    /// The optimizer, for a loop of your own; [`train`] makes it itself.
    pub fn init<B: AutodiffBackend, M: AutodiffModule<B>>(&self) -> OptimizerAdaptor<AdamW, M, B> {
        burn::optim::AdamWConfig::new()
            .with_beta_1(self.beta_1 as f32)
            .with_beta_2(self.beta_2 as f32)
            .with_epsilon(self.epsilon as f32)
            .with_weight_decay(self.weight_decay as f32)
            .init()
    }
}

/// Trains `model` on `batches`: yields a [`Step`] after each update, and nothing happens before it is asked for.
///
/// A batch is its examples on the host, `[batch, …]` in f32, and their condition. Each example is mixed with noise
/// at a level drawn from `schedule`; noise, levels and dropped conditions come from the streams named by
/// (`config.seed`, purpose, step, place in the batch), the same on every backend. Dropout inside a network draws from
/// the device's own generator, which each step seeds anew from (`config.seed`, step): the same at every run on one
/// backend. That generator is the process's: whoever draws from it on another thread meanwhile changes the dropout.
///
/// The iterator ends after `config.steps` updates, or when `batches` do. Use it by reference to keep the model:
/// `for step in &mut run { … }`, then [`Training::model`], [`Training::ema`] or [`Training::into_model`].
///
/// # Panics
/// While iterating, if a batch does not have the network's shape or its condition is for another batch size.
pub fn train<'a, B, N, P, S, I, const D: usize>(
    batches: I,
    model: Diffusion<B, N, P>,
    schedule: &'a S,
    config: &TrainConfig,
) -> Training<'a, B, N, P, S, I::IntoIter, D>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path> + ?Sized,
    I: IntoIterator<Item = (TensorData, N::Condition)>,
{
    let ema = Ema::new(model.valid(), config.ema.clone());
    let optimizer = config.adamw.init();
    let (batches, config) = (batches.into_iter(), config.clone());
    Training { model: Some(model), ema, optimizer, batches, schedule, config, step: 0, examples: 0 }
}

/// A training run; made by [`train`].
pub struct Training<'a, B, N, P, S: ?Sized, I, const D: usize>
where
    B: AutodiffBackend,
    N: AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// Absent only inside a step, while the optimizer owns it.
    model: Option<Diffusion<B, N, P>>,
    ema: Ema<Diffusion<B::InnerBackend, N::InnerModule, P>>,
    optimizer: OptimizerAdaptor<AdamW, Diffusion<B, N, P>, B>,
    batches: I,
    schedule: &'a S,
    config: TrainConfig,
    step: u64,
    examples: u64,
}

/// What one update did; it owns its numbers.
#[derive(Clone, Debug)]
pub struct Step<B: AutodiffBackend> {
    /// Its number, from 1.
    pub index: u64,
    /// Examples seen so far, this step's included.
    pub examples: u64,
    /// The learning rate of the update.
    pub lr: f64,
    loss: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> Step<B> {
    /// The batch's mean loss before the update.
    ///
    /// Reading it waits for the device: on a GPU, ask every few steps rather than at each.
    pub fn loss(&self) -> f64 {
        self.loss.clone().into_scalar().elem()
    }
}

impl<B, N, P, S, I, const D: usize> Iterator for Training<'_, B, N, P, S, I, D>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path> + ?Sized,
    I: Iterator<Item = (TensorData, N::Condition)>,
{
    type Item = Step<B>;

    fn next(&mut self) -> Option<Step<B>> {
        if self.step >= self.config.steps {
            return None;
        }
        let (x0, condition) = self.batches.next()?;
        let model = self.model.take()?;
        let (seed, lr, step) = (self.config.seed, self.config.lr, self.step);
        let device = model.devices().into_iter().next().unwrap_or_default();

        let shape: [usize; D] = x0.shape.dims();
        let stream = |purpose, i| Stream::new(seed, purpose, step, i as u64);
        let sigmas: Vec<f64> =
            (0..shape[0]).map(|i| self.schedule.draw(&mut stream(Purpose::TrainingSigma, i))).collect();
        let eps = Tensor::from_data(normal_data(seed, Purpose::TrainingNoise, step, 0, shape), &device);
        let condition =
            model.network.drop_condition(condition, &mut |i| stream(Purpose::ConditionDrop, i).uniform());

        // Dropout draws from the device's own generator, which no key reaches; so it starts anew at each step.
        B::seed(&device, stream(Purpose::Device, 0).below(usize::MAX) as u64);
        let loss = model.loss(Tensor::from_data(x0, &device), sigmas, eps, condition);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let model = self.optimizer.step(lr, model, gradients);

        self.step += 1;
        self.examples += shape[0] as u64;
        self.ema.update::<B::InnerBackend>(&model.valid(), self.step);
        self.model = Some(model);
        Some(Step { index: self.step, examples: self.examples, lr, loss: loss.inner() })
    }
}

impl<B, N, P, S: ?Sized, I, const D: usize> Training<'_, B, N, P, S, I, D>
where
    B: AutodiffBackend,
    N: AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// The model as it is after the last step, for inference.
    pub fn model(&self) -> Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.model.as_ref().expect(BETWEEN_STEPS).valid()
    }

    /// The average of the model's weights after the last step, for inference.
    pub fn ema(&self) -> &Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.ema.module()
    }

    /// The model as it is after the last step, for further training.
    pub fn into_model(self) -> Diffusion<B, N, P> {
        self.model.expect(BETWEEN_STEPS)
    }

    /// The number of updates so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The number of examples seen so far.
    pub fn examples(&self) -> u64 {
        self.examples
    }
}

/// Only a step that panicked leaves no model behind.
const BETWEEN_STEPS: &str = "the training step before this call panicked";

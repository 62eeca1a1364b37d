//! The training loop, as an iterator that yields after every step.

use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointState, ModelSpec, Weights};
use crate::config::TrainConfig;
use crate::counts::Counts;
use crate::ema::Ema;
use crate::health::{Measured, NonFinite, not_finite, scale};
use crate::moments::{Moments, Optim};
use crate::purpose::{CONDITION_DROP, DEVICE, TRAINING_NOISE, TRAINING_SIGMA};
use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::optim::{GradientsAccumulator, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, TensorData};
use diffusion_core::invalid::expect_valid;
use diffusion_core::objective::{Objective, PredictionMse};
use diffusion_core::random::{Stream, normal_data};
use diffusion_core::{Diffusion, Network, Parameterization, Schedule};
use std::path::Path;

/// Trains `model` on `batches`: yields a [`TrainStep`] after each update, and nothing happens before it is asked for.
///
/// A batch is its examples on the host, `[batch, …]` in f32, and their condition. Each example is mixed with noise
/// at a level drawn from `schedule`, and the loss is smalldiffusion's ([`PredictionMse`]) unless another objective is
/// given ([`Training::under`]); noise, levels and dropped conditions come from the streams named by
/// (`config.seed`, purpose, step, place in the batch), the same on every backend. Dropout inside a network draws from
/// the device's own generator, which each step seeds anew from (`config.seed`, step): the same at every run on one
/// backend. That generator is the process's: whoever draws from it on another thread meanwhile changes the dropout.
///
/// A step whose loss or gradients are not finite changes nothing: it is skipped, counted, and says why
/// ([`TrainStep::skipped`]). After [`TrainConfig::max_skipped`] of them in a row the iterator ends
/// ([`Training::gave_up`]); the model is then as it was before the first of them.
///
/// The iterator ends after `config.steps` steps, or when `batches` do. Use it by reference to keep the model:
/// `for step in &mut run { … }`, then [`Training::model`], [`Training::ema`] or [`Training::into_model`].
///
/// # Panics
/// If a number of `config` is out of its range. While iterating, if a batch does not have the network's shape or its
/// condition is for another batch size.
pub fn train<B, N, P, S, I, const D: usize>(
    batches: I,
    model: Diffusion<B, N, P>,
    schedule: S,
    config: &TrainConfig,
) -> Training<B, N, P, S, I::IntoIter, D>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path>,
    I: IntoIterator<Item = (TensorData, N::Condition)>,
{
    expect_valid(config.validate());
    let ema = Ema::new(model.valid(), config.ema.clone());
    let optimizer = config.adamw.init();
    let (batches, config, counts) = (batches.into_iter(), config.clone(), Counts::default());
    Training {
        model: Some(model),
        ema,
        optimizer,
        batches,
        schedule,
        objective: PredictionMse,
        config,
        counts,
    }
}

/// A training run; made by [`train`].
pub struct Training<B, N, P, S, I, const D: usize, O = PredictionMse>
where
    B: AutodiffBackend,
    N: AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// Absent only inside a step, while the optimizer owns it.
    model: Option<Diffusion<B, N, P>>,
    ema: Ema<Diffusion<B::InnerBackend, N::InnerModule, P>>,
    optimizer: Optim<Diffusion<B, N, P>, B>,
    batches: I,
    schedule: S,
    objective: O,
    config: TrainConfig,
    counts: Counts,
}

/// What one step did; it owns its numbers.
#[derive(Clone, Debug)]
pub struct TrainStep<B: AutodiffBackend> {
    /// Its number, from 1.
    pub index: u64,
    /// Examples seen so far, this step's included.
    pub examples: u64,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of all gradients together, before clipping; not known where nobody looks, see
    /// [`TrainConfig::max_skipped`].
    pub gradient_norm: Option<f64>,
    /// Why the step changed nothing, if it was skipped.
    pub skipped: Option<NonFinite>,
    loss: Loss<B>,
}

#[derive(Clone, Debug)]
enum Loss<B: AutodiffBackend> {
    Read(f64),
    OnDevice(Tensor<B::InnerBackend, 1>),
}

impl<B: AutodiffBackend> TrainStep<B> {
    /// The mean loss of the step's examples before the update.
    ///
    /// Where nobody looks at the gradients, see [`TrainConfig::max_skipped`], reading it waits for the device: on a
    /// GPU, ask every few steps then rather than at each.
    pub fn loss(&self) -> f64 {
        match &self.loss {
            Loss::Read(loss) => *loss,
            Loss::OnDevice(loss) => loss.clone().into_scalar().elem(),
        }
    }
}

impl<B, N, P, S, I, const D: usize, O> Iterator for Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path>,
    O: Objective,
    I: Iterator<Item = (TensorData, N::Condition)>,
{
    type Item = TrainStep<B>;

    fn next(&mut self) -> Option<TrainStep<B>> {
        if self.counts.step >= self.config.steps || self.gave_up() {
            return None;
        }
        let batches: Vec<_> = self.batches.by_ref().take(self.config.accumulate).collect();
        let examples = batches.iter().map(|(x0, _)| x0.shape[0]).sum::<usize>();
        if batches.is_empty() {
            return None;
        }
        let model = self.model.take()?;
        let (loss, mut gradients) = self.gradients(&model, &batches, examples);

        let looked = self.config.max_skipped > 0 || self.config.clip_norm.is_some();
        let measured = looked.then(|| Measured::read::<B, _>(loss.clone(), &model, &gradients));
        let norm = measured.as_ref().map(Measured::norm);
        let skipped = measured
            .as_ref()
            .filter(|measured| self.config.max_skipped > 0 && !measured.is_finite())
            .map(|measured| measured.diagnose::<B, _>(&model, batches.iter().map(|(x0, _)| x0)));
        if let (Some(most), Some(norm)) = (self.config.clip_norm, norm) {
            let factor = most / (norm + 1e-6);
            if factor < 1.0 {
                scale::<B, _>(&model, &mut gradients, factor);
            }
        }

        let lr = self.config.lr_at(self.counts.step + 1);
        self.counts.step += 1;
        self.counts.batches += batches.len() as u64;
        self.counts.examples += examples as u64;
        if skipped.is_some() {
            self.counts.skipped += 1;
            self.counts.skipped_in_a_row += 1;
            self.model = Some(model);
        } else {
            self.counts.skipped_in_a_row = 0;
            let model = self.optimizer.step(lr, model, gradients);
            self.ema.update::<B::InnerBackend>(&model.valid(), self.counts.step);
            self.model = Some(model);
        }
        Some(TrainStep {
            index: self.counts.step,
            examples: self.counts.examples,
            lr,
            gradient_norm: norm,
            skipped,
            loss: measured.map_or(Loss::OnDevice(loss), |measured| Loss::Read(measured.loss)),
        })
    }
}

impl<B, N, P, S, I, const D: usize, O> Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path>,
    O: Objective,
{
    /// The mean loss of the `examples` examples in `batches`, `[1]`, and its gradients.
    fn gradients(
        &self,
        model: &Diffusion<B, N, P>,
        batches: &[(TensorData, N::Condition)],
        examples: usize,
    ) -> (Tensor<B::InnerBackend, 1>, GradientsParams) {
        let mut first = 0;
        let mut parts = batches.iter().map(|(x0, condition)| {
            let loss = self.loss(model, x0.clone(), condition.clone(), first);
            first += x0.shape[0] as u64;
            // The mean of means weighs the examples of a smaller batch too much.
            let share = x0.shape[0] as f64 / examples as f64;
            let loss = if share == 1.0 { loss } else { loss * share };
            let gradients = GradientsParams::from_grads(loss.backward(), model);
            (loss.inner(), gradients)
        });
        let first = parts.next().expect("a step has at least one batch");
        let mut accumulator = None;
        let (loss, gradients) = parts.fold(first, |(sum, before), (loss, gradients)| {
            let accumulator = accumulator.get_or_insert_with(GradientsAccumulator::new);
            accumulator.accumulate(model, before);
            accumulator.accumulate(model, gradients);
            (sum + loss, accumulator.grads())
        });
        (loss, gradients)
    }

    /// The mean loss of one batch, `[1]`, whose examples have the places `first`, `first + 1`, … in their step.
    fn loss(
        &self,
        model: &Diffusion<B, N, P>,
        x0: TensorData,
        condition: N::Condition,
        first: u64,
    ) -> Tensor<B, 1> {
        let (seed, step) = (self.config.seed, self.counts.step);
        let device = model.devices().into_iter().next().unwrap_or_default();
        let shape: [usize; D] = x0.shape.dims();
        let stream = |purpose, i| Stream::new(seed, purpose, step, first + i as u64);
        let sigmas: Vec<f64> = (0..shape[0])
            .map(|i| self.objective.draw(&self.schedule, &mut stream(TRAINING_SIGMA, i)))
            .collect();
        let eps = Tensor::from_data(normal_data(seed, TRAINING_NOISE, step, first, shape), &device);
        let condition = model.network.drop_condition(condition, &mut |i| stream(CONDITION_DROP, i).uniform());

        // Dropout draws from the device's own generator, which no key reaches; so it starts anew at each batch.
        B::seed(&device, stream(DEVICE, 0).below(usize::MAX) as u64);
        model.loss_under(&self.objective, Tensor::from_data(x0, &device), sigmas, eps, condition)
    }
}

impl<B, N, P, S, I, const D: usize, O> Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// The same run with another objective, which draws the noise levels and weighs the errors. Evaluate it with
    /// a `Validation::under` of the same objective.
    pub fn under<O2: Objective>(self, objective: O2) -> Training<B, N, P, S, I, D, O2> {
        let Self { model, ema, optimizer, batches, schedule, config, counts, .. } = self;
        Training { model, ema, optimizer, batches, schedule, objective, config, counts }
    }

    /// Writes all that the rest of the run depends on, but its batches and its configuration, as a checkpoint in
    /// `folder`: weights, EMA, optimizer state and counts. `model` says what they belong to, and `validation` is the loss
    /// that the checkpoint is known by, if it was measured.
    ///
    /// # Errors
    /// If the last update spoilt the weights, so that they are not finite, or if the file system refuses; what was in
    /// the folder before is still there then.
    pub fn save(
        &self,
        folder: &Path,
        model: &ModelSpec,
        validation: Option<f64>,
    ) -> Result<Checkpoint, CheckpointError> {
        let weights = self.model();
        let paths = not_finite(&weights);
        if !paths.is_empty() {
            return Err(CheckpointError::NotFinite { step: self.counts.step, paths });
        }
        let moments = Moments::of(&self.optimizer, &weights);
        let mut state = CheckpointState::of(model.clone(), self.counts, self.config.seed);
        state.validation = validation;
        state.backend = B::InnerBackend::name(&weights.devices().into_iter().next().unwrap_or_default());
        Checkpoint::write(folder, state, &weights, self.ema.module(), Some(&moments))
    }

    /// Goes on where `checkpoint` was made. The rest of the run is that of the run that made it, bit for bit on the
    /// same backend, if model, schedule and configuration are the same and the batches are those that followed: let
    /// [`Batches::starting_at`] skip [`CheckpointState::batches`] of them.
    ///
    /// [`Batches::starting_at`]: https://docs.rs/diffusion-data/latest/diffusion_data/struct.Batches.html
    ///
    /// # Errors
    /// If the checkpoint is damaged, is another model's or another seed's, or holds no optimizer's state, as one that
    /// was imported.
    pub fn resume(mut self, checkpoint: &Checkpoint, model: &ModelSpec) -> Result<Self, CheckpointError> {
        checkpoint.check_seed(self.config.seed)?;
        let weights = self.model.take().expect(BETWEEN_STEPS);
        let (blank, ema) = (weights.valid(), self.ema.module().clone());
        self.model = Some(checkpoint.load(weights, model, Weights::Raw)?);
        self.ema = Ema::new(checkpoint.load(ema, model, Weights::Ema)?, self.config.ema.clone());
        self.optimizer = checkpoint.load_moments(&blank)?.restore(self.optimizer);
        self.counts = checkpoint.state().counts();
        if self.gave_up() {
            // Whoever resumes such a run wants another try.
            self.counts.skipped_in_a_row = 0;
        }
        Ok(self)
    }

    /// The model as it is after the last step, for inference.
    pub fn model(&self) -> Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.model.as_ref().expect(BETWEEN_STEPS).valid()
    }

    /// The EMA of the model's weights after the last step, for inference.
    pub fn ema(&self) -> &Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.ema.module()
    }

    /// The model as it is after the last step, for further training.
    pub fn into_model(self) -> Diffusion<B, N, P> {
        self.model.expect(BETWEEN_STEPS)
    }

    /// The number of steps so far, skipped ones included.
    pub fn step(&self) -> u64 {
        self.counts.step
    }

    /// The number of examples seen so far.
    pub fn examples(&self) -> u64 {
        self.counts.examples
    }

    /// The number of steps that were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.counts.skipped
    }

    /// Whether training has ended because too many steps in a row were skipped.
    pub fn gave_up(&self) -> bool {
        self.config.max_skipped > 0 && self.counts.skipped_in_a_row >= self.config.max_skipped
    }
}

/// Only a step that panicked leaves no model behind.
const BETWEEN_STEPS: &str = "the training step before this call panicked";

//! The training loop, as an iterator that yields after every step.

mod kept;
mod step;

pub use step::TrainStep;

use crate::adamw::AdamWConfig;
use crate::batch::IntoBatch;
use crate::config::TrainConfig;
use crate::counts::Counts;
use crate::ema::Ema;
use crate::ema::config::{EmaStep, NamedEma};
use crate::health::{Measured, NonFinite, scale};
use crate::leaves;
use crate::losses::{Losses, mean};
use crate::optimizer::Optim;
use crate::parts::Parts;
use crate::purpose::{CONDITION_DROP, DEVICE, TRAINING_NOISE};
use crate::self_conditioning;
use crate::student::{Student, Teacher};
use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use diffusion_core::invalid::expect_valid;
use diffusion_core::objective::{Adam, BatchPlace, Memory, NoisyBatch, Objective, PredictionMse, Seen};
use diffusion_core::random::normal_data;
use diffusion_core::watch::Watch;
use diffusion_core::{Condition as _, Diffusion, Network, Parameterization, Schedule};
use std::iter;
use step::Loss;

/// Trains `model` on `batches`: yields a [`TrainStep`] after each update, and nothing happens before it is asked for.
///
/// A batch is its examples on the host, `[batch, …]` in f32, and their condition; or why it could not be read, which
/// the iterator yields in the place of a step: nothing of the model has changed then, and the next call asks for that
/// batch again, with what the step has of others before it. Of the batches of a step
/// ([`TrainConfig::accumulate`]) one is held at a time.
///
/// Each example is mixed with noise at a level drawn from `schedule`, and the loss is smalldiffusion's
/// ([`PredictionMse`]) unless another objective is given ([`Training::under`]); noise, levels and dropped conditions come
/// from the streams named by (`config.seed`, purpose, step, place in the batch), the same on every backend. Dropout
/// inside a network draws from the device's own generator, which each step seeds anew from (`config.seed`, step): the
/// same at every run on one backend. That generator is the process's: whoever draws from it on another thread meanwhile
/// changes the dropout. Nothing else that other threads do changes a run.
///
/// A network that is [given its own estimate](Network::self_conditioned) of the data is given that of a first pass, into which
/// no gradient flows, for half of the examples, and zeros for the others.
///
/// A step whose loss or gradients are not finite changes nothing: it is skipped, counted, and says why
/// ([`TrainStep::skipped`]). After [`TrainConfig::max_skipped`] of them in a row the iterator ends
/// ([`Training::gave_up`]); the model is then as it was before the first of them.
///
/// The iterator ends after `config.steps` steps, when `batches` do, or when it is asked to stop
/// ([`Training::watched`]). Use it by reference to keep the model:
/// `for step in &mut run { let step = step?; … }`, then [`Training::model`], [`Training::ema`] or [`Training::into_model`].
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::TensorData;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_core::schedule::LogLinear;
/// use diffusion_core::{Diffusion, EpsPrediction};
/// use diffusion_train::{TrainConfig, train};
///
/// // Batches are pairs of examples and conditions; those of the crate `diffusion-data` are read from data sets.
/// let batches = std::iter::repeat_with(|| (TensorData::new(vec![0.5f32, -0.5, 1.0, 0.0], [2, 2]), ()));
/// let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<Autodiff<Flex>>(0, &Default::default());
/// let model = Diffusion::new(network, EpsPrediction);
/// let mut run = train(batches, model, LogLinear::default(), &TrainConfig::new(20));
/// for step in &mut run {
///     let step = step?;
///     assert!(step.loss().is_finite());
/// }
/// let (model, ema) = (run.model(), run.ema());
/// # Ok::<(), std::convert::Infallible>(())
/// ```
///
/// # Panics
/// If a number of `config` is out of its range, or the model cannot be trained at the schedule's noise levels
/// ([`Diffusion::check`]). While iterating, if a batch does not have the network's shape or its
/// condition is for another batch size; or if the network is given its own estimate, and the objective compares the model
/// with itself or with a teacher, which does not train it to use one.
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
    I: IntoIterator<Item: IntoBatch<N::Condition>>,
{
    expect_valid(config.validate());
    expect_valid(model.check(&schedule));
    let ema = Ema::new(model.valid(), config.ema);
    let of = |named: NamedEma| (named.name, Ema::new(model.valid(), named.ema));
    let named = config.named_emas().into_iter().map(of).collect();
    let optimizer = Optim::new(config, &model);
    let (batches, config, counts) = (batches.into_iter(), config.clone(), Counts::default());
    Training {
        model: Some(model),
        ema,
        named,
        optimizer,
        batches,
        schedule,
        objective: PredictionMse,
        memory: PredictionMse.memory(),
        teacher: None,
        config,
        counts,
        parts: None,
        watch: Watch::default(),
    }
}

/// An average of the weights of a model that is trained.
type Average<B, N, P> =
    Ema<Diffusion<<B as AutodiffBackend>::InnerBackend, <N as AutodiffModule<B>>::InnerModule, P>>;

/// A training run; made by [`train`].
pub struct Training<B, N, P, S, I, const D: usize, O = PredictionMse>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// Absent only inside a step, while the optimizer owns it.
    model: Option<Diffusion<B, N, P>>,
    ema: Average<B, N, P>,
    /// The other averages by their names.
    named: Vec<(String, Average<B, N, P>)>,
    optimizer: Optim<Diffusion<B, N, P>, B>,
    batches: I,
    schedule: S,
    objective: O,
    /// What the objective learned.
    memory: Memory,
    /// Whom the objective learns from, if it does.
    teacher: Option<Teacher<B::InnerBackend, N::Condition, D>>,
    config: TrainConfig,
    counts: Counts,
    /// The next step as far as it has come, where it was interrupted between two of its batches.
    parts: Option<Parts<B>>,
    watch: Watch,
}

impl<B, N, P, S, I, const D: usize, O> Iterator for Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
    S: Schedule<Path = P::Path>,
    O: Objective,
    I: Iterator<Item: IntoBatch<N::Condition>>,
{
    type Item = Result<TrainStep<B>, <I::Item as IntoBatch<N::Condition>>::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.counts.step >= self.config.steps || self.gave_up() {
            return None;
        }
        // What there is of a step stays here when its next batch cannot be read, or shall not be.
        while self.parts.as_ref().map_or(0, |parts| parts.batches) < self.config.accumulate {
            if self.watch.is_stopped() {
                return None;
            }
            match self.batches.next().map(IntoBatch::into_pairs) {
                Some(Ok((x0, noise, condition))) => self.add(x0, noise, condition),
                Some(Err(error)) => return Some(Err(error)),
                // The last step has as many as there are.
                None => break,
            }
        }
        self.update().map(Ok)
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
    /// Adds a batch to the step in the making.
    fn add(&mut self, x0: TensorData, noise: Option<TensorData>, condition: N::Condition) {
        let examples = x0.shape[0];
        let before = self.parts.take();
        let first = before.as_ref().map_or(0, |parts| parts.examples);
        let expected = before.as_ref().map_or(examples * self.config.accumulate, |parts| parts.expected);
        let bad = match &before {
            Some(Parts { bad: Some(bad), .. }) => Some(bad.clone()),
            _ if self.config.max_skipped == 0 => None,
            _ => NonFinite::of_data(&x0, first),
        };
        let model = self.model.as_ref().expect(BETWEEN_STEPS);
        let model = &leaves::fresh(model);
        let seed = self.config.seed;
        let place =
            BatchPlace { seed, step: self.counts.step, first: first as u64, examples, total: expected };
        let (loss, seen) = self.loss(model, x0, noise, condition, &place);
        // The mean of means weighs the examples of a smaller batch too much.
        let share = examples as f64 / expected as f64;
        let loss = if share == 1.0 { loss } else { loss * share };
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        let part = Parts { loss: loss.inner(), gradients, batches: 1, examples, expected, bad, seen };
        self.parts = Some(match before {
            None => part,
            Some(before) => before.join(part, model),
        });
    }

    /// The step on the batches that were added; none on no batch.
    fn update(&mut self) -> Option<TrainStep<B>> {
        let mut parts = self.parts.take()?;
        let model = self.model.take()?;
        let seen = std::mem::take(&mut parts.seen);
        let (batches, examples, bad) = (parts.batches as u64, parts.examples as u64, parts.bad.clone());
        let (loss, mut gradients) = parts.mean(&model);

        let looked = self.config.max_skipped > 0 || self.config.clip_norm.is_some();
        let measured = looked.then(|| Measured::read::<B, _>(loss.clone(), &model, &gradients));
        let norm = measured.as_ref().map(Measured::norm);
        let skipped = measured
            .as_ref()
            .filter(|measured| self.config.max_skipped > 0 && !measured.is_finite())
            .map(|measured| bad.unwrap_or_else(|| measured.diagnose::<B, _>(&model)));
        if let (Some(most), Some(norm)) = (self.config.clip_norm, norm) {
            let factor = most / (norm + 1e-6);
            if factor < 1.0 {
                scale::<B, _>(&model, &mut gradients, factor);
            }
        }

        let lr = self.config.lr_at(self.counts.step + 1);
        self.counts.step += 1;
        self.counts.batches += batches;
        self.counts.examples += examples;
        if skipped.is_some() {
            self.counts.skipped += 1;
            self.counts.skipped_in_a_row += 1;
            self.model = Some(model);
        } else {
            self.counts.skipped_in_a_row = 0;
            self.observe(seen, lr);
            let model = self.optimizer.step(lr, model, gradients);
            let Counts { step, examples: seen, .. } = self.counts;
            let at = EmaStep { step, examples: seen, batch: examples };
            let weights = model.valid();
            let averages = iter::once(&mut self.ema).chain(self.named.iter_mut().map(|(_, ema)| ema));
            averages.for_each(|ema| ema.update::<B::InnerBackend>(&weights, at));
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

    /// The mean loss of one batch, `[1]`, and the losses that the objective learns from, if it does.
    fn loss(
        &self,
        model: &Diffusion<B, N, P>,
        x0: TensorData,
        noise: Option<TensorData>,
        condition: N::Condition,
        place: &BatchPlace,
    ) -> (Tensor<B, 1>, Vec<Losses<B::InnerBackend>>) {
        let &BatchPlace { seed, step, first, .. } = place;
        let device = model.devices().into_iter().next().unwrap_or_default();
        let shape: [usize; D] = x0.shape.dims();
        let levels = self.objective.levels(&self.schedule, place, &self.memory);
        let noise = noise.unwrap_or_else(|| normal_data(seed, TRAINING_NOISE, step, first, shape));
        let eps =
            Tensor::<B, D>::from_data(self.objective.noise(noise, &x0, condition.classes(), place), &device);
        let mut uniform = |i| place.stream(CONDITION_DROP, i).uniform();
        let condition = model.network.drop_condition(condition, &mut uniform);

        // Dropout draws from the device's own generator, which no key reaches; so it starts anew at each batch.
        let reseed = || B::seed(&device, place.stream(DEVICE, 0).below(usize::MAX) as u64);
        reseed();
        let (objective, x0) = (&self.objective, Tensor::<B, D>::from_data(x0, &device));
        let sigmas: Vec<f64> = levels.iter().map(|level| level.sigma).collect();
        let batch = NoisyBatch { x0: x0.clone().inner(), eps: eps.clone().inner(), sigmas: sigmas.clone() };
        let student = Student {
            model,
            condition: condition.clone(),
            examples: place.examples,
            teacher: self.teacher.as_ref(),
            seed: &reseed,
        };
        if let Some(losses) = objective.batch_losses(&student, &self.schedule, &batch, place) {
            let is_told = model.network.self_conditioned();
            assert!(!is_told, "this objective trains no network to be given its own estimate of the data");
            return (mean(losses, &levels), Vec::new());
        }
        let estimates = self_conditioning::estimates(model, &batch, condition.clone(), place);
        let is_plain = self.memory.is_empty() && levels.iter().all(|level| level.factor() == 1.0);
        if estimates.is_none() && is_plain {
            return (model.loss_under(objective, x0, sigmas, eps, condition), Vec::new());
        }
        let losses = model.loss_per_example_after(objective, x0, sigmas, eps, condition, estimates);
        let loss = mean(losses.clone(), &levels);
        let learns = !self.memory.is_empty();
        let seen = learns.then(|| Losses { levels, losses: losses.inner() });
        (loss, seen.into_iter().collect())
    }

    /// Lets the objective learn from a step that is made at the learning rate `lr`.
    fn observe(&mut self, seen: Vec<Losses<B::InnerBackend>>, lr: f64) {
        if seen.is_empty() {
            return;
        }
        let (levels, losses) = Losses::read(seen);
        let AdamWConfig { beta_1, beta_2, epsilon, .. } = self.config.adamw;
        let seen = Seen { levels: &levels, losses: &losses, optimizer: Adam { lr, beta_1, beta_2, epsilon } };
        self.objective.observe(&mut self.memory, &seen);
    }
}

impl<B, N, P, S, I, const D: usize, O> Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// The same run with another objective, which draws the noise levels and weighs the errors. Evaluate it with
    /// a `Validation::under` of the same objective. What an objective learns begins anew: ask for it before
    /// [`resume`](Self::resume).
    pub fn under<O2: Objective>(self, objective: O2) -> Training<B, N, P, S, I, D, O2> {
        let Self { model, ema, named, optimizer, batches, schedule, teacher, config, counts, watch, .. } =
            self;
        let (parts, memory) = (None, objective.memory());
        Training {
            model,
            ema,
            named,
            optimizer,
            batches,
            schedule,
            objective,
            memory,
            teacher,
            config,
            counts,
            parts,
            watch,
        }
    }

    /// The same run with a teacher, for an objective that learns from one. A checkpoint does not hold it: whoever
    /// [resumes](Self::resume) gives it again.
    pub fn taught_by(mut self, teacher: Teacher<B::InnerBackend, N::Condition, D>) -> Self {
        self.teacher = Some(teacher);
        self
    }

    /// Whether there is a teacher.
    pub fn has_teacher(&self) -> bool {
        self.teacher.is_some()
    }

    /// The same run, which ends when `watch` is asked to stop: after the step that is being made, or where a step has
    /// several batches ([`TrainConfig::accumulate`]) between two of them; the model is that of the last step then.
    pub fn watched(mut self, watch: Watch) -> Self {
        self.watch = watch;
        self
    }

    /// The model as it is after the last step, for inference.
    pub fn model(&self) -> Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.model.as_ref().expect(BETWEEN_STEPS).valid()
    }

    /// The EMA of the model's weights after the last step, for inference.
    pub fn ema(&self) -> &Diffusion<B::InnerBackend, N::InnerModule, P> {
        self.ema.module()
    }

    /// The average with a name ([`TrainConfig::named_emas`]) after the last step, for inference; none without one of that
    /// name.
    pub fn named_ema(&self, name: &str) -> Option<&Diffusion<B::InnerBackend, N::InnerModule, P>> {
        self.named.iter().find(|(other, _)| other == name).map(|(_, ema)| ema.module())
    }

    /// The model as it is after the last step, for further training.
    pub fn into_model(self) -> Diffusion<B, N, P> {
        self.model.expect(BETWEEN_STEPS)
    }

    /// What the objective has learned so far; empty for one that learns nothing.
    pub fn memory(&self) -> &Memory {
        &self.memory
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

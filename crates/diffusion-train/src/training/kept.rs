//! What of a training is written to go on from, and how it goes on.

use super::{BETWEEN_STEPS, Training};
use crate::checkpoint::write::Parts as Written;
use crate::checkpoint::{Checkpoint, CheckpointError, CheckpointState, ModelSpec, Weights};
use crate::counts::Counts;
use crate::ema::Ema;
use crate::ema::config::NamedEma;
use crate::health::not_finite;
use crate::moments::Moments;
use crate::snapshot::Snapshot;
use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::backend::{AutodiffBackend, Backend};
use diffusion_core::{Diffusion, Network, Parameterization};
use std::path::Path;
use toml::Table;

impl<B, N, P, S, I, const D: usize, O> Training<B, N, P, S, I, D, O>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization,
{
    /// Writes all that the rest of the run depends on, but its batches and its configuration, as a checkpoint in
    /// `folder`: weights, averages, optimizer state and counts. `model` says what they belong to, and `validation` is the loss
    /// that the checkpoint is known by, if it was measured.
    ///
    /// # Errors
    /// If the last update spoilt the weights, so that they are not finite, or if the file system refuses; what was in
    /// the folder before is still there then.
    pub fn save(
        &self,
        folder: impl AsRef<Path>,
        model: &ModelSpec,
        validation: Option<f64>,
    ) -> Result<Checkpoint, CheckpointError> {
        self.save_with(folder, model, validation, Table::new())
    }

    /// Writes a checkpoint as [`save`](Self::save) does, which also holds `run`: what the caller says of its run, as it
    /// will be found in [`CheckpointState::run`].
    ///
    /// # Errors
    /// As [`save`](Self::save), or if `run` cannot be written as TOML.
    pub fn save_with(
        &self,
        folder: impl AsRef<Path>,
        model: &ModelSpec,
        validation: Option<f64>,
        run: Table,
    ) -> Result<Checkpoint, CheckpointError> {
        let folder = folder.as_ref();
        let weights = self.finite_model()?;
        let moments = Moments::of(&self.optimizer, &weights);
        let mut state = CheckpointState::of(model.clone(), self.counts, self.config.seed);
        (state.validation, state.run) = (validation, run);
        state.objective = self.memory.clone();
        state.backend = B::InnerBackend::name(&weights.devices().into_iter().next().unwrap_or_default());
        let named = self.named.iter().map(|(name, ema)| (&name[..], ema.module())).collect();
        let (model, ema, moments) = (&weights, self.ema.module(), Some(&moments));
        Checkpoint::write(folder, state, &Written { model, ema, named, moments })
    }

    /// Writes a [`Snapshot`] into `folder`, if one is due after this step ([`TrainConfig::snapshots`]); returns it. Ask
    /// after every step, and before a checkpoint of that step is made: whoever goes on from a checkpoint then has all
    /// snapshots up to there.
    ///
    /// # Errors
    /// As [`save`](Self::save); or if a value is beyond what 16 bits hold, where it is to be stored so.
    ///
    /// [`TrainConfig::snapshots`]: crate::TrainConfig::snapshots
    pub fn save_snapshot(
        &self,
        folder: impl AsRef<Path>,
        model: &ModelSpec,
    ) -> Result<Option<Snapshot>, CheckpointError> {
        let Some(snapshots) = &self.config.snapshots else { return Ok(None) };
        let Counts { step, examples, .. } = self.counts;
        if step == 0 || !snapshots.is_due(step, self.config.steps) {
            return Ok(None);
        }
        self.finite_model()?;
        let average = |width: &f64| Some((*width, self.named_ema(&self.config.name_of_width(*width)?)?));
        let averages: Vec<_> = snapshots.widths.iter().filter_map(average).collect();
        let at = (step, examples);
        Snapshot::write(folder.as_ref(), at, model.clone(), &averages, snapshots.precision).map(Some)
    }

    /// The model, if the last update has not spoilt it.
    fn finite_model(&self) -> Result<Diffusion<B::InnerBackend, N::InnerModule, P>, CheckpointError> {
        let weights = self.model();
        let paths = not_finite(&weights);
        match paths.is_empty() {
            true => Ok(weights),
            false => Err(CheckpointError::NotFinite { step: self.counts.step, paths }),
        }
    }

    /// Goes on where `checkpoint` was made, as the [crate](crate)'s example does. The rest of the run is that of the run that made it, bit for bit on the
    /// same backend, if model, schedule and configuration are the same and the batches are those that followed: let
    /// [`Batches::starting_at`] skip [`CheckpointState::batches`] of them.
    ///
    /// An average that the checkpoint does not have, because the configuration has it since, begins with the weights.
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
        let weights = checkpoint.load(weights, model, Weights::Raw)?;
        self.ema = Ema::new(checkpoint.load(ema, model, Weights::Ema)?, self.config.ema);
        let of = |named: NamedEma| {
            let is_new = checkpoint.averages().all(|name| name != named.name);
            let module = match is_new {
                true => weights.valid(),
                false => checkpoint.load(blank.clone(), model, Weights::Named(named.name.clone()))?,
            };
            Ok((named.name, Ema::new(module, named.ema)))
        };
        self.named = self.config.named_emas().into_iter().map(of).collect::<Result<_, CheckpointError>>()?;
        self.model = Some(weights);
        self.optimizer = checkpoint.load_moments(&blank)?.restore(self.optimizer);
        self.counts = checkpoint.state().counts();
        self.memory = std::mem::take(&mut self.memory).restored(&checkpoint.state().objective);
        self.parts = None;
        if self.gave_up() {
            // Whoever resumes such a run wants another try.
            self.counts.skipped_in_a_row = 0;
        }
        Ok(self)
    }
}

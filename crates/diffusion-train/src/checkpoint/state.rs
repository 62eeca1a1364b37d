//! The metadata of a checkpoint: what it belongs to, how far its run was, and its files' checksums.

use super::checksum::Checksum;
use super::error::CheckpointError;
use super::spec::ModelSpec;
use super::text::{self, check_names};
use crate::counts::Counts;
use burn::module::ParamId;
use diffusion_core::objective::Memory;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::Table;

/// The version of the folder's contents.
const FORMAT: u32 = 3;

/// Where in its run a checkpoint was made, and of what it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointState {
    /// The version of the folder's contents.
    pub format: u32,
    /// Steps done, skipped ones included.
    pub step: u64,
    /// Batches taken: where in its data the run is.
    pub batches: u64,
    /// Examples seen.
    pub examples: u64,
    /// Steps skipped, because a number in them was not finite.
    pub skipped: u64,
    /// How many of the last steps were skipped.
    pub skipped_in_a_row: u64,
    /// The run's seed.
    pub seed: u64,
    /// The backend that computed it, empty for one that was not trained here.
    pub backend: String,
    /// The validation loss at this step, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// What the weights belong to.
    pub model: ModelSpec,
    /// The optimizer's counts, if its state was written too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerState>,
    /// What the objective learned; empty for one that learns nothing, and in checkpoints of versions that did not know it.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub objective: Memory,
    /// What whoever trains says of its run, to compare it with when the run goes on; nothing here reads it. Empty in
    /// checkpoints of versions that did not know it.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub run: Table,
    /// The checksum of each file.
    pub files: BTreeMap<String, Checksum>,
}

/// The counts of the optimizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerState {
    /// How often most parameters were updated.
    pub updates: u64,
    /// The others, which had no gradient in some steps, by their paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fewer: BTreeMap<String, u64>,
    /// The paths of those that Muon trains: their first moment is its mean gradient, and their second is 0. AdamW trains
    /// all others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub muon: BTreeSet<String>,
}

impl OptimizerState {
    pub(super) fn new(updates: &BTreeMap<String, u64>, muon: &BTreeSet<String>) -> Self {
        let most = updates.values().copied().max().unwrap_or_default();
        let fewer = updates.iter().filter(|(_, n)| **n < most).map(|(path, n)| (path.clone(), *n)).collect();
        Self { updates: most, fewer, muon: muon.clone() }
    }

    /// The updates of each of `paths`.
    pub(super) fn of(&self, paths: Vec<(ParamId, String)>) -> BTreeMap<String, u64> {
        let updates = |path: &String| self.fewer.get(path).copied().unwrap_or(self.updates);
        paths.into_iter().map(|(_, path)| (path.clone(), updates(&path))).collect()
    }
}

impl CheckpointState {
    /// The state of weights of `model` that were trained for `step` steps on `examples` examples, with a run's `seed`.
    pub fn new(model: ModelSpec, step: u64, examples: u64, seed: u64) -> Self {
        Self::of(model, Counts { step, examples, ..Counts::default() }, seed)
    }

    pub(crate) fn of(model: ModelSpec, counts: Counts, seed: u64) -> Self {
        let Counts { step, batches, examples, skipped, skipped_in_a_row } = counts;
        Self {
            format: FORMAT,
            step,
            batches,
            examples,
            skipped,
            skipped_in_a_row,
            seed,
            backend: String::new(),
            validation: None,
            model,
            optimizer: None,
            objective: Memory::default(),
            run: Table::new(),
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let &Self { step, batches, examples, skipped, skipped_in_a_row, .. } = self;
        Counts { step, batches, examples, skipped, skipped_in_a_row }
    }

    pub(super) fn validation_or_infinite(&self) -> f64 {
        self.validation.unwrap_or(f64::INFINITY)
    }

    /// The text of the metadata.
    pub(super) fn to_text(&self) -> Result<String, CheckpointError> {
        text::to_text(self)
    }

    /// Reads the metadata at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let state: Self = text::read(path, FORMAT)?;
        let checked = check_names(state.files.keys());
        checked.map_err(|reason| CheckpointError::State { path: path.to_path_buf(), reason })?;
        Ok(state)
    }

    #[cfg(test)]
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let state: Self = text::parse(bytes, FORMAT)?;
        check_names(state.files.keys()).map(|()| state)
    }
}

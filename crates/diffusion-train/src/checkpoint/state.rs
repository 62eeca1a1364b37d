//! The account of a checkpoint: what it belongs to, how far its run was, and what its files must be like.

use super::error::io_error;
use super::{CheckpointError, Seal};
use crate::training::Counts;
use burn::module::ParamId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The version of the folder's contents.
const FORMAT: u32 = 2;
/// What the last line begins with: the checksum of all lines before it.
pub(super) const SEAL: &str = "# crc32 of the above: ";

/// What weights belong to: they mean nothing under another network, parameterization or schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The network and its sizes.
    pub network: String,
    /// What its output means.
    pub parameterization: String,
    /// The noise levels that it was trained on.
    pub schedule: String,
}

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
    /// The held-out loss at this step, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
    /// What the weights belong to.
    pub model: Description,
    /// The optimizer's counts, if its memory was written too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerState>,
    /// What each file must be like.
    pub files: BTreeMap<String, Seal>,
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
}

impl OptimizerState {
    pub(super) fn new(updates: &BTreeMap<String, u64>) -> Self {
        let most = updates.values().copied().max().unwrap_or_default();
        let fewer = updates.iter().filter(|(_, n)| **n < most).map(|(path, n)| (path.clone(), *n)).collect();
        Self { updates: most, fewer }
    }

    /// The updates of each of `paths`.
    pub(super) fn of(&self, paths: Vec<(ParamId, String)>) -> BTreeMap<String, u64> {
        let updates = |path: &String| self.fewer.get(path).copied().unwrap_or(self.updates);
        paths.into_iter().map(|(_, path)| (path.clone(), updates(&path))).collect()
    }
}

impl CheckpointState {
    /// The state of weights of `model` that were trained for `step` steps on `examples` examples, with a run's `seed`.
    pub fn new(model: Description, step: u64, examples: u64, seed: u64) -> Self {
        Self::of(model, Counts { step, examples, ..Counts::default() }, seed)
    }

    pub(crate) fn of(model: Description, counts: Counts, seed: u64) -> Self {
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
            held_out: None,
            model,
            optimizer: None,
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let &Self { step, batches, examples, skipped, skipped_in_a_row, .. } = self;
        Counts { step, batches, examples, skipped, skipped_in_a_row }
    }

    pub(super) fn held_out_or_infinite(&self) -> f64 {
        self.held_out.unwrap_or(f64::INFINITY)
    }

    /// The text of the account, sealed by its last line.
    pub(super) fn to_text(&self) -> Result<String, CheckpointError> {
        let bad = |error: toml::ser::Error| CheckpointError::State {
            path: "state.toml".into(),
            reason: error.to_string(),
        };
        let text = toml::to_string(self).map_err(bad)?;
        let seal = crc32fast::hash(text.as_bytes());
        Ok(format!("{text}{SEAL}{seal:08x}\n"))
    }

    /// Reads the account at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = fs::read(path).map_err(io_error("read", path))?;
        Self::parse(&bytes).map_err(|reason| CheckpointError::State { path: path.to_path_buf(), reason })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let Some((body, seal)) = text.rsplit_once(SEAL) else {
            return Err(
                "its last line is no checksum, so it was cut short or is of an older version".to_string()
            );
        };
        let found = format!("{:08x}\n", crc32fast::hash(body.as_bytes()));
        if seal != found {
            return Err(format!("its checksum is {}, expected {}", found.trim_end(), seal.trim_end()));
        }
        let state: Self = toml::from_str(body).map_err(|error| error.message().to_string())?;
        if state.format != FORMAT {
            return Err(format!("its format is {}, expected {FORMAT}", state.format));
        }
        // Only plain names: a file elsewhere is none of the checkpoint's.
        match state.files.keys().find(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
            Some(name) => Err(format!("it names the file `{name}`, expected one in its own folder")),
            None => Ok(state),
        }
    }
}

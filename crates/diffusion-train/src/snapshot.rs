//! Snapshots: averages that are kept in the course of a training.

use crate::checkpoint::checksum::Checksum;
use crate::checkpoint::error::{CheckpointError, io_error};
use crate::checkpoint::folder::replace;
use crate::checkpoint::names::{STATE, average_of, file_of, name_of};
use crate::checkpoint::text;
use crate::checkpoint::write::{write_state, write_weights};
use crate::checkpoint::{ModelSpec, list};
use crate::snapshot_config::SnapshotPrecision;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{write_half, write_synced};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of the folder's contents.
const FORMAT: u32 = 1;

/// Power-function averages of a model as they were after a step of its training, in a folder `step-NNNNNNNN`; written by
/// [`Training::save_snapshot`](crate::Training::save_snapshot). From several of them averages of other widths are made
/// ([`post_hoc`](crate::post_hoc)).
#[derive(Clone, Debug)]
pub struct Snapshot {
    path: PathBuf,
    state: SnapshotState,
}

/// Where in its training a snapshot was made, and of what it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotState {
    format: u32,
    /// Steps done.
    step: u64,
    /// Examples seen.
    examples: u64,
    /// What the weights belong to.
    model: ModelSpec,
    /// The checksum of each average's file, in whose name its width stands.
    files: BTreeMap<String, Checksum>,
}

impl Snapshot {
    /// Writes the snapshot of `averages`, each with its width, into `folder`. One of the same step is replaced.
    pub(crate) fn write<B: Backend, M: Module<B>>(
        folder: &Path,
        (step, examples): (u64, u64),
        model: ModelSpec,
        averages: &[(f64, &M)],
        precision: SnapshotPrecision,
    ) -> Result<Self, CheckpointError> {
        let path = folder.join(name_of(step));
        let mut state = SnapshotState { format: FORMAT, step, examples, model, files: BTreeMap::new() };
        replace(&path, |partial| {
            for (width, module) in averages {
                let name = file_of(&width.to_string());
                let file = partial.join(&name);
                let checksum = match precision {
                    SnapshotPrecision::F32 => write_weights(*module, &file)?,
                    SnapshotPrecision::F16 => {
                        let written = write_synced(&file, |file| write_half(*module, file));
                        written.map_err(io_error("write", &file))?;
                        Checksum::read(&file)?
                    }
                };
                state.files.insert(name, checksum);
            }
            write_state(partial, &text::to_text(&state)?)
        })?;
        Ok(Self { path, state })
    }

    /// The snapshots in `folder`, the earliest first; of each its metadata are read.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn list(folder: impl AsRef<Path>) -> Result<Vec<Self>, CheckpointError> {
        list(folder.as_ref())?.into_iter().map(|(_, path)| Self::open(path)).collect()
    }

    fn open(path: PathBuf) -> Result<Self, CheckpointError> {
        let file = path.join(STATE);
        let state: SnapshotState = text::read(&file, FORMAT)?;
        let named = text::check_names(state.files.keys());
        let has_widths = state.files.keys().all(|name| width_of(name).is_some());
        let checked = match has_widths {
            true => named,
            false => Err("it names a file that is no average of a width".to_string()),
        };
        checked.map_err(|reason| CheckpointError::State { path: file, reason })?;
        Ok(Self { path, state })
    }

    /// Where the snapshot is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The steps done when it was made.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// The examples seen when it was made.
    pub fn examples(&self) -> u64 {
        self.state.examples
    }

    /// The widths of its averages.
    pub fn widths(&self) -> impl Iterator<Item = f64> {
        self.state.files.keys().filter_map(|name| width_of(name))
    }

    /// What the weights belong to.
    pub(crate) fn model(&self) -> &ModelSpec {
        &self.state.model
    }

    /// The files of its averages, in the order of [`widths`](Self::widths).
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.state.files.keys().map(|name| self.path.join(name))
    }

    /// Compares a file with its checksum.
    pub(crate) fn verify(&self, file: &Path) -> Result<(), CheckpointError> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        self.state.files.get(name).map_or(Ok(()), |checksum| checksum.verify(file))
    }
}

/// The width in the name of a file.
fn width_of(file: &str) -> Option<f64> {
    average_of(file)?.parse().ok().filter(|width: &f64| width.is_finite() && *width > 0.0)
}

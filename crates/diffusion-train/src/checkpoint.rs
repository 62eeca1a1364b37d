//! A checkpoint: a folder with weights, their averages, the optimizer's state, and readable metadata.

pub(crate) mod checksum;
pub(crate) mod error;
pub(crate) mod folder;
#[cfg(test)]
mod fuzz;
pub(crate) mod names;
mod spec;
mod state;
pub(crate) mod text;
mod which;
pub(crate) mod write;

pub use checksum::Checksum;
pub use error::CheckpointError;
pub use spec::ModelSpec;
pub use state::{CheckpointState, OptimizerState};
pub use which::{Weights, Which};

use crate::moments::Moments;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{TensorFile, WeightsError, read_regular, restore};
use error::io_error;
use folder::{foreign, is_checkpoint, remove, remove_checkpoint, remove_own, replace};
use names::{MOMENTS, STATE, average_of, name_of, step_of};
use spec::Difference;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use write::{Parts, write_files};

/// A checkpoint that was found, and what is wrong with others and with parts of it.
#[derive(Debug)]
pub struct Found {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// What is wrong with those that would have come before it.
    pub passed_over: Vec<CheckpointError>,
    /// What is wrong with those of its files that are not needed.
    pub unneeded: Vec<CheckpointError>,
}

/// A checkpoint on disk, its metadata read and its weights not yet.
/// The [crate](crate)'s documentation shows how it is made and gone on from.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: CheckpointState,
}

impl Checkpoint {
    /// Writes the checkpoint `folder/step-NNNNNNNN` of weights without an optimizer's state, as one has them after an
    /// import: all of it under a temporary name, synced, and then renamed, so that a crash never leaves half a
    /// checkpoint under a good name. One of the same step is replaced. A run in training is saved by
    /// [`Training::save`](crate::Training::save).
    ///
    /// # Errors
    /// If the file system refuses; what was in the folder before is still there then.
    pub fn save<B: Backend, M: Module<B>>(
        folder: impl AsRef<Path>,
        state: CheckpointState,
        model: &M,
        ema: &M,
    ) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        Self::write(folder, state, &Parts { model, ema, named: Vec::new(), moments: None })
    }

    pub(crate) fn write<B: Backend, M: Module<B>>(
        folder: &Path,
        state: CheckpointState,
        parts: &Parts<'_, M>,
    ) -> Result<Self, CheckpointError> {
        let path = folder.join(name_of(state.step));
        let state = replace(&path, |partial| write_files(partial, state, parts))?;
        Ok(Self { path, state })
    }

    /// Reads the metadata of the checkpoint in the folder `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be understood, or is not as it was written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        Ok(Self { path: path.to_path_buf(), state: CheckpointState::read(&path.join(STATE))? })
    }

    /// The newest valid checkpoint in `folder`; see [`find`](Self::find) for those that are damaged.
    ///
    /// # Errors
    /// If the folder holds no valid checkpoint.
    pub fn latest(folder: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let folder = folder.as_ref();
        Ok(Self::find(folder, Which::Latest)?.0)
    }

    /// A valid checkpoint in `folder`, all of its files read and compared with their checksums; and what is wrong with
    /// those that would have come before it.
    ///
    /// # Errors
    /// If the folder holds no such checkpoint, or only damaged ones; for [`Which::Step`] if that one is damaged.
    pub fn find(
        folder: impl AsRef<Path>,
        which: Which,
    ) -> Result<(Self, Vec<CheckpointError>), CheckpointError> {
        let Found { checkpoint, passed_over, .. } = Self::find_with(folder.as_ref(), which, &|_| true)?;
        Ok((checkpoint, passed_over))
    }

    /// A checkpoint in `folder` of which the file of these weights is valid, for a user who needs no other.
    ///
    /// # Errors
    /// As [`find`](Self::find), but for damage to files that are not needed.
    pub fn find_weights(
        folder: impl AsRef<Path>,
        which: Which,
        weights: Weights,
    ) -> Result<Found, CheckpointError> {
        let file = weights.file();
        let found = Self::find_with(folder.as_ref(), which, &|name| name == file)?;
        found.checkpoint.check_has(&weights)?;
        Ok(found)
    }

    /// The names of the averages in it, besides the first, which has none.
    pub fn averages(&self) -> impl Iterator<Item = &str> {
        self.state.files.keys().filter_map(|file| average_of(file))
    }

    fn check_has(&self, weights: &Weights) -> Result<(), CheckpointError> {
        let Weights::Named(name) = weights else { return Ok(()) };
        if self.averages().any(|other| other == name) {
            return Ok(());
        }
        let names = self.averages().map(ToString::to_string).collect();
        Err(CheckpointError::NoAverage { path: self.path.clone(), name: name.clone(), names })
    }

    fn find_with(
        folder: &Path,
        which: Which,
        is_needed: &dyn Fn(&str) -> bool,
    ) -> Result<Found, CheckpointError> {
        let mut paths = list(folder)?;
        if let Which::Step(step) = which {
            let steps = paths.iter().map(|(step, _)| *step).collect();
            paths.retain(|(of, _)| *of == step);
            if paths.is_empty() {
                return Err(CheckpointError::NoStep { folder: folder.to_path_buf(), step, steps });
            }
        }
        let mut damaged = Vec::new();
        let mut candidates: Vec<Self> = Vec::new();
        for (_, path) in paths.iter().rev() {
            match Self::open(path) {
                Ok(checkpoint) => candidates.push(checkpoint),
                Err(error) => damaged.push(error),
            }
        }
        if which == Which::Best {
            candidates.retain(|checkpoint| checkpoint.state.validation.is_some_and(f64::is_finite));
            if candidates.is_empty() && !paths.is_empty() {
                return Err(CheckpointError::NoneJudged(folder.to_path_buf()));
            }
            // The earlier of two that are equally good, as while training.
            candidates.reverse();
            candidates.sort_by(|a, b| {
                a.state.validation_or_infinite().total_cmp(&b.state.validation_or_infinite())
            });
        }
        for checkpoint in candidates {
            match checkpoint.verify_needed(is_needed) {
                Ok(unneeded) => return Ok(Found { checkpoint, passed_over: damaged, unneeded }),
                Err(error) => damaged.push(error),
            }
        }
        let folder = folder.to_path_buf();
        Err(if paths.is_empty() {
            CheckpointError::None(folder)
        } else {
            CheckpointError::NoneValid { folder, damaged }
        })
    }

    /// Compares all files with their checksums.
    ///
    /// # Errors
    /// If a file cannot be read, or is not as it was written.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.verify_needed(&|_| true).map(|_| ())
    }

    /// What is wrong with files that are not needed, if the others are valid.
    fn verify_needed(
        &self,
        is_needed: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<CheckpointError>, CheckpointError> {
        let mut unneeded = Vec::new();
        for (name, checksum) in &self.state.files {
            let path = self.path.join(name);
            match checksum.verify(&path) {
                Err(error) if is_needed(name) => return Err(error),
                compared => unneeded.extend(compared.err()),
            }
        }
        Ok(unneeded)
    }

    /// Removes all checkpoints in `folder` but the last `keep` and the one with the lowest validation loss. One in whose
    /// folder there is anything else, such as notes, stays.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn prune(folder: impl AsRef<Path>, keep: usize) -> Result<(), CheckpointError> {
        let folder = folder.as_ref();
        let checkpoints = list(folder)?;
        let best = Self::best_of(&checkpoints);
        let old = &checkpoints[..checkpoints.len().saturating_sub(keep)];
        let is_old = |(step, path): &&(u64, PathBuf)| Some(*step) != best && foreign(path).is_empty();
        old.iter().filter(is_old).try_for_each(|(_, path)| remove_checkpoint(path))
    }

    /// Removes all checkpoints in `folder`, and those that were being written. Returns what is left: whatever is no
    /// checkpoint's.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn remove_all(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, CheckpointError> {
        let folder = folder.as_ref();
        let mut kept = Vec::new();
        for path in entries(folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden =
                [".partial", ".old"].iter().find_map(|ending| name.strip_prefix('.')?.strip_suffix(ending));
            match step_of(hidden.unwrap_or(name)) {
                Some(_) if path.is_dir() => kept.extend(remove_own(&path)?),
                _ => kept.push(path),
            }
        }
        Ok(kept)
    }

    /// The folders of the checkpoints in `folder` after the step `step`, the earliest first, whether they are valid or
    /// not.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn after(folder: impl AsRef<Path>, step: u64) -> Result<Vec<PathBuf>, CheckpointError> {
        let folder = folder.as_ref();
        let later = list(folder)?.into_iter().filter(|(of, _)| *of > step);
        Ok(later.map(|(_, path)| path).collect())
    }

    /// The lowest validation loss of a checkpoint in `folder`, if any was judged; its files are not read.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn best_loss(folder: impl AsRef<Path>) -> Result<Option<f64>, CheckpointError> {
        let folder = folder.as_ref();
        let losses =
            list(folder)?.into_iter().filter_map(|(_, path)| Self::open(&path).ok()?.state.validation);
        Ok(losses.filter(|loss| loss.is_finite()).min_by(f64::total_cmp))
    }

    fn best_of(checkpoints: &[(u64, PathBuf)]) -> Option<u64> {
        let judged = checkpoints.iter().filter_map(|(step, path)| {
            let loss = Self::open(path).ok()?.state.validation?;
            loss.is_finite().then_some((*step, loss))
        });
        judged.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(step, _)| step)
    }

    /// Brings `folder` in order after a crash: what was being written is removed, and a checkpoint that was to be
    /// replaced is there again. Returns the number of checkpoints that a crash had left half written. Nobody else may
    /// be writing into the folder.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn tidy(folder: impl AsRef<Path>) -> Result<usize, CheckpointError> {
        let folder = folder.as_ref();
        let mut half = 0;
        for path in entries(folder)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(name) = name.strip_prefix(".step-") else { continue };
            if name.ends_with(".partial") {
                remove(&path)?;
                half += 1;
            } else if let Some(step) = name.strip_suffix(".old") {
                let valid = folder.join(format!("step-{step}"));
                if valid.exists() || Self::open(&path).and_then(|old| old.verify()).is_err() {
                    remove(&path)?;
                } else {
                    fs::rename(&path, &valid).map_err(io_error("rename", &path))?;
                }
            }
        }
        Ok(half)
    }

    /// Removes the checkpoint.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn remove(self) -> Result<(), CheckpointError> {
        remove_checkpoint(&self.path)
    }

    /// Where the checkpoint is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says of itself.
    pub fn state(&self) -> &CheckpointState {
        &self.state
    }

    /// The module with this checkpoint's weights, `module` being one of the same network with any others.
    ///
    /// # Errors
    /// If `model` is not what the checkpoint was made for, with both names; if it has no average of that name; if the file is damaged; if tensors are
    /// missing, superfluous, of another shape or not f32, all listed with their names.
    pub fn load<B: Backend, M: Module<B>>(
        &self,
        module: M,
        model: &ModelSpec,
        weights: Weights,
    ) -> Result<M, CheckpointError> {
        self.check(model)?;
        self.check_has(&weights)?;
        self.load_file(module, &weights.file())
    }

    /// The optimizer's state, `module` being the checkpoint's model with any weights.
    pub(crate) fn load_moments<B: Backend, M: Module<B>>(
        &self,
        module: &M,
    ) -> Result<Moments<M>, CheckpointError> {
        let Some(optimizer) = &self.state.optimizer else {
            return Err(CheckpointError::NoOptimizer(self.path.clone()));
        };
        let [first, second] = MOMENTS.map(|file| self.load_file(module.clone(), file));
        let updates = optimizer.of(crate::moments::paths(module));
        Ok(Moments { first: first?, second: second?, updates, muon: optimizer.muon.clone() })
    }

    fn check(&self, model: &ModelSpec) -> Result<(), CheckpointError> {
        check_model(model, &self.state.model, &self.path)
    }

    pub(crate) fn check_seed(&self, seed: u64) -> Result<(), CheckpointError> {
        if self.state.seed == seed {
            return Ok(());
        }
        let (found, expected) = (self.state.seed.to_string(), seed.to_string());
        Err(CheckpointError::OtherModel { path: self.path.clone(), what: "seed", found, expected })
    }

    fn load_file<B: Backend, M: Module<B>>(&self, module: M, name: &str) -> Result<M, CheckpointError> {
        let path = self.path.join(name);
        let Some(checksum) = self.state.files.get(name) else {
            let reason = "the checkpoint's metadata does not know it".to_string();
            return Err(CheckpointError::Damaged { path, reason });
        };
        checksum.compare_length(&path)?;
        let bytes = read_regular(&path, checksum.bytes).map_err(io_error("read", &path))?;
        checksum.compare(Checksum::of(&bytes), &path)?;
        from_safetensors(module, bytes, &path)
    }
}

/// Refuses what was made for another model than `expected`.
pub(crate) fn check_model(
    expected: &ModelSpec,
    stored: &ModelSpec,
    path: &Path,
) -> Result<(), CheckpointError> {
    match expected.difference(stored) {
        None => Ok(()),
        Some(Difference { part, found, expected }) => {
            Err(CheckpointError::OtherModel { path: path.to_path_buf(), what: part, found, expected })
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(io_error("read", folder)(error)),
    }
}

/// The checkpoints in `folder`, by their steps; none if there is no such folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let step = |path: &PathBuf| step_of(path.file_name()?.to_str()?).filter(|_| is_checkpoint(path));
    let mut checkpoints: Vec<(u64, PathBuf)> =
        entries(folder)?.into_iter().filter_map(|path| Some((step(&path)?, path))).collect();
    checkpoints.sort();
    Ok(checkpoints)
}

/// The module with the tensors in the bytes of the file `path`.
fn from_safetensors<B: Backend, M: Module<B>>(
    module: M,
    bytes: Vec<u8>,
    path: &Path,
) -> Result<M, CheckpointError> {
    let restored = TensorFile::from_bytes(path, bytes).and_then(|file| restore(module, &file));
    restored.map_err(|error| damaged(error, path))
}

/// What it means that the file `path` of a checkpoint is not read.
pub(crate) fn damaged(error: WeightsError, path: &Path) -> CheckpointError {
    let path = path.to_path_buf();
    match error {
        WeightsError::Tensors { problems, .. } => {
            CheckpointError::Tensors { path, problems: problems.iter().map(ToString::to_string).collect() }
        }
        WeightsError::Malformed { reason, .. } | WeightsError::NotAStateDict { reason, .. } => {
            CheckpointError::Damaged { path, reason }
        }
        other => CheckpointError::Damaged { path, reason: other.to_string() },
    }
}

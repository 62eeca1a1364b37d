//! A checkpoint: a folder with weights, their average, the optimizer's memory, and a readable account of them.

mod error;
mod file;
#[cfg(test)]
mod fuzz;
mod state;

pub(crate) use file::sync_folder;

pub use error::CheckpointError;
pub use file::Seal;
pub use state::{CheckpointState, Description, OptimizerState};

use crate::moments::Moments;
use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_store::{ModuleSnapshot, ModuleStore, SafetensorsStore, SafetensorsStoreError};
use error::io_error;
use file::{hidden, remove, remove_whole, set_aside, write_synced};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const STATE: &str = "state.toml";
const MOMENTS: [&str; 2] = ["moment_1.safetensors", "moment_2.safetensors"];

/// Which of a checkpoint's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Those of the moving average, for sampling.
    #[default]
    Ema,
    /// Those that the optimizer works on.
    Raw,
}

impl Weights {
    fn file(self) -> &'static str {
        match self {
            Self::Ema => "ema.safetensors",
            Self::Raw => "model.safetensors",
        }
    }
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The one with the most steps.
    #[default]
    Latest,
    /// The one with the lowest held-out loss.
    Best,
    /// The one of this step.
    Step(u64),
}

/// A checkpoint on disk, its account read and its weights not yet.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: CheckpointState,
}

impl Checkpoint {
    /// Writes the checkpoint `folder/step-NNNNNNNN` of weights without an optimizer's memory, as one has them after an
    /// import: all of it under a temporary name, synced, and then renamed, so that a crash never leaves half a
    /// checkpoint under a good name. One of the same step is replaced. A run in training is saved by
    /// [`Training::save`](crate::Training::save).
    ///
    /// # Errors
    /// If the file system refuses; what was in the folder before is still there then.
    pub fn save<B: Backend, M: Module<B>>(
        folder: &Path,
        state: CheckpointState,
        model: &M,
        ema: &M,
    ) -> Result<Self, CheckpointError> {
        Self::write(folder, state, model, ema, None)
    }

    pub(crate) fn write<B: Backend, M: Module<B>>(
        folder: &Path,
        state: CheckpointState,
        model: &M,
        ema: &M,
        moments: Option<&Moments<M>>,
    ) -> Result<Self, CheckpointError> {
        let path = folder.join(format!("step-{:08}", state.step));
        let partial = hidden(&path, ".partial");
        let written = write_files(&partial, state, model, ema, moments).and_then(|state| {
            let old = set_aside(&path)?;
            if let Err(error) = fs::rename(&partial, &path) {
                let _ = fs::rename(&old, &path);
                return Err(io_error("rename", &partial)(error));
            }
            sync_folder(folder).map_err(io_error("sync", folder))?;
            remove(&old)?;
            Ok(Self { path, state })
        });
        if written.is_err() {
            // What is left of a failed attempt is of no use; the error to report is the first.
            let _ = remove(&partial);
        }
        written
    }

    /// Reads the account of the checkpoint in the folder `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be understood, or is not as it was written.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Ok(Self { path: path.to_path_buf(), state: CheckpointState::read(&path.join(STATE))? })
    }

    /// The newest whole checkpoint in `folder`; see [`find`](Self::find) for those that are damaged.
    ///
    /// # Errors
    /// If the folder holds no whole checkpoint.
    pub fn latest(folder: &Path) -> Result<Self, CheckpointError> {
        Ok(Self::find(folder, Which::Latest)?.0)
    }

    /// A whole checkpoint in `folder`, all of its files read and compared with their checksums; and what is wrong with
    /// those that would have come before it.
    ///
    /// # Errors
    /// If the folder holds no such checkpoint, or only damaged ones; for [`Which::Step`] if that one is damaged.
    pub fn find(folder: &Path, which: Which) -> Result<(Self, Vec<CheckpointError>), CheckpointError> {
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
            candidates.retain(|checkpoint| checkpoint.state.held_out.is_some_and(f64::is_finite));
            if candidates.is_empty() && !paths.is_empty() {
                return Err(CheckpointError::NoneJudged(folder.to_path_buf()));
            }
            // The earlier of two that are equally good, as while training.
            candidates.reverse();
            candidates
                .sort_by(|a, b| a.state.held_out_or_infinite().total_cmp(&b.state.held_out_or_infinite()));
        }
        for checkpoint in candidates {
            match checkpoint.verify() {
                Ok(()) => return Ok((checkpoint, damaged)),
                Err(error) => damaged.push(error),
            }
        }
        let folder = folder.to_path_buf();
        Err(if paths.is_empty() {
            CheckpointError::None(folder)
        } else {
            CheckpointError::NoneWhole { folder, damaged }
        })
    }

    /// Compares all files with their checksums.
    ///
    /// # Errors
    /// If a file cannot be read, or is not as it was written.
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.state.files.iter().try_for_each(|(name, seal)| {
            let path = self.path.join(name);
            seal.compare(Seal::read(&path)?, &path)
        })
    }

    /// Removes all checkpoints in `folder` but the last `keep` and the one with the lowest held-out loss.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn prune(folder: &Path, keep: usize) -> Result<(), CheckpointError> {
        let checkpoints = list(folder)?;
        let best = Self::best_of(&checkpoints);
        let old = &checkpoints[..checkpoints.len().saturating_sub(keep)];
        old.iter().filter(|(step, _)| Some(*step) != best).try_for_each(|(_, path)| remove_whole(path))
    }

    /// The lowest held-out loss of a checkpoint in `folder`, if any was judged; its files are not read.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn best_loss(folder: &Path) -> Result<Option<f64>, CheckpointError> {
        let losses = list(folder)?.into_iter().filter_map(|(_, path)| Self::open(&path).ok()?.state.held_out);
        Ok(losses.filter(|loss| loss.is_finite()).min_by(f64::total_cmp))
    }

    fn best_of(checkpoints: &[(u64, PathBuf)]) -> Option<u64> {
        let judged = checkpoints.iter().filter_map(|(step, path)| {
            let loss = Self::open(path).ok()?.state.held_out?;
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
    pub fn tidy(folder: &Path) -> Result<usize, CheckpointError> {
        let mut half = 0;
        for path in entries(folder)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(name) = name.strip_prefix(".step-") else { continue };
            if name.ends_with(".partial") {
                remove(&path)?;
                half += 1;
            } else if let Some(step) = name.strip_suffix(".old") {
                let whole = folder.join(format!("step-{step}"));
                if whole.exists() || Self::open(&path).and_then(|old| old.verify()).is_err() {
                    remove(&path)?;
                } else {
                    fs::rename(&path, &whole).map_err(io_error("rename", &path))?;
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
        remove_whole(&self.path)
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
    /// If `model` is not what the checkpoint was made for, with both names; if the file is damaged; if tensors are
    /// missing, superfluous, of another shape or not f32, all listed with their names.
    pub fn load<B: Backend, M: Module<B>>(
        &self,
        module: M,
        model: &Description,
        weights: Weights,
    ) -> Result<M, CheckpointError> {
        self.check(model)?;
        self.load_file(module, weights.file())
    }

    /// The optimizer's memory, `module` being the checkpoint's model with any weights.
    pub(crate) fn load_moments<B: Backend, M: Module<B>>(
        &self,
        module: &M,
    ) -> Result<Moments<M>, CheckpointError> {
        let Some(optimizer) = &self.state.optimizer else {
            return Err(CheckpointError::NoOptimizer(self.path.clone()));
        };
        let [first, second] = MOMENTS.map(|file| self.load_file(module.clone(), file));
        Ok(Moments { first: first?, second: second?, updates: optimizer.of(crate::moments::paths(module)) })
    }

    fn check(&self, model: &Description) -> Result<(), CheckpointError> {
        let found = &self.state.model;
        for (what, found, expected) in [
            ("network", &found.network, &model.network),
            ("parameterization", &found.parameterization, &model.parameterization),
            ("schedule", &found.schedule, &model.schedule),
        ] {
            self.compare(what, found, expected)?;
        }
        Ok(())
    }

    pub(crate) fn check_seed(&self, seed: u64) -> Result<(), CheckpointError> {
        self.compare("seed", &self.state.seed.to_string(), &seed.to_string())
    }

    fn compare(&self, what: &'static str, found: &str, expected: &str) -> Result<(), CheckpointError> {
        if found == expected {
            return Ok(());
        }
        let (path, found, expected) = (self.path.clone(), found.to_string(), expected.to_string());
        Err(CheckpointError::OtherModel { path, what, found, expected })
    }

    fn load_file<B: Backend, M: Module<B>>(&self, mut module: M, name: &str) -> Result<M, CheckpointError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        match self.state.files.get(name) {
            Some(seal) => seal.compare(Seal::of(&bytes), &path)?,
            None => return Err(damaged(&path)("the checkpoint's account does not know it")),
        }
        from_safetensors(&mut module, bytes, &path)?;
        Ok(module)
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
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
    let step = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let mut checkpoints: Vec<(u64, PathBuf)> =
        entries(folder)?.into_iter().filter_map(|path| Some((step(&path)?, path))).collect();
    checkpoints.sort();
    Ok(checkpoints)
}

fn write_files<B: Backend, M: Module<B>>(
    folder: &Path,
    mut state: CheckpointState,
    model: &M,
    ema: &M,
    moments: Option<&Moments<M>>,
) -> Result<CheckpointState, CheckpointError> {
    remove(folder)?;
    fs::create_dir_all(folder).map_err(io_error("create", folder))?;
    let mut modules = vec![(Weights::Raw.file(), model), (Weights::Ema.file(), ema)];
    if let Some(moments) = moments {
        modules.extend([(MOMENTS[0], &moments.first), (MOMENTS[1], &moments.second)]);
    }
    state.optimizer = moments.map(|moments| OptimizerState::new(&moments.updates));
    state.files.clear();
    for (name, module) in modules {
        state.files.insert(name.to_string(), write_weights(module, &folder.join(name))?);
    }
    write_synced(&folder.join(STATE), state.to_text()?.as_bytes())?;
    sync_folder(folder).map_err(io_error("sync", folder))?;
    Ok(state)
}

/// Tensor by tensor, so that the weights are not in memory twice; the same bytes for the same weights.
fn write_weights<B: Backend, M: Module<B>>(module: &M, path: &Path) -> Result<Seal, CheckpointError> {
    let mut store = SafetensorsStore::from_file(path).clear_metadata();
    let refused = |error: SafetensorsStoreError| io_error("write", path)(io::Error::other(error.to_string()));
    module.save_into(&mut store).map_err(refused)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error("sync", path))?;
    Seal::read(path)
}
/// Loads after every tensor has been compared: burn-store would keep a foreign dtype, and some backends panic on one
/// at a moment when it holds the module twice.
fn from_safetensors<B: Backend, M: ModuleSnapshot<B>>(
    module: &mut M,
    bytes: Vec<u8>,
    path: &Path,
) -> Result<(), CheckpointError> {
    let mut store = SafetensorsStore::from_bytes(Some(bytes));
    let expected: BTreeMap<String, Vec<usize>> = module
        .collect(None, None, false)
        .into_iter()
        .map(|tensor| (tensor.full_path(), tensor.shape.to_vec()))
        .collect();
    let mut problems = Vec::new();
    let found = store.get_all_snapshots().map_err(damaged(path))?;
    for (name, shape) in &expected {
        match found.get(name) {
            None => problems.push(format!("tensor `{name}` of shape {shape:?} is missing")),
            Some(tensor) if tensor.shape.to_vec() != *shape => problems
                .push(format!("tensor `{name}` has shape {:?}, expected {shape:?}", tensor.shape.to_vec())),
            Some(tensor) if tensor.dtype != DType::F32 => {
                problems.push(format!("tensor `{name}` is of type {:?}, expected F32", tensor.dtype));
            }
            Some(_) => {}
        }
    }
    let superfluous = found.keys().filter(|name| !expected.contains_key(*name));
    problems.extend(superfluous.map(|name| format!("tensor `{name}` is not in the network")));
    if !problems.is_empty() {
        return Err(CheckpointError::Tensors { path: path.to_path_buf(), problems });
    }
    module.load_from(&mut store).map(|_| ()).map_err(damaged(path))
}
fn damaged<E: Debug>(path: &Path) -> impl Fn(E) -> CheckpointError {
    move |error| CheckpointError::Damaged { path: path.to_path_buf(), reason: format!("{error:?}") }
}

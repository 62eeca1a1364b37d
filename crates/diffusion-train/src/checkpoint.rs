//! A checkpoint: a folder with weights, their average, and a readable account of what they belong to.

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_store::{ModuleSnapshot, ModuleStore, SafetensorsStore, SafetensorsStoreError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The version of the folder's contents.
const FORMAT: u32 = 1;
const STATE: &str = "state.toml";

/// What weights belong to: they mean nothing under another network, parameterization or schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The network and its sizes.
    pub network: String,
    /// What its output means.
    pub parameterization: String,
    /// The noise levels that it was trained on.
    pub schedule: String,
}

/// Where in its run a checkpoint was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// The version of the folder's contents.
    pub format: u32,
    /// Updates done.
    pub step: u64,
    /// Examples seen.
    pub examples: u64,
    /// The run's seed.
    pub seed: u64,
    /// What the weights belong to.
    pub model: Description,
}

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

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds no checkpoint.
    #[error("{} holds no checkpoint", .0.display())]
    None(PathBuf),
    /// The account of the checkpoint cannot be read.
    #[error("{} is no checkpoint's account: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is another model's.
    #[error("{} holds weights for the {what} `{found}`, not for `{expected}`", path.display())]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// Network, parameterization or schedule.
        what: &'static str,
        /// What the checkpoint says.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The tensors are not those of the module.
    #[error("{} does not fit the network: {}", path.display(), problems.join("; "))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One sentence per tensor.
        problems: Vec<String>,
    },
    /// The weights' file is damaged.
    #[error("{} is no readable safetensors file: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        reason: String,
    },
}

/// A checkpoint on disk, its account read and its weights not yet.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    state: CheckpointState,
}

impl CheckpointState {
    /// The state of a run of `model` after `step` updates on `examples` examples.
    pub fn new(model: Description, step: u64, examples: u64, seed: u64) -> Self {
        Self { format: FORMAT, step, examples, seed, model }
    }
}

impl Checkpoint {
    /// Writes the checkpoint `folder/step-NNNNNNNN`: all of it under a temporary name, synced, and then renamed, so
    /// that a crash never leaves half a checkpoint under a good name. One of the same step is replaced.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn save<B: Backend, M: ModuleSnapshot<B>>(
        folder: &Path,
        state: CheckpointState,
        model: &M,
        ema: &M,
    ) -> Result<Self, CheckpointError> {
        let path = folder.join(format!("step-{:08}", state.step));
        let partial = folder.join(format!(".step-{:08}.partial", state.step));
        remove(&partial)?;
        fs::create_dir_all(&partial).map_err(io_error("create", &partial))?;
        for (weights, module) in [(Weights::Raw, model), (Weights::Ema, ema)] {
            write_weights(module, &partial.join(weights.file()))?;
        }
        let file = partial.join(STATE);
        let text = toml::to_string(&state)
            .map_err(|error| CheckpointError::State { path: file.clone(), reason: error.to_string() })?;
        write_synced(&file, text.as_bytes())?;
        sync_folder(&partial).map_err(io_error("sync", &partial))?;
        remove_whole(&path)?;
        fs::rename(&partial, &path).map_err(io_error("rename", &partial))?;
        sync_folder(folder).map_err(io_error("sync", folder))?;
        Ok(Self { path, state })
    }

    /// Reads the account of the checkpoint in the folder `path`.
    ///
    /// # Errors
    /// If there is none, or it cannot be understood.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = path.join(STATE);
        let text = fs::read_to_string(&file).map_err(io_error("read", &file))?;
        let bad = |reason: String| CheckpointError::State { path: file.clone(), reason };
        let state: CheckpointState =
            toml::from_str(&text).map_err(|error| bad(error.message().to_string()))?;
        if state.format != FORMAT {
            return Err(bad(format!("its format is {}, expected {FORMAT}", state.format)));
        }
        Ok(Self { path: path.to_path_buf(), state })
    }

    /// The checkpoint with the most steps in `folder`.
    ///
    /// # Errors
    /// If the folder holds none, or the last one's account cannot be understood.
    pub fn latest(folder: &Path) -> Result<Self, CheckpointError> {
        match list(folder)?.last() {
            Some(last) => Self::open(last),
            None => Err(CheckpointError::None(folder.to_path_buf())),
        }
    }

    /// Removes all checkpoints in `folder` but the last `keep`.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn prune(folder: &Path, keep: usize) -> Result<(), CheckpointError> {
        let checkpoints = list(folder)?;
        checkpoints[..checkpoints.len().saturating_sub(keep)].iter().try_for_each(|path| remove_whole(path))
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
    pub fn load<B: Backend, M: ModuleSnapshot<B>>(
        &self,
        mut module: M,
        model: &Description,
        weights: Weights,
    ) -> Result<M, CheckpointError> {
        let found = &self.state.model;
        for (what, found, expected) in [
            ("network", &found.network, &model.network),
            ("parameterization", &found.parameterization, &model.parameterization),
            ("schedule", &found.schedule, &model.schedule),
        ] {
            if found != expected {
                let (path, found, expected) = (self.path.clone(), found.clone(), expected.clone());
                return Err(CheckpointError::OtherModel { path, what, found, expected });
            }
        }
        let path = self.path.join(weights.file());
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        from_safetensors(&mut module, bytes, &path)?;
        Ok(module)
    }
}

/// The checkpoints in `folder`, by their steps; none if there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("read", folder)(error)),
    };
    let step = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let mut checkpoints: Vec<(u64, PathBuf)> =
        entries.flatten().map(|entry| entry.path()).filter_map(|path| Some((step(&path)?, path))).collect();
    checkpoints.sort();
    Ok(checkpoints.into_iter().map(|(_, path)| path).collect())
}

/// Tensor by tensor, so that the weights are not in memory twice.
fn write_weights<B: Backend, M: ModuleSnapshot<B>>(module: &M, path: &Path) -> Result<(), CheckpointError> {
    let mut store = SafetensorsStore::from_file(path);
    let refused = |error: SafetensorsStoreError| io_error("write", path)(io::Error::other(error.to_string()));
    module.save_into(&mut store).map_err(refused)?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error("sync", path))
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

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = File::create(path).map_err(io_error("create", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", path))
}

/// Makes a rename inside `folder` last; where folders cannot be opened, as on Windows, there is nothing to do.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Takes a checkpoint's good name away before its files, so that a crash leaves no half of one under it.
fn remove_whole(checkpoint: &Path) -> Result<(), CheckpointError> {
    let mut name = OsString::from(".");
    name.push(checkpoint.file_name().unwrap_or_default());
    name.push(".old");
    let old = checkpoint.with_file_name(name);
    remove(&old)?;
    match fs::rename(checkpoint, &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("rename", checkpoint)(error)),
        Ok(()) => remove(&old),
    }
}

fn remove(folder: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", folder)(error)),
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { action, path, source }
}

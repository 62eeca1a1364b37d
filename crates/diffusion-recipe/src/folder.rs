//! The folder of a run: it says everything that there is to say of it.

use crate::config::RunConfig;
use crate::error::RecipeError;
use diffusion::train::{Checkpoint, CheckpointError, Which};
use diffusion::weights::write_atomically;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held by who writes into the folder; the system lets go of it when the process ends, however it ends.
    _lock: Option<Arc<File>>,
}

/// The file whose lock says that a process is writing into the folder.
const LOCK: &str = ".lock";

impl RunFolder {
    /// Makes the folder, locks it and writes its config.toml. One that exists and is not empty is refused, unless
    /// `overwrite` says that it may be replaced and it is a run's.
    ///
    /// # Errors
    /// If it is refused, another process works in it, or the file system refuses.
    pub fn create(path: &Path, config: &RunConfig, overwrite: bool) -> Result<Self, RecipeError> {
        let text = config.to_toml()?;
        let mut run = Self { path: path.to_path_buf(), _lock: None };
        let looked = run.check_replaced(overwrite);
        if matches!(looked, Err(RecipeError::RunExists(_))) && run.config().is_file() {
            // Of a run that is going on it should not be said that it may be replaced.
            run.lock()?;
        }
        looked?;
        fs::create_dir_all(path).map_err(RecipeError::io("create", path))?;
        run._lock = Some(run.lock()?);
        // Again, for another process may have been quicker.
        for entry in run.check_replaced(overwrite)? {
            let gone = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            gone.map_err(RecipeError::io("remove", &entry))?;
        }
        fs::create_dir_all(run.checkpoints()).map_err(RecipeError::io("create", path))?;
        write_text(&run.config(), &text)?;
        Ok(run)
    }

    /// What is in the folder and would be removed.
    fn check_replaced(&self, overwrite: bool) -> Result<Vec<PathBuf>, RecipeError> {
        if self.path.is_file() {
            return Err(RecipeError::FileInPlace(self.path.clone()));
        }
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(RecipeError::io("read", &self.path))?,
        };
        let entries: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with(LOCK)).collect();
        match entries.len() {
            0 => Ok(entries),
            _ if !self.config().is_file() || !self.checkpoints().is_dir() => {
                Err(RecipeError::NotARun(self.path.clone()))
            }
            _ if !overwrite => Err(RecipeError::RunExists(self.path.clone())),
            _ => Ok(entries),
        }
    }

    /// The folder of a run that was made before, and its configuration.
    ///
    /// # Errors
    /// If there is no run, or its configuration cannot be read.
    pub fn open(path: &Path) -> Result<(Self, RunConfig), RecipeError> {
        let run = Self { path: path.to_path_buf(), _lock: None };
        if !run.config().is_file() {
            return Err(RecipeError::NoRun(path.to_path_buf()));
        }
        let config = RunConfig::read(&run.config())?;
        Ok((run, config))
    }

    /// The folder of a run that was made before, to go on with it. What a killed process left half written is removed;
    /// the last result is the number of checkpoints among that.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if another process works in it.
    pub fn open_locked(path: &Path) -> Result<(Self, RunConfig, usize), RecipeError> {
        let (mut run, _) = Self::open(path)?;
        run._lock = Some(run.lock()?);
        // Again, for who held the lock may have changed it.
        let (_, config) = Self::open(path)?;
        run.tidy()?;
        let half_written = Checkpoint::tidy(&run.checkpoints())?;
        Ok((run, config, half_written))
    }

    /// Removes what a process left half written that was killed while it held the lock.
    fn tidy(&self) -> Result<(), RecipeError> {
        let entries = fs::read_dir(&self.path).map_err(RecipeError::io("read", &self.path))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".partial") {
                fs::remove_file(&path).map_err(RecipeError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Arc<File>, RecipeError> {
        let path = self.file(LOCK);
        let file = File::create(&path).map_err(RecipeError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Arc::new(file)),
            Err(TryLockError::WouldBlock) => Err(RecipeError::InUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(RecipeError::io("lock", &path)(error)),
        }
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write_config(&self, config: &RunConfig) -> Result<(), RecipeError> {
        write_text(&self.config(), &config.to_toml()?)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// The folder of its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.file("checkpoints")
    }

    /// The file or folder `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The checkpoint that is asked for, and why damaged ones that would have come before it were passed over.
    ///
    /// # Errors
    /// If there is none that is valid.
    pub fn checkpoint(&self, which: Which) -> Result<(Checkpoint, Vec<CheckpointError>), RecipeError> {
        Ok(Checkpoint::find(&self.checkpoints(), which)?)
    }
}

/// Writes a file beside its place, syncs it, and puts it there.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), RecipeError> {
    write_atomically(path, |file| file.write_all(text.as_bytes())).map_err(RecipeError::io("write", path))
}

/// Refuses a new run in the folder `out` where that would replace `origin`, which the run is made from.
///
/// # Errors
/// If it would.
pub fn check_replaces_not(origin: &Path, out: &Path) -> Result<(), RecipeError> {
    match (fs::canonicalize(origin), fs::canonicalize(out)) {
        (Ok(file), Ok(folder)) if file.starts_with(&folder) => {
            Err(RecipeError::ReplacesSource { out: out.to_path_buf(), origin: origin.to_path_buf() })
        }
        _ => Ok(()),
    }
}

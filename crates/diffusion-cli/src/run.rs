//! The folder of a run: it says everything that there is to say of it.

use crate::config::RunConfig;
use crate::error::CliError;
use diffusion::train::{Checkpoint, Description, Which};
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
    pub fn create(path: &Path, config: &RunConfig, overwrite: bool) -> Result<Self, CliError> {
        let text = config.to_toml()?;
        let mut run = Self { path: path.to_path_buf(), _lock: None };
        let looked = run.check_replaced(overwrite);
        if matches!(looked, Err(CliError::RunExists(_))) && run.config().is_file() {
            // Of a run that is going on it should not be said that it may be replaced.
            run.lock()?;
        }
        looked?;
        fs::create_dir_all(path).map_err(CliError::io("create", path))?;
        run._lock = Some(run.lock()?);
        // Again, for another process may have been quicker.
        for entry in run.check_replaced(overwrite)? {
            let gone = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            gone.map_err(CliError::io("remove", &entry))?;
        }
        fs::create_dir_all(run.checkpoints()).map_err(CliError::io("create", path))?;
        write_whole(&run.config(), &text)?;
        Ok(run)
    }

    /// What is in the folder and would be removed.
    fn check_replaced(&self, overwrite: bool) -> Result<Vec<PathBuf>, CliError> {
        if self.path.is_file() {
            let what = format!("{} is a file, and a run is a folder", self.path.display());
            return Err(CliError::invalid(what, "pass --out RUN for another name"));
        }
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(CliError::io("read", &self.path))?,
        };
        let entries: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with(LOCK)).collect();
        match entries.len() {
            0 => Ok(entries),
            _ if !self.config().is_file() || !self.checkpoints().is_dir() => {
                Err(CliError::NotARun(self.path.clone()))
            }
            _ if !overwrite => Err(CliError::RunExists(self.path.clone())),
            _ => Ok(entries),
        }
    }

    /// The folder of a run that was made before, and its configuration.
    pub fn open(path: &Path) -> Result<(Self, RunConfig), CliError> {
        let run = Self { path: path.to_path_buf(), _lock: None };
        if !run.config().is_file() {
            return Err(CliError::NoRun(path.to_path_buf()));
        }
        let config = RunConfig::read(&run.config())?;
        Ok((run, config))
    }

    /// The folder of a run that was made before, to go on with it.
    pub fn open_locked(path: &Path) -> Result<(Self, RunConfig), CliError> {
        let (mut run, _) = Self::open(path)?;
        run._lock = Some(run.lock()?);
        // Again, for who held the lock may have changed it.
        let (_, config) = Self::open(path)?;
        run.tidy()?;
        Ok((run, config))
    }

    /// Removes what a process left half written that was killed while it held the lock.
    fn tidy(&self) -> Result<(), CliError> {
        let entries = fs::read_dir(&self.path).map_err(CliError::io("read", &self.path))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let picture =
                ["samples.png.", "loss.png.", "exam.png."].iter().any(|start| name.starts_with(start));
            if name.ends_with(".partial") || picture && name.ends_with(".part") {
                fs::remove_file(&path).map_err(CliError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Arc<File>, CliError> {
        let path = self.file(LOCK);
        let file = File::create(&path).map_err(CliError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Arc::new(file)),
            Err(TryLockError::WouldBlock) => Err(CliError::InUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(CliError::io("lock", &path)(error)),
        }
    }

    /// Replaces the configuration.
    pub fn write_config(&self, config: &RunConfig) -> Result<(), CliError> {
        write_whole(&self.config(), &config.to_toml()?)
    }

    fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.file("checkpoints")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The checkpoint that is asked for, having told of damaged ones that would have come before it.
    pub fn checkpoint(&self, which: Which) -> Result<Checkpoint, CliError> {
        let (checkpoint, damaged) = Checkpoint::find(&self.checkpoints(), which)?;
        for error in damaged {
            eprintln!("warning: passed over a damaged checkpoint: {error}");
        }
        Ok(checkpoint)
    }
}

/// Writes a file beside its place, syncs it, and puts it there.
pub fn write_whole(path: &Path, text: &str) -> Result<(), CliError> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        // What is left of a failed attempt is of no use; the error to report is the first.
        let _ = fs::remove_file(&partial);
        CliError::io("write", path)(error)
    })
}

/// Refuses a new run in the folder `out` where that would replace `source`, which the run is made from.
pub fn check_kept(source: &Path, out: &Path) -> Result<(), CliError> {
    match (fs::canonicalize(source), fs::canonicalize(out)) {
        (Ok(file), Ok(folder)) if file.starts_with(&folder) => {
            let what = format!(
                "the new run in {} would replace {}, which it is made from",
                out.display(),
                source.display()
            );
            Err(CliError::invalid(what, "pass --out RUN for another folder"))
        }
        _ => Ok(()),
    }
}

/// What the weights of the run that `config` describes belong to.
pub fn describe(config: &RunConfig, parameterization: &impl std::fmt::Debug) -> Description {
    Description {
        network: format!("{:?}", config.network),
        parameterization: format!("{parameterization:?}"),
        schedule: format!("{:?}", config.schedule),
    }
}

/// Evaluates `$body` for the network, mode and schedules that `$config` names, on the backend `$B`.
///
/// A macro because the three have another type in every case; `$body` is compiled once per network and path.
macro_rules! with_model {
    ($config:expr, $B:ty, $device:expr, |$network:ident, $mode:ident, $schedules:ident| $body:expr) => {
        match $config.prediction {
            $crate::config::Prediction::Diffusion($mode) => {
                let $schedules = $config.exploding()?;
                $crate::run::with_network!($config, $B, $device, |$network| $body)
            }
            $crate::config::Prediction::Flow(_) => {
                let ($mode, $schedules) = (::diffusion::core::FlowPrediction, $config.straight()?);
                $crate::run::with_network!($config, $B, $device, |$network| $body)
            }
        }
    };
}
pub(crate) use with_model;

/// Evaluates `$body` for the network that `$config` names, initialised by its seed.
macro_rules! with_network {
    ($config:expr, $B:ty, $device:expr, |$network:ident| $body:expr) => {
        match &$config.network {
            $crate::config::NetworkConfig::TimeInputMlp(mlp) => {
                let $network = mlp.init::<$B>($config.training.seed, $device);
                $body
            }
            $crate::config::NetworkConfig::ConditionalMlp(mlp) => {
                let $network = mlp.init::<$B>($config.training.seed, $device);
                $body
            }
            $crate::config::NetworkConfig::Dit(dit) => {
                let $network = dit.init::<$B>($config.training.seed, $device);
                $body
            }
            $crate::config::NetworkConfig::ConditionalDit { dit, labels } => {
                let $network = dit.init_conditional::<$B>(labels, $config.training.seed, $device);
                $body
            }
            $crate::config::NetworkConfig::Unet(unet) => {
                let $network = unet.init::<$B>($config.training.seed, $device);
                $body
            }
            $crate::config::NetworkConfig::ConditionalUnet { unet, labels } => {
                let $network = unet.init_conditional::<$B>(labels, $config.training.seed, $device);
                $body
            }
        }
    };
}
pub(crate) use with_network;

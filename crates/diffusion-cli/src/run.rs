//! The folder of a run: it says everything that there is to say of it.

use crate::config::RunConfig;
use crate::error::CliError;
use diffusion::train::Description;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A run's folder.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Makes the folder and writes its config.toml. One that exists and is not empty is refused, unless `overwrite`
    /// says that it may be replaced and it is a run's.
    pub fn create(path: &Path, config: &RunConfig, overwrite: bool) -> Result<Self, CliError> {
        let text = config.to_toml()?;
        let run = Self(path.to_path_buf());
        match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::io("read", path)(error)),
            Ok(entries) => match entries.count() {
                0 => {}
                _ if !overwrite => return Err(CliError::RunExists(path.to_path_buf())),
                _ if !run.config().is_file() || !run.checkpoints().is_dir() => {
                    return Err(CliError::NotARun(path.to_path_buf()));
                }
                _ => fs::remove_dir_all(path).map_err(CliError::io("remove", path))?,
            },
        }
        fs::create_dir_all(run.checkpoints()).map_err(CliError::io("create", path))?;
        fs::write(run.config(), text).map_err(CliError::io("write", &run.config()))?;
        Ok(run)
    }

    /// The folder of a run that was made before, and its configuration.
    pub fn open(path: &Path) -> Result<(Self, RunConfig), CliError> {
        let run = Self(path.to_path_buf());
        if !run.config().is_file() {
            return Err(CliError::NoRun(path.to_path_buf()));
        }
        let config = RunConfig::read(&run.config())?;
        Ok((run, config))
    }

    fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    pub fn checkpoints(&self) -> PathBuf {
        self.file("checkpoints")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
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

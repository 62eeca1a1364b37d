//! Training diffusion models: a loop that is an iterator, averages of its weights, checkpoints, and
//! weights from and for PyTorch.
//!
//! [`train`] takes batches, a model and a schedule and yields a [`TrainStep`] after every update. Between steps the
//! model and the EMA of its weights are at hand, so that logging, early stopping, sampling and checkpoints are
//! ordinary code of the caller's, not callbacks.
//!
//! # Saving and resuming
//! In the course of a training, and going on from there:
//! ```
//! use burn::backend::{Autodiff, Flex};
//! use burn::tensor::TensorData;
//! use diffusion_core::network::mlp::TimeInputMlpConfig;
//! use diffusion_core::schedule::{LogLinear, ScheduleConfig};
//! use diffusion_core::{AnyPrediction, Diffusion};
//! use diffusion_train::{Checkpoint, ModelSpec, TrainConfig, Weights, train};
//!
//! let folder = tempfile::tempdir()?;
//! let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
//! let schedule = ScheduleConfig::LogLinear { n: 100, sigma_min: 0.02, sigma_max: 10.0 };
//! // What the weights mean, so that they are never loaded as something else.
//! let spec = ModelSpec::new(&network, &AnyPrediction::Eps, &schedule);
//! let model = || Diffusion::new(network.init::<Autodiff<Flex>>(0, &Default::default()), AnyPrediction::Eps);
//! // The batches from number `first` on; those of a data set are `Batches::starting_at(first)`.
//! let batches = |first: u64| {
//!     (first..).map(|i| (TensorData::new(vec![i as f32 / 10.0, 1.0], [1, 2]), ()))
//! };
//! let config = TrainConfig::new(6);
//!
//! let mut run = train(batches(0), model(), schedule.init(), &config);
//! run.by_ref().nth(2);
//! let saved = run.save(folder.path(), &spec, None)?;
//! run.by_ref().last();
//!
//! let checkpoint = Checkpoint::latest(folder.path())?;
//! assert_eq!((checkpoint.path(), checkpoint.state().step), (saved.path(), 3));
//! let mut again = train(batches(checkpoint.state().batches), model(), schedule.init(), &config);
//! again = again.resume(&checkpoint, &spec)?;
//! again.by_ref().last();
//! let weights = |model: &Diffusion<Flex, _, _>| diffusion_train::state_dict(&model.network);
//! assert_eq!(weights(&again.model()), weights(&run.model()));
//!
//! // Only the weights, e.g. to sample from them.
//! let ema = checkpoint.load(run.model(), &spec, Weights::Ema)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod batch;
mod checkpoint;
mod config;
mod counts;
mod ema;
mod health;
mod hidden;
mod learning_rate;
mod leaves;
mod losses;
mod moments;
mod muon;
mod optimizer;
mod optimizer_config;
mod parts;
mod post_hoc;
pub mod purpose;
mod self_conditioning;
mod smalldiffusion;
mod snapshot;
mod snapshot_config;
mod student;
mod sum;
mod training;

pub use adamw::{AdamW, AdamWConfig};
pub use batch::IntoBatch;
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointState, Checksum, Found, ModelSpec, OptimizerState, Weights, Which,
};
pub use config::TrainConfig;
pub use ema::Ema;
pub use ema::config::{EmaConfig, EmaStep, NamedEma};
pub use health::NonFinite;
pub use hidden::hidden_matrices;
pub use learning_rate::{LrDecay, LrSchedule};
pub use muon::{Muon, MuonState};
pub use optimizer_config::{MuonConfig, MuonScale, OptimizerConfig};
pub use post_hoc::{AverageFile, PostHoc, post_hoc};
pub use smalldiffusion::{
    export_state_dict, import_state_dict, import_state_dict_at, load_state_dict, smalldiffusion_names,
    state_dict,
};
pub use snapshot::Snapshot;
pub use snapshot_config::{SnapshotConfig, SnapshotPrecision};
pub use student::{Teacher, denoiser_teacher};
pub use training::{TrainStep, Training, train};

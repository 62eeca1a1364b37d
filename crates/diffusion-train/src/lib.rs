//! Training diffusion models: a loop that is an iterator, an EMA of its weights, checkpoints, and
//! weights from and for PyTorch.
//!
//! [`train`] takes batches, a model and a schedule and yields a [`TrainStep`] after every update. Between steps the
//! model and the EMA of its weights are at hand, so that logging, early stopping, sampling and checkpoints are
//! ordinary code of the caller's, not callbacks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod checkpoint;
mod config;
mod counts;
mod ema;
mod health;
mod learning_rate;
mod moments;
pub mod purpose;
mod smalldiffusion;
mod training;

pub use adamw::{AdamW, AdamWConfig};
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointState, Checksum, ModelSpec, OptimizerState, Weights, Which,
};
pub use config::TrainConfig;
pub use ema::{Ema, EmaConfig};
pub use health::NonFinite;
pub use learning_rate::{LrDecay, LrSchedule};
pub use smalldiffusion::{
    export_state_dict, import_state_dict, load_state_dict, smalldiffusion_names, state_dict,
};
pub use training::{TrainStep, Training, train};

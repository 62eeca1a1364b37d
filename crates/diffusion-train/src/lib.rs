//! Training diffusion models: a loop that is an iterator, an average of its weights, checkpoints, and
//! weights from and for PyTorch.
//!
//! [`train`] takes batches, a model and a schedule and yields a [`Step`] after every update. Between steps the
//! model and the average of its weights are at hand, so that logging, early stopping, sampling and checkpoints are
//! ordinary code of the caller's, not callbacks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod checkpoint;
mod config;
mod ema;
mod exam;
mod health;
mod learning_rate;
mod moments;
mod state_dict;
mod training;

pub use adamw::AdamW;
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointState, Description, OptimizerState, Seal, Weights, Which,
};
pub use config::{AdamWConfig, TrainConfig};
pub use ema::{Ema, EmaConfig};
pub use exam::{BinLoss, Exam, ExamConfig, LossCurve};
pub use health::NonFinite;
pub use learning_rate::{LrDecay, LrSchedule};
pub use state_dict::{
    StateDict, StateDictError, TensorProblem, export_state_dict, import_state_dict, load_state_dict,
    state_dict,
};
pub use training::{Step, Training, train};

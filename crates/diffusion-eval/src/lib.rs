//! How good a model is: its validation loss by noise level; and how good a sampler is, on data whose denoiser is known.
//!
//! [`Validation`] holds a fixed set of (example, σ, noise) triples and evaluates models on it; nothing here needs a data
//! set or a training run.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod budget;
mod strata;
mod transport;
mod validation;

pub use budget::{evaluations, steps_within};
pub use strata::VALIDATION_SIGMA;
pub use transport::{floor, transport_distance};
pub use validation::{
    LossBySigma, SigmaBin, VALIDATION_EXAMPLE, VALIDATION_NOISE, Validation, ValidationConfig,
};

//! The mathematics and the networks of diffusion and flow-matching models, generic over Burn's backends.
//!
//! In reading order, one idea per module: a [`path`] turns data into noise; a [`parameterization`] says what the
//! network predicts; a [`schedule`] chooses noise levels; a [`network`] maps a noisy input to an output; a
//! [`Diffusion`] joins them and has a loss; [`guidance`] combines denoisers; a [`sampler`] walks from noise to data.
//! [`layer`] and [`network`] hold the building blocks.
//!
//! There are no files, threads, clocks or printing here, and no backend: bring any of Burn's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod diffusion;
pub mod guidance;
pub mod layer;
pub mod network;
pub mod parameterization;
pub mod path;
pub mod random;
pub mod sampler;
pub mod schedule;
pub mod sigma;
pub mod trace;

pub use diffusion::Diffusion;
pub use guidance::{Denoiser, Evaluation};
pub use network::{Labels, Network};
pub use parameterization::{
    AnyPrediction, Combination, Edm, EpsPrediction, FlowPrediction, Mix, Parameterization, Scaled,
    VPrediction, X0Prediction,
};
pub use path::{Path, Straight, VarianceExploding};
pub use random::Noise;
pub use sampler::{General, Heun, Sampler, sample};
pub use schedule::{Schedule, Sigmas};
pub use sigma::Sigma;
pub use trace::{Tracer, Untraced};

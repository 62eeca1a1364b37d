//! The mathematics and the networks of diffusion and flow-matching models, generic over Burn's backends.
//!
//! In reading order, one idea per module: a [`path`] turns data into noise; a [`parameterization`] says what the
//! network predicts; a [`schedule`] chooses noise levels; an [`objective`] weights errors; a [`network`] maps a noisy
//! input under a [`condition`] to an output; a [`Diffusion`] joins them and has a loss; a [`denoiser`] is what a sampler
//! sees of it; [`guidance`] combines denoisers; a [`sampler`] walks from noise to data; a [`task`] begins elsewhere, or measures. [`layer`] and [`network`] hold
//! the building blocks, and [`invalid`] says why a configuration cannot be used.
//!
//! What is chosen while a program runs has an enum beside the trait that it implements: [`AnyPrediction`],
//! [`AnySchedule`], [`AnyCondition`], [`AnySampler`], [`AnyGuidance`], [`AnyObjective`].
//!
//! There are no files, threads, clocks or printing here, and no backend: bring any of Burn's.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod condition;
pub mod denoiser;
pub mod diffusion;
pub mod given;
pub mod guidance;
pub mod invalid;
mod last_estimate;
pub mod layer;
mod linear_combination;
pub mod memory;
pub mod named;
pub mod network;
mod normal;
pub mod objective;
pub mod parameterization;
pub mod path;
pub mod precision;
pub mod random;
pub mod sampler;
pub mod schedule;
pub mod sigma;
mod step;
pub mod task;
pub mod trace;
pub mod watch;
mod words;

pub use condition::{
    AnyCondition, Averaged, Condition, ConditionFor, Labels, NullCondition, Tokens, Unconditional, WrongKind,
};
pub use denoiser::{Combination, Denoiser, DenoiserOutput, Evaluate};
pub use diffusion::Diffusion;
pub use guidance::{AnyGuidance, ClassifierFree, Guidance, Guided};
pub use invalid::Invalid;
pub use linear_combination::{Estimates, LinearCombination};
pub use network::Network;
pub use objective::{AnyObjective, Objective, PredictionMse, Weight, Weighted};
pub use parameterization::{
    AnyPrediction, ConsistencyPrediction, Edm, EpsPrediction, FlowPrediction, Mix, Parameterization, Scaled,
    Scalings, VPrediction, X0Prediction,
};
pub use path::{AnyPath, Path, Straight, VarianceExploding};
pub use random::{BrownianNoise, Noise, Purpose};
pub use sampler::{
    Adaptive, AnySampler, Consistency, Deis, Dpm2Ancestral, DpmSolver, Dpmpp2sAncestral, DpmppSde,
    EulerAncestral, GradientEstimation, Heun, Ipndm, Lms, MeanFlowSteps, NoiseRequest, Pndm,
    PredictorCorrector, Restart, Sampler, SamplerStep, UniPc, sample, sample_changed, sample_from,
};
pub use schedule::{AnySchedule, Schedule, ScheduleConfig, Sigmas};
pub use sigma::Sigma;
pub use trace::{Tracer, Untraced};
pub use words::counted;

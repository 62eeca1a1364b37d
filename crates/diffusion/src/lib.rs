//! Diffusion and flow-matching models on [Burn](https://burn.dev): define, train and sample them on any backend.
//!
//! This crate only joins the others: [`core`] holds the mathematics and the networks, [`data`] the data sets,
//! [`train`](mod@train) the training loop and checkpoints. [`prelude`] is what a short program needs.

#[doc(inline)]
pub use diffusion_core as core;
#[doc(inline)]
pub use diffusion_data as data;
#[doc(inline)]
pub use diffusion_train as train;

#[doc(inline)]
pub use diffusion_kernels::keep_memory;

/// Everything that a short program needs.
pub mod prelude {
    pub use diffusion_core::layer::CondEmbedderLabelConfig;
    pub use diffusion_core::layer::SigmaEmbedding;
    pub use diffusion_core::network::dit::{Dit, DitConfig, ModulationInit};
    pub use diffusion_core::network::ideal::IdealDenoiser;
    pub use diffusion_core::network::mlp::{
        ConditionalMlp, ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig,
    };
    pub use diffusion_core::network::unet::{Unet, UnetConfig};
    pub use diffusion_core::network::{Condition, NullCondition};
    pub use diffusion_core::schedule::{
        Cosine, Ddpm, Flow, Ldm, Levels, LogLinear, LogNormalFlow, Schedule, Sigmas, Sigmoid,
    };
    pub use diffusion_core::{
        Denoiser, Diffusion, Edm, EpsPrediction, Evaluation, FlowPrediction, General, Heun, Labels, Mix,
        Network, Noise, Parameterization, Sampler, Scaled, Sigma, Straight, VPrediction, VarianceExploding,
        X0Prediction, sample,
    };
    pub use diffusion_data::*;
    pub use diffusion_train::{
        AdamWConfig, Checkpoint, CheckpointError, CheckpointState, Description, Ema, EmaConfig, Exam,
        ExamConfig, LossCurve, LrDecay, LrSchedule, NonFinite, StateDict, StateDictError, Step,
        TensorProblem, TrainConfig, Training, Weights, Which, export_state_dict, import_state_dict,
        load_state_dict, state_dict, train,
    };
}

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

//! Diffusion and flow-matching models on [Burn](https://burn.dev): define, train and sample them on any backend.
//!
//! ```
//! use diffusion::burn::backend::{Autodiff, Flex};
//! use diffusion::prelude::*;
//! use std::f64::consts::PI;
//!
//! let (seed, device) = (0, Default::default());
//! let batches = Batches::new(Swissroll::new(PI / 2.0, 5.0 * PI, 100), 64, seed);
//! let network = TimeInputMlpConfig { hidden_dims: vec![16, 16], ..Default::default() };
//! let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), EpsPrediction);
//! let schedule = LogLinear::new(200, 0.005, 10.0);
//!
//! // Training yields after every update ...
//! let mut run = train(batches, model, &schedule, &TrainConfig::new(100));
//! let losses: Vec<f64> = run.by_ref().map(|step| step.loss()).collect();
//!
//! // ... and sampling after every step.
//! let (model, sigmas) = (run.model(), schedule.sigmas(20));
//! let states = sample(&model, GradientEstimation::ACCELERATED, &sigmas, 5, Noise::new(seed), &device);
//! let x0 = states.last().unwrap();
//! assert_eq!((losses.len(), x0.dims()), (100, [5, 2]));
//! ```
//!
//! This crate only joins the others: [`core`] holds the mathematics and the networks, [`data`] the data sets,
//! [`train`](mod@train) the training loop and checkpoints, [`weights`] tensors in files,
//! [`backends`] the choice of a backend at run time. [`prelude`]
//! is what a short program needs. [`burn`] is the Burn that all of them are built with, so that one line in a manifest is
//! enough; where a network of your own derives `Module`, write `use diffusion::burn;`, by which the derived code finds it.
//!
//! # Features
//! Each backend of Burn that is listed in `diffusion-backends`, e.g. `flex` or `wgpu`, is a feature that turns it on. `flex` also brings
//! fused operations for it, and its threads. `autotune` lets a GPU choose its fastest kernels.

#[doc(no_inline)]
pub use burn;
#[doc(inline)]
pub use diffusion_backends as backends;
#[doc(inline)]
pub use diffusion_core as core;
#[doc(inline)]
pub use diffusion_data as data;
#[doc(inline)]
pub use diffusion_eval as eval;
#[doc(inline)]
pub use diffusion_train as train;
#[doc(inline)]
pub use diffusion_weights as weights;

#[doc(inline)]
pub use diffusion_kernels::keep_memory;

/// Everything that a short program needs.
pub mod prelude {
    pub use diffusion_core::layer::CondEmbedderLabelConfig;
    pub use diffusion_core::layer::SigmaEmbedding;
    pub use diffusion_core::network::dit::{AnyDit, Dit, DitConfig, ModulationInit};
    pub use diffusion_core::network::ideal::IdealDenoiser;
    pub use diffusion_core::network::mlp::{
        AnyMlp, ConditionalMlp, ConditionalMlpConfig, Mlp, TimeInputMlp, TimeInputMlpConfig,
    };
    pub use diffusion_core::network::unet::{AnyUnet, Unet, UnetConfig};
    pub use diffusion_core::schedule::{
        AnySchedule, Cosine, Ddpm, Flow, Ldm, Levels, LogLinear, LogNormalFlow, Schedule, ScheduleConfig,
        Sigmas, Sigmoid,
    };
    pub use diffusion_core::{
        AnyCondition, AnyGuidance, AnyObjective, AnyPath, AnyPrediction, AnySampler, ClassifierFree,
        Condition, Denoiser, DenoiserOutput, Diffusion, Edm, EpsPrediction, FlowPrediction,
        GradientEstimation, Guidance, Guided, Heun, Invalid, Labels, Mix, Network, Noise, NullCondition,
        Objective, Parameterization, PredictionMse, Sampler, Scaled, Sigma, Straight, Tokens, Tracer,
        VPrediction, VarianceExploding, X0Prediction, sample, sample_from,
    };
    pub use diffusion_data::*;
    pub use diffusion_eval::{LossBySigma, SigmaBin, Validation, ValidationConfig};
    pub use diffusion_train::{
        AdamWConfig, Checkpoint, CheckpointError, CheckpointState, Ema, EmaConfig, LrDecay, LrSchedule,
        ModelSpec, NonFinite, TrainConfig, TrainStep, Training, Weights, Which, export_state_dict,
        import_state_dict, load_state_dict, state_dict, train,
    };
    pub use diffusion_weights::{StateDict, TensorProblem, WeightsError};
}

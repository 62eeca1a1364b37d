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
//! let x = model.rand_input(5, Noise::new(seed), &device) * sigmas[0];
//! let x0 = sample(&model, General::ACCELERATED, &sigmas, x, Noise::new(seed)).last().unwrap();
//! assert_eq!((losses.len(), x0.dims()), (100, [5, 2]));
//! ```
//!
//! This crate only joins the others: [`core`] holds the mathematics and the networks, [`data`] the data sets,
//! [`train`](mod@train) the training loop and checkpoints, [`backends`] the choice of a backend at run time. [`prelude`]
//! is what a short program needs. [`burn`] is the Burn that all of them are built with, so that one line in a manifest is
//! enough; where a network of your own derives `Module`, say `use diffusion::burn;`, by which the derived code finds it.
//!
//! # Features
//! Each of `flex`, `ndarray`, `wgpu`, `vulkan`, `metal`, `cuda` and `tch` turns a backend of Burn on. `flex` also brings
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

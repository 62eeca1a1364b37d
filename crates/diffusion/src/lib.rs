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
//! let mut losses = Vec::new();
//! for step in &mut run {
//!     losses.push(step?.loss());
//! }
//!
//! // ... and sampling after every step.
//! let (model, sigmas) = (run.model(), schedule.sigmas(20));
//! let states = sample(&model, GradientEstimation::ACCELERATED, &sigmas, 5, Noise::new(seed), &device);
//! let x0 = states.last().unwrap();
//! assert_eq!((losses.len(), x0.dims()), (100, [5, 2]));
//! # Ok::<(), DataError>(())
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
//! fused operations for it, and its threads. `autotune` lets a GPU choose its fastest kernels. `latent` brings the module
//! of that name, for pretrained latent diffusion models.

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
#[cfg(feature = "latent")]
#[doc(inline)]
pub use diffusion_latent as latent;
#[doc(inline)]
pub use diffusion_train as train;
#[doc(inline)]
pub use diffusion_weights as weights;

#[doc(inline)]
pub use diffusion_kernels::{TellingAllocator, keep_memory};

/// Everything that a short program needs: enough to name every model, conditional ones too, and to write functions of
/// any backend.
///
/// ```
/// use diffusion::prelude::*;
///
/// /// A model of points with labels, and functions of three more.
/// struct Labeled<B: Backend> {
///     model: Diffusion<B, ConditionalMlp<B>, EpsPrediction>,
/// }
///
/// fn transformer<B: Backend>(
///     model: &Diffusion<B, ConditionalDit<B>, VPrediction>,
///     x: Tensor<B, 4>,
///     labels: Labels,
/// ) -> Tensor<B, 4> {
///     model.given(labels).guided(2.0).evaluate(x, 1.0).denoised()
/// }
///
/// fn spelled_out<B: Backend>(model: Diffusion<B, Unet<B, CondEmbedderLabel<B>>, Edm>) -> ConditionalUnet<B> {
///     model.network
/// }
///
/// fn chosen_at_run_time<B: Backend>(
///     model: &Diffusion<B, AnyUnet<B>, AnyPrediction>,
///     x: Tensor<B, 4>,
///     condition: AnyCondition,
/// ) -> DenoiserOutput<B, 4> {
///     model.given(condition).evaluate(x, 1.0)
/// }
///
/// fn any_network<B: AutodiffBackend, N: Network<B, 2, Condition = Labels> + AutodiffModule<B>>(
///     model: Diffusion<B, N, Scaled<X0Prediction>>,
/// ) -> Diffusion<B::InnerBackend, N::InnerModule, Scaled<X0Prediction>>
/// where
///     N: std::fmt::Display,
/// {
///     Diffusion::new(model.network.valid(), model.parameterization)
/// }
/// ```
pub mod prelude {
    pub use burn::module::{AutodiffModule, Module};
    pub use burn::tensor::backend::{AutodiffBackend, Backend};
    pub use burn::tensor::{Tensor, TensorData};
    pub use diffusion_core::layer::{
        CondEmbedderLabel, CondEmbedderLabelConfig, CondEmbedderText, CondEmbedderTextConfig, NoCondition,
        SigmaEmbedding,
    };
    pub use diffusion_core::network::dit::{
        AnyDit, AnyTextDit, ConditionalDit, Dit, DitConfig, ModulationInit, TextDit,
    };
    pub use diffusion_core::network::ideal::IdealDenoiser;
    pub use diffusion_core::network::mlp::{
        AnyMlp, ConditionalMlp, ConditionalMlpConfig, Mlp, TimeInputMlp, TimeInputMlpConfig,
    };
    pub use diffusion_core::network::unet::{AnyUnet, ConditionalUnet, Unet, UnetConfig};
    pub use diffusion_core::schedule::{
        AnySchedule, Cosine, Ddpm, Flow, Grid, Karras, Ldm, Levels, LogLinear, LogNormalFlow, Schedule,
        ScheduleConfig, Sigmas, Sigmoid,
    };
    pub use diffusion_core::{
        AnyCondition, AnyGuidance, AnyObjective, AnyPath, AnyPrediction, AnySampler, BrownianNoise,
        ClassifierFree, Condition, ConditionFor, Denoiser, DenoiserOutput, Diffusion, Edm, EpsPrediction,
        Evaluate, FlowPrediction, GradientEstimation, Guidance, Guided, Heun, Invalid, Labels, Mix, Network,
        Noise, NoiseRequest, NullCondition, Objective, Parameterization, PredictionMse, Sampler, SamplerStep,
        Scaled, Scalings, Sigma, Straight, Tokens, Tracer, Unconditional, UniPc, VPrediction,
        VarianceExploding, Weight, Weighted, X0Prediction, given::Given, guidance::Conditions, sample,
        sample_from, watch::Watch,
    };
    pub use diffusion_data::*;
    pub use diffusion_eval::{FeatureExtractor, LossBySigma, SigmaBin, Validation, ValidationConfig};
    pub use diffusion_train::{
        AdamWConfig, Checkpoint, CheckpointError, CheckpointState, Ema, EmaConfig, IntoBatch, LrDecay,
        LrSchedule, ModelSpec, NonFinite, TrainConfig, TrainStep, Training, Weights, Which,
        export_state_dict, import_state_dict, load_state_dict, state_dict, train,
    };
    pub use diffusion_weights::{StateDict, TensorProblem, WeightsError};
}

//! A run as data: everything between a TOML file and a model that trains and samples.
//!
//! ```
//! use burn::backend::Flex;
//! use diffusion_recipe::{RunConfig, SampleRequest};
//!
//! let mut config = RunConfig::preset("swissroll")?;
//! config.set_all(["training.steps=20", "sampling.count=4", "sampling.steps=5"])?;
//! let mut run = config.build::<Flex>(&Default::default())?;
//! while let Some(step) = run.step()? {
//!     assert!(step.loss.is_finite());
//! }
//! let samples = run.sample(&SampleRequest::of(&config), &mut |_| {})?;
//! assert_eq!((samples.count(), &samples.shape[..]), (4, &[2][..]));
//! # Ok::<(), diffusion_recipe::RecipeError>(())
//! ```
//!
//! [`RunConfig`] is the file, [`Run`] what it describes, whatever its network, parameterization and backend.
//! [`train`](train()) trains one into a [`RunFolder`]. There is no command line, no terminal and no picture here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod asked;
mod change;
mod config;
mod decode;
mod encode;
mod encode_texts;
mod encoded;
mod error;
mod evaluate;
mod feed;
mod folder;
mod held;
mod image_files;
mod images;
mod inspect;
mod interval;
mod latents;
mod likelihood;
mod made;
mod metrics;
mod network;
mod picture_folder;
mod pictures;
mod preset;
mod record;
mod reflow;
mod run;
mod samples;
mod sampling;
pub mod smalldiffusion;
mod task;
mod teacher;
mod train;
mod typed;
mod validation;
mod validation_metrics;
mod watched;
mod weaker;

pub use change::Change;
pub use config::{RunConfig, SamplingConfig};
pub use decode::{check_decoder, decode, read_latents};
pub use encode::{EncodeRequest, encode};
pub use encode_texts::CaptionNote;
pub use encoded::{Encoded, EncodedParts, EncodedTexts};
pub use error::RecipeError;
pub use evaluate::{
    EvaluateRequest, Evaluation, EvaluationSettings, FeatureKind, Judged, LikelihoodSettings, Measured,
    NearestPairs, evaluate,
};
pub use folder::{RunFolder, check_replaces_not, check_writable};
pub use image_files::{Draw, Drawn, SampleFolder, Written, write_archive};
pub use images::{ImageNetwork, ImageSize, ModelSize, ParseError};
pub use interval::Interval;
pub use latents::{LatentCondition, LatentModel};
pub use likelihood::{LikelihoodRequest, Likelihoods};
pub use made::{mark_gif, mark_png};
pub use metrics::{History, StepMetrics};
pub use network::{
    Conditional, CustomNetworkConfig, NetworkConfig, NetworkSize, NetworkVisitor, RunNetwork, SampledNetwork,
    TextDitConfig, TextUnetConfig,
};
pub use pictures::{PictureInterval, PicturesConfig};
pub use preset::Preset;
pub use record::RunRecord;
pub use reflow::{ReflowRequest, Reflowed, reflow};
pub use run::{Composed, DataReport, Run, RunCounts, SampleProgress, SampleRequest, StepReport};
pub use samples::{Samples, check_replaceable};
pub use task::{Ends, Task};
pub use train::{Observer, Trained, train};
pub use typed::TypedRun;
pub use validation::{Losses, ValidationLosses};
pub use weaker::WeakerModel;

//! How good a model is: its validation loss by noise level, and how far its samples are from the data; and how good a sampler
//! is, on data whose denoiser is known.
//!
//! [`Validation`] holds a fixed set of (example, σ, noise) triples and evaluates models on it. Distances are between
//! [`Features`] on the host, f32 that are computed with in f64: the Fréchet distance of [`Moments`], [`kid`], [`mmd`],
//! [`energy_distance`], [`sliced_wasserstein`], [`wasserstein`], [`neighborhoods`] for precision, recall, density and
//! coverage, and [`Memorization`]; [`Metric`] names them. [`jackknife`] gives any of them its standard error,
//! [`Features::halves`] the floor. The networks of [`extract`] make features of images. Nothing here needs a data set or a
//! training run.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod budget;
mod energy;
mod error;
pub mod extract;
mod features;
mod frechet;
mod gaussian;
mod grouped;
mod kernel;
mod memorization;
mod metric;
mod moments;
mod neighborhoods;
mod pairs;
mod resample;
mod sliced;
mod statistics;
mod strata;
mod transport;
mod validation;
mod wasserstein;

pub use budget::{evaluations, steps_within};
pub use energy::energy_distance;
pub use error::MetricError;
pub use extract::{Classifier, Dinov2, Dinov2Config, ExtractError, FeatureExtractor, InceptionV3};
pub use features::{Features, HALVES};
pub use frechet::frechet_distance;
pub use gaussian::Gaussian;
pub use grouped::GroupedMoments;
pub use kernel::{KID_SUBSET, Kid, KidConfig, kernel_distance, kid, median_distance, mmd};
pub use memorization::{Memorization, Nearest, nearest};
pub use metric::Metric;
pub use moments::Moments;
pub use neighborhoods::{Balls, Neighborhoods, neighborhoods};
pub use resample::{Estimate, jackknife, jackknife_all};
pub use sliced::{DIRECTION, Directions, sliced_wasserstein};
pub use strata::VALIDATION_SIGMA;
pub use transport::{floor, transport_distance};
pub use validation::{
    LossBySigma, SigmaBin, VALIDATION_EXAMPLE, VALIDATION_NOISE, Validation, ValidationConfig,
};
pub use wasserstein::wasserstein;

//! What is measured of samples whenever a run is validated.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::evaluate::{Extractor, FeatureKind, MOST_FEATURES, Needs, Real, RealFeatures, values};
use crate::run::SampleRequest;
use crate::samples::Samples;
use burn::tensor::backend::Backend;
use diffusion::core::watch::Watch;
use diffusion::core::{AnyGuidance, Invalid, Tokens};
use diffusion::data::AnyDataset;
use diffusion::eval::{Metric, ValidationConfig};
use std::collections::BTreeMap;

/// The metrics of a run's validations, with what they need of its training examples.
pub(crate) struct SampleMetrics<B: Backend> {
    metrics: Vec<Metric>,
    extractor: Extractor<B>,
    real: RealFeatures,
}

impl<B: Backend> SampleMetrics<B> {
    /// Those that `settings` ask for, if they ask for some.
    ///
    /// # Errors
    /// If an example cannot be read, or `watch` stops it.
    pub fn new(
        settings: &ValidationConfig,
        config: &RunConfig,
        training: &AnyDataset,
        device: &B::Device,
        watch: &Watch,
    ) -> Result<Option<Self>, RecipeError> {
        let metrics = settings.metrics.clone();
        if metrics.is_empty() {
            return Ok(None);
        }
        let (shape, of_pixels) = (config.network.input_shape(), config.data.latents().is_none());
        let kind = features(config);
        let extractor = Extractor::new(kind, None, (&shape, of_pixels && shape.len() == 3), device)?;
        let needs = Needs {
            moments: metrics.contains(&Metric::Fd),
            sets: metrics.iter().any(|&metric| metric != Metric::Fd),
            all: false,
        };
        let real = Real::Examples(training.clone());
        let real = RealFeatures::new(&real, &extractor, needs, settings.samples, watch)?;
        Ok(Some(Self { metrics, extractor, real }))
    }

    /// The values of the metrics of `samples` by their names: not a number where these are not finite, or too few.
    ///
    /// # Errors
    /// If `watch` stops it.
    pub fn of(&self, samples: &Samples, watch: &Watch) -> Result<BTreeMap<String, f64>, RecipeError> {
        let features = match samples.non_finite() {
            0 => Some(self.extractor.features(&samples.values)).transpose(),
            _ => Ok(None),
        };
        let mut all = BTreeMap::new();
        for &metric in &self.metrics {
            let found = match &features {
                Ok(Some(features)) => values(metric, features, &self.real, watch),
                _ => Ok(Vec::new()),
            };
            let found = match found {
                Err(RecipeError::Stopped) => return Err(RecipeError::Stopped),
                found => found.unwrap_or_default(),
            };
            let value = |i: usize| found.get(i).copied().unwrap_or(f64::NAN);
            all.extend(metric.values().iter().enumerate().map(|(i, name)| (name.to_string(), value(i))));
        }
        Ok(all)
    }
}

/// What of the samples is compared.
fn features(config: &RunConfig) -> FeatureKind {
    let shape = config.network.input_shape();
    match config.data.latents() {
        None => FeatureKind::best(&shape),
        Some(_) => FeatureKind::Pixels,
    }
}

/// Whether the metrics that a run asks for can be had of its examples.
///
/// # Errors
/// If it asks for the Fréchet distance of too many values.
pub(crate) fn check(config: &RunConfig) -> Result<(), Invalid> {
    let asks = config.validation.as_ref().is_some_and(|settings| settings.metrics.contains(&Metric::Fd));
    let values: usize = config.network.input_shape().iter().product();
    let is_too_large = asks && features(config) == FeatureKind::Pixels && values > MOST_FEATURES;
    Invalid::unless(!is_too_large, "validation.metrics", || {
        format!("name fd, which is of at most {MOST_FEATURES} values, and an example has {values}")
    })
}

/// The samples that are measured, under the texts of training examples where the network is told some; not led away from
/// a weaker model, which is open only when training is done.
pub(crate) fn request(
    config: &RunConfig,
    settings: &ValidationConfig,
    texts: Option<Tokens>,
) -> SampleRequest {
    let mut request = SampleRequest { texts, ..SampleRequest::of(config) };
    request.sampling.count = settings.samples;
    if matches!(request.sampling.guidance, AnyGuidance::Autoguidance(_)) {
        request.sampling.guidance = AnyGuidance::None;
    }
    request
}

//! How far samples are from data, by the usual metrics.
//!
//! Reading order: [`EvaluateRequest`] and [`Judged`] say what is measured, [`evaluate`] measures it, and [`Evaluation`] is
//! what was found, with every setting that a comparison needs.

mod examples;
mod features;
mod measure;
mod real;
mod request;
mod source;

pub use features::FeatureKind;
pub use measure::Measured;
pub use request::{EvaluateRequest, Judged};

pub(crate) use features::{Extractor, MOST_FEATURES};
pub(crate) use measure::values;
pub(crate) use real::{Needs, Real, RealFeatures};

use crate::config::SamplingConfig;
use crate::error::RecipeError;
use crate::folder::write_text;
use crate::likelihood::LikelihoodRequest;
use burn::tensor::backend::Backend;
use diffusion::core::Invalid;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Dataset};
use diffusion::eval::{Gaussian, Memorization, Metric, MetricError};
use measure::{frechet, of_sets};
use serde::Serialize;
use source::Source;
use std::path::{Path, PathBuf};

/// How many of the samples nearest to the training examples are kept.
const NEAREST: usize = 16;

/// What was measured, and all that it depends on.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// What it depends on.
    pub settings: EvaluationSettings,
    /// The values.
    pub results: Vec<Measured>,
    /// The samples nearest to the training examples, where memorization was measured.
    #[serde(skip)]
    pub nearest: Option<NearestPairs>,
}

/// What an [`Evaluation`] depends on.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationSettings {
    /// The version of this program.
    pub version: &'static str,
    /// The run's name, or the file or folder of samples.
    pub of: String,
    /// The step of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// How the run's samples were drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingConfig>,
    /// The seed of their noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Their labels, where these were asked for; all classes in turn otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<usize>>,
    /// The number of samples.
    pub count: usize,
    /// What of them is compared.
    pub features: FeatureKind,
    /// The file of the network that makes the features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_weights: Option<PathBuf>,
    /// What they are compared with: a path, or the run's training examples.
    pub against: String,
    /// The number of examples of the data, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<usize>,
    /// Which examples memorization compares with: the run's `validation` examples, or its data's `test` set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<&'static str>,
}

impl Evaluation {
    /// Writes it as JSON, whole or not at all.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<(), RecipeError> {
        let path = path.as_ref();
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from);
        write_text(path, &(text.map_err(RecipeError::io("write", path))? + "\n"))
    }

    /// The value of this name, e.g. `fd` or `recall`, if it was measured.
    pub fn value(&self, metric: &str) -> Option<f64> {
        self.results.iter().find(|measured| measured.metric == metric).map(|measured| measured.value)
    }
}

/// Samples and the training examples that are nearest to them, the nearest pair first.
#[derive(Clone, Debug, PartialEq)]
pub struct NearestPairs {
    /// The samples, `[pairs, …]` in row-major order.
    pub samples: Vec<f32>,
    /// The training examples, likewise.
    pub training: Vec<f32>,
    /// The shape of one.
    pub shape: Vec<usize>,
}

/// Measures how far samples are from data. All that can be wrong with the request, the data or the features' file is
/// found before a sample is drawn.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_recipe::{EvaluateRequest, Judged, RunConfig, SampleRequest, evaluate};
///
/// let mut config = RunConfig::preset("swissroll")?;
/// config.set_all(["training.steps=20", "network.hidden_dims=[16]", "sampling.steps=5"])?;
/// let mut run = config.build::<Flex>(&Default::default())?;
/// while run.step()?.is_some() {}
/// let judged = Judged::Run(&mut *run, Box::new(SampleRequest::of(&config)));
/// let request = EvaluateRequest { count: Some(50), ..Default::default() };
/// let found = evaluate::<Flex>(judged, &request, &Default::default(), &Default::default())?;
/// assert!(found.value("sliced-wasserstein").is_some_and(|distance| distance > 0.0));
/// # Ok::<(), diffusion_recipe::RecipeError>(())
/// ```
///
/// # Errors
/// If a metric does not suit the samples or the data, what they are compared with cannot be read or is of another shape,
/// samples are not finite, or `watch` or the run's own watch stops it.
pub fn evaluate<B: Backend>(
    judged: Judged<'_>,
    request: &EvaluateRequest,
    device: &B::Device,
    watch: &Watch,
) -> Result<Evaluation, RecipeError> {
    request.validate()?;
    let known = known_shape(request, watch)?;
    let mut source = Source::open(judged, known.as_deref(), watch)?;
    let (shape, of_pixels) = source.shape();
    let against = request.against.as_deref();
    let is_statistics = against.map(is_statistics).transpose()?.unwrap_or(false);
    let metrics = request.metrics(&shape, is_statistics);
    check_metrics(&metrics, &source, against, is_statistics)?;
    let count = request.count(source.available(), &shape)?;
    let kind = request.features.unwrap_or_else(|| FeatureKind::best(&shape));
    let weights = request.feature_weights.as_ref();
    let extractor = Extractor::<B>::new(kind, weights, (&shape, of_pixels), device)?;
    let needs = needs(&metrics, request.save_stats.is_some());
    if needs.moments && extractor.width() > MOST_FEATURES {
        let reason = format!("has {} values, and `fd` is of at most {MOST_FEATURES}", extractor.width());
        return Err(Invalid::new("features", format!("{} {reason}", kind.name())).into());
    }
    let real = open_real(&mut source, against, (&shape, is_statistics), extractor.width(), watch)?;
    let held_out = match metrics.contains(&Metric::Memorization) {
        true => Some(held_out(&mut source)?),
        false => None,
    };
    let real_features = RealFeatures::new(&real, &extractor, needs, count, watch)?;
    let keeps = needs.sets || needs.all;
    let has_fd = metrics.contains(&Metric::Fd);
    let drawn = if keeps || has_fd { count } else { 0 };
    let samples = source.features(&extractor, (drawn, keeps, has_fd), watch)?;
    let mut results = Vec::new();
    let mut nearest = None;
    for &metric in &metrics {
        match (metric, &samples.all, &held_out) {
            (Metric::Fd, ..) => results.extend(frechet(&samples, &real_features, watch)?),
            (Metric::BitsPerDim, ..) => results.push(bits_per_dim(&mut source)?),
            (Metric::Memorization, Some(all), Some((held_out, _))) => {
                let Some(training) = &real_features.all else { continue };
                let order: Vec<usize> = (0..held_out.len()).collect();
                let held_out = real::features(held_out, &order, &extractor, watch)?;
                let (measured, found) = measure::memorization(all, &held_out, training, watch)?;
                results.push(measured);
                nearest = Some(pairs(&source, &real, &found, &shape)?);
            }
            (_, Some(all), _) => results.extend(of_sets(metric, all, &real_features, watch)?),
            _ => {}
        }
    }
    if let (Some(path), Some(gaussian)) = (&request.save_stats, &real_features.gaussian) {
        gaussian.save(path)?;
    }
    let settings = settings(&source, request, (count, kind), &real_features, held_out.map(|(_, name)| name));
    Ok(Evaluation { settings, results, nearest })
}

/// What the metrics need of the data.
fn needs(metrics: &[Metric], saves: bool) -> Needs {
    let is_of_sets =
        |metric: &Metric| !matches!(metric, Metric::Fd | Metric::Memorization | Metric::BitsPerDim);
    Needs {
        moments: saves || metrics.contains(&Metric::Fd),
        sets: metrics.iter().any(is_of_sets),
        all: metrics.contains(&Metric::Memorization),
    }
}

/// Whether the path is a file of statistics.
fn is_statistics(path: &Path) -> Result<bool, RecipeError> {
    Ok(path.is_file() && examples::has_arrays(path, &["mu", "sigma"])?)
}

/// The shape of the examples in the file that samples are compared with, where it has one and is no statistics.
fn known_shape(request: &EvaluateRequest, watch: &Watch) -> Result<Option<Vec<usize>>, RecipeError> {
    match &request.against {
        Some(path) if path.is_file() && !is_statistics(path)? => {
            Ok(Some(examples::open(path, None, watch)?.0.shape().to_vec()))
        }
        _ => Ok(None),
    }
}

/// Finds metrics that cannot be had of these samples.
fn check_metrics(
    metrics: &[Metric],
    source: &Source<'_>,
    against: Option<&Path>,
    is_statistics: bool,
) -> Result<(), Invalid> {
    let is_run = matches!(source, Source::Run(..));
    if !is_run && against.is_none() {
        return Err(Invalid::new(
            "against",
            "is missing: samples by themselves do not say what they are to be like",
        ));
    }
    for metric in metrics {
        let reason = match metric {
            Metric::BitsPerDim if !is_run => "is of a run, whose model it asks",
            Metric::Memorization if !is_run || against.is_some() => {
                "is of a run and its own data, among them examples that were held out"
            }
            Metric::Fd | Metric::BitsPerDim => continue,
            _ if is_statistics => "compares examples, and --against has their statistics only",
            _ => continue,
        };
        return Err(Invalid::new("metrics", format!("names {metric}, which {reason}")));
    }
    Ok(())
}

/// Opens what the samples are compared with.
fn open_real(
    source: &mut Source<'_>,
    against: Option<&Path>,
    (shape, is_statistics): (&[usize], bool),
    width: usize,
    watch: &Watch,
) -> Result<Real, RecipeError> {
    let real = match (against, source) {
        (Some(path), _) if is_statistics => {
            let gaussian = Gaussian::open(path).map_err(|error| match error {
                MetricError::File(error) => error.into(),
                error => RecipeError::NoExamples { path: path.to_path_buf(), reason: error.to_string() },
            })?;
            let found = gaussian.mean().len();
            if found != width {
                let reason = format!(
                    "{} is of {found} features, and those of the samples are {width}: take the features it was made of",
                    path.display()
                );
                return Err(Invalid::new("against", reason).into());
            }
            return Ok(Real::Statistics(Box::new(gaussian)));
        }
        (Some(path), _) => examples::open(path, Some(shape), watch)?.0,
        (None, Source::Run(run, _)) => run.training_set()?,
        (None, Source::Set { data, .. }) => data.clone(),
    };
    if real.shape() != shape {
        let reason = format!("has examples of shape {:?}, and the samples are of {shape:?}", real.shape());
        return Err(Invalid::new("against", reason).into());
    }
    if real.len() < 2 {
        return Err(
            Invalid::new("against", format!("has {} example, expected at least 2", real.len())).into()
        );
    }
    Ok(Real::Examples(real))
}

/// Examples of the run's data that it was never trained on.
fn held_out(source: &mut Source<'_>) -> Result<(AnyDataset, &'static str), RecipeError> {
    let found = match source {
        Source::Run(run, _) => run.held_out()?,
        Source::Set { .. } => None,
    };
    let reason =
        "names memorization, and this run has neither examples for validation nor a test set to compare with";
    Ok(found.ok_or_else(|| Invalid::new("metrics", reason))?)
}

/// How likely the run's data are, in bits per dimension.
fn bits_per_dim(source: &mut Source<'_>) -> Result<Measured, RecipeError> {
    let Source::Run(run, _) = source else {
        return Err(Invalid::new("metrics", "names bits-per-dim, which is of a run").into());
    };
    let request = LikelihoodRequest::of(run.config());
    let found = run.likelihood(&request)?;
    let (value, error) = found.mean();
    let real = Some(found.bits_per_dim.len());
    let metric = Metric::BitsPerDim.name();
    Ok(Measured { metric, value, error, floor: None, samples: 0, real, floor_count: None })
}

/// The samples that are nearest to the training examples, with these.
fn pairs(
    source: &Source<'_>,
    real: &Real,
    found: &Memorization,
    shape: &[usize],
) -> Result<NearestPairs, RecipeError> {
    let (mut samples, mut training) = (Vec::new(), Vec::new());
    if let Real::Examples(data) = real {
        for index in found.by_distance().into_iter().take(NEAREST) {
            samples.extend(source.one(index)?);
            training.extend(examples::read(data, &[found.samples[index].index])?);
        }
    }
    Ok(NearestPairs { samples, training, shape: shape.to_vec() })
}

fn settings(
    source: &Source<'_>,
    request: &EvaluateRequest,
    (count, features): (usize, FeatureKind),
    real: &RealFeatures,
    held_out: Option<&'static str>,
) -> EvaluationSettings {
    let (of, run) = match source {
        Source::Run(run, request) => (run.config().preset.clone(), Some(request)),
        Source::Set { path, .. } => (path.display().to_string(), None),
    };
    let against = request.against.as_ref().map(|path| path.display().to_string());
    EvaluationSettings {
        version: env!("CARGO_PKG_VERSION"),
        of,
        step: None,
        sampling: run.map(|request| SamplingConfig { count, ..request.sampling.clone() }),
        seed: run.map(|request| request.seed),
        labels: run.and_then(|request| request.labels.clone()),
        count,
        features,
        feature_weights: request.feature_weights.clone(),
        against: against.unwrap_or_else(|| "training examples".to_string()),
        real: (real.examples > 0).then_some(real.examples),
        held_out,
    }
}

//! How far samples are from data, by the usual metrics.
//!
//! Reading order: [`EvaluateRequest`] and [`Judged`] say what is measured, [`evaluate`] measures it, and [`Evaluation`] is
//! what was found, with every setting that a comparison needs.

mod examples;
mod features;
mod measure;
mod plan;
mod real;
mod request;
mod settings;
mod source;

pub use features::FeatureKind;
pub use measure::Measured;
pub use request::{EvaluateRequest, Judged};
pub use settings::{EvaluationSettings, LikelihoodSettings};

pub(crate) use features::{Extractor, MOST_FEATURES};
pub(crate) use measure::values;
pub(crate) use real::{Needs, Real, RealFeatures};

use crate::error::RecipeError;
use crate::folder::write_text;
use crate::likelihood::LikelihoodRequest;
use burn::tensor::backend::Backend;
use diffusion::core::Invalid;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Dataset};
use diffusion::eval::{Features, Gaussian, Memorization, Metric, MetricError, frechet_distance};
use measure::{frechet, of_sets};
use plan::{Plan, is_statistics};
use serde::Serialize;
use settings::settings;
use source::Source;
use std::path::Path;

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
    /// What a reader of the values should know, in sentences.
    #[serde(skip)]
    pub warnings: Vec<String>,
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
    /// Whether they are latents.
    pub is_latent: bool,
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
    let known = known_examples(request, watch)?;
    // These networks see color, so that one gray picture need not make all others gray.
    let is_of_color = request.features.is_some_and(FeatureKind::has_weights)
        && request.against.as_deref().is_none_or(|path| !examples::is_published(path));
    let mut source = Source::open(judged, known.as_ref().map(Dataset::shape), is_of_color, watch)?;
    let plan = Plan::<B>::new(&mut source, request, device)?;
    let Plan { metrics, count, extractor, needs, .. } = &plan;
    let real = open_real(&mut source, known, request.against.as_deref(), &plan, watch)?;
    let held_out = match metrics.contains(&Metric::Memorization) {
        true => Some(held_out(&mut source)?),
        false => None,
    };
    let real_features = RealFeatures::new(&real, extractor, *needs, *count, watch)?;
    metrics.iter().try_for_each(|&metric| measure::check(metric, *count, &real_features))?;
    let (keeps, has_fd) = (needs.sets || needs.all, metrics.contains(&Metric::Fd));
    let drawn = if keeps || has_fd { *count } else { 0 };
    let samples = source.features(extractor, (drawn, keeps, has_fd), watch)?;
    let mut settings = settings(&source, request, (*count, plan.kind), &real_features);
    settings.held_out = held_out.as_ref().map(|(_, name)| *name);
    let (mut results, mut nearest) = (Vec::new(), None);
    for &metric in metrics {
        match (metric, &samples.all, &held_out) {
            (Metric::Fd, ..) => results.extend(frechet(&samples, &real_features, watch)?),
            (Metric::BitsPerDim, ..) => {
                let (measured, likelihood) = bits_per_dim(&mut source)?;
                results.push(measured);
                settings.likelihood = Some(likelihood);
            }
            (Metric::Memorization, Some(all), Some((held_out, _))) => {
                let (Some(training), Real::Examples(data)) = (&real_features.all, &real) else { continue };
                let sets = (all, held_out, data, training);
                let (measured, pairs) = memorization(&source, sets, extractor, watch)?;
                results.push(measured);
                nearest = Some(pairs);
            }
            (_, Some(all), _) => results.extend(of_sets(metric, all, &real_features, watch)?),
            _ => {}
        }
    }
    if let (Some(path), Some(gaussian)) = (&request.save_stats, &real_features.gaussian) {
        gaussian.save(path)?;
    }
    Ok(Evaluation { settings, results, nearest, warnings: plan.warnings })
}

/// The examples in the file that samples are compared with, whose shape they are to have, where it is no statistics.
fn known_examples(request: &EvaluateRequest, watch: &Watch) -> Result<Option<AnyDataset>, RecipeError> {
    match &request.against {
        Some(path) if path.is_file() && !is_statistics(path, request)? => {
            Ok(Some(examples::open(path, None, watch)?.0))
        }
        _ => Ok(None),
    }
}

/// Opens what the samples are compared with.
fn open_real(
    source: &mut Source<'_>,
    known: Option<AnyDataset>,
    against: Option<&Path>,
    plan: &Plan<impl Backend>,
    watch: &Watch,
) -> Result<Real, RecipeError> {
    let Plan { shape, is_statistics, extractor, .. } = plan;
    let real = match (against, source) {
        (Some(path), _) if *is_statistics => {
            let unusable = |error| match error {
                MetricError::File(error) => error.into(),
                error => RecipeError::NoExamples { path: path.to_path_buf(), reason: error.to_string() },
            };
            let gaussian = Gaussian::open(path).map_err(unusable)?;
            let (found, width) = (gaussian.mean().len(), extractor.width());
            if found != width {
                let of_so_many = match found {
                    2048 => " (inception has as many)",
                    1024 => " (dinov2 has as many)",
                    _ => "",
                };
                let reason = format!(
                    "{} is of {found} features, and those of the samples are {width}: take the features it was made \
                     of{of_so_many}",
                    path.display()
                );
                return Err(Invalid::new("against", reason).into());
            }
            // What is no covariance is found here.
            frechet_distance(&gaussian, &gaussian).map_err(unusable)?;
            return Ok(Real::Statistics(Box::new(gaussian)));
        }
        (Some(path), _) => match known {
            Some(known) => known,
            None => examples::open(path, Some(&shape[..]), watch)?.0,
        },
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
fn bits_per_dim(source: &mut Source<'_>) -> Result<(Measured, LikelihoodSettings), RecipeError> {
    let Source::Run(run, _) = source else {
        return Err(Invalid::new("metrics", "names bits-per-dim, which is of a run").into());
    };
    let request = LikelihoodRequest::of(run.config());
    let found = run.likelihood(&request)?;
    let (value, error) = found.mean();
    let count = found.bits_per_dim.len();
    let metric = Metric::BitsPerDim.name();
    let measured =
        Measured { metric, value, error, floor: None, samples: 0, real: Some(count), floor_count: None };
    let examples = if found.of_validation { "validation" } else { "training" };
    let LikelihoodRequest { steps, seed, .. } = request;
    Ok((measured, LikelihoodSettings { count, steps, seed, examples }))
}

/// Whether samples are copies of training examples, and those that are nearest.
fn memorization<B: Backend>(
    source: &Source<'_>,
    (samples, held_out, data, training): (&Features, &AnyDataset, &AnyDataset, &Features),
    extractor: &Extractor<B>,
    watch: &Watch,
) -> Result<(Measured, NearestPairs), RecipeError> {
    let order: Vec<usize> = (0..held_out.len()).collect();
    let held_out = real::features(held_out, &order, extractor, watch)?;
    // A copy of a mirror image is a copy too.
    let training = match source.is_mirrored() {
        true => &real::with_mirrored(data, training, extractor, watch)?,
        false => training,
    };
    let (measured, found) = measure::memorization(samples, &held_out, training, watch)?;
    let pairs = pairs(source, data, &found)?;
    Ok((Measured { real: Some(data.len()), ..measured }, pairs))
}

/// The samples that are nearest to the training examples, with these.
fn pairs(source: &Source<'_>, data: &AnyDataset, found: &Memorization) -> Result<NearestPairs, RecipeError> {
    let (mut samples, mut training) = (Vec::new(), Vec::new());
    for index in found.by_distance().into_iter().take(NEAREST) {
        samples.extend(source.one(index)?);
        // Mirror images follow all examples.
        let nearest = found.samples[index].index;
        training.extend(match nearest.checked_sub(data.len()) {
            None => examples::read(data, &[nearest])?,
            Some(mirrored) => examples::read_mirrored(data, &[mirrored])?,
        });
    }
    let is_latent = matches!(source, Source::Run(run, _) if run.config().data.latents().is_some());
    Ok(NearestPairs { samples, training, shape: data.shape().to_vec(), is_latent })
}

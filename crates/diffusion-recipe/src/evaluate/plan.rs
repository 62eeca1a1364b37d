//! What is measured of which samples, after what was asked for.

use super::examples;
use super::features::{Extractor, FeatureKind, MOST_FEATURES};
use super::real::Needs;
use super::request::EvaluateRequest;
use super::source::Source;
use crate::error::RecipeError;
use burn::tensor::backend::Backend;
use diffusion::core::Invalid;
use diffusion::eval::Metric;
use std::path::Path;

/// What is measured of which samples, after what was asked for.
pub(crate) struct Plan<B: Backend> {
    pub shape: Vec<usize>,
    pub count: usize,
    pub kind: FeatureKind,
    pub extractor: Extractor<B>,
    pub metrics: Vec<Metric>,
    pub needs: Needs,
    /// Whether they are compared with statistics.
    pub is_statistics: bool,
    pub warnings: Vec<String>,
}

impl<B: Backend> Plan<B> {
    /// Chooses the metrics and the features.
    ///
    /// # Errors
    /// If a metric does not suit the samples, or the features' file cannot be used.
    pub fn new(
        source: &mut Source<'_>,
        request: &EvaluateRequest,
        device: &B::Device,
    ) -> Result<Self, RecipeError> {
        let (shape, of_pixels) = source.shape();
        let against = request.against.as_deref();
        let is_statistics = against.map(|path| is_statistics(path, request)).transpose()?.unwrap_or(false);
        let count = request.count(source.available(), &shape)?;
        source.choose(count);
        let kind = request.features.unwrap_or_else(|| FeatureKind::best(&shape));
        let weights = request.feature_weights.as_ref();
        let extractor = Extractor::<B>::new(kind, weights, (&shape, of_pixels), device)?;
        let width = extractor.width();
        let is_wide = width > MOST_FEATURES;
        let metrics = request.metrics(&shape, is_statistics, is_wide);
        check_metrics(&metrics, source, against, is_statistics)?;
        let needs = needs(&metrics, request.save_stats.is_some());
        // Statistics of another width say so themselves.
        if needs.moments && is_wide && !is_statistics {
            let reason = format!("has {width} values, and `fd` is of at most {MOST_FEATURES}");
            return Err(Invalid::new("features", format!("{} {reason}", kind.name())).into());
        }
        let has_fd = metrics.contains(&Metric::Fd);
        let mut warnings = Vec::new();
        if request.metrics.is_empty() && shape.len() > 1 && !has_fd {
            warnings.push(format!(
                "fd was left out: it is of at most {MOST_FEATURES} features, and these are {width}"
            ));
        }
        if has_fd && count < width {
            warnings.push(format!(
                "{count} samples are too few for fd, which of fewer than the {width} features is far too large"
            ));
        }
        Ok(Self { shape, count, kind, extractor, metrics, needs, is_statistics, warnings })
    }
}

/// What the metrics need of the data.
fn needs(metrics: &[Metric], saves: bool) -> Needs {
    Needs {
        moments: saves || metrics.contains(&Metric::Fd),
        sets: metrics.iter().any(|metric| metric.is_of_sets()),
        all: metrics.contains(&Metric::Memorization),
    }
}

/// Whether the path is a file of statistics. One that has examples too, as those of ADM's evaluation, is one of examples where
/// a metric asks for some.
pub(crate) fn is_statistics(path: &Path, request: &EvaluateRequest) -> Result<bool, RecipeError> {
    let asks_for_examples = request.metrics.iter().any(|metric| metric.is_of_sets());
    Ok(path.is_file()
        && examples::has_arrays(path, &["mu", "sigma"])?
        && !(asks_for_examples && examples::has_arrays(path, &["arr_0"])?))
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
            Metric::BitsPerDim if against.is_some() => "is of the run's own data",
            Metric::BitsPerDim if source.is_of_consistency() => {
                "follows from a flow, which a consistency model does not have"
            }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use diffusion::weights::{NpyArray, write_npz};

    /// As those of ADM's evaluation are.
    #[test]
    fn a_file_of_statistics_and_images_is_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let array = NpyArray { shape: vec![1], values: vec![0.0] };
        let path = |name: &str, names: &[&str]| {
            let path = folder.path().join(name);
            write_npz(&path, &names.iter().map(|name| (*name, &array)).collect::<Vec<_>>()).unwrap();
            path
        };
        let (both, bare) = (path("both.npz", &["mu", "sigma", "arr_0"]), path("bare.npz", &["mu", "sigma"]));
        let found = |metrics: &[Metric]| {
            let request = EvaluateRequest { metrics: metrics.to_vec(), ..EvaluateRequest::default() };
            [&both, &bare].map(|path| is_statistics(path, &request).unwrap())
        };
        assert_eq!([found(&[]), found(&[Metric::Fd])], [[true, true]; 2]);
        assert_eq!(found(&[Metric::Fd, Metric::Kid]), [false, true]);
    }
}

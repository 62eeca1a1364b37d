//! What an evaluation depends on.

use super::features::FeatureKind;
use super::real::RealFeatures;
use super::request::EvaluateRequest;
use super::source::Source;
use crate::config::SamplingConfig;
use crate::run::{Composed, SampleRequest};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What an [`Evaluation`](super::Evaluation) depends on.
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
    /// Which of its weights drew them, as whoever asked calls them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Their labels, where these were asked for; all classes in turn otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<usize>>,
    /// The labels that guidance led away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_labels: Option<Vec<usize>>,
    /// The labels that they were told besides, with their weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<(f64, Vec<usize>)>,
    /// The number of samples.
    pub count: usize,
    /// What of them is compared.
    pub features: FeatureKind,
    /// The file of the network that makes the features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_weights: Option<PathBuf>,
    /// What they are compared with: a path, or the run's training examples.
    pub against: String,
    /// Where the run's data are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The number of examples of the data, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<usize>,
    /// Which examples memorization compares with: the run's `validation` examples, or its data's `test` set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<&'static str>,
    /// How likelihoods were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<LikelihoodSettings>,
}

/// How the likelihoods were measured of which bits per dimension are the mean. Neither the number of samples nor their steps
/// are theirs.
#[derive(Clone, Debug, Serialize)]
pub struct LikelihoodSettings {
    /// Of how many examples.
    pub count: usize,
    /// In how many steps of the solver.
    pub steps: usize,
    /// The seed of the random directions.
    pub seed: u64,
    /// Whether of the run's `validation` examples, or of those that it was trained on.
    pub examples: &'static str,
}

/// What an evaluation depends on, as far as it is known here.
pub(crate) fn settings(
    source: &Source<'_>,
    request: &EvaluateRequest,
    (count, features): (usize, FeatureKind),
    real: &RealFeatures,
) -> EvaluationSettings {
    let (of, run, data) = match source {
        Source::Run(run, request) => {
            let config = run.config();
            (config.preset.clone(), Some(request), config.data.path().map(Path::to_path_buf))
        }
        Source::Set { path, .. } => (path.display().to_string(), None, None),
    };
    let against = request.against.as_ref().map(|path| path.display().to_string());
    EvaluationSettings {
        version: env!("CARGO_PKG_VERSION"),
        of,
        step: None,
        sampling: run.map(|request| SamplingConfig { count, ..request.sampling.clone() }),
        seed: run.map(|request| request.seed),
        weights: None,
        labels: run.and_then(|request| request.labels.clone()),
        negative_labels: run.and_then(|request| request.negative_labels.clone()),
        also: run.map(|request| also(request)).unwrap_or_default(),
        count,
        features,
        feature_weights: request.feature_weights.clone(),
        against: against.unwrap_or_else(|| "training examples".to_string()),
        real: (real.examples > 0).then_some(real.examples),
        data,
        held_out: None,
        likelihood: None,
    }
}

/// The labels that samples are told besides, with their weights.
fn also(request: &SampleRequest) -> Vec<(f64, Vec<usize>)> {
    let labeled = |composed: &Composed| Some((composed.weight, composed.labels.clone()?));
    request.composed.iter().filter_map(labeled).collect()
}

//! What is to be measured.

use super::features::FeatureKind;
use crate::error::RecipeError;
use crate::run::{Run, SampleRequest};
use diffusion::core::Invalid;
use diffusion::core::invalid::MAX_SIZE;
use diffusion::eval::Metric;
use std::path::PathBuf;

/// Whose samples are measured.
pub enum Judged<'a> {
    /// Those that a run draws, as this request says, but for their number.
    Run(&'a mut dyn Run, Box<SampleRequest>),
    /// Those in a file, `.safetensors` as `sample` writes it or `.npz` with `arr_0` as evaluations of ADM and EDM take it,
    /// or in a folder of images.
    Samples(PathBuf),
}

/// What is measured, and against what.
#[derive(Clone, Debug, Default)]
pub struct EvaluateRequest {
    /// The number of samples, at least 2; where it is absent 1,000 points or 2,000 images of a run, and of a file or folder
    /// all.
    pub count: Option<usize>,
    /// The metrics; those that suit the samples where there are none.
    pub metrics: Vec<Metric>,
    /// The features; the best that need no file where this is absent.
    pub features: Option<FeatureKind>,
    /// The file with the weights of the network that makes them.
    pub feature_weights: Option<PathBuf>,
    /// What the samples are compared with: a folder of data, a file of samples, or one of statistics (`.npz` with `mu` and
    /// `sigma`). The examples that the run is trained on where this is absent.
    pub against: Option<PathBuf>,
    /// Where the mean and the covariance of the features of the data are written.
    pub save_stats: Option<PathBuf>,
}

/// The number of samples where none is given: of points, and of all else.
const POINTS: usize = 1_000;
const EXAMPLES: usize = 2_000;

impl EvaluateRequest {
    /// Checks what can be checked of it alone.
    ///
    /// # Errors
    /// The first setting that cannot be used; its name is that of the option.
    pub fn validate(&self) -> Result<(), Invalid> {
        if let Some(count) = self.count {
            Invalid::unless_positive("count", count, MAX_SIZE)?;
            Invalid::unless(count > 1, "count", || "is 1, expected at least 2 to compare".into())?;
        }
        let repeated =
            self.metrics.iter().enumerate().find(|(i, metric)| self.metrics[..*i].contains(metric));
        Invalid::unless(repeated.is_none(), "metrics", || {
            format!("names {} twice", repeated.map_or("", |(_, metric)| metric.name()))
        })
    }

    /// The number of samples of `available`, which is absent where any number can be drawn, of this shape.
    pub(crate) fn count(&self, available: Option<usize>, shape: &[usize]) -> Result<usize, RecipeError> {
        let usual = if shape.len() == 1 { POINTS } else { EXAMPLES };
        let count = self.count.or(available).unwrap_or(usual);
        match available {
            Some(available) if count > available => {
                let reason = format!("is {count}, and there are {available} samples");
                Err(Invalid::new("count", reason).into())
            }
            Some(1) => {
                Err(Invalid::new("count", "cannot be had: there is 1 sample, expected at least 2").into())
            }
            _ => Ok(count),
        }
    }

    /// The metrics of samples of this shape; of statistics there is one. Of too many features there is no Fréchet distance.
    pub(crate) fn metrics(&self, shape: &[usize], is_statistics: bool, is_wide: bool) -> Vec<Metric> {
        match &self.metrics[..] {
            [] if is_statistics => vec![Metric::Fd],
            [] if shape.len() == 1 => {
                vec![Metric::SlicedWasserstein, Metric::Wasserstein, Metric::Energy, Metric::Mmd]
            }
            [] if is_wide => vec![Metric::Kid, Metric::PrecisionRecall, Metric::DensityCoverage],
            [] => vec![Metric::Fd, Metric::Kid, Metric::PrecisionRecall, Metric::DensityCoverage],
            asked => asked.to_vec(),
        }
    }
}

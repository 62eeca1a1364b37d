//! The values of the metrics of samples and data.

use super::real::RealFeatures;
use crate::error::RecipeError;
use diffusion::core::watch::Watch;
use diffusion::eval::{
    Directions, Estimate, Features, GroupedMoments, KidConfig, Memorization, Metric, MetricError,
    energy_distance, frechet_distance, jackknife_all, kid, median_distance, mmd, neighborhoods,
    sliced_wasserstein, wasserstein,
};
use serde::Serialize;

/// A value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name, e.g. `fd` or `precision`.
    pub metric: &'static str,
    /// What it is.
    pub value: f64,
    /// Its standard error, as far as the samples go that were drawn; absent where these are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// What a perfect model would have: the value of some of the data against others; absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Of how many samples.
    pub samples: usize,
    /// Of how many examples of the data; absent where only their statistics are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real: Option<usize>,
    /// Of how many examples the floor is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_count: Option<usize>,
}

/// In how many groups samples are left out for a standard error.
pub(crate) const GROUPS: usize = 10;
/// The fewest samples of which there is one.
const FEWEST: usize = 2 * GROUPS;
/// The most examples between which the exact Wasserstein distance is computed, and of how many groups and pairs of data
/// its error and floor are.
const MOST_PAIRED: usize = 1_000;
/// Along how many directions the sliced Wasserstein distance looks.
const DIRECTIONS: usize = 256;

/// What is known of the samples.
pub(crate) struct SampleFeatures {
    /// How many there are.
    pub count: usize,
    /// All of them, where they are needed.
    pub all: Option<Features>,
    /// Their means and covariances, where they are needed.
    pub moments: Option<GroupedMoments>,
}

/// Why a metric has no value.
fn failed(metric: Metric) -> impl Fn(MetricError) -> RecipeError {
    move |error| match error {
        MetricError::Stopped(_) => RecipeError::Stopped,
        error => RecipeError::Metric { metric: metric.name(), error: Box::new(error) },
    }
}

/// The Fréchet distance of the samples.
pub(crate) fn frechet(
    samples: &SampleFeatures,
    real: &RealFeatures,
    watch: &Watch,
) -> Result<Vec<Measured>, RecipeError> {
    let failed = failed(Metric::Fd);
    let (Some(moments), Some(gaussian)) = (&samples.moments, &real.gaussian) else { return Ok(Vec::new()) };
    let (value, error) = match samples.count >= FEWEST {
        true => {
            let Estimate { value, error } = moments.frechet(gaussian, watch).map_err(&failed)?;
            (value, Some(error))
        }
        false => {
            let own = moments.moments().and_then(|moments| moments.gaussian()).map_err(&failed)?;
            (frechet_distance(&own, gaussian).map_err(&failed)?, None)
        }
    };
    let floor = real.gaussians.as_ref().map(|[a, b]| frechet_distance(a, b)).transpose().map_err(failed)?;
    let real_count = (real.examples > 0).then_some(real.examples);
    let floor_count = floor.map(|_| real.floor);
    Ok(vec![Measured {
        metric: "fd",
        value,
        error,
        floor,
        samples: samples.count,
        real: real_count,
        floor_count,
    }])
}

/// A metric of two sets of features.
pub(crate) fn of_sets(
    metric: Metric,
    samples: &Features,
    real: &RealFeatures,
    watch: &Watch,
) -> Result<Vec<Measured>, RecipeError> {
    let failed = failed(metric);
    let Some(set) = &real.set else { return Ok(Vec::new()) };
    let compare = Compare::new(metric, set).map_err(&failed)?;
    let (samples, set) = match metric {
        // Of as many as can be paired.
        Metric::Wasserstein => {
            let most = MOST_PAIRED.min(samples.count()).min(set.count());
            (first(samples, most), first(set, most))
        }
        _ => (samples.clone(), set.clone()),
    };
    let estimates = compare.estimates(&samples, &set, watch).map_err(&failed)?;
    let pairs = match metric {
        Metric::Wasserstein => &real.pairs[..real.pairs.len().min(2)],
        _ => &real.pairs[..],
    };
    let mut floors: Vec<Vec<f64>> = Vec::new();
    for [a, b] in pairs {
        let most = if metric == Metric::Wasserstein { samples.count() } else { usize::MAX };
        let [a, b] = [a, b].map(|set| first(set, most.min(set.count())));
        // Of too few examples there is none.
        match compare.values(&a, &b, watch) {
            Err(MetricError::Stopped(_)) => return Err(RecipeError::Stopped),
            found => floors.extend(found.ok()),
        }
    }
    let floor = |i: usize| {
        (!floors.is_empty()).then(|| floors.iter().map(|values| values[i]).sum::<f64>() / floors.len() as f64)
    };
    let floor_count = (!floors.is_empty()).then_some(match metric {
        Metric::Wasserstein => samples.count().min(real.floor),
        _ => real.floor,
    });
    let measured = |(i, &metric): (usize, &&'static str)| Measured {
        metric,
        value: estimates[i].0,
        error: estimates[i].1,
        floor: floor(i),
        samples: samples.count(),
        real: Some(set.count()),
        floor_count,
    };
    Ok(metric.values().iter().enumerate().map(measured).collect())
}

/// The values of a metric of samples and data, without errors and floors; none where these have not what it needs.
pub(crate) fn values(
    metric: Metric,
    samples: &Features,
    real: &RealFeatures,
    watch: &Watch,
) -> Result<Vec<f64>, RecipeError> {
    let failed = failed(metric);
    match (metric, &real.gaussian, &real.set) {
        (Metric::Fd, Some(gaussian), _) => {
            watch.check()?;
            let own = super::real::gaussian(samples)?;
            Ok(vec![frechet_distance(&own, gaussian).map_err(failed)?])
        }
        (_, _, Some(set)) => {
            let most = if metric == Metric::Wasserstein { MOST_PAIRED.min(set.count()) } else { usize::MAX };
            let compare = Compare::new(metric, set).map_err(&failed)?;
            compare.values(&first(samples, most), set, watch).map_err(failed)
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether samples are copies of what the model was trained on.
pub(crate) fn memorization(
    samples: &Features,
    held_out: &Features,
    training: &Features,
    watch: &Watch,
) -> Result<(Measured, Memorization), RecipeError> {
    let found =
        Memorization::new(samples, held_out, training, watch).map_err(failed(Metric::Memorization))?;
    let Estimate { value, error } = found.estimate();
    let measured = Measured {
        metric: Metric::Memorization.name(),
        value,
        error: error.is_finite().then_some(error),
        floor: Some(0.5),
        samples: samples.count(),
        real: Some(training.count()),
        floor_count: Some(held_out.count()),
    };
    Ok((measured, found))
}

/// A metric with what it needs to know.
enum Compare {
    Kid,
    Precision,
    Density,
    Sliced(Directions),
    Paired,
    Energy,
    Mmd(f64),
}

impl Compare {
    /// # Panics
    /// If the metric is none of sets.
    fn new(metric: Metric, real: &Features) -> Result<Self, MetricError> {
        Ok(match metric {
            Metric::Kid => Self::Kid,
            Metric::PrecisionRecall => Self::Precision,
            Metric::DensityCoverage => Self::Density,
            Metric::SlicedWasserstein => Self::Sliced(Directions::new(real.dimensions(), DIRECTIONS, 0)),
            Metric::Wasserstein => Self::Paired,
            Metric::Energy => Self::Energy,
            Metric::Mmd => Self::Mmd(median_distance(real)?),
            Metric::Fd | Metric::Memorization | Metric::BitsPerDim => {
                panic!("{metric} compares more than sets")
            }
        })
    }

    /// The values, without an error.
    fn values(&self, samples: &Features, real: &Features, watch: &Watch) -> Result<Vec<f64>, MetricError> {
        Ok(match self {
            Self::Kid => vec![kid(samples, real, &subsets(samples, real), 0, watch)?.mean],
            Self::Precision => {
                let found = neighborhoods(samples, real, 3, watch)?;
                vec![found.precision, found.recall]
            }
            Self::Density => {
                let found = neighborhoods(samples, real, 5, watch)?;
                vec![found.density, found.coverage]
            }
            Self::Sliced(directions) => vec![sliced_wasserstein(samples, real, directions)?],
            Self::Paired => {
                vec![wasserstein(samples, &first(real, samples.count().min(real.count())), watch)?]
            }
            Self::Energy => vec![energy_distance(samples, real, watch)?],
            Self::Mmd(bandwidth) => vec![mmd(samples, real, *bandwidth, watch)?],
        })
    }

    /// The values with their standard errors, which are absent of few samples.
    fn estimates(
        &self,
        samples: &Features,
        real: &Features,
        watch: &Watch,
    ) -> Result<Vec<(f64, Option<f64>)>, MetricError> {
        if let Self::Kid = self {
            let found = kid(samples, real, &subsets(samples, real), 0, watch)?;
            return Ok(vec![(found.mean, Some(found.error).filter(|error| error.is_finite()))]);
        }
        if samples.count() < FEWEST {
            return Ok(self.values(samples, real, watch)?.into_iter().map(|value| (value, None)).collect());
        }
        // Whose pairs take long.
        let groups = if matches!(self, Self::Paired) { GROUPS / 2 } else { GROUPS };
        let quiet = Watch::default();
        let mut done = 0;
        let estimates = jackknife_all(samples, groups, |samples| {
            watch.report("computing a metric and its error", done, Some(groups as u64 + 1))?;
            done += 1;
            self.values(samples, real, if done == 1 { watch } else { &quiet })
        })?;
        Ok(estimates.into_iter().map(|Estimate { value, error }| (value, Some(error))).collect())
    }
}

/// The usual subsets of KID, or halves of fewer examples.
fn subsets(samples: &Features, real: &Features) -> KidConfig {
    let usual = KidConfig::default();
    KidConfig { size: usual.size.min(samples.count().min(real.count()) / 2), ..usual }
}

/// The first examples of a set.
fn first(set: &Features, count: usize) -> Features {
    set.select(&(0..count.min(set.count())).collect::<Vec<_>>())
}

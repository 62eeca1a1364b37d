//! The values of the metrics of samples and data.

use super::real::{RealFeatures, Sets};
use crate::error::RecipeError;
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::watch::Watch;
use diffusion::core::{Invalid, counted};
use diffusion::eval::{
    Balls, Directions, Estimate, Features, GroupedMoments, KidConfig, Memorization, Metric, MetricError,
    Neighborhoods, energy_distance, frechet_distance, jackknife_all, kid, median_distance, mmd,
    neighborhoods, sliced_wasserstein, wasserstein,
};
use serde::Serialize;
use std::borrow::Cow;

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
/// The choice of some samples.
const CHOICE: Purpose = Purpose(44);
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
    let floors = real.gaussians.iter().map(|[a, b]| frechet_distance(a, b)).collect::<Result<Vec<_>, _>>();
    let floor = mean(&floors.map_err(failed)?);
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
    let Some(Sets { set, pairs }) = real.of(metric) else { return Ok(Vec::new()) };
    let compare = Compare::new(metric, set).map_err(&failed)?;
    let is_paired = metric == Metric::Wasserstein;
    let samples = &few(samples, compare.most(real, set));
    let set = if is_paired { &first(set, samples.count()) } else { set };
    let estimates = compare.estimates(samples, set, watch).map_err(&failed)?;
    let pairs = if is_paired { &pairs[..pairs.len().min(2)] } else { &pairs[..] };
    let mut floors: Vec<Vec<f64>> = Vec::new();
    for [a, b] in pairs {
        let found = match is_paired {
            true => compare.values(&first(a, samples.count()), &first(b, samples.count()), watch),
            false => compare.values(a, b, watch),
        };
        // Of too few examples there is none.
        match found {
            Err(MetricError::Stopped(_)) => return Err(RecipeError::Stopped),
            found => floors.extend(found.ok()),
        }
    }
    let floor = |i: usize| mean(&floors.iter().map(|values| values[i]).collect::<Vec<_>>());
    let floor_count = pairs.first().filter(|_| !floors.is_empty()).map(|[a, _]| match is_paired {
        true => a.count().min(samples.count()),
        false => a.count(),
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

/// Finds out before samples are drawn whether `metric` can be had of so many, and of these data.
///
/// # Errors
/// If either are too few, or the data have no scale.
pub(crate) fn check(metric: Metric, count: usize, real: &RealFeatures) -> Result<(), RecipeError> {
    let Some(Sets { set, .. }) = real.of(metric) else { return Ok(()) };
    if !metric.is_of_sets() {
        return Ok(());
    }
    let compare = Compare::new(metric, set).map_err(failed(metric))?;
    let least = match (&compare, compare.neighbors()) {
        (_, Some(k)) => k + 1,
        // Subsets of two.
        (Compare::Kid, _) => 4,
        _ => 2,
    };
    Invalid::unless(count >= least, "count", || {
        format!("is {count}, and {metric} needs at least {least} samples")
    })?;
    Invalid::unless(set.count() >= least, "metrics", || {
        let found = counted(set.count(), "example");
        format!("names {metric}, which needs at least {least} examples, and the data have {found}")
    })?;
    Ok(())
}

/// The mean, of some.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The values of a metric of samples and data, without errors and floors; none where these have not what it needs.
pub(crate) fn values(
    metric: Metric,
    samples: &Features,
    real: &RealFeatures,
    watch: &Watch,
) -> Result<Vec<f64>, RecipeError> {
    let failed = failed(metric);
    match (metric, &real.gaussian, real.of(metric)) {
        (Metric::Fd, Some(gaussian), _) => {
            watch.check()?;
            let own = super::real::gaussian(samples)?;
            Ok(vec![frechet_distance(&own, gaussian).map_err(failed)?])
        }
        (_, _, Some(Sets { set, .. })) => {
            let compare = Compare::new(metric, set).map_err(&failed)?;
            let samples = few(samples, compare.most(real, set));
            compare.values(&samples, set, watch).map_err(failed)
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
        error: (samples.count() >= FEWEST && error.is_finite()).then_some(error),
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

    /// Whose ball around an example reaches to how many neighbors, where it looks for neighbors.
    fn neighbors(&self) -> Option<usize> {
        match self {
            Self::Precision => Some(3),
            Self::Density => Some(5),
            _ => None,
        }
    }

    /// How many samples it takes at most, to be compared with the examples in `set`.
    fn most(&self, real: &RealFeatures, set: &Features) -> usize {
        match self {
            // As many as can be paired.
            Self::Paired => MOST_PAIRED.min(set.count()),
            // Points of which none is there twice are fewer than those that are drawn from them.
            _ if self.neighbors().is_some() && real.apart.is_some() => set.count(),
            _ => usize::MAX,
        }
    }

    /// Those two of the four shares that it is about.
    fn shares(&self, found: &Neighborhoods) -> Vec<f64> {
        match self {
            Self::Density => vec![found.density, found.coverage],
            _ => vec![found.precision, found.recall],
        }
    }

    /// The values, without an error.
    fn values(&self, samples: &Features, real: &Features, watch: &Watch) -> Result<Vec<f64>, MetricError> {
        Ok(match self {
            Self::Kid => vec![kid(samples, real, &subsets(samples, real), 0, watch)?.mean],
            Self::Precision | Self::Density => {
                self.shares(&neighborhoods(samples, real, self.neighbors().unwrap_or_default(), watch)?)
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
            let is_known = samples.count() >= FEWEST && found.error.is_finite();
            return Ok(vec![(found.mean, is_known.then_some(found.error))]);
        }
        if samples.count() < FEWEST {
            return Ok(self.values(samples, real, watch)?.into_iter().map(|value| (value, None)).collect());
        }
        // Whose pairs take long.
        let groups = if matches!(self, Self::Paired) { GROUPS / 2 } else { GROUPS };
        let balls = self.neighbors().map(|k| Balls::new(real, k, watch)).transpose()?;
        let quiet = watch.quiet();
        let mut done = 0;
        let estimates = jackknife_all(samples, groups, |samples| {
            watch.report("computing a metric and its error", done, Some(groups as u64 + 1))?;
            done += 1;
            let watch = if done == 1 { watch } else { &quiet };
            match &balls {
                Some(balls) => Ok(self.shares(&balls.compare(samples, watch)?)),
                None => self.values(samples, real, watch),
            }
        })?;
        Ok(estimates.into_iter().map(|Estimate { value, error }| (value, Some(error))).collect())
    }
}

/// The usual subsets of KID, or halves of fewer examples.
fn subsets(samples: &Features, real: &Features) -> KidConfig {
    let usual = KidConfig::default();
    KidConfig { size: usual.size.min(samples.count().min(real.count()) / 2), ..usual }
}

/// So many places of `total`, chosen at random and always the same, in their order; all, if there are no more.
pub(crate) fn some_of(total: usize, count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..total).collect();
    if count < total {
        Stream::new(0, CHOICE, 0, 0).shuffle(&mut places);
        places.truncate(count);
        places.sort_unstable();
    }
    places
}

/// No more than `most` examples of a set, chosen at random.
fn few(set: &Features, most: usize) -> Cow<'_, Features> {
    match set.count() > most {
        true => Cow::Owned(set.select(&some_of(set.count(), most))),
        false => Cow::Borrowed(set),
    }
}

/// The first examples of a set.
fn first(set: &Features, count: usize) -> Features {
    set.select(&(0..count.min(set.count())).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_not_the_first() {
        let found = some_of(1_000, 10);
        assert!(found.is_sorted() && found[9] > 500 && found[9] < 1_000, "{found:?}");
        assert_eq!(found, some_of(1_000, 10));
        assert_eq!(some_of(3, 3), [0, 1, 2]);
        assert_eq!(some_of(3, 9), [0, 1, 2]);
    }
}

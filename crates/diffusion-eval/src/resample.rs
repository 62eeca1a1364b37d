//! How far a metric would be another one with other samples.

use crate::error::MetricError;
use crate::features::Features;

/// A metric with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The metric of all samples.
    pub value: f64,
    /// Its standard error, as far as the samples go that were drawn.
    pub error: f64,
}

/// `metric` of `samples` and its standard error by the jackknife: by how much it changes as each of `groups` groups is left
/// out in turn, which evaluates it once more per group. 10 to 20 groups are usual.
///
/// Of `groups` examples that follow each other each group has one, in an order that turns, so that each group has its part of
/// every class, whether samples are ordered by class or classes take turns. The error is of the metric's scatter alone: what
/// a distance of few samples is too large by stays in the value.
///
/// ```
/// use diffusion_eval::{Features, Moments, frechet_distance, jackknife};
///
/// let gaussian = |features: &Features| {
///     let mut moments = Moments::new(features.dimensions());
///     moments.add(features)?;
///     moments.gaussian()
/// };
/// let real = gaussian(&Features::new((0..100u8).map(f32::from).collect(), 1)?)?;
/// let samples = Features::new((0..40u8).map(|i| f32::from(i) * 2.0).collect(), 1)?;
/// let distance = jackknife(&samples, 10, |samples| frechet_distance(&gaussian(samples)?, &real))?;
/// println!("{:.1} ± {:.1}", distance.value, distance.error);
/// # Ok::<(), diffusion_eval::MetricError>(())
/// ```
///
/// # Errors
/// Those of `metric`; or if there are fewer than 2 groups, or more than samples.
pub fn jackknife(
    samples: &Features,
    groups: usize,
    mut metric: impl FnMut(&Features) -> Result<f64, MetricError>,
) -> Result<Estimate, MetricError> {
    let estimates = jackknife_all(samples, groups, |samples| Ok(vec![metric(samples)?]))?;
    Ok(estimates[0])
}

/// The same of a metric that has several values.
///
/// # Errors
/// As [`jackknife`].
///
/// # Panics
/// If it has fewer values of some samples than of all.
pub fn jackknife_all(
    samples: &Features,
    groups: usize,
    mut metric: impl FnMut(&Features) -> Result<Vec<f64>, MetricError>,
) -> Result<Vec<Estimate>, MetricError> {
    let count = samples.count();
    if groups < 2 || groups > count {
        return Err(MetricError::Groups { groups, count });
    }
    let values = metric(samples)?;
    let without = |group: usize| {
        let kept: Vec<usize> = (0..count).filter(|&i| group_of(i, groups) != group).collect();
        metric(&samples.select(&kept))
    };
    let others = (0..groups).map(without).collect::<Result<Vec<_>, _>>()?;
    let of = |(i, value): (usize, f64)| {
        let others: Vec<f64> = others.iter().map(|values| values[i]).collect();
        estimate(value, &others)
    };
    Ok(values.into_iter().enumerate().map(of).collect())
}

/// The group of example `i`: of each `groups` examples that follow each other all are in different ones. How far the order is
/// turned is a multiple of the golden section, so that no number of classes keeps pace with it.
pub(crate) fn group_of(i: usize, groups: usize) -> usize {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let turned = ((i / groups) as u64).wrapping_mul(GOLDEN) >> 32;
    (i % groups + turned as usize % groups) % groups
}

/// `value` with the standard error that follows from what it is `without` each group.
pub(crate) fn estimate(value: f64, without: &[f64]) -> Estimate {
    let groups = without.len() as f64;
    let mean = without.iter().sum::<f64>() / groups;
    let squares = without.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Estimate { value, error: (squares * (groups - 1.0) / groups).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(features: &Features) -> Result<f64, MetricError> {
        Ok(features.rows().map(|row| f64::from(row[0])).sum::<f64>() / features.count() as f64)
    }

    /// With one example in each group it is exactly the standard error that every book has.
    #[test]
    fn the_error_of_a_mean_is_the_known_one() {
        let values = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0];
        let samples = Features::new(values.to_vec(), 1).unwrap();
        let estimate = jackknife(&samples, 6, mean).unwrap();
        let squares: f64 = values.iter().map(|&x| (f64::from(x) - 4.5).powi(2)).sum();
        assert_eq!(estimate.value, 4.5);
        assert!((estimate.error - (squares / (6.0 * 5.0)).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn groups_are_spread_over_the_samples() {
        // Ordered by class: each group of every other example has the same mean.
        let samples = Features::new(vec![0.0, 0.0, 10.0, 10.0, 50.0, 50.0], 1).unwrap();
        assert!(jackknife(&samples, 2, mean).unwrap().error < 1e-12);
    }

    /// However many classes take turns, each group has about as many of each.
    #[test]
    fn classes_that_take_turns_are_in_every_group() {
        for classes in [2, 5, 10, 20, 7, 100] {
            let mut found = vec![[0_usize; 10]; classes];
            (0..200 * classes).for_each(|i| found[i % classes][group_of(i, 10)] += 1);
            let all = || found.iter().flatten().copied();
            assert!(all().min() >= Some(12) && all().max() <= Some(28), "{classes}: {found:?}");
        }
        let samples = Features::new((0..200u8).map(|i| f32::from(i % 10)).collect(), 1).unwrap();
        let [found, known] = [jackknife(&samples, 10, mean), jackknife(&samples, 200, mean)];
        let [found, known] = [found, known].map(|estimate| estimate.unwrap().error);
        assert!(found < 2.0 * known, "{found} and {known}");
    }

    #[test]
    fn there_are_two_groups_at_least() {
        let samples = Features::new(vec![0.0; 5], 1).unwrap();
        for groups in [0, 1, 6] {
            let error = jackknife(&samples, groups, mean).unwrap_err();
            assert!(matches!(error, MetricError::Groups { groups: found, count: 5 } if found == groups));
        }
        let refused = jackknife(&samples, 2, |_| Err(MetricError::Empty)).unwrap_err();
        assert!(matches!(refused, MetricError::Empty));
    }
}

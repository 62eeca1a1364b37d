//! Precision, recall, density and coverage: whether samples lie where the data do, and the data where samples do.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::{Pairs, Piece, squared_distance};
use diffusion_core::watch::{Stopped, Watch};
use std::sync::atomic::{AtomicU32, Ordering};

/// How good samples are and how much of the data they cover, by balls around examples that reach to the `k`-th nearest
/// of their own set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighborhoods {
    /// The share of the samples in the ball of some real example: improved precision (Kynkäänniemi et al. 2019), from 0 to 1.
    pub precision: f64,
    /// The share of the real examples in the ball of some sample: improved recall, from 0 to 1.
    pub recall: f64,
    /// In how many balls of real examples a sample is, relative to the `k` that are expected (Naeem et al. 2020): from 0 up,
    /// 1 where samples are as the data. An outlier among the data weighs less than in the precision.
    pub density: f64,
    /// The share of the real examples whose ball holds a sample: from 0 to 1. Unlike the recall, an outlier among the samples
    /// does not raise it.
    pub coverage: f64,
}

/// The four shares of `samples` and the data `real`, by the `k` nearest neighbors of each; 3 is usual for precision and
/// recall, 5 for density and coverage.
///
/// A ball does not hold what is exactly as far as the `k`-th neighbor, but always what equals its center, so that a set has
/// precision, recall and coverage of 1 from itself, where it repeats examples too. All four depend on the numbers of
/// examples: compare equal numbers.
///
/// # Errors
/// If the sets differ in their dimensions, `k` is 0 or not less than the number of examples of either, or `watch` stops
/// it.
pub fn neighborhoods(
    samples: &Features,
    real: &Features,
    k: usize,
    watch: &Watch,
) -> Result<Neighborhoods, MetricError> {
    samples.check_dimensions(real)?;
    check_neighbors(k, samples.count().min(real.count()))?;
    Balls::new(real, k, watch)?.compare(samples, watch)
}

fn check_neighbors(k: usize, count: usize) -> Result<(), MetricError> {
    if k == 0 || k >= count { Err(MetricError::Neighbors { k, count }) } else { Ok(()) }
}

/// The balls around the examples of data, which several sets of samples are [compared](Self::compare) with.
pub struct Balls<'a> {
    real: &'a Features,
    k: usize,
    reach: Vec<f64>,
}

impl<'a> Balls<'a> {
    /// Those that reach to the `k`-th nearest example of `real`.
    ///
    /// # Errors
    /// If `k` is 0 or not less than the number of examples, or `watch` stops it.
    pub fn new(real: &'a Features, k: usize, watch: &Watch) -> Result<Self, MetricError> {
        check_neighbors(k, real.count())?;
        Ok(Self { real, k, reach: radii(real, k, watch)? })
    }

    /// As [`neighborhoods`], of these data.
    ///
    /// # Errors
    /// As [`neighborhoods`].
    pub fn compare(&self, samples: &Features, watch: &Watch) -> Result<Neighborhoods, MetricError> {
        let Self { real, k, reach } = self;
        samples.check_dimensions(real)?;
        check_neighbors(*k, samples.count())?;
        compare(samples, real, (*k, &reach[..]), watch)
    }
}

/// Compares samples with data whose balls reach so far.
fn compare(
    samples: &Features,
    real: &Features,
    (k, reach): (usize, &[f64]),
    watch: &Watch,
) -> Result<Neighborhoods, MetricError> {
    let reach_of_samples = radii(samples, k, watch)?;
    let hits: Vec<AtomicU32> = (0..samples.count()).map(|_| AtomicU32::new(0)).collect();
    let pairs = Pairs { rows: real, columns: samples, watch, work: "comparing samples with data" };
    let rows = pairs.distances(Row::default, |row, piece| {
        for (column, squared) in piece.columns() {
            let holds = |limit| squared == 0.0 || pairs.is_below(piece.row, column, squared, limit);
            if holds(reach[piece.row]) {
                row.is_covered = true;
                hits[column].fetch_add(1, Ordering::Relaxed);
            }
            row.is_recalled = row.is_recalled || holds(reach_of_samples[column]);
        }
    })?;
    let hits: Vec<u32> = hits.into_iter().map(AtomicU32::into_inner).collect();
    let share = |part: usize, of: &Features| part as f64 / of.count() as f64;
    let balls: f64 = hits.iter().copied().map(f64::from).sum();
    Ok(Neighborhoods {
        precision: share(hits.iter().filter(|&&hits| hits > 0).count(), samples),
        recall: share(rows.iter().filter(|row| row.is_recalled).count(), real),
        density: balls / (k * samples.count()) as f64,
        coverage: share(rows.iter().filter(|row| row.is_covered).count(), real),
    })
}

/// What is known of a real example.
#[derive(Default)]
struct Row {
    is_covered: bool,
    is_recalled: bool,
}

/// The squared distance of each example from its `k`-th nearest other one.
fn radii(set: &Features, k: usize, watch: &Watch) -> Result<Vec<f64>, Stopped> {
    let pairs = Pairs { rows: set, columns: set, watch, work: "looking for nearest neighbors" };
    let nearest = pairs.distances(
        || Vec::with_capacity(k + 1),
        |nearest: &mut Vec<(f64, usize)>, piece: Piece<'_>| {
            for (column, squared) in piece.columns().filter(|&(column, _)| column != piece.row) {
                if nearest.len() < k || squared < nearest[k - 1].0 {
                    let place = nearest.partition_point(|&(other, _)| other <= squared);
                    nearest.insert(place, (squared, column));
                    nearest.truncate(k);
                }
            }
        },
    )?;
    let radius = |(row, nearest): (usize, Vec<(f64, usize)>)| {
        nearest
            .into_iter()
            .map(|(_, column)| squared_distance(set.row(row), set.row(column)))
            .fold(0.0, f64::max)
    };
    Ok(nearest.into_iter().enumerate().map(radius).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    fn of(samples: &Features, real: &Features, k: usize) -> Neighborhoods {
        neighborhoods(samples, real, k, &Watch::default()).unwrap()
    }

    /// Balls of real examples: 1 around 0 and 1, 9 around 10. Of samples: 0.5, 0.5, 99.
    #[test]
    fn balls_reach_to_the_nearest_neighbor() {
        let (samples, real) = (points(&[0.5, 1.0, 100.0]), points(&[0.0, 1.0, 10.0]));
        let found = of(&samples, &real, 1);
        assert_eq!(found.precision, 2.0 / 3.0);
        // 1 and 10, which is in the ball of 100 alone.
        assert_eq!(found.recall, 2.0 / 3.0);
        // 0.5 is in the balls of 0 and 1, though not of 10; 1 in that of 1, and 0 and 10 are exactly as far as they reach.
        assert_eq!(found.density, 3.0 / 3.0);
        assert_eq!(found.coverage, 2.0 / 3.0);
    }

    #[test]
    fn a_set_covers_itself() {
        let set = points(&[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]);
        for k in 1..=6 {
            let found = of(&set, &set, k);
            assert_eq!(
                found,
                Neighborhoods { precision: 1.0, recall: 1.0, density: 1.0, coverage: 1.0 },
                "{k}"
            );
        }
        let same = points(&[0.7; 5]);
        let found = of(&same, &same, 2);
        assert_eq!((found.precision, found.recall, found.coverage), (1.0, 1.0, 1.0));
        let found = of(&same, &points(&[0.8; 5]), 2);
        assert_eq!((found.precision, found.recall, found.density, found.coverage), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn there_must_be_so_many_neighbors() {
        let (three, four) = (points(&[1.0, 2.0, 3.0]), points(&[1.0, 2.0, 3.0, 4.0]));
        for (samples, real, k) in
            [(&three, &four, 3), (&four, &three, 3), (&four, &four, 0), (&four, &three, 9)]
        {
            let error = neighborhoods(samples, real, k, &Watch::default()).unwrap_err();
            assert!(matches!(error, MetricError::Neighbors { k: found, .. } if found == k), "{error}");
        }
        assert!(neighborhoods(&four, &four, 3, &Watch::default()).is_ok());
        let flat = Features::new(vec![0.0; 6], 2).unwrap();
        let error = neighborhoods(&flat, &three, 1, &Watch::default()).unwrap_err();
        assert!(matches!(error, MetricError::Dimensions { found: 2, expected: 1 }));
    }
}

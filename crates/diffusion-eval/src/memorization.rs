//! How near samples are to the examples that were trained on, beside examples that were not.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::{Pairs, squared_distance};
use crate::resample::Estimate;
use diffusion_core::watch::Watch;

/// The example of a set that is nearest to another example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Its place in the set, the first of several that are as near.
    pub index: usize,
    /// How far it is, in the features' unit.
    pub distance: f64,
}

/// The nearest example of `set` for each of `examples`, in their order.
///
/// # Errors
/// If the sets differ in their dimensions, or `watch` stops it.
pub fn nearest(examples: &Features, set: &Features, watch: &Watch) -> Result<Vec<Nearest>, MetricError> {
    examples.check_dimensions(set)?;
    let pairs = Pairs { rows: examples, columns: set, watch, work: "looking for the nearest examples" };
    let found = pairs.distances(
        || (f64::INFINITY, 0),
        |nearest, piece| {
            for (column, squared) in piece.columns() {
                if squared < nearest.0 {
                    *nearest = (squared, column);
                }
            }
        },
    )?;
    let exact = |(row, (_, index)): (usize, (f64, usize))| Nearest {
        index,
        distance: squared_distance(examples.row(row), set.row(index)).sqrt(),
    };
    Ok(found.into_iter().enumerate().map(exact).collect())
}

/// How near samples are to the training set, beside examples of the same data that were held out.
#[derive(Clone, Debug, PartialEq)]
pub struct Memorization {
    /// Of each sample, the nearest training example.
    pub samples: Vec<Nearest>,
    /// Of each example that was held out.
    pub held_out: Vec<Nearest>,
}

impl Memorization {
    /// Looks for the nearest examples of `training` for both.
    ///
    /// # Errors
    /// If the sets differ in their dimensions, or `watch` stops it.
    pub fn new(
        samples: &Features,
        held_out: &Features,
        training: &Features,
        watch: &Watch,
    ) -> Result<Self, MetricError> {
        Ok(Self {
            samples: nearest(samples, training, watch)?,
            held_out: nearest(held_out, training, watch)?,
        })
    }

    /// The share of all pairs of a sample and an example that was held out in which the sample is nearer to the training
    /// set, those as near counting half: 0.5 if samples are as new as what was held out, 1 if each is nearer than any such
    /// example, as copies are (Meehan et al. 2020).
    pub fn nearer(&self) -> f64 {
        mean(&shares(&self.samples, &self.held_out))
    }

    /// [`nearer`](Self::nearer) with its standard error (DeLong, DeLong and Clarke-Pearson, 1988): that of one sample, or one
    /// held-out example, is not a number.
    pub fn estimate(&self) -> Estimate {
        let shares = [shares(&self.samples, &self.held_out), shares(&self.held_out, &self.samples)];
        let variance = |shares: &Vec<f64>| {
            let (n, mean) = (shares.len() as f64, mean(shares));
            shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
        };
        Estimate { value: mean(&shares[0]), error: shares.iter().map(variance).sum::<f64>().sqrt() }
    }

    /// The places of the samples, the nearest to the training set first: what to look at.
    pub fn by_distance(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by(|&a, &b| self.samples[a].distance.total_cmp(&self.samples[b].distance));
        order
    }
}

/// For each of `these` the share of `others` that are farther, those as far counting half.
fn shares(these: &[Nearest], others: &[Nearest]) -> Vec<f64> {
    let mut others: Vec<f64> = others.iter().map(|nearest| nearest.distance).collect();
    others.sort_unstable_by(f64::total_cmp);
    let count = others.len();
    let share = |nearest: &Nearest| {
        let below = others.partition_point(|&other| other < nearest.distance);
        let farther = count - others.partition_point(|&other| other <= nearest.distance);
        0.5 * (count - below + farther) as f64 / count as f64
    };
    these.iter().map(share).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    #[test]
    fn the_first_of_the_nearest_is_found() {
        let set = points(&[5.0, 1.0, 1.0, -2.0]);
        let found = nearest(&points(&[1.0, 4.5, -10.0]), &set, &Watch::default()).unwrap();
        let expected = [(1, 0.0), (0, 0.5), (3, 8.0)];
        assert_eq!(found, expected.map(|(index, distance)| Nearest { index, distance }));
        let flat = Features::new(vec![0.0; 2], 2).unwrap();
        let error = nearest(&flat, &set, &Watch::default()).unwrap_err();
        assert!(matches!(error, MetricError::Dimensions { found: 2, expected: 1 }));
    }

    #[test]
    fn copies_are_nearer_than_what_was_held_out() {
        let training = points(&[0.0, 1.0, 2.0]);
        let of = |samples: &[f32], held_out: &[f32]| {
            Memorization::new(&points(samples), &points(held_out), &training, &Watch::default()).unwrap()
        };
        assert_eq!(of(&[0.0, 1.0, 2.0, 2.0], &[0.25, 1.5]).nearer(), 1.0);
        assert_eq!(of(&[0.25, 1.5], &[0.25, 1.5]).nearer(), 0.5);
        // 0.125 against 0, 0.25 and 0.5; 0.25 likewise.
        let found = of(&[0.125, 1.25], &[0.0, 0.25, 0.5]);
        assert!((found.nearer() - (2.0 + 1.5) / 6.0).abs() < 1e-15);
        // The shares of samples are 2/3 and 1/2, those of the others 1, 1/4 and 0.
        let (own, others) = (1.0 / 72.0 / 2.0, (1.0 / 16.0 + 1.0 - 25.0 / 48.0) / 2.0 / 3.0);
        let estimate = found.estimate();
        assert_eq!(estimate.value, found.nearer());
        assert!((estimate.error - f64::sqrt(own + others)).abs() < 1e-12, "{}", estimate.error);
        assert_eq!(of(&[0.25, 1.0, 7.0, 1.125], &[0.0]).by_distance(), [1, 3, 0, 2]);
    }
}

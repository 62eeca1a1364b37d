//! How near samples are to the examples that were trained on, beside examples that were not.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::{Pairs, squared_distance};
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
        let mut others: Vec<f64> = self.held_out.iter().map(|nearest| nearest.distance).collect();
        others.sort_unstable_by(f64::total_cmp);
        let wins = |nearest: &Nearest| {
            let below = others.partition_point(|&other| other < nearest.distance);
            let above = others.len() - others.partition_point(|&other| other <= nearest.distance);
            0.5 * (others.len() - below + above) as f64
        };
        self.samples.iter().map(wins).sum::<f64>() / (self.samples.len() * others.len()) as f64
    }

    /// The places of the samples, the nearest to the training set first: what to look at.
    pub fn by_distance(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by(|&a, &b| self.samples[a].distance.total_cmp(&self.samples[b].distance));
        order
    }
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
        assert_eq!(of(&[0.125, 1.25], &[0.0, 0.25, 0.5]).nearer(), (2.0 + 1.5) / 6.0);
        assert_eq!(of(&[0.25, 1.0, 7.0, 1.125], &[0.0]).by_distance(), [1, 3, 0, 2]);
    }
}

//! Sets of examples as vectors of features.

use crate::error::MetricError;
use diffusion_core::random::{Purpose, Stream};

/// The division of a set into halves.
pub const HALVES: Purpose = Purpose(40);

/// Examples as vectors of features of equal length, `[count, dimensions]`, row by row; at least one of each, and all finite.
///
/// A feature is whatever the distance shall be one of: a coordinate of a point, a pixel, what a layer of a network says.
///
/// ```
/// use diffusion_eval::Features;
///
/// let points = Features::new(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 2)?;
/// assert_eq!((points.count(), points.row(1)), (3, &[2.0, 3.0][..]));
/// # Ok::<(), diffusion_eval::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Vec<f32>,
    dimensions: usize,
}

impl Features {
    /// The examples whose features are `values`, `dimensions` of each.
    ///
    /// # Errors
    /// If there is none, or one is not finite, whose place the error has.
    ///
    /// # Panics
    /// If the last example lacks a feature.
    pub fn new(values: Vec<f32>, dimensions: usize) -> Result<Self, MetricError> {
        if values.is_empty() || dimensions == 0 {
            return Err(MetricError::Empty);
        }
        assert!(
            values.len().is_multiple_of(dimensions),
            "{} values are not examples of {dimensions} features",
            values.len()
        );
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(Self { values, dimensions }),
            Some(at) => Err(MetricError::NotFinite {
                row: at / dimensions,
                column: at % dimensions,
                value: values[at],
            }),
        }
    }

    /// How many examples there are, at least 1.
    pub fn count(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// How many features each has, at least 1.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The features of an example.
    ///
    /// # Panics
    /// If there are not so many examples.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dimensions..][..self.dimensions]
    }

    /// The features of each example in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions)
    }

    /// The examples at `indices`, in this order, of which some may occur several times.
    ///
    /// # Panics
    /// If there are none, or one is beyond the last example.
    pub fn select(&self, indices: &[usize]) -> Self {
        assert!(!indices.is_empty(), "no example was selected, expected at least 1");
        let values = indices.iter().flat_map(|&index| self.row(index)).copied().collect();
        Self { values, dimensions: self.dimensions }
    }

    /// Two sets of equally many of the examples, drawn at random without one in both; of an odd number, one is in neither.
    ///
    /// A distance between halves of the data is the floor under those of samples: a perfect model's samples have it too, if
    /// they are as many as a half.
    ///
    /// # Errors
    /// If there are fewer than 2.
    pub fn halves(&self, seed: u64) -> Result<[Self; 2], MetricError> {
        let half = self.count() / 2;
        if half == 0 {
            return Err(MetricError::TooFew { found: self.count(), needed: 2 });
        }
        let mut order: Vec<usize> = (0..self.count()).collect();
        Stream::new(seed, HALVES, 0, 0).shuffle(&mut order);
        Ok([self.select(&order[..half]), self.select(&order[half..2 * half])])
    }

    /// Whether `other` has as many features as this.
    pub(crate) fn check_dimensions(&self, other: &Self) -> Result<(), MetricError> {
        let (found, expected) = (self.dimensions, other.dimensions);
        if found == expected { Ok(()) } else { Err(MetricError::Dimensions { found, expected }) }
    }

    /// Whether there are at least `needed` examples.
    pub(crate) fn check_count(&self, needed: usize) -> Result<(), MetricError> {
        let found = self.count();
        if found >= needed { Ok(()) } else { Err(MetricError::TooFew { found, needed }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_named_by_its_place() {
        let error = Features::new(vec![0.0, 1.0, 2.0, f32::NAN, 4.0, 5.0], 3).unwrap_err();
        assert!(matches!(error, MetricError::NotFinite { row: 1, column: 0, value } if value.is_nan()));
        let error = Features::new(vec![0.0, f32::NEG_INFINITY], 2).unwrap_err();
        assert!(matches!(error, MetricError::NotFinite { row: 0, column: 1, value: f32::NEG_INFINITY }));
        assert!(matches!(Features::new(Vec::new(), 3), Err(MetricError::Empty)));
        assert!(matches!(Features::new(Vec::new(), 0), Err(MetricError::Empty)));
    }

    #[test]
    #[should_panic(expected = "3 values are not examples of 2 features")]
    fn a_part_of_an_example_is_none() {
        let _ = Features::new(vec![0.0; 3], 2);
    }

    #[test]
    fn halves_share_no_example() {
        let all = Features::new((0..9u8).map(f32::from).collect(), 1).unwrap();
        let [first, second] = all.halves(3).unwrap();
        let mut both: Vec<u8> = first.rows().chain(second.rows()).map(|row| row[0] as u8).collect();
        assert_eq!((first.count(), second.count()), (4, 4));
        both.sort_unstable();
        both.dedup();
        assert_eq!(both.len(), 8);
        assert_ne!(all.halves(4).unwrap()[0], first);
        assert!(matches!(all.select(&[0]).halves(0), Err(MetricError::TooFew { found: 1, needed: 2 })));
    }
}

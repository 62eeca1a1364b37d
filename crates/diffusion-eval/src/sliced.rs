//! The sliced Wasserstein distance between sets.

use crate::error::MetricError;
use crate::features::Features;
use diffusion_core::random::{Purpose, Stream};
use rayon::prelude::*;

/// The directions of the sliced Wasserstein distance.
pub const DIRECTION: Purpose = Purpose(41);

/// Unit vectors along which [`sliced_wasserstein`] looks at sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    values: Vec<f64>,
    dimensions: usize,
}

impl Directions {
    /// `count` random directions in `dimensions` dimensions, all equally likely.
    ///
    /// # Panics
    /// If either is 0.
    pub fn new(dimensions: usize, count: usize, seed: u64) -> Self {
        assert!(dimensions > 0 && count > 0, "{count} directions in {dimensions} dimensions are none");
        let direction = |index: usize| {
            let mut stream = Stream::new(seed, DIRECTION, 0, index as u64);
            (0..dimensions).map(|_| stream.normal()).collect::<Vec<_>>()
        };
        Self::of((0..count).flat_map(direction).collect(), dimensions)
    }

    /// The directions of the vectors `values`, `[count, dimensions]` row by row, of any length.
    ///
    /// # Panics
    /// If there is none, the last is cut off, or one has no direction.
    pub fn of(mut values: Vec<f64>, dimensions: usize) -> Self {
        assert!(
            dimensions > 0 && !values.is_empty() && values.len().is_multiple_of(dimensions),
            "{} values are not vectors of {dimensions} dimensions",
            values.len()
        );
        for vector in values.chunks_exact_mut(dimensions) {
            let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(length > 0.0 && length.is_finite(), "a vector of length {length} has no direction");
            vector.iter_mut().for_each(|x| *x /= length);
        }
        Self { values, dimensions }
    }
}

/// The sliced Wasserstein distance: the root of the mean over `directions` of W₂² between the sets' shadows on a line
/// (Bonneel et al. 2015), in the features' unit. The sets need not be of the same size.
///
/// Use the same directions for all sets that are compared, and for the floor, which is about 1/√n for draws of one
/// distribution: see [`Features::halves`].
///
/// ```
/// use diffusion_eval::{Directions, Features, sliced_wasserstein};
///
/// let directions = Directions::new(2, 64, 0);
/// let square = Features::new(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2)?;
/// assert_eq!(sliced_wasserstein(&square, &square, &directions)?, 0.0);
/// # Ok::<(), diffusion_eval::MetricError>(())
/// ```
///
/// # Errors
/// If the sets or the directions differ in their dimensions.
pub fn sliced_wasserstein(
    samples: &Features,
    real: &Features,
    directions: &Directions,
) -> Result<f64, MetricError> {
    samples.check_dimensions(real)?;
    let (found, expected) = (samples.dimensions(), directions.dimensions);
    if found != expected {
        return Err(MetricError::Dimensions { found, expected });
    }
    let along = |direction: &[f64]| {
        let [samples, real] = [samples, real].map(|set| shadow(set, direction));
        squared_wasserstein(&samples, &real)
    };
    let squares: Vec<f64> = directions.values.par_chunks_exact(directions.dimensions).map(along).collect();
    Ok((squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Where the examples lie along a direction, in order.
fn shadow(set: &Features, direction: &[f64]) -> Vec<f64> {
    let place = |row: &[f32]| row.iter().zip(direction).map(|(&x, along)| f64::from(x) * along).sum();
    let mut places: Vec<f64> = set.rows().map(place).collect();
    places.sort_unstable_by(f64::total_cmp);
    places
}

/// W₂² between two sets on a line, both in order.
fn squared_wasserstein(first: &[f64], second: &[f64]) -> f64 {
    // Of a mass of n·m, each of the n first examples has m, and each of the m second ones n.
    let (n, m) = (first.len(), second.len());
    let (mut i, mut j, mut moved, mut sum) = (0, 0, 0, 0.0);
    while i < n && j < m {
        let (end, other) = ((i + 1) * m, (j + 1) * n);
        let until = end.min(other);
        sum += (until - moved) as f64 * (first[i] - second[j]).powi(2);
        moved = until;
        i += usize::from(end == until);
        j += usize::from(other == until);
    }
    sum / (n as f64 * m as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mass_is_moved_in_order() {
        assert_eq!(squared_wasserstein(&[0.0, 1.0], &[0.5, 3.0]), (0.25 + 4.0) / 2.0);
        // The second third goes half to 1 and half to 4.
        let expected = (1.0 + 0.5 * 0.0 + 0.5 * 9.0 + 4.0) / 3.0;
        assert!((squared_wasserstein(&[0.0, 1.0, 2.0], &[1.0, 4.0]) - expected).abs() < 1e-15);
    }

    #[test]
    fn a_shift_is_seen_by_its_share_along_each_direction() {
        let set = Features::new(vec![0.0, 0.0, 1.0, 2.0, -3.0, 0.5], 2).unwrap();
        let moved = Features::new(vec![3.0, 4.0, 4.0, 6.0, 0.0, 4.5], 2).unwrap();
        for (vectors, expected) in [
            (vec![2.0, 0.0], 3.0),
            (vec![0.0, -0.1], 4.0),
            (vec![3.0, 4.0], 5.0),
            (vec![1.0, 0.0, 0.0, 1.0], 12.5f64.sqrt()),
        ] {
            let distance = sliced_wasserstein(&moved, &set, &Directions::of(vectors, 2)).unwrap();
            assert!((distance - expected).abs() < 1e-12, "{distance} is not {expected}");
        }
        // Of all directions in the plane, half of the square.
        let distance = sliced_wasserstein(&moved, &set, &Directions::new(2, 4000, 0)).unwrap();
        assert!((distance - 12.5f64.sqrt()).abs() < 0.1, "{distance}");
    }

    #[test]
    fn dimensions_must_agree() {
        let set = |dimensions| Features::new(vec![0.0; dimensions], dimensions).unwrap();
        let distance =
            |a, b, along| sliced_wasserstein(&set(a), &set(b), &Directions::new(along, 3, 0)).unwrap_err();
        assert!(matches!(distance(2, 3, 2), MetricError::Dimensions { found: 2, expected: 3 }));
        assert!(matches!(distance(2, 2, 5), MetricError::Dimensions { found: 2, expected: 5 }));
    }
}

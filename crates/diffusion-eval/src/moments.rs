//! Means and covariances of examples that come in pieces.

use crate::error::MetricError;
use crate::features::Features;
use crate::gaussian::Gaussian;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatRef, Par};
use rayon::prelude::*;

/// How many examples are added at once.
const EXAMPLES: usize = 256;

/// How many columns of the products of features a thread takes at once.
const COLUMNS: usize = 64;

/// The mean and covariance of examples that come in pieces, in any order, by several threads or machines: each has its own,
/// and [`merge`](Self::merge) joins them.
///
/// Each block of examples is centered by its own mean before it is squared, in f64, so that features far from zero lose no
/// digits (Chan, Golub and LeVeque, 1983).
///
/// ```
/// use diffusion_eval::{Features, Moments};
///
/// let mut moments = Moments::new(1);
/// moments.add(&Features::new(vec![1.0, 2.0], 1)?)?;
/// moments.add(&Features::new(vec![6.0], 1)?)?;
/// let gaussian = moments.gaussian()?;
/// assert_eq!((gaussian.mean(), gaussian.covariance()), (&[3.0][..], &[7.0][..]));
/// # Ok::<(), diffusion_eval::MetricError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: u64,
    mean: Vec<f64>,
    /// The sums of products of what lies off the mean, column by column; what is above the diagonal is not used.
    scatter: Vec<f64>,
}

impl Moments {
    /// Those of no example yet, which will have `dimensions` features.
    pub fn new(dimensions: usize) -> Self {
        Self { count: 0, mean: vec![0.0; dimensions], scatter: vec![0.0; dimensions * dimensions] }
    }

    /// How many examples were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds examples.
    ///
    /// # Errors
    /// If they have another number of features.
    pub fn add(&mut self, features: &Features) -> Result<(), MetricError> {
        let (found, expected) = (features.dimensions(), self.mean.len());
        if found != expected {
            return Err(MetricError::Dimensions { found, expected });
        }
        let rows: Vec<&[f32]> = features.rows().collect();
        for block in rows.chunks(EXAMPLES) {
            self.add_block(block);
        }
        Ok(())
    }

    /// Adds the examples of `other` to these.
    ///
    /// # Errors
    /// If they have another number of features.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        let (found, expected) = (other.mean.len(), self.mean.len());
        if found != expected {
            return Err(MetricError::Dimensions { found, expected });
        }
        self.scatter.iter_mut().zip(&other.scatter).for_each(|(sum, other)| *sum += other);
        self.join_means(other.count, &other.mean);
        Ok(())
    }

    /// The mean and the covariance, whose sums are divided by the number of examples less 1, as `numpy.cov` has it.
    ///
    /// # Errors
    /// If there are fewer than 2 examples.
    pub fn gaussian(&self) -> Result<Gaussian, MetricError> {
        if self.count < 2 {
            return Err(MetricError::TooFew { found: self.count as usize, needed: 2 });
        }
        let (d, freedom) = (self.mean.len(), (self.count - 1) as f64);
        let lower = |row: usize, column: usize| self.scatter[row.min(column) * d + row.max(column)];
        let covariance = (0..d * d).map(|at| lower(at / d, at % d) / freedom).collect();
        Gaussian::new(self.mean.clone(), covariance)
    }

    fn add_block(&mut self, block: &[&[f32]]) {
        let d = self.mean.len();
        let mut mean = vec![0.0; d];
        for row in block {
            mean.iter_mut().zip(*row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        mean.iter_mut().for_each(|sum| *sum /= block.len() as f64);
        let centered = |row: &&[f32]| -> Vec<f64> {
            row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean).collect()
        };
        let off: Vec<f64> = block.iter().flat_map(centered).collect();
        let off = MatRef::from_row_major_slice(&off, block.len(), d);
        self.scatter.par_chunks_mut(COLUMNS * d).enumerate().for_each(|(chunk, columns)| {
            let (first, width) = (chunk * COLUMNS, columns.len() / d);
            let mut sums = faer::MatMut::from_column_major_slice_mut(columns, d, width);
            let below = sums.as_mut().subrows_mut(first, d - first);
            let (left, right) = (off.subcols(first, d - first), off.subcols(first, width));
            matmul(below, Accum::Add, left.transpose(), right, 1.0, Par::Seq);
        });
        self.join_means(block.len() as u64, &mean);
    }

    /// Takes the mean of `count` more examples into account, whose products were added already.
    fn join_means(&mut self, count: u64, mean: &[f64]) {
        let total = self.count + count;
        if total == 0 {
            return;
        }
        let share = count as f64 / total as f64;
        let apart: Vec<f64> = mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        let factor = self.count as f64 * share;
        if factor > 0.0 {
            for (column, sums) in self.scatter.chunks_exact_mut(apart.len()).enumerate() {
                let factor = factor * apart[column];
                sums[column..]
                    .iter_mut()
                    .zip(&apart[column..])
                    .for_each(|(sum, apart)| *sum += factor * apart);
            }
        }
        self.mean.iter_mut().zip(&apart).for_each(|(mean, apart)| *mean += share * apart);
        self.count = total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion_core::random::{Purpose, Stream};

    /// Features around `center`, of which neighbors depend on each other.
    fn features(count: usize, dimensions: usize, center: f64) -> Features {
        let mut stream = Stream::new(0, Purpose(1000), 0, 0);
        let mut last = 0.0;
        let value = || {
            last = 0.5 * last + stream.normal();
            (center + last) as f32
        };
        Features::new(std::iter::repeat_with(value).take(count * dimensions).collect(), dimensions).unwrap()
    }

    /// The covariance by its definition, in two passes.
    fn covariance(features: &Features) -> Vec<f64> {
        let (n, d) = (features.count() as f64, features.dimensions());
        let column = |c: usize| features.rows().map(move |row| f64::from(row[c]));
        let mean: Vec<f64> = (0..d).map(|c| column(c).sum::<f64>() / n).collect();
        let product = |a: usize, b: usize| {
            column(a).zip(column(b)).map(|(x, y)| (x - mean[a]) * (y - mean[b])).sum::<f64>() / (n - 1.0)
        };
        (0..d * d).map(|at| product(at / d, at % d)).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        let largest = expected.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12 * largest, "{found} is not {expected}");
        }
        assert_eq!(found.len(), expected.len());
    }

    /// More columns than a thread takes, more examples than a block, and far from zero, where a sum of squares has no digits.
    #[test]
    fn pieces_of_any_size_have_the_covariance_of_the_whole() {
        for (count, dimensions, center) in [(700, 3, 0.0), (600, 3, 1e4), (90, 130, 1.0)] {
            let all = features(count, dimensions, center);
            let expected = covariance(&all);
            for sizes in [vec![count], vec![1, 1, count - 2], vec![count / 3, count - count / 3]] {
                let (mut first, mut parts) = (0, Vec::new());
                for size in sizes {
                    let mut part = Moments::new(dimensions);
                    part.add(&all.select(&(first..first + size).collect::<Vec<_>>())).unwrap();
                    parts.push(part);
                    first += size;
                }
                let mut merged = Moments::new(dimensions);
                parts.iter().for_each(|part| merged.merge(part).unwrap());
                assert_eq!(merged.count(), count as u64);
                assert_close(merged.gaussian().unwrap().covariance(), &expected);
            }
        }
    }

    #[test]
    fn one_example_has_no_covariance() {
        let mut moments = Moments::new(2);
        let too_few = |moments: &Moments| match moments.gaussian().unwrap_err() {
            MetricError::TooFew { found, needed: 2 } => found,
            error => panic!("{error}"),
        };
        assert_eq!(too_few(&moments), 0);
        moments.merge(&Moments::new(2)).unwrap();
        moments.add(&features(1, 2, 0.0)).unwrap();
        assert_eq!(too_few(&moments), 1);
        assert!(matches!(
            moments.add(&features(1, 3, 0.0)),
            Err(MetricError::Dimensions { found: 3, expected: 2 })
        ));
        assert!(matches!(
            moments.merge(&Moments::new(1)),
            Err(MetricError::Dimensions { found: 1, expected: 2 })
        ));
    }
}

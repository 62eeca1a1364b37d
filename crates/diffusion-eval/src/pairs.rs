//! All pairs of two sets, block by block, so that memory stays small whatever the sets' sizes.

use crate::features::Features;
use diffusion_core::watch::{Stopped, Watch};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many rows and columns of the table of all pairs are computed at once by a thread.
const ROWS: usize = 256;
const COLUMNS: usize = 512;

/// Below this share of the squared lengths, a squared distance by them has too few digits.
const CANCELS: f64 = 1e-6;

/// Two squared distances that are so near each other, relative to themselves, are compared by their definition.
const NEAR: f64 = 1e-6;

/// The pairs of an example of `rows` and one of `columns`.
pub(crate) struct Pairs<'a> {
    /// An example of these for each row of the table.
    pub rows: &'a Features,
    /// An example of these for each column.
    pub columns: &'a Features,
    /// Asked whether to go on, and told how far it is.
    pub watch: &'a Watch,
    /// What it is told is being done.
    pub work: &'static str,
}

/// A part of a row of the table.
pub(crate) struct Piece<'a> {
    /// Its row.
    pub row: usize,
    /// The column of its first value.
    pub first: usize,
    /// The values.
    pub values: &'a [f64],
}

impl Piece<'_> {
    /// The values with their columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (usize, f64)> {
        self.values.iter().enumerate().map(|(at, &value)| (self.first + at, value))
    }
}

impl Pairs<'_> {
    /// What `add` makes of the inner products of each row with all columns, which come piece by piece in order.
    pub(crate) fn products<S: Send>(
        &self,
        new: impl Fn() -> S + Sync,
        add: impl Fn(&mut S, Piece<'_>) + Sync,
    ) -> Result<Vec<S>, Stopped> {
        let center = vec![0.0; self.rows.dimensions()];
        self.fold(&center, new, |state, row, first, values, _| add(state, Piece { row, first, values }))
    }

    /// What `add` makes of the squared distances of each row from all columns, which come piece by piece in order.
    ///
    /// They follow from lengths and products, after the sets are moved to the mean of the columns; where that cancels, from the
    /// difference itself, so that equal examples have the distance 0.
    pub(crate) fn distances<S: Send>(
        &self,
        new: impl Fn() -> S + Sync,
        add: impl Fn(&mut S, Piece<'_>) + Sync,
    ) -> Result<Vec<S>, Stopped> {
        self.fold(&mean(self.columns), new, |state, row, first, values, (own, lengths)| {
            for ((at, value), length) in values.iter_mut().enumerate().zip(lengths) {
                let sum = own + length;
                *value = sum - 2.0 * *value;
                if *value < CANCELS * sum {
                    *value = squared_distance(self.rows.row(row), self.columns.row(first + at));
                }
            }
            add(state, Piece { row, first, values });
        })
    }

    /// Whether `squared`, as of [`distances`](Self::distances), is below `limit`, which is some [`squared_distance`]: as it
    /// would be if both were computed in the same way.
    pub(crate) fn is_below(&self, row: usize, column: usize, squared: f64, limit: f64) -> bool {
        let near = (squared - limit).abs() <= NEAR * limit.max(squared);
        let squared = match near {
            true => squared_distance(self.rows.row(row), self.columns.row(column)),
            false => squared,
        };
        squared < limit
    }

    fn fold<S: Send>(
        &self,
        center: &[f64],
        new: impl Fn() -> S + Sync,
        add: impl Fn(&mut S, usize, usize, &mut [f64], (f64, &[f64])) + Sync,
    ) -> Result<Vec<S>, Stopped> {
        let (count, done) = (self.rows.count(), AtomicU64::new(0));
        let block = |first: usize| -> Result<Vec<S>, Stopped> {
            let rows = first..count.min(first + ROWS);
            let mut states: Vec<S> = rows.clone().map(|_| new()).collect();
            let left = Block::new(self.rows, rows.clone(), center);
            let mut products = vec![0.0; rows.len() * COLUMNS.min(self.columns.count())];
            for start in (0..self.columns.count()).step_by(COLUMNS) {
                self.watch.check()?;
                let columns = start..self.columns.count().min(start + COLUMNS);
                let width = columns.len();
                let right = Block::new(self.columns, columns, center);
                let products = &mut products[..rows.len() * width];
                let into = MatMut::from_row_major_slice_mut(products, rows.len(), width);
                matmul(into, Accum::Replace, left.matrix(), right.matrix().transpose(), 1.0, Par::Seq);
                for (at, values) in products.chunks_exact_mut(width).enumerate() {
                    add(&mut states[at], first + at, start, values, (left.lengths[at], &right.lengths));
                }
            }
            let done = done.fetch_add(rows.len() as u64, Ordering::Relaxed) + rows.len() as u64;
            self.watch.report(self.work, done, Some(count as u64))?;
            Ok(states)
        };
        let starts: Vec<usize> = (0..count).step_by(ROWS).collect();
        let blocks = starts.into_par_iter().map(block).collect::<Result<Vec<_>, _>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }
}

/// Some examples in f64, off a center, and their squared lengths.
struct Block {
    values: Vec<f64>,
    lengths: Vec<f64>,
}

impl Block {
    fn new(features: &Features, rows: Range<usize>, center: &[f64]) -> Self {
        let mut block = Self { values: Vec::with_capacity(rows.len() * center.len()), lengths: Vec::new() };
        for row in rows.map(|row| features.row(row)) {
            let start = block.values.len();
            block.values.extend(row.iter().zip(center).map(|(&x, center)| f64::from(x) - center));
            block.lengths.push(block.values[start..].iter().map(|x| x * x).sum());
        }
        block
    }

    fn matrix(&self) -> MatRef<'_, f64> {
        let rows = self.lengths.len();
        MatRef::from_row_major_slice(&self.values, rows, self.values.len() / rows)
    }
}

/// The mean of all examples.
fn mean(features: &Features) -> Vec<f64> {
    let mut sums = vec![0.0; features.dimensions()];
    for row in features.rows() {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.iter_mut().for_each(|sum| *sum /= features.count() as f64);
    sums
}

/// The squared distance by its definition.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion_core::random::{Purpose, Stream};
    use std::sync::atomic::AtomicUsize;

    fn features(count: usize, dimensions: usize, seed: u64, mean: f64) -> Features {
        let mut stream = Stream::new(seed, Purpose(1000), 0, 0);
        let values = std::iter::repeat_with(|| (mean + stream.normal()) as f32).take(count * dimensions);
        Features::new(values.collect(), dimensions).unwrap()
    }

    fn pairs<'a>(rows: &'a Features, columns: &'a Features, watch: &'a Watch) -> Pairs<'a> {
        Pairs { rows, columns, watch, work: "testing" }
    }

    /// More rows and columns than a block has, near zero and far from it.
    #[test]
    fn every_pair_is_seen_once_in_order() {
        let watch = Watch::default();
        for mean in [0.0, 1e4] {
            let (rows, columns) = (features(300, 3, 0, mean), features(700, 3, 1, mean));
            let pairs = pairs(&rows, &columns, &watch);
            let collect = |all: &mut Vec<f64>, piece: Piece<'_>| {
                assert_eq!(piece.first, all.len());
                all.extend(piece.values);
            };
            let (distances, products) =
                (pairs.distances(Vec::new, collect).unwrap(), pairs.products(Vec::new, collect).unwrap());
            assert_eq!((distances.len(), products.len()), (300, 300));
            for (i, (distances, products)) in distances.iter().zip(&products).enumerate() {
                assert_eq!((distances.len(), products.len()), (700, 700));
                for j in 0..700 {
                    let (a, b) = (rows.row(i), columns.row(j));
                    let expected = squared_distance(a, b);
                    assert!((distances[j] - expected).abs() <= 1e-9 * expected, "{mean}: {i}, {j}");
                    let product: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                    assert!((products[j] - product).abs() <= 1e-12 * (1.0 + product.abs()));
                }
            }
        }
    }

    #[test]
    fn equal_examples_have_no_distance() {
        let (set, watch) = (features(20, 50, 0, 0.3), Watch::default());
        let own = |own: &mut f64, piece: Piece<'_>| *own += piece.values[piece.row];
        assert_eq!(pairs(&set, &set, &watch).distances(|| 0.0, own).unwrap(), [0.0; 20]);
    }

    #[test]
    fn it_tells_how_far_it_is_and_stops() {
        let (set, most) = (features(600, 2, 0, 0.0), std::sync::Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let watch = Watch::new(move |progress| {
            assert_eq!((progress.work, progress.total), ("testing", Some(600)));
            seen.fetch_max(progress.done as usize, Ordering::Relaxed);
        });
        assert!(pairs(&set, &set, &watch).products(|| (), |_, _| ()).is_ok());
        assert_eq!(most.load(Ordering::Relaxed), 600);
        watch.stop();
        assert_eq!(pairs(&set, &set, &watch).products(|| (), |_, _| ()), Err(Stopped));
    }
}

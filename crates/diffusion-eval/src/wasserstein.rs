//! The exact Wasserstein distance between sets of equal size.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::{Pairs, squared_distance};
use diffusion_core::watch::Watch;
use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;

/// Squared distances become integers of up to so many, whose sums have room.
const LARGEST: f64 = (1u64 << 40) as f64;

/// The Wasserstein distance W₂ between sets of equally many examples, exactly: the root of the least mean of squared
/// distances over all ways to pair them, in the features' unit.
///
/// The [sliced distance](crate::sliced_wasserstein) sees shadows on lines only, in which the turns of a spiral lie on each
/// other; this one sees the whole. Its time grows with the third power of the number: take it for a thousand.
///
/// # Errors
/// If the sets differ in their dimensions or numbers of examples, or `watch` stops it.
pub fn wasserstein(samples: &Features, real: &Features, watch: &Watch) -> Result<f64, MetricError> {
    samples.check_dimensions(real)?;
    let (n, needed) = (samples.count(), real.count());
    if n != needed {
        return Err(MetricError::TooFew { found: n.min(needed), needed: n.max(needed) });
    }
    let pairs = Pairs { rows: samples, columns: real, watch, work: "measuring distances" };
    let squares =
        pairs.distances(|| Vec::with_capacity(n), |row: &mut Vec<f64>, piece| row.extend(piece.values))?;
    let largest = squares.iter().flatten().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Ok(0.0);
    }
    watch.check()?;
    let scale = LARGEST / largest;
    let costs = Matrix::from_fn(n, n, |(row, column)| (squares[row][column] * scale).round() as i64);
    let (_, partners) = kuhn_munkres_min(&costs);
    let pairs = partners.into_iter().enumerate();
    let sum: f64 = pairs.map(|(row, column)| squared_distance(samples.row(row), real.row(column))).sum();
    Ok((sum / n as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 2).unwrap()
    }

    #[test]
    fn the_best_pairs_are_found() {
        let square = points(&[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let watch = Watch::default();
        let distance = |other: &Features| wasserstein(&square, other, &watch).unwrap();
        // In another order, and moved by (0.3, 0.4).
        assert_eq!(distance(&points(&[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0])), 0.0);
        let moved = points(&[1.3, 1.4, 0.3, 1.4, 0.3, 0.4, 1.3, 0.4]);
        assert!((distance(&moved) - 0.5).abs() < 1e-6);
        // All mass at one corner: squares of 0, 1, 1 and 2.
        assert!((distance(&points(&[0.0; 8])) - 1.0).abs() < 1e-12);
    }

    /// All pairings of a few points, tried.
    #[test]
    fn no_other_pairs_are_nearer() {
        use diffusion_core::random::{Purpose, Stream};
        let mut stream = Stream::new(0, Purpose(1000), 0, 0);
        let mut draw = || Features::new((0..10).map(|_| stream.normal() as f32).collect(), 2).unwrap();
        let (first, second) = (draw(), draw());
        let mut order: Vec<usize> = (0..5).collect();
        let mut least = f64::INFINITY;
        permutations(&mut order, 0, &mut |order| {
            let sum = order.iter().enumerate().map(|(i, &j)| squared_distance(first.row(i), second.row(j)));
            least = least.min(sum.sum::<f64>());
        });
        let found = wasserstein(&first, &second, &Watch::default()).unwrap();
        assert!((found - (least / 5.0).sqrt()).abs() < 1e-9, "{found}");
    }

    fn permutations(order: &mut Vec<usize>, at: usize, visit: &mut impl FnMut(&[usize])) {
        if at == order.len() {
            return visit(order);
        }
        for other in at..order.len() {
            order.swap(at, other);
            permutations(order, at + 1, visit);
            order.swap(at, other);
        }
    }

    #[test]
    fn sets_of_different_sizes_have_no_pairs() {
        let error = wasserstein(&points(&[0.0; 2]), &points(&[0.0; 4]), &Watch::default()).unwrap_err();
        assert!(matches!(error, MetricError::TooFew { found: 1, needed: 2 }));
    }
}

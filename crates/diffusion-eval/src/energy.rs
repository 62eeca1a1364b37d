//! The energy distance between sets.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::Pairs;
use diffusion_core::watch::{Stopped, Watch};

/// The energy distance 2·E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖ between two sets as they are (Székely and Rizzo 2013): 0 if they
/// are the same, else above it, in the features' unit. It sees every difference between distributions.
///
/// Pairs of an example with itself count, so that of draws of one distribution it is above 0 by some 1/n: see
/// [`Features::halves`].
///
/// # Errors
/// If the sets differ in their dimensions, or `watch` stops it.
pub fn energy_distance(samples: &Features, real: &Features, watch: &Watch) -> Result<f64, MetricError> {
    samples.check_dimensions(real)?;
    let between = mean_distance(samples, real, watch)?;
    let within = [samples, real].map(|set| mean_distance(set, set, watch));
    let [first, second] = within;
    Ok((2.0 * between - first? - second?).max(0.0))
}

/// The mean distance of all pairs.
fn mean_distance(rows: &Features, columns: &Features, watch: &Watch) -> Result<f64, Stopped> {
    let pairs = Pairs { rows, columns, watch, work: "measuring distances" };
    let sums = pairs
        .distances(|| 0.0, |sum, piece| *sum += piece.values.iter().copied().map(f64::sqrt).sum::<f64>())?;
    Ok(sums.into_iter().sum::<f64>() / (rows.count() as f64 * columns.count() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_examples_are_as_far_as_they_are() {
        let point = |x: f32, y: f32| Features::new(vec![x, y], 2).unwrap();
        let distance = |a: &Features, b: &Features| energy_distance(a, b, &Watch::default());
        assert_eq!(distance(&point(1.0, 2.0), &point(4.0, 6.0)).unwrap(), 10.0);
        assert_eq!(distance(&point(1.0, 2.0), &point(1.0, 2.0)).unwrap(), 0.0);
        let line = Features::new(vec![0.0], 1).unwrap();
        let error = distance(&point(0.0, 0.0), &line).unwrap_err();
        assert!(matches!(error, MetricError::Dimensions { found: 2, expected: 1 }));
    }
}

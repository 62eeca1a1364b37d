//! Medians, quartiles and the slope of a power law.

use serde::Serialize;

/// The middle of some numbers and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Summary {
    /// The summary of `numbers`, none if there are none.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share| quantile(&sorted, share);
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }

    /// The same summary of numbers that are all `factor` times as large.
    pub fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// The number below which the share `share` of the sorted numbers lies, between two of them by a straight line.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// Each number of `here` in units of the one of `peer` that was measured in the same turn.
pub fn ratios(here: &[f64], peer: &[f64]) -> Vec<f64> {
    here.iter().zip(peer).map(|(here, peer)| here / peer).collect()
}

/// The power p of the law y = c·xᵖ that fits the points best, by least squares of the logarithms; none if there are no
/// two different x.
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (x_mean, y_mean) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = logs.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let common: f64 = logs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    (spread > 0.0).then(|| common / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_quartiles_are_those_of_the_sorted_numbers() {
        let of = |numbers: &[f64]| Summary::of(numbers).map(|s| (s.low, s.median, s.high));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some((3.0, 3.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0]), Some((1.75, 2.5, 3.25)));
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some((2.0, 3.0, 4.0)));
        assert_eq!(of(&[9.0, 1.0, 2.0, 1000.0]), Some((1.75, 5.5, 256.75)));
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        assert_eq!(ratios(&[2.0, 9.0], &[4.0, 3.0]), [0.5, 3.0]);
    }

    #[test]
    fn a_power_law_has_its_power_as_slope() {
        let law = |x: f64| (x, 7.0 * x.powf(1.5));
        let found = slope(&[law(1.0), law(10.0), law(200.0)]).expect("three different x");
        assert!((found - 1.5).abs() < 1e-12, "{found}");
        // By hand: ln y is 0, 1, 1 at ln x 0, 1, 2; the line through them rises by ½.
        let e = std::f64::consts::E;
        let found = slope(&[(1.0, 1.0), (e, e), (e * e, e)]).expect("three different x");
        assert!((found - 0.5).abs() < 1e-12, "{found}");
        assert_eq!(slope(&[(2.0, 1.0), (2.0, 3.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}

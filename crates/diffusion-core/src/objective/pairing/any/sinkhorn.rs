//! Pairs drawn from an entropic plan.

use crate::invalid::Invalid;
use crate::objective::{Pairing, Products};
use crate::precision::check_level;
use crate::random::Stream;
use serde::{Deserialize, Serialize};

/// Pairs drawn from the entropic optimal transport plan (Cuturi 2013, arXiv:1306.0895), row by row without those that are
/// taken: nearly the best pairs, in a time that grows with the square of the batch. Where the draw came out no better
/// than the pairs at random, those stay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sinkhorn {
    /// How blurred the plan is: its temperature, in standard deviations of the products x₀·ε; 0.05 by default.
    pub epsilon: f64,
    /// How often rows and columns are normalized; 50 by default.
    pub iterations: usize,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        Self { epsilon: 0.05, iterations: 50 }
    }
}

impl Sinkhorn {
    /// The most iterations: more would never end.
    const MOST: usize = 10_000;

    /// Whether there is such a pairing.
    ///
    /// # Errors
    /// Unless ε is positive, and there are 1 to 10,000 iterations.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_level("epsilon", self.epsilon)?;
        Invalid::unless_positive("iterations", self.iterations, Self::MOST)
    }

    /// The logarithm of the plan but for a factor of each row: products and potentials of columns, over the temperature.
    /// In logarithms, since a sharp plan has numbers that f64 does not hold.
    fn log_plan(&self, products: &Products) -> Vec<Vec<f64>> {
        let n = products.examples();
        let (mean, square) =
            (0..n).flat_map(|i| products.row(i)).fold((0.0, 0.0), |(sum, squares), value| {
                (sum + value / (n * n) as f64, squares + value * value / (n * n) as f64)
            });
        let temperature = self.epsilon * (square - mean * mean).max(0.0).sqrt().max(f64::MIN_POSITIVE);
        let scaled: Vec<Vec<f64>> =
            (0..n).map(|i| products.row(i).iter().map(|product| product / temperature).collect()).collect();
        let mut columns = vec![0.0; n];
        for _ in 0..self.iterations {
            let rows: Vec<f64> = scaled
                .iter()
                .map(|row| -log_sum(row.iter().zip(&columns).map(|(value, column)| value + column)))
                .collect();
            columns = (0..n)
                .map(|j| -log_sum(scaled.iter().zip(&rows).map(|(values, row)| values[j] + row)))
                .collect();
        }
        let row = |row: &Vec<f64>| row.iter().zip(&columns).map(|(value, column)| value + column).collect();
        scaled.iter().map(row).collect()
    }
}

/// ln Σ eˣ.
fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

impl Pairing for Sinkhorn {
    fn pair(&self, products: &Products, stream: &mut Stream) -> Vec<usize> {
        let n = products.examples();
        let unpaired: Vec<usize> = (0..n).collect();
        let largest = products.largest();
        if n < 2 || !(largest > 0.0 && largest.is_finite()) {
            return unpaired;
        }
        let plan = self.log_plan(products);
        let mut order = unpaired.clone();
        // No example is always the last to choose.
        stream.shuffle(&mut order);
        let (mut left, mut pairs) = (unpaired.clone(), vec![0; n]);
        for i in order {
            let chosen = draw(&plan[i], &left, stream.uniform());
            pairs[i] = left.swap_remove(chosen);
        }
        if products.sum(&pairs) < products.sum(&unpaired) { unpaired } else { pairs }
    }
}

/// The place in `left` of the one that is drawn by `u` in proportion to the exponentials of `logs`.
fn draw(logs: &[f64], left: &[usize], u: f64) -> usize {
    let largest = left.iter().map(|&j| logs[j]).fold(f64::NEG_INFINITY, f64::max);
    let weight = |j: usize| (logs[j] - largest).exp();
    let mut rest = u * left.iter().map(|&j| weight(j)).sum::<f64>();
    for (place, &j) in left.iter().enumerate() {
        rest -= weight(j);
        if rest < 0.0 {
            return place;
        }
    }
    left.len() - 1
}

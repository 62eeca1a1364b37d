//! How the noise levels of a sampling run lie between the largest and the smallest.

mod any;

pub use any::*;

use std::fmt::Debug;

/// A rule by which noise levels of a sampling run are chosen.
///
/// A spacing of your own: levels evenly spaced in σ.
/// ```
/// use diffusion_core::schedule::{LogLinear, Schedule, Spacing};
///
/// #[derive(Clone, Debug)]
/// struct Linear;
///
/// impl Spacing for Linear {
///     fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
///         let (min, max) = (table[0], table[table.len() - 1]);
///         (0..steps).map(|i| max - (max - min) * i as f64 / steps as f64).collect()
///     }
/// }
///
/// let schedule = LogLinear::new(100, 0.02, 10.0);
/// let levels = Linear.levels(schedule.levels(), 2);
/// assert!((levels[0] - 10.0).abs() < 1e-12 && (levels[1] - 5.01).abs() < 1e-12);
/// ```
pub trait Spacing: Clone + Debug + Send + Sync + 'static {
    /// `steps` noise levels at which the steps of a run begin, never increasing, from those of training, which increase.
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64>;
}

/// The level at a place in `table` that may lie between two of them, where ln σ is linear.
fn level_at(table: &[f64], place: f64) -> f64 {
    let below = (place.max(0.0) as usize).min(table.len() - 1);
    let above = (below + 1).min(table.len() - 1);
    let part = place - below as f64;
    if part <= 0.0 { table[below] } else { table[below] * (table[above] / table[below]).powf(part.min(1.0)) }
}

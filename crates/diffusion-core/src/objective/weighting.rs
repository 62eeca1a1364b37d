//! What an error counts at each noise level.

mod any;

pub use any::*;

use super::Weight;
use crate::parameterization::Parameterization;
use crate::path::Path as _;
use std::fmt::Debug;

/// What an error counts at each noise level, for an objective that is put together of parts.
///
/// Each weight is defined once, on `‖D − x₀‖²`; what it is on the error of the network's output follows from the
/// parameterization. So the same weight means the same for all of them.
///
/// A weighting of your own: that of the error of ε, with an exponent.
/// ```
/// use diffusion_core::objective::{AnyLoss, AnySigmas, Weighted, Weighting};
/// use diffusion_core::{EpsPrediction, Objective, Parameterization, Weight};
///
/// #[derive(Clone, Debug, Default)]
/// struct Power {
///     exponent: f64,
/// }
///
/// impl Weighting for Power {
///     fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
///         Weight::OnDenoised(sigma.powf(self.exponent - 2.0))
///     }
/// }
///
/// let weighting = Power { exponent: 0.5 };
/// let objective = Weighted::<AnySigmas, Power, AnyLoss> { weight: weighting, ..Default::default() };
/// let weight = objective.weight(&EpsPrediction, 4.0).on_output(&EpsPrediction, 4.0);
/// assert!((weight - 2.0).abs() < 1e-12);
/// ```
pub trait Weighting: Clone + Debug + Send + Sync + 'static {
    /// The weight at `sigma`.
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight;

    /// Whether the weight is stated per unit of ln σ instead of per draw: then the loss of a draw also counts by how much
    /// of ln σ it stands for, whatever distribution it is drawn from.
    fn is_per_log_sigma(&self) -> bool {
        false
    }
}

/// The signal-to-noise ratio (α/σ)² at `sigma`.
fn snr<P: Parameterization>(parameterization: &P, sigma: f64) -> f64 {
    (parameterization.path().alpha(sigma) / sigma).powi(2)
}

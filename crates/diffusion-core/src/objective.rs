//! What training minimizes: which noise levels it visits, how errors are measured, and how each level is weighted.

mod any;

pub use any::*;

use crate::parameterization::Parameterization;
use crate::random::Stream;
use crate::schedule::Schedule;
use burn::tensor::{Tensor, backend::Backend};
use std::fmt::Debug;

/// The weight of the squared error at one noise level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// On `‖F − target‖²`, the error of the network's output.
    OnOutput(f64),
    /// On `‖D − x₀‖²`, the error of the estimate of the data, as most papers state it.
    OnDenoised(f64),
}

impl Weight {
    /// The weight on the error of the network's output: with `D = c_skip·x + c_out·F`, an error of F is an error of D
    /// times c_out.
    pub fn on_output<P: Parameterization>(self, parameterization: &P, sigma: f64) -> f64 {
        match self {
            Self::OnOutput(weight) => weight,
            Self::OnDenoised(weight) => weight * parameterization.denoised(sigma).out.powi(2),
        }
    }
}

/// What training minimizes and validation measures.
///
/// An objective of your own: min-SNR weights (Hang et al. 2023, arXiv:2303.09556), stated on the estimate of the data.
/// ```
/// use diffusion_core::{EpsPrediction, Objective, Parameterization, Weight};
///
/// #[derive(Clone, Debug)]
/// struct MinSnr {
///     gamma: f64,
/// }
///
/// impl Objective for MinSnr {
///     fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
///         Weight::OnDenoised(sigma.powi(-2).min(self.gamma))
///     }
/// }
///
/// // At high noise levels an error of ε weighs 1, at low ones min(SNR, γ)/SNR.
/// let weight = |sigma| MinSnr { gamma: 5.0 }.weight(&EpsPrediction, sigma).on_output(&EpsPrediction, sigma);
/// assert!((weight(2.0) - 1.0).abs() < 1e-12 && (weight(0.1) - 0.05).abs() < 1e-12);
/// ```
pub trait Objective: Clone + Debug + Send + Sync + 'static {
    /// The noise level of a training example; as the schedule draws it, unless a member says otherwise.
    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        schedule.draw(stream)
    }

    /// The weight of the squared error at `sigma`.
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight;

    /// The loss of each value of an error of the network's output; its square, unless a member says otherwise.
    ///
    /// # Shapes
    /// - `error`, returns: `[batch, …]`
    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        error.square()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameterization::{Edm, EpsPrediction, VPrediction};

    /// EDM's weight (σ² + s_d²)/(σ·s_d)² on the error of D is 1 on that of the output, and min-SNR's "1 on ε" is 1/σ²
    /// on the error of D.
    #[test]
    fn a_weight_on_the_data_is_converted() {
        for sigma in [0.01, 0.5, 3.0, 80.0f64] {
            let (edm, s) = (Edm { sigma_data: 0.5 }, 0.5);
            let weight = Weight::OnDenoised((sigma * sigma + s * s) / (sigma * s).powi(2));
            assert!((weight.on_output(&edm, sigma) - 1.0).abs() < 1e-12);
            let weight = Weight::OnDenoised(1.0 / (sigma * sigma));
            assert!((weight.on_output(&EpsPrediction, sigma) - 1.0).abs() < 1e-12);
            assert_eq!(Weight::OnOutput(3.0).on_output(&VPrediction, sigma), 3.0);
        }
    }
}

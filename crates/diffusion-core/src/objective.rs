//! What training minimizes: which noise levels it visits, how errors are measured, and how each level is weighted.
//!
//! [`PredictionMse`] is smalldiffusion's. [`Weighted`] puts others together: a [`SigmaDistribution`] says which noise
//! levels are drawn, a [`Weighting`] what an error counts at each, a [`Loss`] how it is measured, and a [`Pairing`] which
//! noise goes with which example.

mod adaptive;
mod any;
mod batch;
mod learned_variance;
mod loss;
mod memory;
mod offset_noise;
mod pairing;
mod sigmas;
mod trained_model;
mod weighting;

pub use adaptive::Adaptive;
pub use any::*;
pub use batch::*;
pub use learned_variance::LearnedVariance;
pub use loss::*;
pub use memory::{Adam, Memory, Seen};
pub use offset_noise::{OffsetNoise, Strength};
pub use pairing::*;
pub use sigmas::*;
pub use trained_model::{NoisyBatch, TrainedModel};
pub use weighting::*;

use crate::parameterization::Parameterization;
use crate::random::Stream;
use crate::schedule::Schedule;
use crate::sigma::Sigma;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
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
/// An objective of your own: a weight that is 1 up to a noise level and 0 above, stated on the estimate of the data.
/// ```
/// use diffusion_core::{EpsPrediction, Objective, Parameterization, Weight};
///
/// #[derive(Clone, Debug)]
/// struct Below {
///     sigma: f64,
/// }
///
/// impl Objective for Below {
///     fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
///         Weight::OnDenoised(if sigma < self.sigma { 1.0 } else { 0.0 })
///     }
/// }
///
/// // An error of ε is one of D, times σ.
/// let weight = |sigma| Below { sigma: 1.0 }.weight(&EpsPrediction, sigma).on_output(&EpsPrediction, sigma);
/// assert!((weight(0.1) - 0.01).abs() < 1e-12 && weight(2.0) == 0.0);
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
    /// - `error`: `[batch, …]`
    /// - returns `[batch, …]`, or `[batch, 1, …]` for a loss of whole examples
    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        error.square()
    }

    /// The weighted loss of each value of an `error` of the network's output at the levels `sigma`.
    ///
    /// # Shapes
    /// - as [`penalty`](Self::penalty)
    fn losses<P: Parameterization, B: Backend, const D: usize>(
        &self,
        parameterization: &P,
        sigma: &Sigma,
        error: Tensor<B, D>,
    ) -> Tensor<B, D> {
        let weight = |s| self.weight(parameterization, s).on_output(parameterization, s);
        sigma.map(weight).times(self.penalty(error))
    }

    /// The noise levels of a batch; [`draw`](Self::draw) for each example, unless a member says otherwise.
    fn levels<S: Schedule + ?Sized>(&self, schedule: &S, place: &BatchPlace, _memory: &Memory) -> Vec<Drawn> {
        let draw = |i| Drawn::plain(self.draw(schedule, &mut place.stream(TRAINING_SIGMA, i)));
        (0..place.examples).map(draw).collect()
    }

    /// The noise level below which a share `rank` of the levels lies, and how it counts, apart from all that was learned;
    /// nothing where that is not known, and validation has to draw.
    fn level_at<S: Schedule + ?Sized>(&self, _schedule: &S, _rank: f64) -> Option<Drawn> {
        None
    }

    /// The noise of a batch, made of unit normal noise that was drawn for each example; that itself, unless a member says
    /// otherwise. `classes` are the examples' labels, if they have any.
    ///
    /// # Shapes
    /// - `noise`, `x0`, returns: `[batch, …]` in f32
    fn noise(
        &self,
        noise: TensorData,
        _x0: &TensorData,
        _classes: Option<&[usize]>,
        _place: &BatchPlace,
    ) -> TensorData {
        noise
    }

    /// The whole loss of each example of a batch, of an objective that compares the model with itself or with a teacher;
    /// nothing, unless a member says otherwise, where [`losses`](Self::losses) of the prediction's error are all.
    ///
    /// # Shapes
    /// - returns `[batch]`
    fn batch_losses<B: AutodiffBackend, M: TrainedModel<B, D>, S: Schedule + ?Sized, const D: usize>(
        &self,
        _model: &M,
        _schedule: &S,
        _batch: &NoisyBatch<B, D>,
        _place: &BatchPlace,
    ) -> Option<Tensor<B, 1>> {
        None
    }

    /// What the objective knows before the first step; nothing, unless it learns.
    fn memory(&self) -> Memory {
        Memory::default()
    }

    /// Learns from a step whose update was made.
    fn observe(&self, _memory: &mut Memory, _seen: &Seen<'_>) {}
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

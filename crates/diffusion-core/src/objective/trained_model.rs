//! The model that is trained, as an objective sees it that compares the model with itself or with a teacher.

use burn::tensor::{Tensor, backend::AutodiffBackend};

/// The model that is trained, with the condition of a batch.
///
/// Training makes one of its [`Diffusion`](crate::Diffusion). One of your own asks an objective for the losses of a formula;
/// this one's estimate is half of its input:
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::{Tensor, backend::AutodiffBackend};
/// use diffusion_core::Objective;
/// use diffusion_core::objective::{BatchPlace, ConsistencyTraining, NoisyBatch, TrainedModel};
/// use diffusion_core::schedule::LogLinear;
///
/// struct Half;
///
/// impl<B: AutodiffBackend> TrainedModel<B, 2> for Half {
///     fn alpha(&self, _sigma: f64) -> f64 {
///         1.0
///     }
///
///     fn denoised(&self, x: Tensor<B, 2>, _sigmas: &[f64]) -> Tensor<B, 2> {
///         x * 0.5
///     }
///
///     fn frozen(&self, x: Tensor<B::InnerBackend, 2>, _sigmas: &[f64]) -> Tensor<B::InnerBackend, 2> {
///         x * 0.5
///     }
///
///     fn taught_velocity(
///         &self,
///         _x: Tensor<B::InnerBackend, 2>,
///         _sigmas: &[f64],
///     ) -> Option<Tensor<B::InnerBackend, 2>> {
///         None
///     }
/// }
///
/// let device = Default::default();
/// let batch = NoisyBatch::<Autodiff<Flex>, 2> {
///     x0: Tensor::zeros([1, 2], &device),
///     eps: Tensor::from_floats([[3.0, 4.0]], &device),
///     sigmas: vec![10.0],
/// };
/// let place = BatchPlace { seed: 0, step: 0, first: 0, examples: 1, total: 1 };
/// let schedule = LogLinear::new(100, 0.01, 10.0);
/// let losses = ConsistencyTraining::default().batch_losses(&Half, &schedule, &batch, &place).unwrap();
/// // Half of ‖(σ − σ′)·ε‖, in units of σ − σ′; the distance begins at c.
/// assert!((losses.into_scalar() - 2.5).abs() < 1e-2);
/// ```
pub trait TrainedModel<B: AutodiffBackend, const D: usize> {
    /// The data's weight on the model's path.
    fn alpha(&self, sigma: f64) -> f64;

    /// The estimate D of the data, through which gradients flow.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    /// - `sigmas`: one for each example
    fn denoised(&self, x: Tensor<B, D>, sigmas: &[f64]) -> Tensor<B, D>;

    /// The same with the weights as they are, through which none flow, and without dropout.
    ///
    /// # Shapes
    /// - as [`denoised`](Self::denoised)
    fn frozen(&self, x: Tensor<B::InnerBackend, D>, sigmas: &[f64]) -> Tensor<B::InnerBackend, D>;

    /// The teacher's dx/dσ; nothing where there is no teacher.
    ///
    /// # Shapes
    /// - as [`denoised`](Self::denoised)
    fn taught_velocity(
        &self,
        x: Tensor<B::InnerBackend, D>,
        sigmas: &[f64],
    ) -> Option<Tensor<B::InnerBackend, D>>;

    /// The mean of dx/dσ on the ways of the lengths `over` down from `sigmas`, through which gradients flow; nothing where the
    /// model cannot be asked for that, as unless it says otherwise.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    /// - `sigmas`, `over`: one for each example
    fn mean_velocity(&self, _x: Tensor<B, D>, _sigmas: &[f64], _over: &[f64]) -> Option<Tensor<B, D>> {
        None
    }

    /// The same of some examples of the batch, `examples`, with the weights as they are, through which no gradients flow.
    ///
    /// # Shapes
    /// - `x`, returns: `[examples, …]`
    /// - `sigmas`, `over`: one for each of them
    fn frozen_mean_velocity(
        &self,
        _x: Tensor<B::InnerBackend, D>,
        _sigmas: &[f64],
        _over: &[f64],
        _examples: &[usize],
    ) -> Option<Tensor<B::InnerBackend, D>> {
        None
    }
}

/// The examples of a batch, and what noise each gets.
#[derive(Clone, Debug)]
pub struct NoisyBatch<B: AutodiffBackend, const D: usize> {
    /// The examples, `[batch, …]`.
    pub x0: Tensor<B::InnerBackend, D>,
    /// Noise of unit variance, `[batch, …]`.
    pub eps: Tensor<B::InnerBackend, D>,
    /// The noise level of each.
    pub sigmas: Vec<f64>,
}

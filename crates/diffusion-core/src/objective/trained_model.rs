//! The model that is trained, as an objective sees it that compares the model with itself or with a teacher.

use burn::tensor::{Tensor, backend::AutodiffBackend};

/// The model that is trained, with the condition of a batch.
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

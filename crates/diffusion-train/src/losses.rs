//! The losses of a batch by their noise levels: what they come to, and what an objective learns from.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::objective::Drawn;

/// The noise levels of a batch and their losses, `[batch]`, still on the device.
pub(crate) struct Losses<B: Backend> {
    pub levels: Vec<Drawn>,
    pub losses: Tensor<B, 1>,
}

impl<B: Backend> Losses<B> {
    /// Those of all batches, one after the other, read from the device.
    pub fn read(parts: Vec<Self>) -> (Vec<Drawn>, Vec<f64>) {
        let (levels, losses): (Vec<_>, Vec<_>) =
            parts.into_iter().map(|part| (part.levels, part.losses)).unzip();
        let losses = Tensor::cat(losses, 0).into_data().iter::<f64>().collect();
        (levels.concat(), losses)
    }
}

/// The mean of `losses`, `[batch]`, as their levels count; `[1]`.
pub(crate) fn mean<B: Backend>(losses: Tensor<B, 1>, levels: &[Drawn]) -> Tensor<B, 1> {
    let n = levels.len();
    let factors: Vec<f32> = levels.iter().map(|level| level.factor() as f32).collect();
    let factors = Tensor::from_data(TensorData::new(factors, [1, n]), &losses.device());
    let offset = levels.iter().map(Drawn::offset).sum::<f64>() / n as f64;
    // Along an axis, as of every mean that a run depends on.
    let loss = (losses.reshape([1, n]) * factors).mean_dim(1).reshape([1]);
    if offset == 0.0 { loss } else { loss + offset }
}

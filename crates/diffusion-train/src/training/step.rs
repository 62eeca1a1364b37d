//! What a step of a training tells.

use crate::health::NonFinite;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{ElementConversion, Tensor};

/// What one step did; it owns its numbers.
#[derive(Clone, Debug)]
pub struct TrainStep<B: AutodiffBackend> {
    /// Its number, from 1.
    pub index: u64,
    /// Examples seen so far, this step's included.
    pub examples: u64,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of all gradients together, before clipping; not known where nobody looks, see
    /// [`TrainConfig::max_skipped`].
    ///
    /// [`TrainConfig::max_skipped`]: crate::TrainConfig::max_skipped
    pub gradient_norm: Option<f64>,
    /// Why the step changed nothing, if it was skipped.
    pub skipped: Option<NonFinite>,
    pub(super) loss: Loss<B>,
}

/// The mean loss of a step.
#[derive(Clone, Debug)]
pub(super) enum Loss<B: AutodiffBackend> {
    Read(f64),
    OnDevice(Tensor<B::InnerBackend, 1>),
}

impl<B: AutodiffBackend> TrainStep<B> {
    /// The mean loss of the step's examples before the update.
    ///
    /// Where nobody looks at the gradients, see [`TrainConfig::max_skipped`], reading it waits for the device: on a
    /// GPU, ask every few steps then rather than at each.
    ///
    /// [`TrainConfig::max_skipped`]: crate::TrainConfig::max_skipped
    pub fn loss(&self) -> f64 {
        match &self.loss {
            Loss::Read(loss) => *loss,
            Loss::OnDevice(loss) => loss.clone().into_scalar().elem(),
        }
    }
}

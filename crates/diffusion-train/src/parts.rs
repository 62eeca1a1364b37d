//! A step in the making: the sum over its batches so far, of which none is held.

use crate::health::{NonFinite, scale};
use crate::losses::Losses;
use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// What the batches of a step come to.
pub(crate) struct Parts<B: AutodiffBackend> {
    /// The sum of their mean losses, `[1]`, each times its share of `expected`.
    pub loss: Tensor<B::InnerBackend, 1>,
    /// Its gradients.
    pub gradients: GradientsParams,
    /// How many batches there were.
    pub batches: usize,
    /// How many examples were in them.
    pub examples: usize,
    /// How many examples there will be if all batches are like the first.
    pub expected: usize,
    /// The first value of the examples that is not finite, if anybody looked.
    pub bad: Option<NonFinite>,
    /// The levels and losses of each batch, if the objective learns from them.
    pub seen: Vec<Losses<B::InnerBackend>>,
}

impl<B: AutodiffBackend> Parts<B> {
    /// These with `part`, the one that follows.
    pub fn join<M: AutodiffModule<B>>(mut self, part: Self, model: &M) -> Self {
        let mut sum = GradientsAccumulator::new();
        sum.accumulate(model, self.gradients);
        sum.accumulate(model, part.gradients);
        self.seen.extend(part.seen);
        Self {
            loss: self.loss + part.loss,
            gradients: sum.grads(),
            batches: self.batches + part.batches,
            examples: self.examples + part.examples,
            expected: self.expected,
            bad: self.bad.or(part.bad),
            seen: self.seen,
        }
    }

    /// The mean loss of all examples, `[1]`, and its gradients.
    pub fn mean<M: AutodiffModule<B>>(self, model: &M) -> (Tensor<B::InnerBackend, 1>, GradientsParams) {
        let Self { loss, mut gradients, examples, expected, .. } = self;
        if examples == expected {
            return (loss, gradients);
        }
        let factor = expected as f64 / examples as f64;
        scale::<B, _>(model, &mut gradients, factor);
        (loss * factor, gradients)
    }
}

//! What a network must offer to be used in a diffusion model.

pub mod dit;
pub mod ideal;
pub mod mlp;
pub mod unet;

use crate::trace::Tracer;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use std::fmt::Debug;

/// A network that maps a noisy input, its noise level and a condition to an output of the input's shape.
///
/// `D` is the rank of the input, its first axis the batch. A network says nothing about what its output means; that
/// is the [`Parameterization`](crate::Parameterization)'s affair.
pub trait Network<B: Backend, const D: usize> {
    /// What the network is conditioned on: `()` for nothing, [`Labels`] for classes, or a type of your own.
    type Condition: Condition;

    /// The shape of a batch of inputs.
    fn input_shape(&self, batch: usize) -> [usize; D];

    /// The network's output.
    ///
    /// # Shapes
    /// - `x`: [`input_shape`](Self::input_shape)
    /// - `sigma`: `[batch]`, positive
    /// - returns the shape of `x`
    fn forward(&self, x: Tensor<B, D>, sigma: Tensor<B, 1>, condition: Self::Condition) -> Tensor<B, D>;

    /// The same output, while `tracer` sees that of every layer and may replace it.
    ///
    /// The networks of this library show their layers; one that only has a `forward` is a single layer, `network`.
    /// Of your own networks show each tensor that more than one of the later layers reads: then each layer's gradient
    /// can be computed by itself.
    ///
    /// # Shapes
    /// - as [`forward`](Self::forward)
    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        condition: Self::Condition,
        tracer: &mut T,
    ) -> Tensor<B, D> {
        tracer.layer(&"network", self.forward(x, sigma, condition))
    }

    /// The condition as training sees it: for classifier-free guidance a network forgets the condition of some
    /// examples (Ho & Salimans 2022, arXiv:2207.12598, Alg. 1).
    ///
    /// `uniform` gives a number in [0, 1) for each example; the default forgets nothing.
    fn drop_condition(
        &self,
        condition: Self::Condition,
        _uniform: &mut dyn FnMut(usize) -> f64,
    ) -> Self::Condition {
        condition
    }

    /// Tensors that are computed, not learned, and that the reference's state dict holds all the same, under the
    /// reference's names.
    fn buffers(&self) -> Vec<(&'static str, TensorData)> {
        Vec::new()
    }
}

/// The condition of a whole batch.
pub trait Condition: Clone + Debug + Send + 'static {
    /// The conditions of both batches, one after the other, so that guidance needs one forward pass.
    fn join(self, other: Self) -> Self;

    /// Panics if this is the condition of another number of examples than `batch`.
    fn check(&self, batch: usize);
}

impl Condition for () {
    fn join(self, (): ()) {}

    fn check(&self, _batch: usize) {}
}

/// One class label per example, on the host, where a wrong one is found before it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub Vec<usize>);

impl Labels {
    /// The labels as a tensor.
    ///
    /// # Shapes
    /// - returns `[batch]`
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn tensor<B: Backend>(&self, classes: usize, device: &B::Device) -> Tensor<B, 1, Int> {
        for (i, &label) in self.0.iter().enumerate() {
            assert!(label < classes, "label {i} is {label}, expected one of 0..{classes}");
        }
        let labels: Vec<i32> = self.0.iter().map(|&label| label as i32).collect();
        Tensor::from_data(TensorData::new(labels, [self.0.len()]), device)
    }
}

impl Condition for Labels {
    fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.0.len(), batch, "labels and examples differ in number");
    }
}

/// A network that can also be asked without a condition, having been trained with some left out: it must forget
/// some in [`Network::drop_condition`], else guidance compares with an answer that was never learned.
pub trait NullCondition {
    /// The condition that it can do without.
    type Condition: Condition;

    /// "No condition", for as many examples as `condition` has.
    fn null_condition(&self, condition: &Self::Condition) -> Self::Condition;
}

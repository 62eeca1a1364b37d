//! Layers in a row that all see the same condition.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use std::marker::PhantomData;

/// A layer that takes a conditioning vector besides its input.
pub trait CondModule<B: Backend, const D: usize> {
    /// The layer's output.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    /// - `y`: `[batch, dim]`
    fn forward(&self, x: Tensor<B, D>, y: Tensor<B, 2>) -> Tensor<B, D>;
}

/// Modules applied one after the other, each with the same condition.
#[derive(Module, Debug)]
pub struct CondSequential<B: Backend, M> {
    /// The modules, in order.
    pub modules: Vec<M>,
    _backend: PhantomData<B>,
}

impl<B: Backend, M> CondSequential<B, M> {
    /// The sequence of `modules`.
    pub fn new(modules: Vec<M>) -> Self {
        Self { modules, _backend: PhantomData }
    }
}

impl<B: Backend, const D: usize, M: CondModule<B, D>> CondModule<B, D> for CondSequential<B, M> {
    fn forward(&self, x: Tensor<B, D>, y: Tensor<B, 2>) -> Tensor<B, D> {
        self.modules.iter().fold(x, |x, module| module.forward(x, y.clone()))
    }
}

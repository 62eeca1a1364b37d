//! Stands in for the module of a backend whose feature is off: it has no kernel for anything.

use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// Every operation, so that it asks nothing of any.
pub(crate) trait Kernel<const N: usize> {}

impl<K, const N: usize> Kernel<N> for K {}

/// Every update, likewise.
pub(crate) trait Update<const N: usize>: crate::operation::Update<N> {}

impl<U: crate::operation::Update<N>, const N: usize> Update<N> for U {}

/// Gives the inputs back.
pub fn apply<B: Backend, K: Kernel<N>, const N: usize>(
    _: &K,
    inputs: [FloatTensor<B>; N],
) -> Result<FloatTensor<B>, [FloatTensor<B>; N]> {
    Err(inputs)
}

/// Gives the tensors back.
pub fn update<B: Backend, U: Update<N>, const N: usize, const D: usize>(
    _: &U,
    tensors: [Tensor<B, D>; N],
) -> Result<U::Output<Tensor<B, D>>, [Tensor<B, D>; N]> {
    Err(tensors)
}

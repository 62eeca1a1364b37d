//! A sum that repeats.

use burn::tensor::{Tensor, backend::Backend};

/// The sum of all values, `[1]`. Along axes, since on a GPU the sum of a whole tensor adds its parts in the order in which
/// they are ready; a large tensor's rows first, so that a GPU has something to share out.
pub(crate) fn sum<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    const LARGE: usize = 1 << 15;
    let numbers = x.shape().num_elements();
    let rows = if numbers > LARGE { x.dims()[0] } else { 1 };
    let sums = x.reshape([rows, numbers / rows]).sum_dim(1);
    let sum = if rows > 1 { sums.reshape([1, rows]).sum_dim(1) } else { sums };
    sum.reshape([1])
}

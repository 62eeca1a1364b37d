//! Compiles ndarray's convolutions with optimisation, for tests that are compiled without.
//!
//! They are generic functions, which are compiled wherever they are used first. In the tests' own crate that would be
//! without optimisation, and a U-Net's gradient would take a minute instead of a second; the whole of that crate
//! optimised would take many minutes to build. What is compiled here is found and used there, as long as this crate
//! has the optimisation level `s`: the compiler does not share what the levels 2 and 3 make of generic functions.

use burn::backend::NdArray;
use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

/// A convolution, and the one by which its gradient is computed.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, 3, 3]`
/// - returns the shape of `x`
pub fn convolutions(x: Tensor<NdArray, 4>, weight: Tensor<NdArray, 4>) -> Tensor<NdArray, 4> {
    let y = conv2d(x, weight.clone(), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    let options = ConvTransposeOptions::new([1, 1], [1, 1], [0, 0], [1, 1], 1);
    conv_transpose2d(y, weight, None, options)
}

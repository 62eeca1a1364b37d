//! The kernels for `Flex` and `Autodiff<Flex>`.

mod activation;
mod attention;
mod conv;
mod dropout;
mod gemm;
mod image;
mod kernel;
mod linear;
mod math;
mod norm;
mod update;
mod winograd;

pub use kernel::{Kernel, apply};
pub use update::{Update, update};

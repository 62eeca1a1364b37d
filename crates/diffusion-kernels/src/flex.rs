//! The kernels for `Flex` and `Autodiff<Flex>`.

mod activation;
mod attend;
mod attention;
mod bands;
mod conv;
mod dropout;
mod geglu;
mod gemm;
mod image;
mod kernel;
mod linear;
mod math;
mod norm;
mod update;
mod winograd;

pub(crate) use kernel::Kernel;
pub use kernel::apply;
pub(crate) use update::Update;
pub use update::update;

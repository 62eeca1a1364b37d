//! How an error is measured.

mod any;

pub use any::*;

use burn::tensor::{Tensor, backend::Backend};
use std::fmt::Debug;

/// How an error is measured, for an objective that is put together of parts.
///
/// A loss of your own: the mean absolute error.
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_core::objective::{AnySigmas, AnyWeight, Loss, Weighted};
/// use diffusion_core::Objective;
///
/// #[derive(Clone, Debug, Default)]
/// struct Absolute;
///
/// impl Loss for Absolute {
///     fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
///         error.abs()
///     }
/// }
///
/// let objective = Weighted::<AnySigmas, AnyWeight, Absolute>::default();
/// let error = Tensor::<Flex, 2>::from_floats([[-2.0, 1.0]], &Default::default());
/// assert_eq!(objective.penalty(error).sum().into_scalar(), 3.0);
/// ```
pub trait Loss: Clone + Debug + Send + Sync + 'static {
    /// The loss of each value of an error, or of each example: what counts is the mean.
    ///
    /// # Shapes
    /// - `error`: `[batch, …]`
    /// - returns `[batch, …]`, or `[batch, 1, …]` for a loss of whole examples
    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D>;

    /// Whether the loss is quadratic: then an error times c has c² times the loss, and nothing has to be computed twice.
    fn is_quadratic(&self) -> bool {
        false
    }
}

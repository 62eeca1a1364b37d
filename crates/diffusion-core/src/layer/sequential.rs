//! Layers in a row that all see the same condition.

use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use std::marker::PhantomData;

/// A layer that takes a conditioning vector besides its input.
///
/// ```
/// use burn::backend::Flex;
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_core::layer::{CondModule, CondSequential};
///
/// /// Adds what follows from the condition.
/// #[derive(Module, Debug)]
/// struct Shift<B: Backend> {
///     linear: Linear<B>,
/// }
///
/// impl<B: Backend> CondModule<B, 2> for Shift<B> {
///     fn forward(&self, x: Tensor<B, 2>, y: Tensor<B, 2>) -> Tensor<B, 2> {
///         x + self.linear.forward(y)
///     }
/// }
///
/// let device = Default::default();
/// let shift = || Shift::<Flex> { linear: LinearConfig::new(3, 2).init(&device) };
/// let twice = CondSequential::new(vec![shift(), shift()]);
/// let x = twice.forward(Tensor::zeros([4, 2], &device), Tensor::ones([4, 3], &device));
/// assert_eq!(x.dims(), [4, 2]);
/// ```
pub trait CondModule<B: Backend, const D: usize> {
    /// The layer's output.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    /// - `y`: `[batch, dim]`
    fn forward(&self, x: Tensor<B, D>, y: Tensor<B, 2>) -> Tensor<B, D>;

    /// The same output, while `tracer` sees those of the layers inside; the layer's own output is left to the caller,
    /// who knows its name.
    ///
    /// The default shows nothing.
    ///
    /// # Shapes
    /// - as [`forward`](Self::forward)
    fn trace<T: Tracer<B>>(&self, x: Tensor<B, D>, y: Tensor<B, 2>, _tracer: &mut T) -> Tensor<B, D> {
        self.forward(x, y)
    }
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
        self.trace(x, y, &mut Untraced)
    }

    /// Each module, and what is inside of it.
    fn trace<T: Tracer<B>>(&self, x: Tensor<B, D>, y: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, D> {
        self.modules.iter().enumerate().fold(x, |x, (i, module)| {
            let name = format_args!("modules.{i}");
            let x = module.trace(x, y.clone(), &mut tracer.within(&name));
            tracer.layer(&name, x)
        })
    }
}

//! Watching a network compute, layer by layer.

use burn::tensor::{Tensor, backend::Backend};
use std::fmt::{self, Display};

/// Sees the output of every layer of a network, and may put another in its place.
///
/// A layer is what a network computes between the outputs that were seen before and its own: an activation in front
/// of a convolution belongs to the convolution. Its name is the path of its field in the network,
/// `blocks.modules.3.attn`, as the paths of its parameters have it; a sum or a join that several layers read has no
/// field and is named in the same way. Within one pass every name occurs once.
///
/// What a tracer returns is what the network goes on with, so it can save the outputs of one backend and, on
/// another, judge each layer on the right inputs ([`Network::trace`](crate::Network::trace)).
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_core::{Network, Tracer};
/// use std::fmt::Display;
///
/// /// Remembers the names of the layers and the sizes of their outputs.
/// #[derive(Default)]
/// struct Layers(Vec<(String, usize)>);
///
/// impl<B: Backend> Tracer<B> for Layers {
///     fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
///         self.0.push((name.to_string(), output.dims()[D - 1]));
///         output
///     }
/// }
///
/// let device = Default::default();
/// let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 8], ..Default::default() }.init::<Flex>(0, &device);
/// let mut layers = Layers::default();
/// network.trace(Tensor::zeros([1, 2], &device), Tensor::ones([1], &device), (), &mut layers);
/// assert_eq!(layers.0.last(), Some(&("net.2".to_string(), 2)));
/// ```
pub trait Tracer<B: Backend> {
    /// Sees the output of the layer `name`; returns the tensor that takes its place.
    ///
    /// # Shapes
    /// - `output`, returns: any, the same
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D>;

    /// This tracer for what is inside of the field `field`: it puts that before every name.
    fn within<'a>(&'a mut self, field: &'a dyn Display) -> Within<'a, Self>
    where
        Self: Sized,
    {
        Within { field, tracer: self }
    }
}

/// Sees nothing and changes nothing: a network's `forward` is its `trace` with this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untraced;

impl<B: Backend> Tracer<B> for Untraced {
    fn layer<const D: usize>(&mut self, _name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        output
    }
}

/// A tracer inside of a field; made by [`Tracer::within`].
pub struct Within<'a, T> {
    field: &'a dyn Display,
    tracer: &'a mut T,
}

impl<T> fmt::Debug for Within<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Within({})", self.field)
    }
}

impl<B: Backend, T: Tracer<B>> Tracer<B> for Within<'_, T> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        self.tracer.layer(&format_args!("{}.{name}", self.field), output)
    }
}

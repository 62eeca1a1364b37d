//! What a network must offer to be used in a diffusion model.

mod averaged;
pub mod dit;
pub mod ideal;
pub mod mixture;
pub mod mlp;
pub mod unet;

pub use crate::condition::{AnyCondition, Condition, Labels, NullCondition, Tokens};

use crate::sigma::Sigma;
use crate::trace::{Tracer, Untraced};
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// A network that maps a noisy input, its noise level and a condition to an output of the input's shape.
///
/// `D` is the rank of the input, its first axis the batch. A network says nothing about what its output means; that
/// is the [`Parameterization`](crate::Parameterization)'s affair.
///
/// A network of your own, which is told the noise level as a further input:
/// ```
/// use burn::backend::Flex;
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_core::{Diffusion, EpsPrediction, Network, Noise, Tracer};
///
/// #[derive(Module, Debug)]
/// struct OneLayer<B: Backend> {
///     layer: Linear<B>,
/// }
///
/// impl<B: Backend> Network<B, 2> for OneLayer<B> {
///     type Condition = ();
///
///     fn input_shape(&self, batch: usize) -> [usize; 2] {
///         [batch, 2]
///     }
///
///     fn trace<T: Tracer<B>>(
///         &self,
///         x: Tensor<B, 2>,     // [batch, 2]
///         sigma: Tensor<B, 1>, // [batch]
///         _condition: (),
///         tracer: &mut T,
///     ) -> Tensor<B, 2> {
///         let inputs = Tensor::cat(vec![x, sigma.log().unsqueeze_dim(1)], 1); // [batch, 3]
///         tracer.layer(&"layer", self.layer.forward(inputs)) // [batch, 2]
///     }
/// }
///
/// let device = Default::default();
/// let model = Diffusion::new(OneLayer::<Flex> { layer: LinearConfig::new(3, 2).init(&device) }, EpsPrediction);
/// let x = model.rand_input::<2>(4, Noise::new(0), &device);
/// assert_eq!(model.predict_eps(x, 1.0, ()).dims(), [4, 2]);
/// ```
pub trait Network<B: Backend, const D: usize> {
    /// What the network is conditioned on: `()` for nothing, [`Labels`] for classes, [`Tokens`] for
    /// sequences, [`AnyCondition`] for what is chosen at run time, or a type of your own.
    type Condition: Condition;

    /// The shape of a batch of inputs, and of outputs.
    fn input_shape(&self, batch: usize) -> [usize; D];

    /// Whether the network is given its own last estimate of the data beside the noisy input: self-conditioning (Chen et
    /// al. 2022, arXiv:2208.04202, §3.2). Then [`trace`](Self::trace) and [`forward`](Self::forward) take twice as many
    /// channels, along axis 1, as the input shape says: [`with_estimate`](Self::with_estimate) joins them. The output has
    /// the input shape all the same.
    fn self_conditioned(&self) -> bool {
        false
    }

    /// What [`trace`](Self::trace) and [`forward`](Self::forward) take: `x` alone, or of a network that is
    /// [given an estimate](Self::self_conditioned) `x` and behind it, along axis 1, the estimate; zeros where there is
    /// none.
    ///
    /// # Shapes
    /// - `x`, `estimate`: [`input_shape`](Self::input_shape)
    /// - returns the same, with twice as many channels if the network is given an estimate
    fn with_estimate(&self, x: Tensor<B, D>, estimate: Option<Tensor<B, D>>) -> Tensor<B, D> {
        if !self.self_conditioned() {
            return x;
        }
        let estimate = estimate.unwrap_or_else(|| x.zeros_like());
        Tensor::cat(vec![x, estimate], 1)
    }

    /// The network's output, while `tracer` sees that of every layer and may replace it.
    ///
    /// Show each tensor that more than one of the later layers reads: then each layer's gradient can be computed by
    /// itself. A network that shows nothing returns `tracer.layer(&"network", output)`.
    ///
    /// # Shapes
    /// - as [`forward`](Self::forward)
    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        condition: Self::Condition,
        tracer: &mut T,
    ) -> Tensor<B, D>;

    /// The network's output.
    ///
    /// # Shapes
    /// - `x`: [`input_shape`](Self::input_shape), which [`with_estimate`](Self::with_estimate) may have widened
    /// - `sigma`: `[batch]`, positive
    /// - returns [`input_shape`](Self::input_shape)
    fn forward(&self, x: Tensor<B, D>, sigma: Tensor<B, 1>, condition: Self::Condition) -> Tensor<B, D> {
        self.trace(x, sigma, condition, &mut Untraced)
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

    /// The condition with a way of the length `over` down from its noise level, over which the network's output is to give the
    /// mean velocity; see [`Averaged`](crate::Averaged). Nothing where the network cannot be asked for that, as most
    /// cannot.
    fn averaged(&self, _condition: Self::Condition, _over: Sigma) -> Option<Self::Condition> {
        None
    }

    /// The same network without the dropout that it has while gradients are computed, where it has one: for gradients by
    /// its input.
    fn without_dropout(self) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// Tensors that are computed, not learned, and that smalldiffusion's state dict holds all the same, under its
    /// names.
    fn buffers(&self) -> Vec<(&'static str, TensorData)> {
        Vec::new()
    }

    /// A copy of the tensors by which other programs know the network, under their names there, where these are not its
    /// parameters and [`buffers`](Self::buffers) in smalldiffusion's words.
    fn exported(&self) -> Option<Vec<(String, TensorData)>> {
        None
    }
}

/// The channels that a network's first layer takes where its inputs have `channels`.
fn input_channels(channels: usize, self_condition: bool) -> usize {
    if self_condition { channels.saturating_mul(2) } else { channels }
}

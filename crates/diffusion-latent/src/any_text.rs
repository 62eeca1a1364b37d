//! A network that is told texts, for programs that choose the kind of a condition while they run.

use crate::condition::TextCondition;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::{AnyCondition, Network, NullCondition, Tracer};
use std::marker::PhantomData;

/// The network `N`, which is told texts, as one whose condition is chosen while the program runs:
/// [`Tokens`](diffusion_core::Tokens) are the text of each example; the text that stands for none is in the place of those that are forgotten, and of
/// [`AnyCondition::None`].
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::{AnyCondition, Network, Tokens};
/// use diffusion_latent::config::PerLevel;
/// use diffusion_latent::unet::{BlockType, UnetConfig};
/// use diffusion_latent::{AnyText, SizedUnet, Timesteps};
/// # use burn::tensor::Tensor;
///
/// let (config, device) = (
///     UnetConfig {
///         block_out_channels: vec![32],
///         down_block_types: vec![BlockType::CrossAttnDownBlock2D],
///         up_block_types: vec![BlockType::CrossAttnUpBlock2D],
///         cross_attention_dim: PerLevel::All(8),
///         ..UnetConfig::default()
///     },
///     Default::default(),
/// );
/// let empty = Tokens::new(vec![0.0; 3 * 8], [1, 3, 8]);
/// let unet = config.init::<Flex>(0, &device);
/// let network = SizedUnet::new(unet, [4, 4], 8, Timesteps::new(&[0.1, 10.0])?, empty.clone().into());
/// let network = AnyText::new(network, empty.into());
/// let text = AnyCondition::from(Tokens::new(vec![1.0; 2 * 3 * 8], [2, 3, 8]));
/// let x = Tensor::ones([2, 4, 4, 4], &device);
/// assert_eq!(network.forward(x, Tensor::ones([2], &device), text).dims(), [2, 4, 4, 4]);
/// # Ok::<(), diffusion_core::Invalid>(())
/// ```
#[derive(Module, Debug)]
pub struct AnyText<B: Backend, N> {
    /// The network.
    pub network: N,
    #[module(skip)]
    empty: TextCondition,
    _backend: PhantomData<B>,
}

impl<B: Backend, N> AnyText<B, N> {
    /// Of `network`; `empty` is the text of one example that stands for none.
    ///
    /// # Panics
    /// If it is of more or fewer examples than one.
    pub fn new(network: N, empty: TextCondition) -> Self {
        diffusion_core::Condition::check(&empty, 1);
        Self { network, empty, _backend: PhantomData }
    }

    /// # Panics
    /// If these are labels.
    fn text(&self, condition: AnyCondition, batch: usize) -> TextCondition {
        match condition {
            AnyCondition::None => self.empty.repeat(batch),
            AnyCondition::Tokens(tokens) => {
                let forgotten = tokens.forgotten().to_vec();
                TextCondition::from(tokens).replace(&self.empty, |example| forgotten[example])
            }
            other @ (AnyCondition::Labels(_) | AnyCondition::Averaged(_)) => {
                panic!("a network that is told texts was given {}", other.kind())
            }
        }
    }
}

impl<B: Backend, N, const D: usize> Network<B, D> for AnyText<B, N>
where
    N: Network<B, D, Condition = TextCondition>,
{
    type Condition = AnyCondition;

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.network.input_shape(batch)
    }

    fn self_conditioned(&self) -> bool {
        self.network.self_conditioned()
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        condition: AnyCondition,
        tracer: &mut T,
    ) -> Tensor<B, D> {
        let text = self.text(condition, x.dims()[0]);
        self.network.trace(x, sigma, text, tracer)
    }

    fn drop_condition(&self, condition: AnyCondition, uniform: &mut dyn FnMut(usize) -> f64) -> AnyCondition {
        match condition {
            AnyCondition::None => AnyCondition::None,
            told => {
                let batch = told.tokens().map_or(0, |tokens| tokens.shape()[0]);
                self.network.drop_condition(self.text(told, batch), uniform).tokens.into()
            }
        }
    }

    fn without_dropout(self) -> Self {
        Self { network: self.network.without_dropout(), ..self }
    }

    fn exported(&self) -> Option<Vec<(String, TensorData)>> {
        self.network.exported()
    }
}

impl<B: Backend, N> NullCondition for AnyText<B, N> {
    type Condition = AnyCondition;

    /// The text that stands for none.
    fn null_condition(&self, condition: &AnyCondition) -> AnyCondition {
        match condition.tokens() {
            Some(tokens) => self.empty.repeat(tokens.shape()[0]).tokens.into(),
            None => AnyCondition::None,
        }
    }
}

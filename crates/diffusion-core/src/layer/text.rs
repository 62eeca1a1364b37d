//! Texts, given as the vectors of a text encoder: further tokens of a network's sequence.

use super::label::{ConditionEmbedder, Embedded};
use super::{Init, linear, linear_params};
use crate::condition::{NullCondition, Tokens};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::random::Stream;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// The settings of a [`CondEmbedderText`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CondEmbedderTextConfig {
    /// Tokens of a text, with those that fill it up; 77 of CLIP.
    pub tokens: usize,
    /// Values of a token, as the text encoder gives them; 768 of CLIP ViT-L/14.
    pub width: usize,
    /// The probability with which training forgets an example's text.
    #[serde(default = "tenth")]
    pub dropout: f64,
}

fn tenth() -> f64 {
    0.1
}

impl CondEmbedderTextConfig {
    /// Texts of `tokens` vectors of `width` values each, forgotten with probability 0.1.
    pub fn new(tokens: usize, width: usize) -> Self {
        Self { tokens, width, dropout: tenth() }
    }

    /// Whether there can be such texts.
    ///
    /// # Errors
    /// If there are no tokens or too many, or they have no values or too many, or `dropout` is not in [0, 1].
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("tokens", self.tokens, MAX_SIZE)?;
        Invalid::unless_positive("width", self.width, MAX_SIZE)?;
        Invalid::unless_probability("dropout", self.dropout)
    }

    /// The number of parameters of the embedder to tokens of `dim` values: a linear layer, the positions, and the sequence
    /// that stands for no text.
    pub fn num_params(&self, dim: usize) -> u128 {
        linear_params(self.width, dim) + self.tokens as u128 * (dim as u128 + self.width as u128)
    }

    /// The embedder to tokens of `dim` values. The linear layer is drawn from `weight`, its bias is zero; positions start
    /// with a standard deviation of 0.02, and the sequence that stands for no text with one of 1, as the rows of
    /// [`CondEmbedderLabel`](super::CondEmbedderLabel) do.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        dim: usize,
        weight: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> CondEmbedderText<B> {
        expect_valid(self.validate());
        let Self { tokens, width, dropout } = *self;
        CondEmbedderText {
            proj: weight.linear(Some(Init::Zeros), [width, dim], stream, device),
            pos_embed: Init::Normal(0.02).param([tokens, dim], (tokens, dim), stream, device),
            no_text: Init::Normal(1.0).param([tokens, width], (tokens, width), stream, device),
            dropout,
        }
    }
}

/// A text's tokens as tokens of the network (Bao et al. 2022, U-ViT, arXiv:2209.12152, §3.1): a linear layer, and a learned
/// position for each. All texts have the same length, as those of CLIP do, so that there is no mask.
///
/// A learned sequence takes the place of a text that is [forgotten](Tokens::forgotten). Training learns it only if the
/// network hands [`Network::drop_condition`](crate::Network::drop_condition) on to this layer.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::dit::DitConfig;
/// use diffusion_core::layer::CondEmbedderTextConfig;
/// use diffusion_core::{Network, Noise, Tokens};
/// use burn::tensor::Tensor;
///
/// let config = DitConfig { in_dim: 8, channels: 4, depth: 1, head_dim: 4, num_heads: 2, ..DitConfig::default() };
/// let texts = CondEmbedderTextConfig::new(3, 5);
/// let device = Default::default();
/// let network = config.init_text::<Flex>(&texts, 0, &device);
/// let x = Noise::new(0).initial(network.input_shape(2), &device);
/// let told = Tokens::new(vec![0.5; 2 * 3 * 5], [2, 3, 5]);
/// assert_eq!(network.forward(x, Tensor::ones([2], &device), told).dims(), [2, 4, 8, 8]);
/// ```
#[derive(Module, Debug)]
pub struct CondEmbedderText<B: Backend> {
    /// From the text encoder's tokens to the network's.
    pub proj: Linear<B>,
    /// Each token's place in the text, `[tokens, dim]`.
    pub pos_embed: Param<Tensor<B, 2>>,
    /// What stands for no text, `[tokens, width]`, in the place of the text encoder's tokens.
    pub no_text: Param<Tensor<B, 2>>,
    dropout: f64,
}

impl<B: Backend> CondEmbedderText<B> {
    /// The network's tokens.
    ///
    /// # Shapes
    /// - `texts`: `[batch, tokens, width]`
    /// - returns `[batch, tokens, dim]`
    ///
    /// # Panics
    /// If the texts have another number of tokens, or those another width, than the layer was made for.
    pub fn forward(&self, texts: &Tokens) -> Tensor<B, 3> {
        linear(&self.proj, self.told(texts)) + self.pos_embed.val().unsqueeze_dim::<3>(0)
    }

    /// The texts, with the learned sequence for those that are forgotten.
    fn told(&self, texts: &Tokens) -> Tensor<B, 3> {
        let [tokens, width] = self.no_text.dims();
        let [batch, found @ ..] = texts.shape();
        assert_eq!(
            found,
            [tokens, width],
            "texts and what the network was made for differ in [tokens, width]"
        );
        let told = texts.tensor(&self.no_text.device());
        if !texts.forgotten().contains(&true) {
            return told;
        }
        let forgotten: Vec<f32> = texts.forgotten().iter().map(|&forgotten| f32::from(forgotten)).collect();
        let forgotten = Tensor::<B, 2>::from_data(TensorData::new(forgotten, [batch, 1]), &told.device());
        // In rows, for CPU backends are slow where a broadcast is along a middle axis.
        let none = self.no_text.val().reshape([1, tokens * width]) * forgotten; // [batch, tokens · width]
        told + none.reshape([batch, tokens, width])
    }
}

/// The mean of each sequence: what a network is told of it that takes one vector.
///
/// # Shapes
/// - `tokens`: `[batch, tokens, dim]`
/// - returns `[batch, dim]`
pub fn mean_token<B: Backend>(tokens: Tensor<B, 3>) -> Tensor<B, 2> {
    tokens.mean_dim(1).squeeze_dim::<2>(1)
}

impl<B: Backend> ConditionEmbedder<B> for CondEmbedderText<B> {
    type Condition = Tokens;

    fn embed(&self, texts: Tokens) -> Option<Tensor<B, 2>> {
        Some(mean_token(self.forward(&texts)))
    }

    fn embed_tokens(&self, texts: Tokens) -> Embedded<B> {
        Embedded::Tokens(self.forward(&texts))
    }

    fn drop_condition(&self, texts: Tokens, uniform: &mut dyn FnMut(usize) -> f64) -> Tokens {
        texts.forget(|example| uniform(example) < self.dropout)
    }
}

impl<B: Backend> NullCondition for CondEmbedderText<B> {
    type Condition = Tokens;

    fn null_condition(&self, texts: &Tokens) -> Tokens {
        Tokens::none(texts.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let config = CondEmbedderTextConfig::new(77, 768);
        assert_eq!(config.validate(), Ok(()));
        for (config, setting) in [
            (CondEmbedderTextConfig { tokens: 0, ..config.clone() }, "tokens"),
            (CondEmbedderTextConfig { tokens: MAX_SIZE + 1, ..config.clone() }, "tokens"),
            (CondEmbedderTextConfig { width: 0, ..config.clone() }, "width"),
            (CondEmbedderTextConfig { width: MAX_SIZE + 1, ..config.clone() }, "width"),
            (CondEmbedderTextConfig { dropout: 1.5, ..config.clone() }, "dropout"),
            (CondEmbedderTextConfig { dropout: f64::NAN, ..config }, "dropout"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting, setting, "{config:?}");
        }
    }
}

//! The diffusion transformer that is told texts.

use super::{Dit, DitConfig};
use crate::layer::{CondEmbedderText, CondEmbedderTextConfig, Init};
use crate::random::Stream;
use burn::tensor::backend::Backend;

/// A [`Dit`] that is told texts; made by [`DitConfig::init_text`].
pub type TextDit<B> = Dit<B, CondEmbedderText<B>>;

/// A [`TextDit`] whose condition is [`AnyCondition`](crate::AnyCondition); made by [`DitConfig::init_any_text`].
pub type AnyTextDit<B> = Dit<B, Option<CondEmbedderText<B>>>;

impl DitConfig {
    /// The network conditioned on texts that `seed` stands for; the same on every backend.
    ///
    /// # Panics
    /// As [`init`](Self::init), or if there cannot be such texts.
    pub fn init_text<B: Backend>(
        &self,
        text: &CondEmbedderTextConfig,
        seed: u64,
        device: &B::Device,
    ) -> TextDit<B> {
        self.build(seed, device, |stream| self.text_embedder(text, stream, device))
    }

    /// The same network, whose condition is [`AnyCondition`](crate::AnyCondition).
    ///
    /// # Panics
    /// As [`init_text`](Self::init_text).
    pub fn init_any_text<B: Backend>(
        &self,
        text: &CondEmbedderTextConfig,
        seed: u64,
        device: &B::Device,
    ) -> AnyTextDit<B> {
        self.build(seed, device, |stream| Some(self.text_embedder(text, stream, device)))
    }

    /// The number of parameters of the network that is told texts.
    pub fn num_params_with_text(&self, text: &CondEmbedderTextConfig) -> u128 {
        self.num_params(None) + text.num_params(self.dim())
    }

    /// Values in the largest of the layers' outputs for one example with its text, which is one of them.
    pub fn largest_layer_with_text(&self, text: &CondEmbedderTextConfig) -> u128 {
        self.largest_output(self.num_tokens(text)).max(text.tokens as u128 * text.width as u128)
    }

    /// Values in the largest attention matrix of one head for one example with its text: from each of their tokens to each.
    pub fn attention_size_with_text(&self, text: &CondEmbedderTextConfig) -> u128 {
        self.num_tokens(text).pow(2)
    }

    /// Tokens of the sequence: those of the text and the patches.
    fn num_tokens(&self, text: &CondEmbedderTextConfig) -> u128 {
        text.tokens as u128 + self.num_patches()
    }

    fn text_embedder<B: Backend>(
        &self,
        text: &CondEmbedderTextConfig,
        stream: &mut Stream,
        device: &B::Device,
    ) -> CondEmbedderText<B> {
        text.init(self.dim(), Init::Xavier, stream, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::Tokens;
    use crate::network::Network;
    use crate::random::Noise;
    use crate::trace::Tracer;
    use burn::backend::Flex;
    use burn::tensor::Tensor;
    use std::fmt::Display;

    /// The most values that a layer puts out, and the tokens of the longest sequence.
    #[derive(Default)]
    struct Largest {
        layer: usize,
        tokens: usize,
    }

    impl<B: Backend> Tracer<B> for Largest {
        fn layer<const D: usize>(&mut self, _name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
            self.layer = self.layer.max(output.shape().num_elements());
            self.tokens = self.tokens.max(if D == 3 { output.dims()[1] } else { 0 });
            output
        }
    }

    /// The largest outputs are those of the MLPs, or of the last layer where patches are large.
    #[test]
    fn sizes_are_those_of_the_layers() {
        let (device, small) =
            (Default::default(), DitConfig { depth: 1, head_dim: 4, num_heads: 1, ..DitConfig::default() });
        for (config, tokens, last) in [
            (DitConfig { in_dim: 8, channels: 1, ..small.clone() }, 5, false),
            (DitConfig { in_dim: 8, channels: 2, patch_size: 4, ..small }, 2, true),
        ] {
            let text = CondEmbedderTextConfig::new(tokens, 3);
            let network = config.init_text::<Flex>(&text, 0, &device);
            let x: Tensor<Flex, 4> = Noise::new(0).initial(network.input_shape(1), &device);
            let mut found = Largest::default();
            network.trace(x, Tensor::ones([1], &device), Tokens::none([1, tokens, 3]), &mut found);
            assert_eq!(config.largest_layer_with_text(&text), found.layer as u128);
            assert_eq!(config.attention_size_with_text(&text), (found.tokens as u128).pow(2));
            assert_eq!(config.largest_layer_with_text(&text) == config.largest_layer(), last);
        }
    }

    #[test]
    fn a_wide_text_is_the_largest() {
        let config =
            DitConfig { in_dim: 2, patch_size: 1, head_dim: 4, num_heads: 1, ..DitConfig::default() };
        assert_eq!(config.largest_layer_with_text(&CondEmbedderTextConfig::new(7, 1000)), 7000);
        assert_eq!(config.attention_size_with_text(&CondEmbedderTextConfig::new(7, 1000)), 121);
    }
}

//! The layers of a text encoder, under the names of transformers.

use super::config::{TextActivation, TextEncoderConfig};
use crate::layer::Build;
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use diffusion_core::layer::{attend, gelu, linear, quick_gelu};

/// All of a text encoder but its projection.
#[derive(Module, Debug)]
pub struct TextTransformer<B: Backend> {
    /// From ids to vectors.
    pub embeddings: TextEmbeddings<B>,
    /// From vectors to vectors.
    pub encoder: TextLayers<B>,
    /// Behind the last layer.
    pub final_layer_norm: LayerNorm<B>,
}

impl<B: Backend> TextTransformer<B> {
    pub(super) fn new(build: &mut Build<'_, B>, config: &TextEncoderConfig) -> Self {
        Self {
            embeddings: TextEmbeddings {
                token_embedding: build.embedding([config.vocab_size, config.hidden_size]),
                position_embedding: build.embedding([config.max_position_embeddings, config.hidden_size]),
            },
            encoder: TextLayers {
                layers: (0..config.num_hidden_layers).map(|_| TextLayer::new(build, config)).collect(),
            },
            final_layer_norm: build.layer_norm(config.hidden_size, config.layer_norm_eps),
        }
    }

    /// The states behind the final norm, and those that go into the last layer, both `[batch, tokens, hidden_size]`.
    pub(super) fn forward(&self, ids: &[Vec<usize>]) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let mut states = self.embeddings.forward(ids);
        let mut before = states.clone();
        for layer in &self.encoder.layers {
            before = states;
            states = layer.forward(before.clone());
        }
        (self.final_layer_norm.forward(states), before)
    }
}

/// Tables of vectors.
#[derive(Module, Debug)]
pub struct TextEmbeddings<B: Backend> {
    /// Of the tokens.
    pub token_embedding: Embedding<B>,
    /// Of their places.
    pub position_embedding: Embedding<B>,
}

impl<B: Backend> TextEmbeddings<B> {
    /// The vectors of tokens at their places.
    ///
    /// # Shapes
    /// - `ids`: `[batch, tokens]`
    /// - returns `[batch, tokens, hidden_size]`
    ///
    /// # Panics
    /// As [`TextEncoder::forward`](super::TextEncoder::forward).
    pub fn forward(&self, ids: &[Vec<usize>]) -> Tensor<B, 3> {
        let [vocabulary, _] = self.token_embedding.weight.dims();
        let [places, _] = self.position_embedding.weight.dims();
        assert!(!ids.is_empty(), "there are no texts");
        let tokens = ids[0].len();
        assert!((1..=places).contains(&tokens), "{tokens} tokens, expected 1 to {places}");
        let flat: Vec<i32> = ids
            .iter()
            .inspect(|ids| assert_eq!(ids.len(), tokens, "texts differ in their number of tokens"))
            .flatten()
            .inspect(|&&id| assert!(id < vocabulary, "token {id}, expected 0 to {}", vocabulary - 1))
            .map(|&id| id as i32)
            .collect();
        let weight = self.token_embedding.weight.val();
        let ids: Tensor<B, 2, Int> =
            Tensor::from_data(TensorData::new(flat, [ids.len(), tokens]), &weight.device());
        let places = self.position_embedding.weight.val().narrow(0, 0, tokens).unsqueeze::<3>();
        self.token_embedding.forward(ids) + places
    }
}

/// The list of layers.
#[derive(Module, Debug)]
pub struct TextLayers<B: Backend> {
    /// From the first to the last.
    pub layers: Vec<TextLayer<B>>,
}

/// A layer of a transformer, with its norms before attention and perceptron.
#[derive(Module, Debug)]
pub struct TextLayer<B: Backend> {
    /// Before attention.
    pub layer_norm1: LayerNorm<B>,
    /// Of each token to itself and those before it.
    pub self_attn: TextAttention<B>,
    /// Before the perceptron.
    pub layer_norm2: LayerNorm<B>,
    /// Of each token by itself.
    pub mlp: TextMlp<B>,
}

impl<B: Backend> TextLayer<B> {
    fn new(build: &mut Build<'_, B>, config: &TextEncoderConfig) -> Self {
        let (size, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            layer_norm1: build.layer_norm(size, config.layer_norm_eps),
            self_attn: TextAttention {
                q_proj: build.linear(true, [size, size]),
                k_proj: build.linear(true, [size, size]),
                v_proj: build.linear(true, [size, size]),
                out_proj: build.linear(true, [size, size]),
                heads: config.num_attention_heads,
            },
            layer_norm2: build.layer_norm(size, config.layer_norm_eps),
            mlp: TextMlp {
                fc1: build.linear(true, [size, inner]),
                fc2: build.linear(true, [inner, size]),
                activation: config.hidden_act,
            },
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch, tokens, hidden_size]`
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let x = x.clone() + self.self_attn.forward(self.layer_norm1.forward(x));
        x.clone() + self.mlp.forward(self.layer_norm2.forward(x))
    }
}

/// Multi-head attention in which a token sees itself and those before it.
#[derive(Module, Debug)]
pub struct TextAttention<B: Backend> {
    /// Queries.
    pub q_proj: Linear<B>,
    /// Keys.
    pub k_proj: Linear<B>,
    /// Values.
    pub v_proj: Linear<B>,
    /// From the joined heads back to tokens.
    pub out_proj: Linear<B>,
    heads: usize,
}

impl<B: Backend> TextAttention<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, hidden_size]`
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [q, k, v] =
            [&self.q_proj, &self.k_proj, &self.v_proj].map(|projection| linear(projection, x.clone()));
        linear(&self.out_proj, attend(q, k, v, self.heads, true))
    }
}

/// A perceptron with one hidden layer.
#[derive(Module, Debug)]
pub struct TextMlp<B: Backend> {
    /// To the hidden layer.
    pub fc1: Linear<B>,
    /// From it.
    pub fc2: Linear<B>,
    #[module(skip)]
    activation: TextActivation,
}

impl<B: Backend> TextMlp<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, hidden_size]`
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let x = linear(&self.fc1, x);
        let x = match self.activation {
            TextActivation::QuickGelu => quick_gelu(x),
            TextActivation::Gelu => gelu(x),
        };
        linear(&self.fc2, x)
    }
}

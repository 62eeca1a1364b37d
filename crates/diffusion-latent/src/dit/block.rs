//! A block of a diffusion transformer.

use super::config::DitTransformerConfig;
use crate::layer::{Build, CrossAttention, TimestepEmbedding};
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Int, Tensor, backend::Backend};
use diffusion_core::layer::{gated, gelu_tanh, linear, modulated_layer_norm};

/// The ε of the norms before attention and before the last layer.
pub(super) const EPSILON: f64 = 1e-6;

/// How many sines and cosines there are of a time.
pub(super) const TIME_SIZE: usize = 256;

/// Attention between tokens and an MLP, each behind a norm that is scaled and shifted as time and class want it, and around
/// which tokens pass (ibid., §3.2, "adaLN-Zero block").
#[derive(Module, Debug)]
pub struct DitTransformerBlock<B: Backend> {
    /// Shifts, scales and gates.
    pub norm1: AdaLayerNormZero<B>,
    /// Attention between tokens.
    pub attn1: CrossAttention<B>,
    /// The MLP.
    pub ff: DitFeedForward<B>,
    epsilon: f64,
}

impl<B: Backend> DitTransformerBlock<B> {
    pub(super) fn new(build: &mut Build<'_, B>, config: &DitTransformerConfig) -> Self {
        let dim = config.dim();
        let emb = TimeAndClass {
            timestep_embedder: TimestepEmbedding::new(build, TIME_SIZE, dim),
            class_embedder: ClassEmbedder {
                embedding_table: build.embedding([config.num_embeds_ada_norm + 1, dim]),
            },
        };
        Self {
            norm1: AdaLayerNormZero { emb, linear: build.linear(true, [dim, 6 * dim]) },
            attn1: CrossAttention::new(build, dim, dim, config.num_attention_heads, config.attention_bias),
            ff: DitFeedForward {
                proj: build.linear(true, [dim, 4 * dim]),
                out: build.linear(true, [4 * dim, dim]),
            },
            epsilon: config.norm_eps,
        }
    }

    /// # Shapes
    /// - `y`, returns: `[batch, tokens, dim]`
    /// - `embedding`: `[batch, dim]`, SiLU of the block's embedding of time and class
    pub(super) fn forward(&self, y: Tensor<B, 3>, embedding: Tensor<B, 2>) -> Tensor<B, 3> {
        let dim = y.dims()[2];
        let six = linear(&self.norm1.linear, embedding);
        let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp] =
            std::array::from_fn(|i| six.clone().narrow(1, i * dim, dim));
        let h = modulated_layer_norm(y.clone(), scale, shift, EPSILON);
        let y = gated(y, self.attn1.forward(h, None), gate);
        let h = modulated_layer_norm(y.clone(), scale_mlp, shift_mlp, self.epsilon);
        gated(y, self.ff.forward(h), gate_mlp)
    }
}

/// From time and class to shifts, scales and gates.
#[derive(Module, Debug)]
pub struct AdaLayerNormZero<B: Backend> {
    /// The embedding of time and class.
    pub emb: TimeAndClass<B>,
    /// From it to shift, scale and gate of attention and of the MLP; SiLU comes before it.
    pub linear: Linear<B>,
}

/// The sum of an embedding of the time and one of the class.
#[derive(Module, Debug)]
pub struct TimeAndClass<B: Backend> {
    /// Of sines of the time.
    pub timestep_embedder: TimestepEmbedding<B>,
    /// Of the class.
    pub class_embedder: ClassEmbedder<B>,
}

impl<B: Backend> TimeAndClass<B> {
    /// # Shapes
    /// - `time`: `[batch, 256]`
    /// - `labels`: `[batch]`
    /// - returns `[batch, dim]`
    pub(super) fn forward(&self, time: Tensor<B, 2>, labels: Tensor<B, 1, Int>) -> Tensor<B, 2> {
        let table = &self.class_embedder.embedding_table;
        let class = table.forward(labels.unsqueeze_dim::<2>(1)).squeeze_dim::<2>(1);
        self.timestep_embedder.forward(time) + class
    }
}

/// A vector of each class.
#[derive(Module, Debug)]
pub struct ClassEmbedder<B: Backend> {
    /// `[classes + 1, dim]`; the last stands for no class.
    pub embedding_table: Embedding<B>,
}

/// An MLP with GELU in its tanh form.
#[derive(Module, Debug)]
pub struct DitFeedForward<B: Backend> {
    /// To four times as many values.
    pub proj: Linear<B>,
    /// From them.
    pub out: Linear<B>,
}

impl<B: Backend> DitFeedForward<B> {
    fn forward(&self, h: Tensor<B, 3>) -> Tensor<B, 3> {
        linear(&self.out, gelu_tanh(linear(&self.proj, h)))
    }
}

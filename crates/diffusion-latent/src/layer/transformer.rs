//! Transformers between the pixels of an image, which look at a text.

use super::{Build, CrossAttention};
use burn::module::Module;
use burn::nn::{GroupNorm, LayerNorm, Linear};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{geglu, group_norm, linear, transpose};

/// The ε of the norm before a [`Transformer2D`].
const EPSILON: f64 = 1e-6;

/// The ε of the norms in a [`BasicTransformerBlock`].
const BLOCK_EPSILON: f64 = 1e-5;

/// The sizes of a [`Transformer2D`].
#[derive(Clone, Copy, Debug)]
pub struct TransformerConfig {
    /// Channels of the image.
    pub channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks.
    pub depth: usize,
    /// Values of each token of the text.
    pub context_dim: usize,
    /// Groups of the norm.
    pub groups: usize,
}

/// Blocks of attention between pixels and to a text, around which the image passes.
#[derive(Module, Debug)]
pub struct Transformer2D<B: Backend> {
    /// The norm before.
    pub norm: GroupNorm<B>,
    /// From pixels to tokens. In files it is a matrix, or a kernel of one pixel.
    pub proj_in: Linear<B>,
    /// The blocks.
    pub transformer_blocks: Vec<BasicTransformerBlock<B>>,
    /// From tokens to pixels.
    pub proj_out: Linear<B>,
}

impl<B: Backend> Transformer2D<B> {
    /// The layers of these sizes.
    pub fn new(build: &mut Build<'_, B>, config: TransformerConfig) -> Self {
        let TransformerConfig { channels, depth, groups, .. } = config;
        Self {
            norm: build.group_norm(channels, groups, EPSILON),
            proj_in: build.linear(true, [channels; 2]),
            transformer_blocks: (0..depth).map(|_| BasicTransformerBlock::new(build, config)).collect(),
            proj_out: build.linear(true, [channels; 2]),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch, channels, height, width]`
    /// - `context`: `[batch, tokens, context_dim]`
    pub fn forward(&self, x: Tensor<B, 4>, context: Tensor<B, 3>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = x.dims();
        let tokens = transpose(group_norm(&self.norm, x.clone()).flatten::<3>(2, 3));
        let mut y = linear(&self.proj_in, tokens);
        for block in &self.transformer_blocks {
            y = block.forward(y, context.clone());
        }
        x + transpose(linear(&self.proj_out, y)).reshape([batch, channels, height, width])
    }
}

/// Attention between tokens, attention to a text, and a gated MLP, each behind a norm and around which tokens pass.
#[derive(Module, Debug)]
pub struct BasicTransformerBlock<B: Backend> {
    /// Before attention between tokens.
    pub norm1: LayerNorm<B>,
    /// Attention between tokens.
    pub attn1: CrossAttention<B>,
    /// Before attention to the text.
    pub norm2: LayerNorm<B>,
    /// Attention to the text.
    pub attn2: CrossAttention<B>,
    /// Before the MLP.
    pub norm3: LayerNorm<B>,
    /// The MLP.
    pub ff: FeedForward<B>,
}

impl<B: Backend> BasicTransformerBlock<B> {
    fn new(build: &mut Build<'_, B>, config: TransformerConfig) -> Self {
        let TransformerConfig { channels, heads, context_dim, .. } = config;
        Self {
            norm1: build.layer_norm(channels, BLOCK_EPSILON),
            attn1: CrossAttention::new(build, channels, channels, heads, false),
            norm2: build.layer_norm(channels, BLOCK_EPSILON),
            attn2: CrossAttention::new(build, channels, context_dim, heads, false),
            norm3: build.layer_norm(channels, BLOCK_EPSILON),
            ff: FeedForward {
                proj: build.linear(true, [channels, 8 * channels]),
                out: build.linear(true, [4 * channels, channels]),
            },
        }
    }

    /// # Shapes
    /// - `y`, returns: `[batch, tokens, channels]`
    /// - `context`: `[batch, tokens of the text, context_dim]`
    pub fn forward(&self, y: Tensor<B, 3>, context: Tensor<B, 3>) -> Tensor<B, 3> {
        let y = y.clone() + self.attn1.forward(self.norm1.forward(y), None);
        let y = y.clone() + self.attn2.forward(self.norm2.forward(y), Some(context));
        y.clone() + self.ff.forward(self.norm3.forward(y))
    }
}

/// An MLP whose hidden values are gated by GELU of others (GEGLU, Shazeer 2020, arXiv:2002.05202, eq. 5).
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// To values and gates.
    pub proj: Linear<B>,
    /// From gated values.
    pub out: Linear<B>,
}

impl<B: Backend> FeedForward<B> {
    /// # Shapes
    /// - `y`, returns: `[batch, tokens, channels]`
    pub fn forward(&self, y: Tensor<B, 3>) -> Tensor<B, 3> {
        linear(&self.out, geglu(linear(&self.proj, y)))
    }
}

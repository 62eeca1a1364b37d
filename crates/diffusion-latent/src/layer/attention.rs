//! Attention as diffusers has it, of tokens to themselves or to others.

use super::Build;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{attend, linear};

/// Multi-head attention with a linear layer each for queries, keys, values and the result.
#[derive(Module, Debug)]
pub struct CrossAttention<B: Backend> {
    /// Queries, of the tokens.
    pub to_q: Linear<B>,
    /// Keys, of what is looked at.
    pub to_k: Linear<B>,
    /// Values, of what is looked at.
    pub to_v: Linear<B>,
    /// From the joined heads back to tokens; one layer.
    pub to_out: Vec<Linear<B>>,
    heads: usize,
}

impl<B: Backend> CrossAttention<B> {
    /// The layer for tokens of `dim` values that look at such of `context_dim`. `has_bias` is of queries, keys and values;
    /// the result always has one.
    pub fn new(
        build: &mut Build<'_, B>,
        dim: usize,
        context_dim: usize,
        heads: usize,
        has_bias: bool,
    ) -> Self {
        Self {
            to_q: build.linear(has_bias, [dim, dim]),
            to_k: build.linear(has_bias, [context_dim, dim]),
            to_v: build.linear(has_bias, [context_dim, dim]),
            to_out: vec![build.linear(true, [dim, dim])],
            heads,
        }
    }

    /// Every token looks at the whole context; without one, at all tokens.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    /// - `context`: `[batch, others, context_dim]`
    pub fn forward(&self, x: Tensor<B, 3>, context: Option<Tensor<B, 3>>) -> Tensor<B, 3> {
        let context = context.unwrap_or_else(|| x.clone());
        let q = linear(&self.to_q, x);
        let (k, v) = (linear(&self.to_k, context.clone()), linear(&self.to_v, context));
        linear(&self.to_out[0], attend(q, k, v, self.heads, false))
    }
}

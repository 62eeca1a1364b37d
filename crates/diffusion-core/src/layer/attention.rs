//! Multi-head attention.

use super::{Init, linear, linear_params};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::random::Stream;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes of an [`Attention`] layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionConfig {
    /// Dimension of a head.
    pub head_dim: usize,
    /// Number of heads; the token dimension is `head_dim · num_heads`.
    pub num_heads: usize,
    /// Whether the query-key-value product has a bias.
    pub qkv_bias: bool,
}

impl AttentionConfig {
    /// Whether there is such a layer.
    ///
    /// # Errors
    /// If there are no heads, or they have no values.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("head_dim", self.head_dim, MAX_SIZE)?;
        Invalid::unless_positive("num_heads", self.num_heads, MAX_SIZE)
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        let dim = self.head_dim * self.num_heads;
        let without_bias = if self.qkv_bias { 0 } else { 3 * dim as u128 };
        linear_params(dim, 3 * dim) - without_bias + linear_params(dim, dim)
    }

    /// The layer, its weights drawn from `init`; biases start at zero under Xavier and as PyTorch has them else.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the sizes.
    pub fn init<B: Backend>(&self, init: Init, stream: &mut Stream, device: &B::Device) -> Attention<B> {
        expect_valid(self.validate());
        let dim = self.head_dim * self.num_heads;
        let bias = if init == Init::Torch { Init::Torch } else { Init::Zeros };
        Attention {
            qkv: init.linear(self.qkv_bias.then_some(bias), [dim, 3 * dim], stream, device),
            proj: init.linear(Some(bias), [dim, dim], stream, device),
            num_heads: self.num_heads,
        }
    }
}

/// Self-attention over tokens (Vaswani et al. 2017, arXiv:1706.03762, §3.2): softmax(QKᵀ/√head_dim)·V per head.
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// Query, key and value in one product.
    pub qkv: Linear<B>,
    /// From the joined heads back to tokens.
    pub proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> Attention<B> {
    /// Lets every token look at every other.
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, head_dim · num_heads]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, tokens, dim] = x.dims();
        let qkv = linear(&self.qkv, x);
        let x = diffusion_kernels::attention(&qkv, self.num_heads).unwrap_or_else(|| {
            let qkv = qkv
                .reshape([batch, tokens, 3, self.num_heads, dim / self.num_heads])
                .permute([2, 0, 3, 1, 4]); // [3, batch, heads, tokens, head_dim]
            let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0));
            let options = AttentionModuleOptions::default();
            in_parts(q, k, v, options, MAX_SCORES)
                .swap_dims(1, 2) // [batch, tokens, heads, head_dim]
                .reshape([batch, tokens, dim])
        });
        linear(&self.proj, x)
    }
}

/// How many scores are held at a time, of all examples and heads together.
const MAX_SCORES: usize = 1 << 26;

/// Attention of some tokens to others (Vaswani et al. 2017, arXiv:1706.03762, §3.2): softmax(QKᵀ/√head_dim)·V per head.
/// If it is `causal`, a query sees only the keys up to its own place.
///
/// # Shapes
/// - `q`: `[batch, queries, head_dim · num_heads]`
/// - `k`, `v`: `[batch, keys, head_dim · num_heads]`
/// - returns the shape of `q`
///
/// # Panics
/// If the heads do not divide the token dimension, or shapes do not fit.
pub fn attend<B: Backend>(
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    num_heads: usize,
    causal: bool,
) -> Tensor<B, 3> {
    let [batch, tokens, dim] = q.dims();
    assert!(dim.is_multiple_of(num_heads), "{num_heads} heads of {dim} values");
    if let Some(out) = diffusion_kernels::attend(&q, &k, &v, num_heads, causal) {
        return out;
    }
    let heads = |x: Tensor<B, 3>| {
        let tokens = x.dims()[1];
        x.reshape([batch, tokens, num_heads, dim / num_heads]).swap_dims(1, 2)
    };
    let options = AttentionModuleOptions { is_causal: causal, ..Default::default() };
    in_parts(heads(q), heads(k), heads(v), options, MAX_SCORES).swap_dims(1, 2).reshape([batch, tokens, dim])
}

/// Burn's attention, of as many queries at a time as keep the scores below `max_scores`; each query is by itself, so that the
/// result is the same.
///
/// # Shapes
/// - `q`, returns: `[batch, heads, queries, head_dim]`; `k`, `v`: `[batch, heads, keys, head_dim]`
fn in_parts<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    options: AttentionModuleOptions,
    max_scores: usize,
) -> Tensor<B, 4> {
    let [batch, heads, queries, _] = q.dims();
    let at_a_time = (max_scores / (batch * heads * k.dims()[2])).max(1);
    if options.is_causal || queries <= at_a_time {
        return attention(q, k, v, None, None, options);
    }
    let parts = q.split(at_a_time, 2).into_iter();
    Tensor::cat(parts.map(|q| attention(q, k.clone(), v.clone(), None, None, options)).collect(), 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Noise;
    use burn::backend::Flex;

    #[test]
    fn attention_of_some_queries_at_a_time_is_the_same() {
        let draw = |seed| Noise::new(seed).initial::<Flex, 4>([2, 3, 7, 4], &Default::default());
        let [q, k, v] = [0, 1, 2].map(draw);
        let found = |max_scores| {
            let options = AttentionModuleOptions::default();
            in_parts(q.clone(), k.clone(), v.clone(), options, max_scores)
        };
        // All at once; three, three and one of the seven queries; one by one.
        let whole = found(2 * 3 * 7 * 7);
        for max_scores in [2 * 3 * 7 * 3, 1] {
            let apart = (found(max_scores) - whole.clone()).abs().max().into_scalar();
            assert!(apart < 1e-6, "{max_scores}: {apart}");
        }
    }
}

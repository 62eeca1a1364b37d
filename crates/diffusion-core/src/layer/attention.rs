//! Multi-head self-attention.

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
            attention(q, k, v, None, None, AttentionModuleOptions::default())
                .swap_dims(1, 2) // [batch, tokens, heads, head_dim]
                .reshape([batch, tokens, dim])
        });
        linear(&self.proj, x)
    }
}

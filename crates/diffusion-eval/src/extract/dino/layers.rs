//! The layers of a vision transformer, under the published names.

use super::config::Dinov2Config;
use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Init, attend, gelu, linear};
use diffusion_core::random::{Purpose, Stream};

/// The ε of the norms.
const EPSILON: f64 = 1e-6;

/// How many times wider tokens are inside of the perceptron.
const MLP_RATIO: usize = 4;

/// A norm of tokens.
pub(super) fn norm<B: Backend>(dim: usize, device: &B::Device) -> LayerNorm<B> {
    LayerNormConfig::new(dim).with_epsilon(EPSILON).init(device)
}

/// A linear layer that waits for the values of a file.
fn unset<B: Backend>(sizes: [usize; 2], device: &B::Device) -> Linear<B> {
    let mut stream = Stream::new(0, Purpose::PARAMETERS, 0, 0);
    Init::Unset.linear(Some(Init::Unset), sizes, &mut stream, device)
}

/// Attention and a perceptron, each behind a norm, scaled and added.
#[derive(Module, Debug)]
pub struct DinoBlock<B: Backend> {
    /// Before attention.
    pub norm1: LayerNorm<B>,
    /// Of each token to all.
    pub attn: DinoAttention<B>,
    /// Of what attention adds.
    pub ls1: LayerScale<B>,
    /// Before the perceptron.
    pub norm2: LayerNorm<B>,
    /// Of each token by itself.
    pub mlp: DinoMlp<B>,
    /// Of what the perceptron adds.
    pub ls2: LayerScale<B>,
}

impl<B: Backend> DinoBlock<B> {
    /// The block, whose values come from a file.
    pub(super) fn to_load(config: &Dinov2Config, device: &B::Device) -> Self {
        let Dinov2Config { dim, num_heads, .. } = *config;
        let layer = || unset([dim, dim], device);
        let scale = || LayerScale { gamma: Param::from_tensor(Tensor::ones([dim], device)) };
        Self {
            norm1: norm(dim, device),
            attn: DinoAttention { q: layer(), k: layer(), v: layer(), proj: layer(), num_heads },
            ls1: scale(),
            norm2: norm(dim, device),
            mlp: DinoMlp {
                fc1: unset([dim, MLP_RATIO * dim], device),
                fc2: unset([MLP_RATIO * dim, dim], device),
            },
            ls2: scale(),
        }
    }

    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let h = self.attn.forward(self.norm1.forward(x.clone()));
        let x = x + self.ls1.forward(h);
        let h = self.mlp.forward(self.norm2.forward(x.clone()));
        x + self.ls2.forward(h)
    }
}

/// Self-attention, with a linear layer each for queries, keys, values and the result.
#[derive(Module, Debug)]
pub struct DinoAttention<B: Backend> {
    /// Queries.
    pub q: Linear<B>,
    /// Keys.
    pub k: Linear<B>,
    /// Values.
    pub v: Linear<B>,
    /// From the joined heads back to tokens.
    pub proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> DinoAttention<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|layer| linear(layer, x.clone()));
        linear(&self.proj, attend(q, k, v, self.num_heads, false))
    }
}

/// Two linear layers with a GELU between them.
#[derive(Module, Debug)]
pub struct DinoMlp<B: Backend> {
    /// To the inner width.
    pub fc1: Linear<B>,
    /// Back.
    pub fc2: Linear<B>,
}

impl<B: Backend> DinoMlp<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        linear(&self.fc2, gelu(linear(&self.fc1, x)))
    }
}

/// A factor per feature (Touvron et al. 2021, arXiv:2103.17239, §2).
#[derive(Module, Debug)]
pub struct LayerScale<B: Backend> {
    /// The factors, `[dim]`.
    pub gamma: Param<Tensor<B, 1>>,
}

impl<B: Backend> LayerScale<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, tokens, dim]`
    pub fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        x * self.gamma.val().unsqueeze::<3>()
    }
}

//! The diffusion transformer.

use super::{Labels, Network, NullCondition};
use crate::layer::{
    Attention, AttentionConfig, CondEmbedderLabel, CondEmbedderLabelConfig, CondModule, CondSequential,
    ConditionEmbedder, Init, ModulatedLayerNorm, ModulatedLayerNormConfig, Modulation, ModulationConfig,
    NoCondition, PatchEmbed, PatchEmbedConfig, SigmaEmbedder, SigmaEmbedding, gated, gelu_tanh, linear,
    position_embedding,
};
use crate::random::{Purpose, Stream};
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes and choices of a [`Dit`]; the defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DitConfig {
    /// Height and width of the images in pixels.
    pub in_dim: usize,
    /// Numbers per pixel.
    pub channels: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Numbers per attention head.
    pub head_dim: usize,
    /// Number of attention heads; a token has `head_dim · num_heads` numbers.
    pub num_heads: usize,
    /// Width of a block's perceptron in tokens' widths.
    pub mlp_ratio: f64,
    /// How the noise level is embedded.
    pub sigma_embedding: SigmaEmbedding,
    /// How the modulation layers start.
    pub modulation: ModulationInit,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self {
            in_dim: 32,
            channels: 3,
            patch_size: 2,
            depth: 12,
            head_dim: 64,
            num_heads: 6,
            mlp_ratio: 4.0,
            sigma_embedding: SigmaEmbedding::default(),
            modulation: ModulationInit::default(),
        }
    }
}

/// How the modulation layers of a [`Dit`] start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModulationInit {
    /// Xavier, like every other linear layer: what smalldiffusion does (it sets these layers to zero first and then
    /// overwrites them). The default, because its numbers are the ones to be reproduced.
    #[default]
    Xavier,
    /// Zero, so that every block starts as the identity: adaLN-Zero (Peebles & Xie 2023, arXiv:2212.09748, §3.2).
    AdaLnZero,
}

impl DitConfig {
    /// The unconditional network that `seed` stands for; the same on every backend.
    ///
    /// # Panics
    /// If `patch_size` does not divide `in_dim`, or a token's width is no multiple of 4.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> Dit<B> {
        self.build(&mut Stream::new(seed, Purpose::Parameters, 0, 0), device, |_| NoCondition::new())
    }

    /// The network conditioned on labels that `seed` stands for; the same on every backend.
    ///
    /// # Panics
    /// As [`init`](Self::init), or if the label dropout is no probability.
    pub fn init_conditional<B: Backend>(
        &self,
        labels: &CondEmbedderLabelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Dit<B, CondEmbedderLabel<B>> {
        let dim = self.head_dim * self.num_heads;
        self.build(&mut Stream::new(seed, Purpose::Parameters, 0, 0), device, |stream| {
            labels.init(dim, Init::Xavier, Init::Zeros, stream, device)
        })
    }

    /// The initialisation is the reference's: Xavier for linear layers with zero biases, a standard deviation of
    /// 0.02 for the embedding of σ, zero for the last layer.
    fn build<B: Backend, C>(
        &self,
        stream: &mut Stream,
        device: &B::Device,
        cond_embed: impl FnOnce(&mut Stream) -> C,
    ) -> Dit<B, C> {
        let Self { in_dim, channels, patch_size, depth, head_dim, num_heads, .. } = *self;
        assert!(
            patch_size > 0 && in_dim > 0 && in_dim.is_multiple_of(patch_size),
            "images of {in_dim} pixels cannot be cut into patches of {patch_size}, expected a divisor"
        );
        let dim = head_dim * num_heads;
        let side = in_dim / patch_size;
        let small = Init::Normal(0.02);
        let sig_embed = self.sigma_embedding.init(dim, [small, Init::Xavier], Init::Zeros, stream, device);
        let modulation = match self.modulation {
            ModulationInit::Xavier => Init::Xavier,
            ModulationInit::AdaLnZero => Init::Zeros,
        };
        let mlp_dim = (dim as f64 * self.mlp_ratio) as usize;
        let attention = AttentionConfig { head_dim, num_heads, qkv_bias: true };
        let block = |stream: &mut Stream| {
            let zero = Some(Init::Zeros);
            DitBlock {
                norm1: ModulatedLayerNormConfig::new(dim).init(modulation, stream, device),
                attn: attention.init(Init::Xavier, stream, device),
                norm2: ModulatedLayerNormConfig::new(dim).init(modulation, stream, device),
                mlp_in: Init::Xavier.linear(zero, [dim, mlp_dim], stream, device),
                mlp_out: Init::Xavier.linear(zero, [mlp_dim, dim], stream, device),
                scale_modulation: ModulationConfig { dim, n: 2 }.init(modulation, stream, device),
            }
        };
        let output = patch_size * patch_size * channels;
        Dit {
            pos_embed: position_embedding(side, dim, device),
            x_embed: PatchEmbedConfig { patch_size, channels, embed_dim: dim }.init(
                Init::Xavier,
                stream,
                device,
            ),
            sig_embed,
            cond_embed: cond_embed(stream),
            blocks: CondSequential::new((0..depth).map(|_| block(stream)).collect()),
            final_norm: ModulatedLayerNormConfig::new(dim).init(modulation, stream, device),
            final_linear: Init::Zeros.linear(Some(Init::Zeros), [dim, output], stream, device),
            in_dim,
            channels,
            patch_size,
        }
    }
}

/// The diffusion transformer (Peebles & Xie 2023, arXiv:2212.09748) for square images, conditioned on the noise
/// level by adaptive layer norm and, where `C` is a [`CondEmbedderLabel`], on labels.
#[derive(Module, Debug)]
pub struct Dit<B: Backend, C = NoCondition<B>> {
    /// Each patch's place in the image, `[1, tokens, dim]`; fixed.
    pos_embed: Tensor<B, 3>,
    /// From patches to tokens.
    pub x_embed: PatchEmbed<B>,
    /// The noise level's embedding.
    pub sig_embed: SigmaEmbedder<B>,
    /// The condition's embedding.
    pub cond_embed: C,
    /// The transformer's blocks.
    pub blocks: CondSequential<B, DitBlock<B>>,
    /// The norm before the last layer.
    pub final_norm: ModulatedLayerNorm<B>,
    /// From tokens to patches.
    pub final_linear: Linear<B>,
    in_dim: usize,
    channels: usize,
    patch_size: usize,
}

impl<B: Backend, C> Dit<B, C> {
    /// Puts patches back into images.
    ///
    /// # Shapes
    /// - `x`: `[batch, tokens, patch_size² · channels]`
    /// - returns `[batch, channels, in_dim, in_dim]`
    fn unpatchify(&self, x: Tensor<B, 3>) -> Tensor<B, 4> {
        let (patch, side) = (self.patch_size, self.in_dim / self.patch_size);
        let batch = x.dims()[0];
        x.reshape([batch, side, side, patch, patch, self.channels])
            .permute([0, 5, 1, 3, 2, 4]) // [batch, channels, side, patch, side, patch]
            .reshape([batch, self.channels, self.in_dim, self.in_dim])
    }
}

impl<B: Backend, C: ConditionEmbedder<B>> Network<B, 4> for Dit<B, C> {
    type Condition = C::Condition;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, self.channels, self.in_dim, self.in_dim]
    }

    fn forward(&self, x: Tensor<B, 4>, sigma: Tensor<B, 1>, condition: C::Condition) -> Tensor<B, 4> {
        self.trace(x, sigma, condition, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 4>,
        sigma: Tensor<B, 1>,
        condition: C::Condition,
        tracer: &mut T,
    ) -> Tensor<B, 4> {
        let x = tracer.layer(&"x_embed", self.x_embed.forward(x));
        let x = tracer.layer(&"pos_embed", x + self.pos_embed.clone()); // [batch, tokens, dim]
        let y = tracer.layer(&"sig_embed", self.sig_embed.forward(sigma)); // [batch, dim]
        let y = match self.cond_embed.embed(condition) {
            Some(condition) => {
                let condition = tracer.layer(&"cond_embed", condition);
                tracer.layer(&"embedding", y + condition)
            }
            None => y,
        };
        let x = self.blocks.trace(x, y.clone(), &mut tracer.within(&"blocks"));
        let x = tracer.layer(&"final_norm", self.final_norm.forward(x, y));
        self.unpatchify(tracer.layer(&"final_linear", linear(&self.final_linear, x)))
    }

    fn drop_condition(&self, condition: C::Condition, uniform: &mut dyn FnMut(usize) -> f64) -> C::Condition {
        self.cond_embed.drop_condition(condition, uniform)
    }

    /// The position embedding, `[1, tokens, dim]`: a parameter without gradient in the reference.
    fn buffers(&self) -> Vec<(&'static str, TensorData)> {
        vec![("pos_embed", self.pos_embed.to_data())]
    }
}

impl<B: Backend> NullCondition for Dit<B, CondEmbedderLabel<B>> {
    type Condition = Labels;

    fn null_condition(&self, labels: &Labels) -> Labels {
        self.cond_embed.null_labels(labels)
    }
}

/// A transformer block: attention and a perceptron, each behind a modulated norm and a modulated gate.
#[derive(Module, Debug)]
pub struct DitBlock<B: Backend> {
    /// The norm before attention.
    pub norm1: ModulatedLayerNorm<B>,
    /// Attention between tokens.
    pub attn: Attention<B>,
    /// The norm before the perceptron.
    pub norm2: ModulatedLayerNorm<B>,
    /// The perceptron's first layer; tanh-GELU follows.
    pub mlp_in: Linear<B>,
    /// The perceptron's second layer.
    pub mlp_out: Linear<B>,
    /// The gates of attention and perceptron, in this order.
    pub scale_modulation: Modulation<B>,
}

impl<B: Backend> CondModule<B, 3> for DitBlock<B> {
    fn forward(&self, x: Tensor<B, 3>, y: Tensor<B, 2>) -> Tensor<B, 3> {
        self.trace(x, y, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(&self, x: Tensor<B, 3>, y: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, 3> {
        let gates = &mut tracer.within(&"scale_modulation");
        let [gate_attention, gate_mlp] = self.scale_modulation.trace(y.clone(), gates);
        let h = tracer.layer(&"norm1", self.norm1.forward(x.clone(), y.clone()));
        let h = tracer.layer(&"attn", self.attn.forward(h));
        let x = tracer.layer(&"middle", gated(x, h, gate_attention));
        let h = tracer.layer(&"norm2", self.norm2.forward(x.clone(), y));
        let h = tracer.layer(&"mlp_in", linear(&self.mlp_in, h));
        let h = tracer.layer(&"mlp_out", linear(&self.mlp_out, gelu_tanh(h)));
        gated(x, h, gate_mlp)
    }
}

//! The diffusion transformer.

mod text;

pub use text::{AnyTextDit, TextDit};

use super::{Network, NullCondition, input_channels};
use crate::invalid::{Invalid, MAX_DEPTH, MAX_SIZE, expect_valid, product};
use crate::layer::{
    AnyEmbedder, Attention, AttentionConfig, CondEmbedderLabel, CondEmbedderLabelConfig, CondModule,
    CondSequential, ConditionEmbedder, Embedded, Init, ModulatedLayerNorm, ModulatedLayerNormConfig,
    Modulation, ModulationConfig, NoCondition, PatchEmbed, PatchEmbedConfig, SigmaEmbedder, SigmaEmbedding,
    gated, gelu_tanh, linear, linear_params, mean_token, position_embedding,
};
use crate::random::{Purpose, Stream};
use crate::sigma::Sigma;
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// The sizes and choices of a [`Dit`]; the defaults are smalldiffusion's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DitConfig {
    /// Height and width of the images in pixels.
    pub in_dim: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Dimension of an attention head.
    pub head_dim: usize,
    /// Number of attention heads; the token dimension is `head_dim · num_heads`.
    pub num_heads: usize,
    /// Hidden width of a block's MLP, in multiples of the token dimension.
    pub mlp_ratio: f64,
    /// How the noise level is embedded.
    pub sigma_embedding: SigmaEmbedding,
    /// How the modulation layers start.
    pub modulation: ModulationInit,
    /// Whether the network is given its last estimate of the data beside its input
    /// ([`Network::self_conditioned`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub self_condition: bool,
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
            self_condition: false,
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
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> Dit<B> {
        self.build(seed, device, |_| NoCondition::new())
    }

    /// The network conditioned on labels that `seed` stands for; the same on every backend.
    ///
    /// # Panics
    /// As [`init`](Self::init), or if there cannot be such labels.
    pub fn init_conditional<B: Backend>(
        &self,
        labels: &CondEmbedderLabelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Dit<B, CondEmbedderLabel<B>> {
        self.build(seed, device, |stream| self.label_embedder(labels, stream, device))
    }

    /// The network that `seed` stands for, conditioned on labels if there are any: one kind that serves both.
    ///
    /// # Panics
    /// As [`init_conditional`](Self::init_conditional).
    pub fn init_any<B: Backend>(
        &self,
        labels: Option<&CondEmbedderLabelConfig>,
        seed: u64,
        device: &B::Device,
    ) -> AnyDit<B> {
        let told = |stream: &mut Stream| labels.map(|labels| self.label_embedder(labels, stream, device));
        self.build(seed, device, |stream| AnyEmbedder::plain(told(stream)))
    }

    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a setting is out of its range, e.g. `patch_size` does not divide `in_dim`, or the token dimension is no
    /// multiple of 4.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { in_dim, channels, patch_size, depth, head_dim, num_heads, mlp_ratio, .. } = *self;
        for (setting, size) in [
            ("in_dim", in_dim),
            ("channels", input_channels(channels, self.self_condition)),
            ("patch_size", patch_size),
            ("head_dim", head_dim),
            ("num_heads", num_heads),
        ] {
            Invalid::unless_positive(setting, size, MAX_SIZE)?;
        }
        Invalid::unless_at_most("depth", depth, MAX_DEPTH)?;
        let dim = product(&[head_dim, num_heads]);
        Invalid::unless(dim <= MAX_SIZE && dim.is_multiple_of(4), "num_heads", || {
            format!("gives tokens of dimension {dim}, expected a multiple of 4 up to {MAX_SIZE}")
        })?;
        let values = product(&[in_dim, in_dim, channels]);
        Invalid::unless(values <= MAX_SIZE, "in_dim", || {
            format!("gives images of {values} values, expected at most {MAX_SIZE}")
        })?;
        Invalid::unless(in_dim.is_multiple_of(patch_size), "patch_size", || {
            format!("is {patch_size}, expected a divisor of in_dim, which is {in_dim}")
        })?;
        Invalid::unless(mlp_ratio <= 1000.0 && mlp_ratio * dim as f64 >= 1.0, "mlp_ratio", || {
            format!("is {mlp_ratio}, expected a positive number up to 1000")
        })?;
        self.sigma_embedding.validate().map_err(|invalid| invalid.within("sigma_embedding"))
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        vec![self.channels, self.in_dim, self.in_dim]
    }

    /// The number of parameters, with the embedding of `labels` if there are any.
    pub fn num_params(&self, labels: Option<&CondEmbedderLabelConfig>) -> u128 {
        let (dim, norm) = (self.dim(), ModulatedLayerNormConfig::new(self.dim()).num_params());
        let block = 2 * norm
            + self.attention().num_params()
            + linear_params(dim, self.mlp_dim())
            + linear_params(self.mlp_dim(), dim)
            + self.gates().num_params();
        self.patches().num_params()
            + self.sigma_embedding.num_params(dim)
            + labels.map_or(0, |labels| labels.num_params(dim))
            + self.depth as u128 * block
            + norm
            + linear_params(dim, self.patch_dim())
    }

    /// Values in the largest of the layers' outputs for one example.
    pub fn largest_layer(&self) -> u128 {
        self.largest_output(self.num_patches())
    }

    /// Values in the largest attention matrix of one head for one example: from each patch to each.
    pub fn attention_size(&self) -> u128 {
        self.num_patches().pow(2)
    }

    /// The token dimension.
    pub(super) fn dim(&self) -> usize {
        self.head_dim * self.num_heads
    }

    fn mlp_dim(&self) -> usize {
        (self.dim() as f64 * self.mlp_ratio) as usize
    }

    fn patch_dim(&self) -> usize {
        self.patch_size * self.patch_size * self.channels
    }

    fn num_patches(&self) -> u128 {
        ((self.in_dim / self.patch_size) as u128).pow(2)
    }

    /// Values in the largest of the outputs that the blocks and the layers around them have for `tokens`; only the last
    /// layer, which text has no part in, gives `patch_dim` for each patch.
    fn largest_output(&self, tokens: u128) -> u128 {
        let blocks = tokens * self.mlp_dim().max(3 * self.dim()) as u128;
        blocks.max(self.num_patches() * self.patch_dim() as u128)
    }

    fn attention(&self) -> AttentionConfig {
        AttentionConfig { head_dim: self.head_dim, num_heads: self.num_heads, qkv_bias: true }
    }

    fn gates(&self) -> ModulationConfig {
        ModulationConfig { dim: self.dim(), n: 2 }
    }

    fn patches(&self) -> PatchEmbedConfig {
        let channels = input_channels(self.channels, self.self_condition);
        PatchEmbedConfig { patch_size: self.patch_size, channels, embed_dim: self.dim() }
    }

    pub(super) fn label_embedder<B: Backend>(
        &self,
        labels: &CondEmbedderLabelConfig,
        stream: &mut Stream,
        device: &B::Device,
    ) -> CondEmbedderLabel<B> {
        labels.init(self.dim(), Init::Xavier, Init::Zeros, stream, device)
    }

    /// The initial values are smalldiffusion's: Xavier for linear layers with zero biases, a standard deviation of
    /// 0.02 for the embedding of σ, zero for the last layer.
    pub(super) fn build<B: Backend, C>(
        &self,
        seed: u64,
        device: &B::Device,
        cond_embed: impl FnOnce(&mut Stream) -> C,
    ) -> Dit<B, C> {
        expect_valid(self.validate());
        let stream = &mut Stream::new(seed, Purpose::PARAMETERS, 0, 0);
        let (dim, xavier, small) = (self.dim(), Init::Xavier, Init::Normal(0.02));
        let sig_embed = self.sigma_embedding.init(dim, [small, xavier], Init::Zeros, stream, device);
        // Positions draw nothing; patches come before the condition, and both before the blocks.
        let x_embed = self.patches().init(xavier, stream, device);
        let cond_embed = cond_embed(stream);
        let blocks = (0..self.depth).map(|_| self.block(stream, device)).collect();
        Dit {
            pos_embed: position_embedding(self.in_dim / self.patch_size, dim, device),
            x_embed,
            sig_embed,
            cond_embed,
            blocks: CondSequential::new(blocks),
            final_norm: ModulatedLayerNormConfig::new(dim).init(self.modulation.init(), stream, device),
            final_linear: Init::Zeros.linear(Some(Init::Zeros), [dim, self.patch_dim()], stream, device),
            in_dim: self.in_dim,
            channels: self.channels,
            patch_size: self.patch_size,
            self_condition: self.self_condition,
        }
    }

    fn block<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> DitBlock<B> {
        let (dim, mlp_dim, modulation) = (self.dim(), self.mlp_dim(), self.modulation.init());
        let (norm, zero) = (ModulatedLayerNormConfig::new(dim), Some(Init::Zeros));
        DitBlock {
            norm1: norm.init(modulation, stream, device),
            attn: self.attention().init(Init::Xavier, stream, device),
            norm2: norm.init(modulation, stream, device),
            mlp_in: Init::Xavier.linear(zero, [dim, mlp_dim], stream, device),
            mlp_out: Init::Xavier.linear(zero, [mlp_dim, dim], stream, device),
            scale_modulation: self.gates().init(modulation, stream, device),
        }
    }
}

impl ModulationInit {
    fn init(self) -> Init {
        match self {
            Self::Xavier => Init::Xavier,
            Self::AdaLnZero => Init::Zeros,
        }
    }
}

/// A [`Dit`] that is conditioned on labels; made by [`DitConfig::init_conditional`].
pub type ConditionalDit<B> = Dit<B, CondEmbedderLabel<B>>;

/// A network with or without labels, chosen while the program runs.
pub type AnyDit<B> = Dit<B, AnyEmbedder<B, CondEmbedderLabel<B>>>;

/// The diffusion transformer (Peebles & Xie 2023, arXiv:2212.09748) for square images, conditioned on the noise
/// level by adaptive layer norm and, where `C` is a [`CondEmbedderLabel`], on labels.
///
/// Where `C` is a [`CondEmbedderText`](crate::layer::CondEmbedderText), the text's tokens stand before those of the patches in one sequence (Bao et al. 2022,
/// U-ViT, arXiv:2209.12152, §3.1), and their mean is added to the embedding of the noise level, as a label's is.
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
    self_condition: bool,
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

    fn self_conditioned(&self) -> bool {
        self.self_condition
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
        let patches = x.dims()[1];
        let (x, y) = match self.cond_embed.embed_tokens(condition) {
            Embedded::Nothing => (x, y),
            Embedded::Vector(condition) => {
                let condition = tracer.layer(&"cond_embed", condition);
                (x, tracer.layer(&"embedding", y + condition))
            }
            Embedded::Tokens(condition) => {
                let condition = tracer.layer(&"cond_embed", condition); // [batch, tokens of the condition, dim]
                let y = tracer.layer(&"embedding", y + mean_token(condition.clone()));
                (tracer.layer(&"sequence", Tensor::cat(vec![condition, x], 1)), y)
            }
        };
        let x = self.blocks.trace(x, y.clone(), &mut tracer.within(&"blocks"));
        let x = match x.dims()[1] - patches {
            0 => x,
            before => x.narrow(1, before, patches),
        };
        let x = tracer.layer(&"final_norm", self.final_norm.forward(x, y));
        self.unpatchify(tracer.layer(&"final_linear", linear(&self.final_linear, x)))
    }

    fn drop_condition(&self, condition: C::Condition, uniform: &mut dyn FnMut(usize) -> f64) -> C::Condition {
        self.cond_embed.drop_condition(condition, uniform)
    }

    fn averaged(&self, condition: C::Condition, over: Sigma) -> Option<C::Condition> {
        self.cond_embed.averaged(condition, over)
    }

    /// The position embedding, `[1, tokens, dim]`: a parameter without gradient in smalldiffusion.
    fn buffers(&self) -> Vec<(&'static str, TensorData)> {
        vec![("pos_embed", self.pos_embed.to_data())]
    }
}

impl<B: Backend, C: NullCondition> NullCondition for Dit<B, C> {
    type Condition = C::Condition;

    fn null_condition(&self, condition: &C::Condition) -> C::Condition {
        self.cond_embed.null_condition(condition)
    }
}

/// A transformer block: attention and an MLP, each behind a modulated norm and a modulated gate.
#[derive(Module, Debug)]
pub struct DitBlock<B: Backend> {
    /// The norm before attention.
    pub norm1: ModulatedLayerNorm<B>,
    /// Attention between tokens.
    pub attn: Attention<B>,
    /// The norm before the MLP.
    pub norm2: ModulatedLayerNorm<B>,
    /// The MLP's first layer; tanh-GELU follows.
    pub mlp_in: Linear<B>,
    /// The MLP's second layer.
    pub mlp_out: Linear<B>,
    /// The gates of attention and MLP, in this order.
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

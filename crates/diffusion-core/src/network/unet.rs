//! The U-Net.

use super::{Labels, Network, NullCondition};
use crate::layer::{
    AttnBlock, AttnBlockConfig, CondEmbedderLabel, CondEmbedderLabelConfig, CondModule, ConditionEmbedder,
    Downsample, Init, NoCondition, ResnetBlock, ResnetBlockConfig, SigmaEmbedder, SigmaEmbedding, Upsample,
    Window, conv2d, group_norm_layer, group_norm_silu,
};
use crate::random::{Purpose, Stream};
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Each level has a block more on the way up than on the way down: for its downsampling, the last for `conv_in`.
const BALANCED: &str = "the way up takes in as many images as the way down puts out";

/// The sizes of a [`Unet`]; the defaults are the reference's, for CIFAR-10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Height and width of the images in pixels, divisible by two once for each level but the first.
    pub in_dim: usize,
    /// Numbers per pixel of the input.
    pub in_ch: usize,
    /// Numbers per pixel of the output; a diffusion model needs as many as in the input.
    pub out_ch: usize,
    /// Channels at the first level in units, a multiple of 32.
    pub ch: usize,
    /// Channels of each level, in multiples of `ch`; each level but the first works on images of half the size.
    pub ch_mult: Vec<usize>,
    /// Numbers in the embedding of noise level and condition, in multiples of `ch`.
    pub embed_ch_mult: usize,
    /// Residual blocks per level on the way down; on the way up there is one more.
    pub num_res_blocks: usize,
    /// At which heights a residual block is followed by attention between pixels, as it always is in the middle.
    pub attn_resolutions: Vec<usize>,
    /// The probability with which training sets a number inside a residual block to zero.
    pub dropout: f64,
    /// How the noise level is embedded.
    pub sigma_embedding: SigmaEmbedding,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            in_dim: 32,
            in_ch: 3,
            out_ch: 3,
            ch: 128,
            ch_mult: vec![1, 2, 2, 2],
            embed_ch_mult: 4,
            num_res_blocks: 2,
            attn_resolutions: vec![16],
            dropout: 0.1,
            sigma_embedding: SigmaEmbedding::default(),
        }
    }
}

impl UnetConfig {
    /// The unconditional network that `seed` stands for, initialised as PyTorch does; the same on every backend.
    ///
    /// # Panics
    /// If there is no level, `in_dim` cannot be halved as often as there are further levels, `ch` is no multiple of
    /// 32, or `dropout` is not in [0, 1).
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> Unet<B> {
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
    ) -> Unet<B, CondEmbedderLabel<B>> {
        self.build(&mut Stream::new(seed, Purpose::Parameters, 0, 0), device, |stream| {
            labels.init(self.temb_ch(), Init::Torch, Init::Torch, stream, device)
        })
    }

    /// How often the images are halved.
    fn halvings(&self) -> usize {
        self.ch_mult.len().saturating_sub(1)
    }

    fn temb_ch(&self) -> usize {
        self.ch * self.embed_ch_mult
    }

    fn build<B: Backend, C>(
        &self,
        stream: &mut Stream,
        device: &B::Device,
        cond_embed: impl FnOnce(&mut Stream) -> C,
    ) -> Unet<B, C> {
        let (in_dim, levels) = (self.in_dim, self.ch_mult.len());
        assert!(levels > 0, "a U-Net of {levels} levels was asked for, expected at least 1");
        assert!(
            in_dim > 0 && in_dim.trailing_zeros() as usize >= self.halvings(),
            "images of {in_dim} pixels cannot be halved {} times",
            self.halvings()
        );
        let torch = Init::Torch;
        let sig_embed = self.sigma_embedding.init(self.temb_ch(), [torch; 2], torch, stream, device);
        let cond_embed = cond_embed(stream);
        let conv_in = torch.conv2d(torch, [self.in_ch, self.ch], Window::three(), stream, device);
        let mut builder = Builder { config: self, side: in_dim, channels: self.ch, device };

        // The channels of everything that the way up will take in again, in order.
        let mut skips = vec![self.ch];
        let mut downs = Vec::with_capacity(levels);
        for (level, mult) in self.ch_mult.iter().enumerate() {
            let blocks: Vec<_> =
                (0..self.num_res_blocks).map(|_| builder.block(0, self.ch * mult, stream)).collect();
            skips.extend(blocks.iter().map(|_| builder.channels));
            let downsample = (level + 1 < levels).then(|| {
                skips.push(builder.channels);
                builder.side /= 2;
                Downsample::new(builder.channels, stream, device)
            });
            downs.push(UnetDown { blocks, downsample });
        }
        let middle = builder.channels;
        let mid = UnetMiddle {
            first: builder.resnet(0, middle, stream),
            attn: AttnBlockConfig { ch: middle, num_heads: 1 }.init(stream, device),
            second: builder.resnet(0, middle, stream),
        };
        let mut ups = Vec::with_capacity(levels);
        for (level, mult) in self.ch_mult.iter().enumerate().rev() {
            let mut block = |_| {
                let skip = skips.pop().expect(BALANCED);
                builder.block(skip, self.ch * mult, stream)
            };
            let blocks = (0..=self.num_res_blocks).map(&mut block).collect();
            let upsample = (level > 0).then(|| {
                builder.side *= 2;
                Upsample::new(builder.channels, stream, device)
            });
            ups.push(UnetUp { blocks, upsample });
        }
        Unet {
            sig_embed,
            cond_embed,
            conv_in,
            downs,
            mid,
            ups,
            out_norm: group_norm_layer(builder.channels, device),
            out_conv: torch.conv2d(torch, [builder.channels, self.out_ch], Window::three(), stream, device),
            in_dim,
            in_ch: self.in_ch,
        }
    }
}

/// Where a U-Net is being built: the size of the images and the channels that the next layer will see.
struct Builder<'a, B: Backend> {
    config: &'a UnetConfig,
    side: usize,
    channels: usize,
    device: &'a B::Device,
}

impl<B: Backend> Builder<'_, B> {
    /// A residual block that also takes in `skip` channels.
    fn resnet(&mut self, skip: usize, out_ch: usize, stream: &mut Stream) -> ResnetBlock<B> {
        let in_ch = self.channels + skip;
        self.channels = out_ch;
        let (temb_channels, dropout) = (self.config.temb_ch(), self.config.dropout);
        ResnetBlockConfig { in_ch, out_ch, temb_channels, dropout, conv_shortcut: false }
            .init(stream, self.device)
    }

    /// The same, with attention where images of this size have it.
    fn block(&mut self, skip: usize, out_ch: usize, stream: &mut Stream) -> UnetBlock<B> {
        let resnet = self.resnet(skip, out_ch, stream);
        let attends = self.config.attn_resolutions.contains(&self.side);
        let attn = attends.then(|| AttnBlockConfig { ch: out_ch, num_heads: 1 }.init(stream, self.device));
        UnetBlock { resnet, attn }
    }
}

/// The U-Net of DDPM (Ho et al. 2020, arXiv:2006.11239, appendix B, after Ronneberger et al. 2015,
/// arXiv:1505.04597) for square images: down to small images of many channels and up again, every stage on the way up
/// taking in what the same stage put out on the way down. Noise level and, where `C` is a [`CondEmbedderLabel`], label
/// are added inside each residual block.
#[derive(Module, Debug)]
pub struct Unet<B: Backend, C = NoCondition<B>> {
    /// The noise level's embedding.
    pub sig_embed: SigmaEmbedder<B>,
    /// The condition's embedding.
    pub cond_embed: C,
    /// From the image's channels to the first level's.
    pub conv_in: Conv2d<B>,
    /// The levels on the way down.
    pub downs: Vec<UnetDown<B>>,
    /// The middle, on the smallest images.
    pub mid: UnetMiddle<B>,
    /// The levels on the way up, the smallest images first.
    pub ups: Vec<UnetUp<B>>,
    /// The norm before the last layer; SiLU follows.
    pub out_norm: GroupNorm<B>,
    /// From the first level's channels to the output's.
    pub out_conv: Conv2d<B>,
    in_dim: usize,
    in_ch: usize,
}

/// One level on the way down.
#[derive(Module, Debug)]
pub struct UnetDown<B: Backend> {
    /// The residual blocks, with attention or without.
    pub blocks: Vec<UnetBlock<B>>,
    /// To the next level; the last has none.
    pub downsample: Option<Downsample<B>>,
}

/// The stages between the way down and the way up.
#[derive(Module, Debug)]
pub struct UnetMiddle<B: Backend> {
    /// Before attention.
    pub first: ResnetBlock<B>,
    /// Between the pixels.
    pub attn: AttnBlock<B>,
    /// After attention.
    pub second: ResnetBlock<B>,
}

impl<B: Backend> CondModule<B, 4> for UnetMiddle<B> {
    /// # Shapes
    /// - `x`, returns: `[batch, ch, height, width]`
    /// - `y`: `[batch, temb_ch]`
    fn forward(&self, x: Tensor<B, 4>, y: Tensor<B, 2>) -> Tensor<B, 4> {
        self.trace(x, y, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(&self, x: Tensor<B, 4>, y: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, 4> {
        let x = self.first.trace(x, y.clone(), &mut tracer.within(&"first"));
        let x = tracer.layer(&"first", x);
        let x = self.attn.trace(x, &mut tracer.within(&"attn"));
        let x = tracer.layer(&"attn", x);
        let x = self.second.trace(x, y, &mut tracer.within(&"second"));
        tracer.layer(&"second", x)
    }
}

/// One level on the way up.
#[derive(Module, Debug)]
pub struct UnetUp<B: Backend> {
    /// The residual blocks, with attention or without.
    pub blocks: Vec<UnetBlock<B>>,
    /// To the next level; the last has none.
    pub upsample: Option<Upsample<B>>,
}

/// A residual block and, at some resolutions, attention behind it.
#[derive(Module, Debug)]
pub struct UnetBlock<B: Backend> {
    /// The residual block.
    pub resnet: ResnetBlock<B>,
    /// Attention between pixels.
    pub attn: Option<AttnBlock<B>>,
}

impl<B: Backend> CondModule<B, 4> for UnetBlock<B> {
    /// # Shapes
    /// - `x`: `[batch, in_ch, height, width]`
    /// - `y`: `[batch, temb_ch]`
    /// - returns `[batch, out_ch, height, width]`
    fn forward(&self, x: Tensor<B, 4>, y: Tensor<B, 2>) -> Tensor<B, 4> {
        self.trace(x, y, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(&self, x: Tensor<B, 4>, y: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, 4> {
        let x = self.resnet.trace(x, y, &mut tracer.within(&"resnet"));
        let x = tracer.layer(&"resnet", x);
        match &self.attn {
            Some(attn) => {
                let x = attn.trace(x, &mut tracer.within(&"attn"));
                tracer.layer(&"attn", x)
            }
            None => x,
        }
    }
}

impl<B: Backend, C: ConditionEmbedder<B>> Network<B, 4> for Unet<B, C> {
    type Condition = C::Condition;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, self.in_ch, self.in_dim, self.in_dim]
    }

    /// # Shapes
    /// - returns `[batch, out_ch, in_dim, in_dim]`, the shape of `x` in every network that serves a diffusion model
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
        let y = tracer.layer(&"sig_embed", self.sig_embed.forward(sigma)); // [batch, temb_ch]
        let y = match self.cond_embed.embed(condition) {
            Some(condition) => {
                let condition = tracer.layer(&"cond_embed", condition);
                tracer.layer(&"embedding", y + condition)
            }
            None => y,
        };
        let mut h = tracer.layer(&"conv_in", conv2d(&self.conv_in, x));
        let mut skips = vec![h.clone()];
        for (i, down) in self.downs.iter().enumerate() {
            for (j, block) in down.blocks.iter().enumerate() {
                h = block.trace(h, y.clone(), &mut tracer.within(&format_args!("downs.{i}.blocks.{j}")));
                skips.push(h.clone());
            }
            if let Some(downsample) = &down.downsample {
                h = tracer.layer(&format_args!("downs.{i}.downsample"), downsample.forward(h));
                skips.push(h.clone());
            }
        }
        h = self.mid.trace(h, y.clone(), &mut tracer.within(&"mid"));
        for (i, up) in self.ups.iter().enumerate() {
            for (j, block) in up.blocks.iter().enumerate() {
                let name = format_args!("ups.{i}.blocks.{j}");
                let inside = &mut tracer.within(&name);
                let skip = skips.pop().expect(BALANCED);
                let joined = diffusion_kernels::join_channels(&h, &skip);
                h = inside.layer(&"skip", joined.unwrap_or_else(|| Tensor::cat(vec![h, skip], 1)));
                h = block.trace(h, y.clone(), inside);
            }
            if let Some(upsample) = &up.upsample {
                h = tracer.layer(&format_args!("ups.{i}.upsample"), upsample.forward(h));
            }
        }
        h = tracer.layer(&"out_norm", group_norm_silu(&self.out_norm, h));
        tracer.layer(&"out_conv", conv2d(&self.out_conv, h))
    }

    fn drop_condition(&self, condition: C::Condition, uniform: &mut dyn FnMut(usize) -> f64) -> C::Condition {
        self.cond_embed.drop_condition(condition, uniform)
    }
}

impl<B: Backend> NullCondition for Unet<B, CondEmbedderLabel<B>> {
    type Condition = Labels;

    fn null_condition(&self, labels: &Labels) -> Labels {
        self.cond_embed.null_labels(labels)
    }
}

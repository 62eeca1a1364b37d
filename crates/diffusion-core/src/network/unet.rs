//! The U-Net.

use super::{Network, NullCondition, input_channels};
use crate::invalid::{Invalid, MAX_DEPTH, MAX_SIZE, expect_valid, product};
use crate::layer::resnet::{validate_channels, validate_dropout};
use crate::layer::{
    AnyEmbedder, AttnBlock, AttnBlockConfig, CondEmbedderLabel, CondEmbedderLabelConfig, CondModule,
    ConditionEmbedder, Downsample, Init, NoCondition, ResnetBlock, ResnetBlockConfig, SigmaEmbedder,
    SigmaEmbedding, Upsample, Window, conv2d, conv3x3_params, group_norm_layer, group_norm_silu,
    join_channels, norm_params,
};
use crate::random::{Purpose, Stream};
use crate::sigma::Sigma;
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Each level has a block more on the way up than on the way down: for its downsampling, the last for `conv_in`.
const BALANCED: &str = "the way up takes in as many images as the way down puts out";

/// The sizes of a [`Unet`]; the defaults are smalldiffusion's, for CIFAR-10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Height and width of the images in pixels, divisible by two once for each level but the first.
    pub in_dim: usize,
    /// Channels of the input.
    pub in_ch: usize,
    /// Channels of the output; a diffusion model needs as many as in the input.
    pub out_ch: usize,
    /// Channels at the first level in units, a multiple of 32.
    pub ch: usize,
    /// Channels of each level, in multiples of `ch`; each level but the first works on images of half the size.
    pub ch_mult: Vec<usize>,
    /// Size of the embedding of noise level and condition, in multiples of `ch`.
    pub embed_ch_mult: usize,
    /// Residual blocks per level on the way down; on the way up there is one more.
    pub num_res_blocks: usize,
    /// At which heights a residual block is followed by attention between pixels, as it always is in the middle.
    pub attn_resolutions: Vec<usize>,
    /// The probability with which training sets a value inside a residual block to zero.
    pub dropout: f64,
    /// How the noise level is embedded.
    pub sigma_embedding: SigmaEmbedding,
    /// Whether the network is given its last estimate of the data beside its input
    /// ([`Network::self_conditioned`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub self_condition: bool,
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
            self_condition: false,
        }
    }
}

impl UnetConfig {
    /// The unconditional network that `seed` stands for, initialized as PyTorch does; the same on every backend.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> Unet<B> {
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
    ) -> Unet<B, CondEmbedderLabel<B>> {
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
    ) -> AnyUnet<B> {
        let told = |stream: &mut Stream| labels.map(|labels| self.label_embedder(labels, stream, device));
        self.build(seed, device, |stream| AnyEmbedder::plain(told(stream)))
    }

    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a setting is out of its range, e.g. `in_dim` cannot be halved as often as there are levels below the first,
    /// `ch` is no multiple of 32, or `dropout` is not in [0, 1).
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { in_dim, in_ch, out_ch, ch, ch_mult, embed_ch_mult, num_res_blocks, .. } = self;
        for (setting, size) in [
            ("in_dim", in_dim),
            ("in_ch", in_ch),
            ("out_ch", out_ch),
            ("ch", ch),
            ("embed_ch_mult", embed_ch_mult),
        ] {
            Invalid::unless_positive(setting, *size, MAX_SIZE)?;
        }
        Invalid::unless_positive("num_res_blocks", *num_res_blocks, MAX_DEPTH)?;
        let levels = ch_mult.len();
        Invalid::unless(levels > 0, "ch_mult", || format!("has {levels} levels, expected at least 1"))?;
        for (setting, mult) in
            ch_mult.iter().map(|mult| ("ch_mult", mult)).chain([("embed_ch_mult", embed_ch_mult)])
        {
            Invalid::unless(*mult > 0 && product(&[*ch, *mult]) <= MAX_SIZE, setting, || {
                format!("has a multiple of {mult}, expected at least 1 and at most {MAX_SIZE} channels")
            })?;
        }
        let values = product(&[*in_dim, *in_dim, *in_ch]);
        Invalid::unless(values <= MAX_SIZE, "in_dim", || {
            format!("gives images of {values} values, expected at most {MAX_SIZE}")
        })?;
        validate_channels("ch", *ch)?;
        Invalid::unless(in_dim.trailing_zeros() as usize + 1 >= levels, "in_dim", || {
            format!("is {in_dim}: images of {in_dim} pixels cannot be halved {} times", levels - 1)
        })?;
        validate_dropout(self.dropout)?;
        self.sigma_embedding.validate().map_err(|invalid| invalid.within("sigma_embedding"))
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        vec![self.in_ch, self.in_dim, self.in_dim]
    }

    /// The shape of the output for one example; a diffusion model needs it to be that of the input.
    pub fn output_shape(&self) -> Vec<usize> {
        vec![self.out_ch, self.in_dim, self.in_dim]
    }

    /// The number of parameters, with the embedding of `labels` if there are any.
    pub fn num_params(&self, labels: Option<&CondEmbedderLabelConfig>) -> u128 {
        let plan = Plan::of(self);
        let resample: u128 =
            plan.downs.iter().chain(&plan.ups).filter_map(|level| level.resample).map(same_conv_params).sum();
        self.sigma_embedding.num_params(self.temb_ch())
            + labels.map_or(0, |labels| labels.num_params(self.temb_ch()))
            + conv3x3_params(self.input_channels(), self.ch)
            + plan.blocks().map(BlockPlan::num_params).sum::<u128>()
            + resample
            + norm_params(plan.out_ch)
            + conv3x3_params(plan.out_ch, self.out_ch)
    }

    /// Values in the largest of the layers' outputs for one example.
    pub fn largest_layer(&self) -> u128 {
        let widest =
            |block: &BlockPlan| pixels(block.side) * block.resnet.in_ch.max(block.resnet.out_ch) as u128;
        let first = pixels(self.in_dim) * self.ch.max(self.input_channels()) as u128;
        Plan::of(self).blocks().map(widest).fold(first, u128::max)
    }

    /// Values in the largest attention matrix of one head for one example: from each pixel to each.
    pub fn attention_size(&self) -> u128 {
        let attends = |block: &BlockPlan| block.attn.as_ref().map(|_| pixels(block.side).pow(2));
        Plan::of(self).blocks().filter_map(attends).max().unwrap_or_default()
    }

    /// The channels that the first convolution takes.
    fn input_channels(&self) -> usize {
        input_channels(self.in_ch, self.self_condition)
    }

    pub(super) fn temb_ch(&self) -> usize {
        self.ch * self.embed_ch_mult
    }

    pub(super) fn label_embedder<B: Backend>(
        &self,
        labels: &CondEmbedderLabelConfig,
        stream: &mut Stream,
        device: &B::Device,
    ) -> CondEmbedderLabel<B> {
        labels.init(self.temb_ch(), Init::Torch, Init::Torch, stream, device)
    }

    pub(super) fn build<B: Backend, C>(
        &self,
        seed: u64,
        device: &B::Device,
        cond_embed: impl FnOnce(&mut Stream) -> C,
    ) -> Unet<B, C> {
        expect_valid(self.validate());
        let (plan, torch) = (Plan::of(self), Init::Torch);
        let stream = &mut Stream::new(seed, Purpose::PARAMETERS, 0, 0);
        let sig_embed = self.sigma_embedding.init(self.temb_ch(), [torch; 2], torch, stream, device);
        let cond_embed = cond_embed(stream);
        let conv_in =
            torch.conv2d(torch, [self.input_channels(), self.ch], Window::conv3x3(), stream, device);
        let down = |level: &LevelPlan, stream: &mut Stream| UnetDown {
            blocks: level.blocks.iter().map(|block| block.init(stream, device)).collect(),
            downsample: level.resample.map(|ch| Downsample::new(ch, stream, device)),
        };
        let up = |level: &LevelPlan, stream: &mut Stream| UnetUp {
            blocks: level.blocks.iter().map(|block| block.init(stream, device)).collect(),
            upsample: level.resample.map(|ch| Upsample::new(ch, stream, device)),
        };
        Unet {
            sig_embed,
            cond_embed,
            conv_in,
            downs: plan.downs.iter().map(|level| down(level, stream)).collect(),
            mid: plan.mid.init(stream, device),
            ups: plan.ups.iter().map(|level| up(level, stream)).collect(),
            out_norm: group_norm_layer(plan.out_ch, device),
            out_conv: torch.conv2d(torch, [plan.out_ch, self.out_ch], Window::conv3x3(), stream, device),
            in_dim: self.in_dim,
            in_ch: self.in_ch,
            self_condition: self.self_condition,
        }
    }
}

/// The sizes of all blocks of a U-Net, from which it is made and counted.
struct Plan {
    downs: Vec<LevelPlan>,
    mid: MiddlePlan,
    ups: Vec<LevelPlan>,
    /// Channels that the last level puts out.
    out_ch: usize,
}

/// One level on the way down or up.
struct LevelPlan {
    blocks: Vec<BlockPlan>,
    /// Channels of the convolution to the next level; the last level has none.
    resample: Option<usize>,
}

/// The stages between the way down and the way up; attention belongs to the first block.
struct MiddlePlan([BlockPlan; 2]);

/// A residual block and the attention behind it, at images of `side` pixels.
struct BlockPlan {
    side: usize,
    resnet: ResnetBlockConfig,
    attn: Option<AttnBlockConfig>,
}

impl Plan {
    fn of(config: &UnetConfig) -> Self {
        let UnetConfig { ch, ch_mult, num_res_blocks, dropout, .. } = config;
        let block = |side: usize, in_ch: usize, out_ch: usize, attends: bool| BlockPlan {
            side,
            resnet: ResnetBlockConfig {
                in_ch,
                out_ch,
                temb_channels: config.temb_ch(),
                dropout: *dropout,
                conv_shortcut: false,
            },
            attn: attends.then_some(AttnBlockConfig { ch: out_ch, num_heads: 1 }),
        };
        let attends = |side: usize| config.attn_resolutions.contains(&side);
        let (mut side, mut channels) = (config.in_dim, *ch);
        // The channels of everything that the way up will take in again, in order.
        let mut skips = vec![channels];
        let mut downs = Vec::with_capacity(ch_mult.len());
        for (level, mult) in ch_mult.iter().enumerate() {
            let mut blocks = Vec::with_capacity(*num_res_blocks);
            for _ in 0..*num_res_blocks {
                blocks.push(block(side, channels, ch * mult, attends(side)));
                channels = ch * mult;
                skips.push(channels);
            }
            let resample = (level + 1 < ch_mult.len()).then_some(channels);
            if resample.is_some() {
                skips.push(channels);
                side /= 2;
            }
            downs.push(LevelPlan { blocks, resample });
        }
        let mid = MiddlePlan([true, false].map(|attends| block(side, channels, channels, attends)));
        let mut ups = Vec::with_capacity(ch_mult.len());
        for (level, mult) in ch_mult.iter().enumerate().rev() {
            let mut blocks = Vec::with_capacity(num_res_blocks + 1);
            for _ in 0..=*num_res_blocks {
                let skip = skips.pop().expect(BALANCED);
                blocks.push(block(side, channels + skip, ch * mult, attends(side)));
                channels = ch * mult;
            }
            let resample = (level > 0).then_some(channels);
            side *= if level > 0 { 2 } else { 1 };
            ups.push(LevelPlan { blocks, resample });
        }
        Self { downs, mid, ups, out_ch: channels }
    }

    fn blocks(&self) -> impl Iterator<Item = &BlockPlan> {
        let levels = self.downs.iter().chain(&self.ups);
        levels.flat_map(|level| &level.blocks).chain(&self.mid.0)
    }
}

impl MiddlePlan {
    fn init<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> UnetMiddle<B> {
        let [first, second] = &self.0;
        let UnetBlock { resnet, attn } = first.init(stream, device);
        let attn = attn.expect("the first block in the middle has attention");
        UnetMiddle { first: resnet, attn, second: second.resnet.init(stream, device) }
    }
}

impl BlockPlan {
    fn init<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> UnetBlock<B> {
        let resnet = self.resnet.init(stream, device);
        UnetBlock { resnet, attn: self.attn.as_ref().map(|attn| attn.init(stream, device)) }
    }

    fn num_params(&self) -> u128 {
        self.resnet.num_params() + self.attn.as_ref().map_or(0, AttnBlockConfig::num_params)
    }
}

/// The pixels of an image.
fn pixels(side: usize) -> u128 {
    (side as u128).pow(2)
}

/// The parameters of a convolution that leaves the number of channels as it is.
fn same_conv_params(ch: usize) -> u128 {
    conv3x3_params(ch, ch)
}

/// A [`Unet`] that is conditioned on labels; made by [`UnetConfig::init_conditional`].
pub type ConditionalUnet<B> = Unet<B, CondEmbedderLabel<B>>;

/// A network with or without labels, chosen while the program runs.
pub type AnyUnet<B> = Unet<B, AnyEmbedder<B, CondEmbedderLabel<B>>>;

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
    self_condition: bool,
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
                h = inside.layer(&"skip", join_channels(h, skip));
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

    fn averaged(&self, condition: C::Condition, over: Sigma) -> Option<C::Condition> {
        self.cond_embed.averaged(condition, over)
    }

    fn without_dropout(mut self) -> Self {
        let downs = self.downs.iter_mut().flat_map(|down| &mut down.blocks);
        let blocks = downs.chain(self.ups.iter_mut().flat_map(|up| &mut up.blocks));
        let middle = [&mut self.mid.first, &mut self.mid.second];
        blocks.map(|block| &mut block.resnet).chain(middle).for_each(|resnet| resnet.dropout.prob = 0.0);
        self
    }
}

impl<B: Backend, C: NullCondition> NullCondition for Unet<B, C> {
    type Condition = C::Condition;

    fn null_condition(&self, condition: &C::Condition) -> C::Condition {
        self.cond_embed.null_condition(condition)
    }
}

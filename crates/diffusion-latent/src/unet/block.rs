//! The levels of a U-Net.

use super::UnetConfig;
use crate::layer::{
    Build, Downsample2D, ResnetBlock2D, ResnetConfig, Transformer2D, TransformerConfig, Upsample2D,
};
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::join_channels;

fn resnet<B: Backend>(
    build: &mut Build<'_, B>,
    config: &UnetConfig,
    channels: [usize; 2],
) -> ResnetBlock2D<B> {
    let time_dim = Some(4 * config.block_out_channels[0]);
    let (groups, epsilon) = (config.norm_num_groups, config.norm_eps);
    ResnetBlock2D::new(build, ResnetConfig { channels, groups, epsilon, time_dim })
}

fn transformer<B: Backend>(build: &mut Build<'_, B>, config: &UnetConfig, level: usize) -> Transformer2D<B> {
    let config = TransformerConfig {
        channels: config.block_out_channels[level],
        heads: config.attention_head_dim.at(level),
        depth: config.transformer_layers_per_block.at(level),
        context_dim: config.cross_attention_dim.at(level),
        groups: config.norm_num_groups,
    };
    Transformer2D::new(build, config)
}

/// A level on the way down.
#[derive(Module, Debug)]
pub struct DownBlock<B: Backend> {
    /// Residual blocks.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One behind each residual block, or none.
    pub attentions: Vec<Transformer2D<B>>,
    /// One, but at the last level.
    pub downsamplers: Vec<Downsample2D<B>>,
}

impl<B: Backend> DownBlock<B> {
    pub(super) fn all(build: &mut Build<'_, B>, config: &UnetConfig) -> Vec<Self> {
        let mut before = config.block_out_channels[0];
        let levels = 0..config.levels();
        levels
            .map(|level| {
                let channels = config.block_out_channels[level];
                let mut block =
                    Self { resnets: Vec::new(), attentions: Vec::new(), downsamplers: Vec::new() };
                for _ in 0..config.layers_per_block.at(level) {
                    block.resnets.push(resnet(build, config, [before, channels]));
                    if config.down_block_types[level].has_attention() {
                        block.attentions.push(transformer(build, config, level));
                    }
                    before = channels;
                }
                if level + 1 < config.levels() {
                    block.downsamplers.push(Downsample2D::new(build, channels, [1; 4]));
                }
                block
            })
            .collect()
    }

    /// Keeps every result for the way up.
    pub(super) fn forward(
        &self,
        mut h: Tensor<B, 4>,
        time: &Tensor<B, 2>,
        context: &Tensor<B, 3>,
        skips: &mut Vec<Tensor<B, 4>>,
    ) -> Tensor<B, 4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            h = resnet.forward(h, Some(time.clone()));
            if let Some(attention) = self.attentions.get(i) {
                h = attention.forward(h, context.clone());
            }
            skips.push(h.clone());
        }
        for downsample in &self.downsamplers {
            h = downsample.forward(h);
            skips.push(h.clone());
        }
        h
    }
}

/// A residual block, a transformer, and another residual block.
#[derive(Module, Debug)]
pub struct MiddleBlock<B: Backend> {
    /// Two.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One.
    pub attentions: Vec<Transformer2D<B>>,
}

impl<B: Backend> MiddleBlock<B> {
    pub(super) fn new(build: &mut Build<'_, B>, config: &UnetConfig) -> Self {
        let last = config.levels() - 1;
        let channels = [config.block_out_channels[last]; 2];
        Self {
            resnets: (0..2).map(|_| resnet(build, config, channels)).collect(),
            attentions: vec![transformer(build, config, last)],
        }
    }

    pub(super) fn forward(
        &self,
        h: Tensor<B, 4>,
        time: &Tensor<B, 2>,
        context: &Tensor<B, 3>,
    ) -> Tensor<B, 4> {
        let mut h = self.resnets[0].forward(h, Some(time.clone()));
        for attention in &self.attentions {
            h = attention.forward(h, context.clone());
        }
        self.resnets[1].forward(h, Some(time.clone()))
    }
}

/// A level on the way up.
#[derive(Module, Debug)]
pub struct UpBlock<B: Backend> {
    /// Residual blocks, each of which also takes what was kept on the way down.
    pub resnets: Vec<ResnetBlock2D<B>>,
    /// One behind each residual block, or none.
    pub attentions: Vec<Transformer2D<B>>,
    /// One, but at the last level.
    pub upsamplers: Vec<Upsample2D<B>>,
}

impl<B: Backend> UpBlock<B> {
    pub(super) fn all(build: &mut Build<'_, B>, config: &UnetConfig) -> Vec<Self> {
        let sizes = &config.block_out_channels;
        let mut before = sizes[sizes.len() - 1];
        let levels = (0..config.levels()).rev().enumerate();
        levels
            .map(|(i, level)| {
                let channels = sizes[level];
                let count = config.layers_per_block.at(level) + 1;
                let mut block = Self { resnets: Vec::new(), attentions: Vec::new(), upsamplers: Vec::new() };
                for j in 0..count {
                    // The last of a level takes what came into it on the way down.
                    let kept = if j + 1 < count { channels } else { sizes[level.saturating_sub(1)] };
                    block.resnets.push(resnet(build, config, [before + kept, channels]));
                    if config.up_block_types[i].has_attention() {
                        block.attentions.push(transformer(build, config, level));
                    }
                    before = channels;
                }
                if level > 0 {
                    block.upsamplers.push(Upsample2D::new(build, channels));
                }
                block
            })
            .collect()
    }

    pub(super) fn forward(
        &self,
        mut h: Tensor<B, 4>,
        time: &Tensor<B, 2>,
        context: &Tensor<B, 3>,
        skips: &mut Vec<Tensor<B, 4>>,
    ) -> Tensor<B, 4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let kept = skips.pop().expect("the way up takes as many as the way down has kept");
            h = resnet.forward(join_channels(h, kept), Some(time.clone()));
            if let Some(attention) = self.attentions.get(i) {
                h = attention.forward(h, context.clone());
            }
        }
        for upsample in &self.upsamplers {
            let [_, _, height, width] = skips.last().expect("a level above").dims();
            h = upsample.forward(h, [height, width]);
        }
        h
    }
}

//! Sizes of networks from the shapes of their tensors.

use crate::autoencoder::AutoencoderConfig;
use crate::config::PerLevel;
use crate::text::{TextActivation, TextEncoderConfig};
use crate::unet::{AdditionEmbed, BlockType, UnetConfig};

/// The shapes of tensors by their original names.
pub(super) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// How many numbers from 0 on make one of the `names` a tensor that there is.
fn count<const N: usize>(shapes: Shapes<'_>, names: impl Fn(usize) -> [String; N]) -> usize {
    (0..).take_while(|&i| names(i).iter().any(|name| shapes(name).is_some())).count()
}

/// The size that most of these axes of tensors have, of those that there are: one that is missing or misshapen leaves the
/// others to say it.
fn size<S: AsRef<str>>(shapes: Shapes<'_>, witnesses: impl IntoIterator<Item = (S, usize)>) -> Option<usize> {
    let found = |(name, axis): (S, usize)| shapes(name.as_ref())?.get(axis).copied();
    let found: Vec<usize> = witnesses.into_iter().filter_map(found).collect();
    let votes = |size: &usize| found.iter().filter(|other| *other == size).count();
    // Of as many votes the first.
    found.iter().rev().copied().max_by_key(votes)
}

/// A level of a U-Net going down.
#[derive(Default)]
struct Level {
    channels: usize,
    layers: usize,
    /// Blocks of each transformer, if there are some.
    depth: usize,
}

/// The sizes of a U-Net; `None` if it has not the tensors of one. Stable Diffusion 1, whose transformers have kernels of one
/// pixel, has 8 heads, and the others 64 values per head; norms have 32 groups.
pub(super) fn unet(shapes: Shapes<'_>) -> Option<UnetConfig> {
    let levels = levels_of_unet(shapes);
    let projection = |block: &Level| block.depth > 0;
    let blocks = (1..).map(|i| format!("input_blocks.{i}")).take_while(|block| kind(shapes, block).is_some());
    let context = blocks.chain(["middle_block".to_string()]).flat_map(|block| {
        ["to_k", "to_v"].map(|to| (format!("{block}.1.transformer_blocks.0.attn2.{to}.weight"), 1))
    });
    let context = size(shapes, context)?;
    let projections = ["proj_in", "proj_out"].map(|name| shapes(&format!("middle_block.1.{name}.weight")));
    let is_first = projections.into_iter().flatten().next()?.len() == 4;
    let down: Vec<BlockType> = levels
        .iter()
        .map(|level| if projection(level) { BlockType::CrossAttnDownBlock2D } else { BlockType::DownBlock2D })
        .collect();
    let up = levels
        .iter()
        .rev()
        .map(|level| if projection(level) { BlockType::CrossAttnUpBlock2D } else { BlockType::UpBlock2D })
        .collect();
    let channels: Vec<usize> = levels.iter().map(|level| level.channels).collect();
    let heads = match is_first {
        true => PerLevel::All(8),
        false => PerLevel::Each(channels.iter().map(|channels| (channels / 64).max(1)).collect()),
    };
    let is_xl = has(shapes, "label_emb.0.0") || has(shapes, "label_emb.0.2");
    let added = is_xl.then(|| size(shapes, [("label_emb.0.0.weight", 1)]).unwrap_or(ADDED_OF_XL));
    let config = UnetConfig {
        sample_size: if added.is_some() { 128 } else { 64 },
        in_channels: size(shapes, [("input_blocks.0.0.weight", 1)]).unwrap_or(LATENTS),
        out_channels: size(shapes, [("out.2.bias", 0), ("out.2.weight", 0)]).unwrap_or(LATENTS),
        block_out_channels: channels,
        down_block_types: down,
        up_block_types: up,
        layers_per_block: per_level(levels.iter().map(|level| level.layers)),
        attention_head_dim: heads,
        cross_attention_dim: PerLevel::All(context),
        transformer_layers_per_block: per_level(levels.iter().map(|level| level.depth.max(1))),
        addition_embed_type: added.map(|_| AdditionEmbed::TextTime),
        addition_time_embed_dim: if added.is_some() { 256 } else { 0 },
        projection_class_embeddings_input_dim: added.unwrap_or(0),
        ..UnetConfig::default()
    };
    config.validate().is_ok().then_some(config)
}

/// The channels of latents where no tensor says it.
const LATENTS: usize = 4;

/// The values of a pooled text and six sizes in Stable Diffusion XL, where no tensor says it.
const ADDED_OF_XL: usize = 2816;

/// What a block of a U-Net going down is.
enum Block {
    Residual,
    Smaller,
}

fn kind(shapes: Shapes<'_>, block: &str) -> Option<Block> {
    let has = |names: &[&str]| names.iter().any(|name| shapes(&format!("{block}.0.{name}")).is_some());
    if has(&["op.weight", "op.bias"]) {
        return Some(Block::Smaller);
    }
    has(&["in_layers.2.weight", "in_layers.2.bias", "out_layers.3.weight"]).then_some(Block::Residual)
}

fn levels_of_unet(shapes: Shapes<'_>) -> Vec<Level> {
    let (mut levels, mut level) = (Vec::new(), Level::default());
    for i in 1.. {
        let block = format!("input_blocks.{i}");
        match kind(shapes, &block) {
            Some(Block::Smaller) => levels.push(std::mem::take(&mut level)),
            Some(Block::Residual) => {
                let layers =
                    ["in_layers.2.weight", "in_layers.2.bias", "out_layers.3.weight", "out_layers.3.bias"];
                let channels = size(shapes, layers.map(|layer| (format!("{block}.0.{layer}"), 0)));
                level.channels = channels.unwrap_or_default();
                level.layers += 1;
                level.depth = count(shapes, |k| {
                    ["attn1.to_q", "attn1.to_k", "norm1"]
                        .map(|layer| format!("{block}.1.transformer_blocks.{k}.{layer}.weight"))
                });
            }
            None => break,
        }
    }
    levels.push(level);
    levels
}

/// One number if all levels have the same.
fn per_level(values: impl Iterator<Item = usize>) -> PerLevel {
    let values: Vec<usize> = values.collect();
    match values.iter().all(|value| *value == values[0]) {
        true => PerLevel::All(values[0]),
        false => PerLevel::Each(values),
    }
}

/// The sizes of an autoencoder; `None` if it has not the tensors of one. Norms have 32 groups; the scale is that of Stable
/// Diffusion 1 and 2.
pub(super) fn autoencoder(shapes: Shapes<'_>) -> Option<AutoencoderConfig> {
    let block = |level: usize, i: usize| {
        ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
            .map(|layer| format!("encoder.down.{level}.block.{i}.{layer}"))
    };
    let levels = count(shapes, |level| block(level, 0));
    let channels = (0..levels).map(|level| size(shapes, block(level, 0).map(|name| (name, 0))));
    Some(AutoencoderConfig {
        in_channels: size(shapes, [("encoder.conv_in.weight", 1)]).unwrap_or(COLORS),
        out_channels: size(shapes, [("decoder.conv_out.bias", 0), ("decoder.conv_out.weight", 0)])
            .unwrap_or(COLORS),
        block_out_channels: channels
            .collect::<Option<Vec<_>>>()
            .filter(|channels| !channels.is_empty() && channels.iter().all(|size| is_in_groups(*size)))?,
        layers_per_block: count(shapes, |i| block(0, i)),
        latent_channels: size(shapes, [("decoder.conv_in.weight", 1), ("post_quant_conv.bias", 0)])
            .filter(|channels| *channels > 0)?,
        sample_size: 512,
        use_quant_conv: has(shapes, "quant_conv"),
        use_post_quant_conv: has(shapes, "post_quant_conv"),
        mid_block_add_attention: has(shapes, "encoder.mid.attn_1.q"),
        ..AutoencoderConfig::default()
    })
}

/// The channels of pictures where no tensor says it.
const COLORS: usize = 3;

fn is_in_groups(channels: usize) -> bool {
    channels > 0 && channels.is_multiple_of(AutoencoderConfig::default().norm_num_groups)
}

fn has(shapes: Shapes<'_>, layer: &str) -> bool {
    ["weight", "bias"].iter().any(|end| shapes(&format!("{layer}.{end}")).is_some())
}

/// The sizes of a text encoder under transformers' names; `None` if it has not the tensors of one. Heads have 64 values, and
/// the last token ends a text. Of OpenCLIP's, the layers that are left out at the end are given.
pub(super) fn text(shapes: Shapes<'_>, behind: Option<usize>) -> Option<TextEncoderConfig> {
    let layer = |layer: usize| {
        ["mlp.fc1.weight", "mlp.fc1.bias", "layer_norm1.weight", "layer_norm2.weight"]
            .map(|name| format!("text_model.encoder.layers.{layer}.{name}"))
    };
    let layers = count(shapes, layer);
    let [table, positions] =
        ["token", "position"].map(|kind| format!("text_model.embeddings.{kind}_embedding.weight"));
    let [first, ..] = layer(0);
    let norms = layer(0).into_iter().skip(2).map(|name| (name, 0));
    let hidden_size = size(shapes, norms.chain([(table.clone(), 1), (positions.clone(), 1), (first, 1)]))?;
    let heads = (hidden_size / 64).max(1);
    if hidden_size == 0 || !hidden_size.is_multiple_of(heads) {
        return None;
    }
    let vocab_size = size(shapes, [(&table, 0)]).unwrap_or(TOKENS);
    let activation = if behind.is_some() { TextActivation::Gelu } else { TextActivation::QuickGelu };
    Some(TextEncoderConfig {
        vocab_size,
        hidden_size,
        intermediate_size: size(shapes, layer(0).into_iter().take(2).map(|name| (name, 0)))?,
        projection_dim: hidden_size,
        num_hidden_layers: layers.saturating_sub(behind.unwrap_or(0)).max(1),
        num_attention_heads: heads,
        max_position_embeddings: size(shapes, [(&positions, 0)])
            .filter(|count| *count >= 2)
            .unwrap_or(POSITIONS),
        hidden_act: activation,
        eos_token_id: vocab_size.checked_sub(1)?,
        ..TextEncoderConfig::default()
    })
}

/// The vocabulary of CLIP, and the tokens of a text, where no tensor says it.
const TOKENS: usize = 49408;
const POSITIONS: usize = 77;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::names;
    use crate::layer::Build;
    use crate::original::{autoencoder_name, unet_name};
    use BlockType::*;
    use burn::backend::Flex;
    use std::collections::BTreeMap;

    /// A fifth as wide as the published ones, and less deep.
    fn published() -> [UnetConfig; 3] {
        let channels = vec![64, 128, 256, 256];
        let first = UnetConfig {
            block_out_channels: channels.clone(),
            cross_attention_dim: PerLevel::All(96),
            ..UnetConfig::default()
        };
        let second = UnetConfig {
            attention_head_dim: PerLevel::Each(vec![1, 2, 4, 4]),
            in_channels: 9,
            ..first.clone()
        };
        let xl = UnetConfig {
            sample_size: 128,
            block_out_channels: vec![64, 128, 256],
            down_block_types: vec![DownBlock2D, CrossAttnDownBlock2D, CrossAttnDownBlock2D],
            up_block_types: vec![CrossAttnUpBlock2D, CrossAttnUpBlock2D, UpBlock2D],
            attention_head_dim: PerLevel::Each(vec![1, 2, 4]),
            transformer_layers_per_block: PerLevel::Each(vec![1, 2, 3]),
            addition_embed_type: Some(AdditionEmbed::TextTime),
            addition_time_embed_dim: 256,
            projection_class_embeddings_input_dim: 2816,
            ..first.clone()
        };
        [first, second, xl]
    }

    #[test]
    fn sizes_of_unets_follow_from_their_tensors() {
        let device = Default::default();
        for (i, config) in published().into_iter().enumerate() {
            let module = config.build::<Flex>(&mut Build::to_load(&device));
            let shapes: BTreeMap<String, Vec<usize>> = diffusion_weights::shapes(&module, &names(), &[])
                .into_iter()
                .map(|(name, mut shape)| {
                    if i == 0 && (name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight")) {
                        shape.extend([1, 1]);
                    }
                    (unet_name(&config, &name).unwrap(), shape)
                })
                .collect();
            assert_eq!(unet(&|name| shapes.get(name).cloned()), Some(config));
        }
    }

    #[test]
    fn sizes_of_autoencoders_follow_from_their_tensors() {
        let config = AutoencoderConfig {
            block_out_channels: vec![32, 64, 64],
            layers_per_block: 2,
            latent_channels: 16,
            sample_size: 512,
            use_quant_conv: false,
            ..AutoencoderConfig::default()
        };
        let module = config.build::<Flex>(&mut Build::to_load(&Default::default()));
        let shapes = diffusion_weights::shapes(&module, &names(), &[]);
        let shapes: BTreeMap<_, _> = shapes
            .into_iter()
            .map(|(name, shape)| (autoencoder_name(&config, &name).unwrap(), shape))
            .collect();
        assert_eq!(autoencoder(&|name| shapes.get(name).cloned()), Some(config));
    }
}

//! Sizes of networks from the shapes of their tensors.

use crate::autoencoder::AutoencoderConfig;
use crate::config::PerLevel;
use crate::text::{TextActivation, TextEncoderConfig};
use crate::unet::{AdditionEmbed, BlockType, UnetConfig};

/// The shapes of tensors by their original names.
pub(super) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// How many numbers from 0 on make `name` a tensor that there is.
fn count(shapes: Shapes<'_>, name: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|&i| shapes(&name(i)).is_some()).count()
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
    let first = shapes("input_blocks.0.0.weight")?;
    let levels = levels_of_unet(shapes);
    let projection = |block: &Level| block.depth > 0;
    let context = (1..).map_while(|i| {
        shapes(&format!("input_blocks.{i}.0.op.weight"))
            .or_else(|| shapes(&format!("input_blocks.{i}.0.in_layers.2.weight")))
            .map(|_| shapes(&format!("input_blocks.{i}.1.transformer_blocks.0.attn2.to_k.weight")))
    });
    let context = context.flatten().next()?[1];
    let is_first = shapes("middle_block.1.proj_in.weight")?.len() == 4;
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
    let added = shapes("label_emb.0.0.weight");
    Some(UnetConfig {
        sample_size: if added.is_some() { 128 } else { 64 },
        in_channels: *first.get(1)?,
        out_channels: *shapes("out.2.weight")?.first()?,
        block_out_channels: channels,
        down_block_types: down,
        up_block_types: up,
        layers_per_block: per_level(levels.iter().map(|level| level.layers)),
        attention_head_dim: heads,
        cross_attention_dim: PerLevel::All(context),
        transformer_layers_per_block: per_level(levels.iter().map(|level| level.depth.max(1))),
        addition_embed_type: added.as_ref().map(|_| AdditionEmbed::TextTime),
        addition_time_embed_dim: if added.is_some() { 256 } else { 0 },
        projection_class_embeddings_input_dim: added.and_then(|shape| shape.get(1).copied()).unwrap_or(0),
        ..UnetConfig::default()
    })
}

fn levels_of_unet(shapes: Shapes<'_>) -> Vec<Level> {
    let (mut levels, mut level) = (Vec::new(), Level::default());
    for i in 1.. {
        let block = format!("input_blocks.{i}");
        if shapes(&format!("{block}.0.op.weight")).is_some() {
            levels.push(std::mem::take(&mut level));
            continue;
        }
        let Some(conv) = shapes(&format!("{block}.0.in_layers.2.weight")) else { break };
        level.channels = conv[0];
        level.layers += 1;
        level.depth = count(shapes, |k| format!("{block}.1.transformer_blocks.{k}.attn1.to_q.weight"));
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
    let levels = count(shapes, |i| format!("encoder.down.{i}.block.0.conv1.weight"));
    let channels =
        (0..levels).map(|i| shapes(&format!("encoder.down.{i}.block.0.conv1.weight")).map(|s| s[0]));
    Some(AutoencoderConfig {
        in_channels: *shapes("encoder.conv_in.weight")?.get(1)?,
        out_channels: *shapes("decoder.conv_out.weight")?.first()?,
        block_out_channels: channels.collect::<Option<Vec<_>>>().filter(|channels| !channels.is_empty())?,
        layers_per_block: count(shapes, |i| format!("encoder.down.0.block.{i}.conv1.weight")),
        latent_channels: *shapes("decoder.conv_in.weight")?.get(1)?,
        sample_size: 512,
        use_quant_conv: shapes("quant_conv.weight").is_some(),
        use_post_quant_conv: shapes("post_quant_conv.weight").is_some(),
        mid_block_add_attention: shapes("encoder.mid.attn_1.q.weight").is_some(),
        ..AutoencoderConfig::default()
    })
}

/// The sizes of a text encoder under transformers' names; `None` if it has not the tensors of one. Heads have 64 values, and
/// the last token ends a text. Of OpenCLIP's, the layers that are left out at the end are given.
pub(super) fn text(shapes: Shapes<'_>, behind: Option<usize>) -> Option<TextEncoderConfig> {
    let table = shapes("text_model.embeddings.token_embedding.weight")?;
    let layers = count(shapes, |i| format!("text_model.encoder.layers.{i}.mlp.fc1.weight"));
    let (vocab_size, hidden_size) = (*table.first()?, *table.get(1)?);
    let activation = if behind.is_some() { TextActivation::Gelu } else { TextActivation::QuickGelu };
    Some(TextEncoderConfig {
        vocab_size,
        hidden_size,
        intermediate_size: *shapes("text_model.encoder.layers.0.mlp.fc1.weight")?.first()?,
        projection_dim: hidden_size,
        num_hidden_layers: layers.saturating_sub(behind.unwrap_or(0)).max(1),
        num_attention_heads: (hidden_size / 64).max(1),
        max_position_embeddings: *shapes("text_model.embeddings.position_embedding.weight")?.first()?,
        hidden_act: activation,
        eos_token_id: vocab_size.checked_sub(1)?,
        ..TextEncoderConfig::default()
    })
}

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

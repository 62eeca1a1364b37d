//! How many parameters a U-Net has, and how large it grows inside, without making it.

use super::UnetConfig;
use diffusion_core::layer::{conv3x3_params, linear_params, norm_params};

impl UnetConfig {
    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        let sizes = &self.block_out_channels;
        let (levels, first, last) = (self.levels(), sizes[0], sizes[sizes.len() - 1]);
        let embedding =
            |inputs: usize| linear_params(inputs, 4 * first) + linear_params(4 * first, 4 * first);
        let added =
            self.addition_embed_type.map_or(0, |_| embedding(self.projection_class_embeddings_input_dim));
        let ends = conv3x3_params(self.in_channels, first)
            + norm_params(first)
            + conv3x3_params(first, self.out_channels);
        let middle = 2 * self.resnet_params(last, last) + self.transformer_params(levels - 1);
        let (mut before, mut all) = (first, embedding(first) + added + ends + middle);
        for (level, &channels) in sizes.iter().enumerate() {
            for _ in 0..self.layers_per_block.at(level) {
                all += self.resnet_params(before, channels);
                all += self.attention_params(self.down_block_types[level].has_attention(), level);
                before = channels;
            }
            all += if level + 1 < levels { conv3x3_params(channels, channels) } else { 0 };
        }
        for (i, level) in (0..levels).rev().enumerate() {
            let (channels, count) = (sizes[level], self.layers_per_block.at(level) + 1);
            for layer in 0..count {
                let kept = if layer + 1 < count { channels } else { sizes[level.saturating_sub(1)] };
                all += self.resnet_params(before + kept, channels);
                all += self.attention_params(self.up_block_types[i].has_attention(), level);
                before = channels;
            }
            all += if level > 0 { conv3x3_params(channels, channels) } else { 0 };
        }
        all
    }

    /// Values in the largest of the layers' outputs for latents of `height` by `width`.
    pub fn largest_layer(&self, [height, width]: [usize; 2]) -> u128 {
        let sizes = &self.block_out_channels;
        let widest = |level: usize| {
            let channels = sizes[level] as u128;
            let joined = (channels + sizes[(level + 1).min(sizes.len() - 1)] as u128).max(2 * channels);
            let attends = self.down_block_types[level].has_attention() || level + 1 == sizes.len();
            pixels([height, width], level) * if attends { joined.max(8 * channels) } else { joined }
        };
        (0..sizes.len()).map(widest).max().unwrap_or_default()
    }

    /// Values in the largest attention matrix of one head for latents of `height` by `width`: from each pixel to each.
    pub fn attention_size(&self, size: [usize; 2]) -> u128 {
        let last = self.levels() - 1;
        let attends = |level: &usize| {
            let is_down = self.down_block_types[*level].has_attention();
            is_down || self.up_block_types[last - level].has_attention() || *level == last
        };
        (0..=last).find(attends).map_or(0, |level| pixels(size, level).pow(2))
    }

    fn resnet_params(&self, inputs: usize, outputs: usize) -> u128 {
        let shortcut = if inputs == outputs { 0 } else { linear_params(inputs, outputs) };
        norm_params(inputs)
            + conv3x3_params(inputs, outputs)
            + linear_params(4 * self.block_out_channels[0], outputs)
            + norm_params(outputs)
            + conv3x3_params(outputs, outputs)
            + shortcut
    }

    fn attention_params(&self, is_there: bool, level: usize) -> u128 {
        if is_there { self.transformer_params(level) } else { 0 }
    }

    fn transformer_params(&self, level: usize) -> u128 {
        let (dim, context) = (self.block_out_channels[level], self.cross_attention_dim.at(level));
        let (square, to_text) = ((dim as u128).pow(2), context as u128 * dim as u128);
        let attention = 3 * square + linear_params(dim, dim);
        let cross_attention = square + 2 * to_text + linear_params(dim, dim);
        let mlp = linear_params(dim, 8 * dim) + linear_params(4 * dim, dim);
        let block = 3 * norm_params(dim) + attention + cross_attention + mlp;
        let depth = self.transformer_layers_per_block.at(level) as u128;
        norm_params(dim) + 2 * linear_params(dim, dim) + depth * block
    }
}

/// The pixels of a level, each side halved and rounded up once for each level above.
fn pixels(size: [usize; 2], level: usize) -> u128 {
    size.map(|side| side.div_ceil(1 << level) as u128).iter().product()
}

#[cfg(test)]
mod tests {
    use super::super::{AdditionEmbed, BlockType, UnetConfig};
    use crate::config::PerLevel;
    use burn::backend::Flex;
    use burn::module::Module;

    #[test]
    fn parameters_are_counted() {
        use BlockType::*;
        let small = UnetConfig {
            block_out_channels: vec![32, 64, 96],
            down_block_types: vec![DownBlock2D, CrossAttnDownBlock2D, DownBlock2D],
            up_block_types: vec![CrossAttnUpBlock2D, UpBlock2D, UpBlock2D],
            layers_per_block: PerLevel::Each(vec![1, 2, 1]),
            cross_attention_dim: PerLevel::All(24),
            transformer_layers_per_block: PerLevel::Each(vec![1, 2, 3]),
            ..UnetConfig::default()
        };
        let told_sizes = UnetConfig {
            in_channels: 9,
            addition_embed_type: Some(AdditionEmbed::TextTime),
            addition_time_embed_dim: 8,
            projection_class_embeddings_input_dim: 60,
            ..small.clone()
        };
        for config in [small, told_sizes] {
            let network = config.init::<Flex>(0, &Default::default());
            assert_eq!(network.num_params() as u128, config.num_params());
        }
        // Those of Stable Diffusion 1.5, whose texts have 768 values.
        let published = UnetConfig { cross_attention_dim: PerLevel::All(768), ..UnetConfig::default() };
        assert_eq!(published.num_params(), 859_520_964);
        assert_eq!(published.attention_size([64, 64]), 4096 * 4096);
        assert_eq!(published.largest_layer([64, 64]), 4096 * 320 * 8);
    }
}

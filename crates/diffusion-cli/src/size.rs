//! How large a run is: its numbers are counted before memory is asked for them.

use crate::config::NetworkConfig;
use crate::error::CliError;
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding, TimestepEmbedderConfig};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::unet::UnetConfig;

/// The largest size that a configuration may ask for; beyond it memory would end before any use.
pub const MAX_SIZE: usize = 1_000_000;
/// The most layers, blocks or residual blocks in a row.
const MAX_DEPTH: usize = 1_000;
/// The most parameters of a network, and the most numbers of one tensor: in f32 they take 40 GB.
const MAX_NUMBERS: u128 = 10_000_000_000;

/// Refuses a size beyond [`MAX_SIZE`].
pub fn bounded(what: &str, n: usize) -> Result<(), CliError> {
    at_most(what, n as u128, MAX_SIZE as u128)
}

/// Refuses a size of 0 or beyond [`MAX_SIZE`].
pub fn positive(what: &str, n: usize) -> Result<(), CliError> {
    match n {
        0 => Err(CliError::invalid(format!("the network's {what} is 0"), "give at least 1")),
        _ => bounded(&format!("the network's {what}"), n),
    }
}

/// Refuses more layers in a row than any network has.
pub fn shallow(what: &str, n: usize) -> Result<(), CliError> {
    at_most(what, n as u128, MAX_DEPTH as u128)
}

/// Refuses to have `times` tensors of `numbers` numbers in memory at once, where that is too much.
pub fn together(what: &str, numbers: u128, times: usize) -> Result<(), CliError> {
    at_most(what, numbers.saturating_mul(times as u128), MAX_NUMBERS)
}

fn at_most(what: &str, n: u128, most: u128) -> Result<(), CliError> {
    if n <= most {
        return Ok(());
    }
    Err(CliError::invalid(format!("{what} is {n}, expected at most {most}"), "give a smaller number"))
}

/// How many numbers a network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkSize {
    /// Its parameters.
    pub parameters: u128,
    /// The largest of its layers' outputs for one example.
    pub layer: u128,
    /// The table of one attention head, from each place to each.
    pub attention: u128,
}

impl NetworkSize {
    /// Of a network whose single sizes are at most [`MAX_SIZE`], so that no product overflows.
    pub fn of(network: &NetworkConfig) -> Self {
        match network {
            NetworkConfig::TimeInputMlp(mlp) => perceptron(mlp.dim + 2, &mlp.hidden_dims, mlp.dim),
            NetworkConfig::ConditionalMlp(mlp) => {
                perceptron(mlp.dim + 2 + mlp.cond_dim, &mlp.hidden_dims, mlp.dim)
                    .and(embedding(&mlp.labels, mlp.cond_dim))
            }
            NetworkConfig::Dit(sizes) => dit(sizes),
            NetworkConfig::ConditionalDit { dit: sizes, labels } => {
                dit(sizes).and(embedding(labels, sizes.head_dim * sizes.num_heads))
            }
            NetworkConfig::Unet(sizes) => unet(sizes),
            NetworkConfig::ConditionalUnet { unet: sizes, labels } => {
                unet(sizes).and(embedding(labels, sizes.ch * sizes.embed_ch_mult))
            }
        }
    }

    /// Refuses a network that no memory holds, alone or with a batch of `batch` examples.
    pub fn check(self, batch: usize) -> Result<(), CliError> {
        together("the number of the network's parameters", self.parameters, 1)?;
        together("the size of the network's attention, pixels or patches squared,", self.attention, 1)?;
        together("the size of a layer's output for a batch", self.layer, batch)
    }

    fn and(self, parameters: u128) -> Self {
        Self { parameters: self.parameters + parameters, ..self }
    }
}

fn perceptron(inputs: usize, hidden: &[usize], outputs: usize) -> NetworkSize {
    let widths = [&[inputs], hidden, &[outputs]].concat();
    let parameters = widths.windows(2).map(|w| linear(w[0], w[1])).sum();
    NetworkSize { parameters, layer: widths.iter().max().map_or(0, |&width| width as u128), attention: 0 }
}

fn dit(dit: &DitConfig) -> NetworkSize {
    let width = dit.head_dim * dit.num_heads;
    let hidden = (width as f64 * dit.mlp_ratio) as usize;
    let patch = dit.patch_size * dit.patch_size * dit.channels;
    let tokens = (dit.in_dim / dit.patch_size).pow(2) as u128;
    // Two norms and the scales, all modulated, then attention and the perceptron.
    let block = 3 * linear(width, 2 * width)
        + linear(width, 3 * width)
        + linear(width, width)
        + linear(width, hidden)
        + linear(hidden, width);
    NetworkSize {
        parameters: linear(patch, width)
            + sigma(&dit.sigma_embedding, width)
            + dit.depth as u128 * block
            + linear(width, 2 * width)
            + linear(width, patch),
        layer: tokens * hidden.max(3 * width).max(patch) as u128,
        attention: tokens * tokens,
    }
}

fn unet(unet: &UnetConfig) -> NetworkSize {
    let embedding = unet.ch * unet.embed_ch_mult;
    let resnet = |inputs: usize, outputs: usize| {
        let shortcut = if inputs == outputs { 0 } else { linear(inputs, outputs) };
        let convolutions = three(inputs, outputs) + three(outputs, outputs);
        norm(inputs) + norm(outputs) + convolutions + linear(embedding, outputs) + shortcut
    };
    // Queries, keys and values have no bias.
    let attention = |ch: usize| norm(ch) + 3 * (ch as u128).pow(2) + 2 * linear(ch, ch);
    let (mut side, mut channels, mut skips) = (unet.in_dim, unet.ch, vec![unet.ch]);
    let mut parameters = sigma(&unet.sigma_embedding, embedding) + three(unet.in_ch, unet.ch);
    let (mut layer, mut table) = (side * side * unet.ch.max(unet.in_ch), 0);
    let mut block = |skip: usize, channels: &mut usize, outputs: usize, side: usize| {
        let mut parameters = resnet(*channels + skip, outputs);
        layer = layer.max(side * side * outputs.max(*channels + skip));
        if unet.attn_resolutions.contains(&side) {
            parameters += attention(outputs);
            table = table.max(side);
        }
        *channels = outputs;
        parameters
    };
    for (level, mult) in unet.ch_mult.iter().enumerate() {
        for _ in 0..unet.num_res_blocks {
            parameters += block(0, &mut channels, unet.ch * mult, side);
            skips.push(channels);
        }
        if level + 1 < unet.ch_mult.len() {
            parameters += three(channels, channels);
            skips.push(channels);
            side /= 2;
        }
    }
    parameters += 2 * resnet(channels, channels) + attention(channels);
    let middle = side;
    for (level, mult) in unet.ch_mult.iter().enumerate().rev() {
        for _ in 0..=unet.num_res_blocks {
            parameters += block(skips.pop().unwrap_or(0), &mut channels, unet.ch * mult, side);
        }
        if level > 0 {
            parameters += three(channels, channels);
            side *= 2;
        }
    }
    parameters += norm(channels) + three(channels, unet.out_ch);
    NetworkSize { parameters, layer: layer as u128, attention: (table.max(middle) as u128).pow(4) }
}

fn sigma(embedding: &SigmaEmbedding, width: usize) -> u128 {
    match embedding {
        SigmaEmbedding::SinCos(_) => linear(2, width) + linear(width, width),
        SigmaEmbedding::Timestep => {
            let TimestepEmbedderConfig { frequencies, width: hidden } = TimestepEmbedderConfig::default();
            linear(frequencies, hidden) + linear(hidden, width) + linear(width, width)
        }
    }
}

/// A row for each label and one for none.
fn embedding(labels: &CondEmbedderLabelConfig, width: usize) -> u128 {
    (labels.num_classes as u128 + 1) * width as u128 + linear(width, width)
}

/// A linear layer, or a convolution of single pixels.
fn linear(inputs: usize, outputs: usize) -> u128 {
    (inputs as u128 + 1) * outputs as u128
}

/// A convolution of three by three pixels.
fn three(inputs: usize, outputs: usize) -> u128 {
    (9 * inputs as u128 + 1) * outputs as u128
}

fn norm(channels: usize) -> u128 {
    2 * channels as u128
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::presets::Preset;
    use crate::run::with_network;
    use burn::backend::Flex;
    use burn::module::Module;

    /// What is counted is what is made: of each kind of network, and of those with labels.
    #[test]
    fn parameters_are_counted_as_they_are_made() {
        let labels = CondEmbedderLabelConfig::new(7);
        let attends = UnetConfig {
            in_dim: 8,
            in_ch: 3,
            out_ch: 3,
            ch: 32,
            ch_mult: vec![1, 2, 1],
            embed_ch_mult: 2,
            num_res_blocks: 2,
            attn_resolutions: vec![8, 2],
            ..UnetConfig::default()
        };
        let steps = DitConfig {
            depth: 2,
            head_dim: 4,
            num_heads: 3,
            mlp_ratio: 2.5,
            sigma_embedding: SigmaEmbedding::Timestep,
            ..DitConfig::default()
        };
        let small = [Preset::Swissroll, Preset::Tree, Preset::FashionDitSmall, Preset::FashionUnetSmall];
        let mut networks = small.map(|preset| preset.config().network).to_vec();
        networks.extend([
            NetworkConfig::ConditionalDit { dit: steps, labels: labels.clone() },
            NetworkConfig::ConditionalUnet { unet: attends, labels },
        ]);
        for network in networks {
            let config = crate::config::RunConfig { network, ..Preset::Swissroll.config() };
            let device = Default::default();
            let made = with_network!(config, Flex, &device, |network| network.num_params());
            assert_eq!(NetworkSize::of(&config.network).parameters, made as u128, "{:?}", config.network);
        }
    }

    /// By hand: 14 × 14 patches, the widest layer the perceptron's; 28 × 28 pixels whose middle is 7 × 7, and which
    /// attend at 14 × 14, the widest layer the first level's with what it takes in from the way down.
    #[test]
    fn layers_and_attention_are_counted() {
        let size = |preset: Preset| NetworkSize::of(&preset.config().network);
        let dit = size(Preset::FashionDit);
        assert_eq!((dit.layer, dit.attention), (196 * 768, 196 * 196));
        let unet = size(Preset::FashionUnet);
        assert_eq!((unet.layer, unet.attention), (784 * 128, 196 * 196));
    }
}

//! The reference's weights, in PyTorch's layout, put into our networks.

use super::fixture::Fixture;
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::{Embedding, Linear};
use burn::tensor::backend::Backend;
use diffusion::core::layer::{CondEmbedderLabel, CondEmbedderLabelConfig, SigmaEmbedder};
use diffusion::core::network::dit::{Dit, DitConfig};
use diffusion::core::network::mlp::{ConditionalMlp, ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};

/// The widths of every MLP in the fixtures.
const HIDDEN: [usize; 3] = [16, 32, 16];

/// The linear layer `model.<name>`; PyTorch stores its weight as [out, in].
pub fn linear<B: Backend>(fixture: &Fixture, name: &str, device: &B::Device) -> Linear<B> {
    let bias = format!("model.{name}.bias");
    Linear {
        weight: Param::from_tensor(fixture.tensor(&format!("model.{name}.weight"), device).transpose()),
        bias: fixture.has(&bias).then(|| Param::from_tensor(fixture.tensor(&bias, device))),
    }
}

fn load_conv<B: Backend>(conv: &mut Conv2d<B>, fixture: &Fixture, name: &str, device: &B::Device) {
    conv.weight = Param::from_tensor(fixture.tensor(&format!("model.{name}.weight"), device));
    conv.bias = Some(Param::from_tensor(fixture.tensor(&format!("model.{name}.bias"), device)));
}

/// Puts `model.<prefix>embeddings` and `model.<prefix>mlp.1` into `embedder`.
pub fn load_label_embedder<B: Backend>(
    embedder: &mut CondEmbedderLabel<B>,
    fixture: &Fixture,
    prefix: &str,
    device: &B::Device,
) {
    let table = fixture.tensor(&format!("model.{prefix}embeddings.weight"), device);
    embedder.embeddings = Embedding { weight: Param::from_tensor(table) };
    embedder.output = linear(fixture, &format!("{prefix}mlp.1"), device);
}

/// The perceptron's layers; between two of them the reference's Sequential counts an activation.
fn perceptron<B: Backend>(fixture: &Fixture, device: &B::Device) -> Vec<Linear<B>> {
    (0..=HIDDEN.len()).map(|i| linear(fixture, &format!("net.{}", 2 * i), device)).collect()
}

pub fn time_input_mlp<B: Backend>(fixture: &Fixture, device: &B::Device) -> TimeInputMlp<B> {
    let mut network = TimeInputMlpConfig { dim: 2, hidden_dims: HIDDEN.to_vec() }.init(0, device);
    network.net = perceptron(fixture, device);
    network
}

pub fn conditional_mlp<B: Backend>(fixture: &Fixture, device: &B::Device) -> ConditionalMlp<B> {
    let labels = CondEmbedderLabelConfig::new(5);
    let config = ConditionalMlpConfig { dim: 2, hidden_dims: HIDDEN.to_vec(), cond_dim: 4, labels };
    let mut network = config.init(0, device);
    network.net = perceptron(fixture, device);
    load_label_embedder(&mut network.cond_embed, fixture, "cond_embed.", device);
    network
}

/// The sizes of `unconditional` and `conditional` in `dit.safetensors`.
pub fn dit_config() -> DitConfig {
    DitConfig {
        in_dim: 8,
        channels: 3,
        patch_size: 2,
        depth: 2,
        head_dim: 4,
        num_heads: 2,
        ..Default::default()
    }
}

/// Puts the weights into `network`, but for those of a label embedder.
pub fn load_dit<B: Backend, C>(network: &mut Dit<B, C>, fixture: &Fixture, device: &B::Device) {
    for (name, layer) in dit_linears(network) {
        *layer = linear(fixture, &name, device);
    }
    load_conv(&mut network.x_embed.proj, fixture, "x_embed.proj", device);
}

/// Every linear layer outside the label embedder, with the reference's name for it.
pub fn dit_linears<B: Backend, C>(network: &mut Dit<B, C>) -> Vec<(String, &mut Linear<B>)> {
    let SigmaEmbedder::SinCos(sigma) = &mut network.sig_embed else {
        panic!("the fixtures embed sigma by sine and cosine")
    };
    let mut layers = vec![
        ("sig_embed.mlp.0".to_string(), &mut sigma.input),
        ("sig_embed.mlp.2".to_string(), &mut sigma.output),
        ("final_norm.modulation.proj.1".to_string(), &mut network.final_norm.modulation.proj),
        ("final_linear".to_string(), &mut network.final_linear),
    ];
    for (i, block) in network.blocks.modules.iter_mut().enumerate() {
        let of_block = [
            ("norm1.modulation.proj.1", &mut block.norm1.modulation.proj),
            ("attn.qkv", &mut block.attn.qkv),
            ("attn.proj", &mut block.attn.proj),
            ("norm2.modulation.proj.1", &mut block.norm2.modulation.proj),
            ("mlp.0", &mut block.mlp_in),
            ("mlp.2", &mut block.mlp_out),
            ("scale_modulation.proj.1", &mut block.scale_modulation.proj),
        ];
        layers.extend(of_block.map(|(name, layer)| (format!("blocks.{i}.{name}"), layer)));
    }
    layers
}

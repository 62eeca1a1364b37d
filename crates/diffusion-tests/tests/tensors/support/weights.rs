//! smalldiffusion's weights, in PyTorch's layout, put into our networks.

use super::fixture::Fixture;
use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::tensor::backend::Backend;
use diffusion::core::Network;
use diffusion::core::layer::{CondEmbedderLabel, CondEmbedderLabelConfig};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlp, ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};
use diffusion::train::load_state_dict;
use diffusion::weights::StateDict;

/// The widths of every MLP in the fixtures.
const HIDDEN: [usize; 3] = [16, 32, 16];

/// The network with the weights `model.…`.
pub fn load<B: Backend, N: Module<B> + Network<B, D>, const D: usize>(network: N, fixture: &Fixture) -> N {
    load_state_dict(network, &state_dict(fixture)).unwrap()
}

/// The weights `model.…`.
pub fn state_dict(fixture: &Fixture) -> StateDict {
    let tensor = |name: String| {
        let data = fixture.data(&format!("model.{name}"));
        (name, data)
    };
    fixture.names("model.").into_iter().map(tensor).collect()
}

/// The linear layer `model.<name>`; PyTorch stores its weight as [out, in].
pub fn linear<B: Backend>(fixture: &Fixture, name: &str, device: &B::Device) -> Linear<B> {
    let bias = format!("model.{name}.bias");
    Linear {
        weight: Param::from_tensor(fixture.tensor(&format!("model.{name}.weight"), device).transpose()),
        bias: fixture.has(&bias).then(|| Param::from_tensor(fixture.tensor(&bias, device))),
    }
}

/// Puts `model.embeddings` and `model.mlp.1` into `embedder`.
pub fn load_label_embedder<B: Backend>(
    embedder: &mut CondEmbedderLabel<B>,
    fixture: &Fixture,
    device: &B::Device,
) {
    let table = fixture.tensor("model.embeddings.weight", device);
    embedder.embeddings = Embedding { weight: Param::from_tensor(table) };
    embedder.output = linear(fixture, "mlp.1", device);
}

pub fn time_input_mlp<B: Backend>(fixture: &Fixture, device: &B::Device) -> TimeInputMlp<B> {
    load(
        TimeInputMlpConfig { dim: 2, hidden_dims: HIDDEN.to_vec(), ..Default::default() }.init(0, device),
        fixture,
    )
}

pub fn conditional_mlp<B: Backend>(fixture: &Fixture, device: &B::Device) -> ConditionalMlp<B> {
    let labels = CondEmbedderLabelConfig::new(5);
    let config = ConditionalMlpConfig {
        dim: 2,
        hidden_dims: HIDDEN.to_vec(),
        cond_dim: 4,
        labels,
        ..Default::default()
    };
    load(config.init(0, device), fixture)
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

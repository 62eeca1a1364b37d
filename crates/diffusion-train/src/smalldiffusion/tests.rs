//! Networks and their state dicts.

mod files;

use super::*;
use burn::backend::flex::FlexDevice;
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Param, ParamId};
use burn::tensor::{Tensor, TensorData, bf16, f16};
use diffusion_core::Tracer;
use diffusion_core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion_core::network::Labels;
use diffusion_core::network::dit::{Dit, DitConfig};
use diffusion_core::network::mlp::{ConditionalMlp, ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};
use std::collections::BTreeMap;

fn device() -> FlexDevice {
    FlexDevice
}

fn mlp(seed: u64) -> TimeInputMlp<Flex> {
    TimeInputMlpConfig { dim: 2, hidden_dims: vec![3, 4], ..Default::default() }.init(seed, &device())
}

fn conditional_config() -> ConditionalMlpConfig {
    ConditionalMlpConfig {
        hidden_dims: vec![3, 4],
        labels: CondEmbedderLabelConfig::new(3),
        ..Default::default()
    }
}

fn dit_config(sigma_embedding: SigmaEmbedding) -> DitConfig {
    DitConfig {
        in_dim: 4,
        channels: 1,
        depth: 1,
        head_dim: 4,
        num_heads: 2,
        sigma_embedding,
        ..Default::default()
    }
}

/// Names and shapes as Python prints them for networks of these sizes.
const CONDITIONAL_MLP: &str = "\
net.0.weight [3, 8] net.0.bias [3] net.2.weight [4, 3] net.2.bias [4] net.4.weight [2, 4] net.4.bias [2] \
cond_embed.embeddings.weight [4, 4] cond_embed.mlp.1.weight [4, 4] cond_embed.mlp.1.bias [4]";
const DIT: &str = "\
pos_embed [1, 4, 8] x_embed.proj.weight [8, 1, 2, 2] x_embed.proj.bias [8] \
blocks.0.norm1.modulation.proj.1.weight [16, 8] blocks.0.norm1.modulation.proj.1.bias [16] \
blocks.0.attn.qkv.weight [24, 8] blocks.0.attn.qkv.bias [24] \
blocks.0.attn.proj.weight [8, 8] blocks.0.attn.proj.bias [8] \
blocks.0.norm2.modulation.proj.1.weight [16, 8] blocks.0.norm2.modulation.proj.1.bias [16] \
blocks.0.mlp.0.weight [32, 8] blocks.0.mlp.0.bias [32] blocks.0.mlp.2.weight [8, 32] blocks.0.mlp.2.bias [8] \
blocks.0.scale_modulation.proj.1.weight [16, 8] blocks.0.scale_modulation.proj.1.bias [16] \
final_norm.modulation.proj.1.weight [16, 8] final_norm.modulation.proj.1.bias [16] \
final_linear.weight [4, 8] final_linear.bias [4]";
const SIN_COS: &str = " sig_embed.mlp.0.weight [8, 2] sig_embed.mlp.0.bias [8] \
sig_embed.mlp.2.weight [8, 8] sig_embed.mlp.2.bias [8]";
const TIMESTEP_AND_LABELS: &str = " sig_embed.mlp.0.weight [1024, 256] sig_embed.mlp.0.bias [1024] \
sig_embed.mlp.2.weight [8, 1024] sig_embed.mlp.2.bias [8] sig_embed.mlp.4.weight [8, 8] sig_embed.mlp.4.bias [8] \
cond_embed.embeddings.weight [4, 8] cond_embed.mlp.1.weight [8, 8] cond_embed.mlp.1.bias [8]";

/// The names and shapes of `dict`, which must be those in `expected`; then a round trip into `other`, which must
/// have had other weights.
fn check<N, const D: usize>(network: N, other: N, expected: &str)
where
    N: Module<Flex> + Network<Flex, D>,
{
    let dict = state_dict(&network);
    let listed: BTreeMap<&str, &str> =
        expected.split_inclusive(']').map(|tensor| tensor.trim().split_once(' ').unwrap()).collect();
    let shapes: BTreeMap<&str, String> =
        dict.iter().map(|(name, tensor)| (name.as_str(), format!("{:?}", tensor.shape.to_vec()))).collect();
    let shapes: BTreeMap<&str, &str> = shapes.iter().map(|(name, shape)| (*name, shape.as_str())).collect();
    assert_eq!(shapes, listed);
    assert_ne!(state_dict(&other), dict);
    assert_eq!(state_dict(&load_state_dict(other, &dict).unwrap()), dict);
}

#[test]
fn the_networks_have_smalldiffusions_names_and_shapes_and_come_back() {
    let (labels, device) = (CondEmbedderLabelConfig::new(3), device());
    let unconditional = CONDITIONAL_MLP.split(" cond_embed").next().unwrap().replace("[3, 8]", "[3, 4]");
    check(mlp(1), mlp(2), &unconditional);
    let config = conditional_config();
    check(config.init(1, &device), config.init(2, &device), CONDITIONAL_MLP);
    let config = dit_config(SigmaEmbedding::default());
    check(config.init(1, &device), config.init(2, &device), &[DIT, SIN_COS].concat());
    let config = dit_config(SigmaEmbedding::Timestep);
    let conditional = |seed| config.init_conditional(&labels, seed, &device);
    check(conditional(1), conditional(2), &[DIT, TIMESTEP_AND_LABELS].concat());
}

#[test]
fn a_linear_layers_weight_is_transposed() {
    let network = mlp(1);
    let ours: Vec<f32> = network.net[0].weight.to_data().iter().collect(); // [4, 3]
    let dict = state_dict(&network);
    let theirs: Vec<f32> = dict.get("net.0.weight").unwrap().iter().collect(); // [3, 4]
    for (i, value) in ours.iter().enumerate() {
        assert_eq!(*value, theirs[(i % 3) * 4 + i / 3]);
    }
}

#[test]
fn loading_keeps_ids_and_the_need_of_gradients() {
    type Ad = Autodiff<Flex>;
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![3, 4], ..Default::default() };
    let mut network = config.init::<Ad>(1, &device());
    network.net[1] = network.net[1].clone().no_grad();
    let ids = |network: &TimeInputMlp<Ad>| -> Vec<(ParamId, bool)> {
        network.net.iter().map(|layer| (layer.weight.id, layer.weight.is_require_grad())).collect()
    };
    let before = ids(&network);
    assert_eq!(before.iter().map(|(_, grad)| *grad).collect::<Vec<_>>(), [true, false, true]);
    let dict = state_dict(&mlp(2));
    let loaded = load_state_dict(network, &dict).unwrap();
    assert_eq!(ids(&loaded), before);
    assert_eq!(state_dict(&loaded), dict);

    let x = Tensor::ones([1, 2], &device());
    let sigma = Tensor::ones([1], &device());
    let gradients = loaded.forward(x, sigma, ()).sum().backward();
    assert!(loaded.net[0].weight.grad(&gradients).is_some(), "a loaded weight is a leaf");
    assert!(loaded.net[1].weight.grad(&gradients).is_none());

    let inner = load_state_dict(config.init::<Ad>(3, &device()).valid(), &dict).unwrap();
    assert_eq!(state_dict(&inner), dict);
}

#[test]
fn other_floating_point_types_become_f32() {
    let mut dict = state_dict(&mlp(1));
    let tensor = |dict: &StateDict, name: &str| dict.get(name).unwrap().clone();
    dict.insert("net.0.bias", tensor(&dict, "net.0.bias").convert::<f64>());
    dict.insert("net.2.bias", TensorData::new([1.5f32, -2.0, 0.25, 0.0].map(f16::from_f32).to_vec(), [4]));
    dict.insert("net.4.bias", TensorData::new([3.0f32, -0.5].map(bf16::from_f32).to_vec(), [2]));
    let loaded = state_dict(&load_state_dict(mlp(2), &dict).unwrap());
    assert_eq!(loaded.get("net.0.bias"), state_dict(&mlp(1)).get("net.0.bias"));
    assert_eq!(loaded.get("net.2.bias"), Some(&TensorData::from([1.5f32, -2.0, 0.25, 0.0])));
    assert_eq!(loaded.get("net.4.bias"), Some(&TensorData::from([3.0f32, -0.5])));
}

fn problems<N, const D: usize>(network: N, dict: &StateDict) -> Vec<String>
where
    N: Module<Flex> + Network<Flex, D>,
{
    match load_state_dict(network, dict) {
        Err(WeightsError::Tensors { path: None, problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let mut dict = state_dict(&mlp(1));
    dict.remove("net.0.bias");
    dict.insert("net.6.bias", TensorData::zeros::<f32, _>([7]));
    dict.insert("net.0.weight", TensorData::zeros::<f32, _>([4, 3]));
    dict.insert("net.2.bias", TensorData::zeros::<i64, _>([4]));
    dict.insert("net.4.bias", TensorData::from([0.0f32, f32::NAN]));
    dict.insert("net.2.weight", TensorData::full::<f64, _>([4, 3], 1e300));
    assert_eq!(
        problems(mlp(2), &dict),
        [
            "tensor `net.0.bias` of shape [3] is missing",
            "tensor `net.0.weight` has shape [4, 3], expected [3, 4]",
            "tensor `net.2.bias` is of type I64, expected one of type F64, F32, F16 or BF16",
            "tensor `net.6.bias` of shape [7] is not in the network",
            "tensor `net.2.weight` holds inf at index 0, expected finite values in the range of f32",
            "tensor `net.4.bias` holds NaN at index 1, expected finite values in the range of f32",
        ]
    );
    assert_eq!(problems(mlp(2), &StateDict::default()).len(), 6);
}

#[test]
fn a_position_embedding_must_be_there_and_be_ours() {
    let network = || dit_config(SigmaEmbedding::default()).init::<Flex>(1, &device());
    let dict = state_dict(&network());
    let changed = |by: f32| {
        let mut values: Vec<f32> = dict.get("pos_embed").unwrap().iter().collect();
        values[5] += by;
        let mut dict = dict.clone();
        dict.insert("pos_embed", TensorData::new(values, [1, 4, 8]));
        dict
    };
    load_state_dict(network(), &changed(0.9e-5)).unwrap();
    let [problem] = &problems(network(), &changed(-0.25))[..] else { panic!("expected one problem") };
    assert!(problem.starts_with("tensor `pos_embed` differs by up to 0.25 from"), "{problem}");
    assert_eq!(problems(network(), &changed(1.2e-5)).len(), 1);

    // Half precision rounds it.
    let half: StateDict =
        dict.iter().map(|(name, tensor)| (name.clone(), tensor.clone().convert::<f16>())).collect();
    load_state_dict(network(), &half).unwrap();
    let brain: StateDict =
        dict.iter().map(|(name, tensor)| (name.clone(), tensor.clone().convert::<bf16>())).collect();
    load_state_dict(network(), &brain).unwrap();

    let mut missing = dict.clone();
    missing.remove("pos_embed");
    assert_eq!(problems(network(), &missing), ["tensor `pos_embed` of shape [1, 4, 8] is missing"]);
    let mut other = dict.clone();
    other.insert("pos_embed", TensorData::zeros::<f32, _>([1, 8, 4]));
    assert_eq!(problems(network(), &other), ["tensor `pos_embed` has shape [1, 8, 4], expected [1, 4, 8]"]);
    other.insert("pos_embed", TensorData::zeros::<i32, _>([1, 4, 8]));
    assert_eq!(problems(network(), &other).len(), 1);
}

#[test]
fn wrappers_names_are_taken_off_where_all_have_them() {
    let dict = state_dict(&mlp(1));
    let wrapped = |prefix: &str| -> StateDict {
        dict.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
    };
    let wrappers =
        ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module."];
    for prefix in wrappers.into_iter().chain(["model.", "ema_model.", "diffusion.net.", "model._orig_mod."]) {
        let loaded = load_state_dict(mlp(2), &wrapped(prefix)).unwrap();
        assert_eq!(state_dict(&loaded), dict, "{prefix}");
    }
    // In the middle of names, each in its own place.
    let inner = |name: &str| match name.split_once(".0.") {
        Some((net, rest)) => format!("{net}._orig_mod.0._checkpoint_wrapped_module.{rest}"),
        None => name.replace("net.", "module.net.module."),
    };
    let wrapped_inside: StateDict = dict.iter().map(|(name, t)| (inner(name), t.clone())).collect();
    assert_eq!(state_dict(&load_state_dict(mlp(2), &wrapped_inside).unwrap()), dict);
    // What is not under the others' prefix is missing there, unless that means nothing.
    let mut mixed = wrapped("module.");
    let bias = mixed.remove("module.net.0.bias").unwrap();
    mixed.insert("net.0.bias", bias.clone());
    load_state_dict(mlp(2), &mixed).unwrap();
    let mut mixed = wrapped("ema.");
    mixed.remove("ema.net.0.bias");
    mixed.insert("net.0.bias", bias);
    assert_eq!(problems(mlp(2), &mixed), ["tensor `net.0.bias` of shape [3] is missing"]);
}

#[test]
fn counters_are_passed_over_and_other_tensors_are_not() {
    let dict = state_dict(&mlp(1));
    let with = |name: &str, tensor: TensorData| {
        let mut dict = dict.clone();
        dict.insert(name, tensor);
        load_state_dict(mlp(2), &dict)
    };
    with("n_averaged", TensorData::from([100i64])).unwrap();
    with("initted", TensorData::from([true])).unwrap();
    with("decay", TensorData::from([0.999f32])).unwrap();
    assert!(with("scale", TensorData::from([0.999f32])).is_err());
    assert!(with("n_averaged", TensorData::from([1i64, 2])).is_err());
    assert!(with("net.6.bias", TensorData::from([1f32, 2.0])).is_err());
}

#[test]
fn of_several_that_fit_none_is_guessed() {
    let dict = state_dict(&mlp(1));
    let mut two: StateDict = dict.iter().map(|(name, t)| (format!("ema.{name}"), t.clone())).collect();
    for (name, tensor) in &dict {
        two.insert(name.clone(), tensor.clone());
    }
    match load_state_dict(mlp(2), &two) {
        Err(WeightsError::Several { fitting, .. }) => {
            assert_eq!(fitting, [(".".to_string(), 6), ("ema".to_string(), 6)]);
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// A network whose one field is called as PyTorch's wrappers call theirs.
#[derive(Module, Debug)]
struct Wrapped<B: Backend> {
    module: TimeInputMlp<B>,
}

impl<B: Backend> Network<B, 2> for Wrapped<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.module.input_shape(batch)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        tracer.layer(&"network", self.module.forward(x, sigma, ()))
    }
}

#[test]
fn a_networks_own_module_is_not_a_wrapper() {
    let dict = state_dict(&Wrapped { module: mlp(1) });
    assert!(dict.get("module.net.4.bias").is_some());
    let loaded = load_state_dict(Wrapped { module: mlp(2) }, &dict).unwrap();
    assert_eq!(state_dict(&loaded), dict);
    let twice: StateDict = dict.iter().map(|(name, t)| (format!("module.{name}"), t.clone())).collect();
    let loaded = load_state_dict(Wrapped { module: mlp(2) }, &twice).unwrap();
    assert_eq!(state_dict(&loaded), dict);
}

/// A layer of one's own whose name misleads the table: both of its fields are `weight` in PyTorch's words.
#[derive(Module, Debug)]
struct LayerNorm<B: Backend> {
    gamma: Param<Tensor<B, 1>>,
    weight: Param<Tensor<B, 1>>,
}

impl<B: Backend> Network<B, 2> for LayerNorm<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        _sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        tracer.layer(&"network", x)
    }
}

#[test]
#[should_panic(expected = "two parameters are called `weight`")]
fn no_parameter_is_lost_to_another_of_the_same_name() {
    let param = || Param::from_data([1.0f32, 2.0], &device());
    state_dict(&LayerNorm::<Flex> { gamma: param(), weight: param() });
}

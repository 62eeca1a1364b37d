//! Tracing: it changes nothing by itself, and what a tracer returns is what the network goes on with.

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::layer::{CondEmbedderLabelConfig, CondEmbedderTextConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::{Labels, Network, Noise, Tokens, Tracer};
use diffusion_tests::{TestBackend, backend_tests};
use std::collections::BTreeSet;
use std::fmt::Display;

backend_tests!(
    tracing_changes_nothing,
    every_parameter_belongs_to_a_layer,
    what_a_tracer_returns_is_used,
    a_network_with_only_a_forward_is_one_layer,
);

/// Evaluates `$check` for a network of every kind and its condition.
macro_rules! with_networks {
    ($B:ty, $device:expr, $check:ident) => {
        let (labels, classes) = (Labels(vec![1, 0]), CondEmbedderLabelConfig::new(2));
        let hidden_dims = vec![8, 8];
        let mlp = TimeInputMlpConfig { dim: 2, hidden_dims: hidden_dims.clone(), ..Default::default() };
        $check("mlp", mlp.init::<$B>(0, $device), (), $device);
        let mlp = ConditionalMlpConfig {
            dim: 2,
            hidden_dims,
            cond_dim: 4,
            labels: classes.clone(),
            ..Default::default()
        };
        $check("conditional mlp", mlp.init::<$B>(0, $device), labels.clone(), $device);
        $check("dit", dit().init::<$B>(0, $device), (), $device);
        let timed = DitConfig { sigma_embedding: SigmaEmbedding::Timestep, ..dit() };
        $check(
            "conditional dit",
            timed.init_conditional::<$B>(&classes, 0, $device),
            labels.clone(),
            $device,
        );
        let texts = Tokens::new(vec![0.5; 12], [2, 3, 2]).forget(|example| example == 1);
        let text = CondEmbedderTextConfig::new(3, 2);
        $check("told dit", dit().init_text::<$B>(&text, 0, $device), texts, $device);
        $check("unet", unet().init::<$B>(0, $device), (), $device);
        $check("conditional unet", unet().init_conditional::<$B>(&classes, 0, $device), labels, $device);
    };
}

fn dit() -> DitConfig {
    DitConfig { in_dim: 4, channels: 1, depth: 2, head_dim: 4, num_heads: 2, ..DitConfig::default() }
}

fn unet() -> UnetConfig {
    UnetConfig {
        in_dim: 4,
        in_ch: 1,
        out_ch: 1,
        ch: 32,
        ch_mult: vec![1, 2],
        embed_ch_mult: 1,
        num_res_blocks: 1,
        attn_resolutions: vec![2],
        dropout: 0.0,
        ..UnetConfig::default()
    }
}

fn inputs<B: Backend, N: Network<B, D>, const D: usize>(
    network: &N,
    device: &B::Device,
) -> (Tensor<B, D>, Tensor<B, 1>) {
    (Noise::new(1).initial(network.input_shape(2), device), Tensor::from_floats([0.5, 0.8], device))
}

/// Notes the layers' names.
#[derive(Default)]
struct Names(Vec<String>);

impl<B: Backend> Tracer<B> for Names {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        self.0.push(name.to_string());
        output
    }
}

fn names<B: Backend, N: Network<B, D>, const D: usize>(
    network: &N,
    condition: N::Condition,
    device: &B::Device,
) -> (Vec<String>, TensorData) {
    let mut names = Names::default();
    let (x, sigma) = inputs(network, device);
    let output = network.trace(x, sigma, condition, &mut names).into_data();
    (names.0, output)
}

fn tracing_changes_nothing<B: TestBackend>(device: &B::Device) {
    fn check<B: Backend, N: Network<B, D>, const D: usize>(
        kind: &str,
        network: N,
        condition: N::Condition,
        device: &B::Device,
    ) {
        let (x, sigma) = inputs(&network, device);
        let expected = network.forward(x, sigma, condition.clone()).into_data();
        let (names, output) = names(&network, condition, device);
        assert_eq!(output.bytes, expected.bytes, "{kind}");
        let distinct: BTreeSet<&String> = names.iter().collect();
        assert!(distinct.len() == names.len() && names.len() > 1, "{kind}: {names:?}");
    }
    with_networks!(B, device, check);
}

/// The paths of the parameters.
#[derive(Default)]
struct Paths {
    place: Vec<String>,
    paths: Vec<String>,
}

impl<B: Backend> ModuleVisitor<B> for Paths {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.place.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<B, D>>) {
        self.paths.push(self.place.join("."));
    }
}

/// Names are the paths of fields.
fn every_parameter_belongs_to_a_layer<B: TestBackend>(device: &B::Device) {
    fn check<B: Backend, N: Network<B, D> + Module<B>, const D: usize>(
        kind: &str,
        network: N,
        condition: N::Condition,
        device: &B::Device,
    ) {
        let (names, _) = names(&network, condition, device);
        let mut visitor = Paths::default();
        network.visit(&mut visitor);
        let holds =
            |name: &str, path: &str| path.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        // Those that no other layer is inside of.
        let innermost = |name: &&String| !names.iter().any(|other| holds(name, other));
        let layers: Vec<&String> = names.iter().filter(innermost).collect();
        for path in visitor.paths {
            assert!(layers.iter().any(|name| holds(name, &path)), "{kind}: {path} is in none of {layers:?}");
        }
    }
    with_networks!(B, device, check);
}

/// Puts in each output's place its sum with a zero of its own.
struct Zeros<B: AutodiffBackend>(Vec<(String, Tensor<B, 1>)>);

impl<B: AutodiffBackend> Tracer<B> for Zeros<B> {
    fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
        let zero = Tensor::zeros([1], &output.device()).require_grad();
        self.0.push((name.to_string(), zero.clone()));
        output + zero.reshape([1; D])
    }
}

/// Each of the zeros has a gradient, so the output depends on what the tracer returned.
fn what_a_tracer_returns_is_used<B: TestBackend>(device: &B::Device) {
    fn check<B: AutodiffBackend, N: Network<B, D>, const D: usize>(
        kind: &str,
        network: N,
        condition: N::Condition,
        device: &B::Device,
    ) {
        let (mut zeros, (x, sigma)) = (Zeros(Vec::new()), inputs(&network, device));
        let gradients = network.trace(x, sigma, condition, &mut zeros).sum().backward();
        for (name, zero) in zeros.0 {
            assert!(zero.grad(&gradients).is_some(), "{kind}: what replaces {name} is not used");
        }
    }
    with_networks!(Autodiff<B>, device, check);
}

/// A network as users write it.
struct Mine;

impl<B: Backend> Network<B, 2> for Mine {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 3]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        tracer.layer(&"network", x * sigma.unsqueeze_dim::<2>(1))
    }
}

fn a_network_with_only_a_forward_is_one_layer<B: TestBackend>(device: &B::Device) {
    struct Doubled(Vec<String>);

    impl<B: Backend> Tracer<B> for Doubled {
        fn layer<const D: usize>(&mut self, name: &dyn Display, output: Tensor<B, D>) -> Tensor<B, D> {
            self.0.push(name.to_string());
            output * 2.0
        }
    }

    let (x, sigma) = inputs::<B, _, 2>(&Mine, device);
    let expected = (Mine.forward(x.clone(), sigma.clone(), ()) * 2.0).into_data();
    let mut tracer = Doubled(Vec::new());
    let output = Mine.trace(x, sigma, (), &mut tracer).into_data();
    assert_eq!((tracer.0, output.bytes), (vec!["network".to_string()], expected.bytes));
}

//! A network of another crate takes part in a run, and is saved and resumed as every other.

#![allow(clippy::unwrap_used)]

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::trace::Tracer;
use diffusion::core::{AnyCondition, Network, NullCondition};
use diffusion::train::Which;
use diffusion_recipe::{
    CustomNetworkConfig, NetworkConfig, RecipeError, Run, RunConfig, RunFolder, SampleRequest, TypedRun,
    train,
};

/// A linear layer that knows nothing of σ.
#[derive(Module, Debug)]
struct Plain<B: Backend> {
    layer: Linear<B>,
}

impl<B: Backend> Network<B, 2> for Plain<B> {
    type Condition = AnyCondition;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        _sigma: Tensor<B, 1>,
        _condition: AnyCondition,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        tracer.layer(&"layer", self.layer.forward(x))
    }
}

/// It has no labels, so nothing can be left out.
impl<B: Backend> NullCondition for Plain<B> {
    type Condition = AnyCondition;

    fn null_condition(&self, condition: &AnyCondition) -> AnyCondition {
        condition.clone()
    }
}

fn config() -> RunConfig {
    let mut config = RunConfig::preset("swissroll").unwrap();
    config.set_all(["preset=plain", "training.steps=6", "sampling.count=3", "validation.every=3"]).unwrap();
    let settings = toml::Table::new();
    let custom =
        CustomNetworkConfig { name: "plain".to_string(), input_shape: vec![2], num_classes: None, settings };
    RunConfig { network: NetworkConfig::Custom(custom), ..config }
}

fn run(config: &RunConfig) -> Box<dyn Run> {
    let device = Default::default();
    let network = Plain::<Autodiff<Flex>> { layer: LinearConfig::new(2, 2).init(&device) };
    Box::new(TypedRun::new(config.clone(), network, &device).unwrap())
}

#[test]
fn a_network_of_one_s_own_is_trained_sampled_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    assert_eq!(RunConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
    let mut first = run(&config);
    assert_eq!(first.num_params(), 6);
    let place = RunFolder::create(folder.path().join("run"), &config, false).unwrap();
    let trained = train(&mut *first, &place, &mut ()).unwrap();
    assert!(trained.stopped.is_none() && trained.history.losses.len() == 6 && trained.validation.is_some());

    let (checkpoint, _) = place.checkpoint(Which::Latest).unwrap();
    let mut again = run(&config);
    again.resume(&checkpoint).unwrap();
    assert_eq!(again.counts(), first.counts());
    let samples = |run: &dyn Run| run.sample(&SampleRequest::of(&config), &mut |_| {}).unwrap().values;
    assert_eq!(samples(&*again), samples(&*first));
    assert!(again.step().unwrap().is_none());
}

#[test]
fn only_its_own_program_makes_it() {
    let error = config().build::<Flex>(&Default::default()).err().unwrap();
    assert!(matches!(error, RecipeError::CustomNetwork(name) if name == "plain"));
}

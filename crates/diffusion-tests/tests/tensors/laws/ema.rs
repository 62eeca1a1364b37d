//! The exponential moving average (EMA) of the weights.

use crate::support::parameters::{assert_same_bits, parameters};
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction, Network, Tracer};
use diffusion::train::{Ema, EmaConfig, EmaStep, TrainConfig, train};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    one_update_is_a_weighted_mean,
    constant_weights_stay,
    lazily_initialised_parameters_are_averaged_from_their_first_value,
);

fn network<B: Backend>(device: &B::Device) -> TimeInputMlp<B> {
    TimeInputMlpConfig { dim: 2, hidden_dims: vec![8, 8], ..Default::default() }.init(1, device)
}

/// The network with other weights under the same parameters' ids.
fn changed<B: Backend>(network: &TimeInputMlp<B>) -> TimeInputMlp<B> {
    struct Change;

    impl<B: Backend> ModuleMapper<B> for Change {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|weights| weights * -2.0 + 1.0)
        }
    }

    network.clone().map(&mut Change)
}

/// Panics unless each of `average` is `decay·before + (1 − decay)·new`.
#[track_caller]
fn assert_mean<B: TestBackend>(average: &[Vec<f32>], decay: f64, before: &[Vec<f32>], new: &[Vec<f32>]) {
    assert!(average.len() == before.len() && before.len() == new.len());
    for (average, (before, new)) in average.iter().zip(before.iter().zip(new)) {
        let mean = |(&b, &n): (&f32, &f32)| (decay * f64::from(b) + (1.0 - decay) * f64::from(n)) as f32;
        let expected: Vec<f32> = before.iter().zip(new).map(mean).collect();
        assert_close("average", average[..].into(), expected[..].into(), B::TOLERANCE);
    }
}

fn one_update_is_a_weighted_mean<B: TestBackend>(device: &B::Device) {
    let network = network::<B>(device);
    let other = changed(&network);
    let config = EmaConfig::warmup(0.9);
    // In the warm-up β = 1 − (1 + step)^(−2/3); after it 0.9.
    for (step, decay) in [(1, 1.0 - 0.5f64.powf(2.0 / 3.0)), (1000, 0.9)] {
        let mut ema = Ema::new(network.clone(), config);
        ema.update::<B>(&other, EmaStep { step, examples: step, batch: 1 });
        assert_mean::<B>(&parameters(ema.module()), decay, &parameters(&network), &parameters(&other));
    }
}

fn constant_weights_stay<B: TestBackend>(device: &B::Device) {
    let network = network::<B>(device);
    let mut ema = Ema::new(network.clone(), EmaConfig::default());
    for step in 1..=20 {
        ema.update::<B>(&network, EmaStep { step, examples: step, batch: 1 });
    }
    assert_mean::<B>(&parameters(&ema.into_module()), 0.0, &parameters(&network), &parameters(&network));
}

/// A network as Burn initialises it: its weights are drawn when they are first looked at, and a clone made before
/// that draws others.
#[derive(Module, Debug)]
struct Lazy<B: Backend> {
    linear: Linear<B>,
}

impl<B: Backend> Network<B, 2> for Lazy<B> {
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
        tracer.layer(&"network", self.linear.forward(x))
    }
}

fn lazily_initialised_parameters_are_averaged_from_their_first_value<B: TestBackend>(device: &B::Device) {
    let lazy = Lazy::<Autodiff<B>> { linear: LinearConfig::new(2, 2).init(device) };
    let batches = std::iter::repeat_with(|| (TensorData::ones::<f32, _>([4, 2]), ()));
    let (schedule, mut config) = (LogLinear::default(), TrainConfig::new(3));
    config.ema = EmaConfig::Warmup { decay: 0.75, warmup_power: 1.0 };
    let mut run = train(batches, Diffusion::new(lazy, EpsPrediction), &schedule, &config);

    let mut average = parameters(run.ema());
    for (average, weights) in average.iter().zip(&parameters(&run.model())) {
        assert_same_bits("the EMA before the first step", average, weights);
    }
    // β = 1 − 1/(1 + step) until it is 0.75.
    for decay in [0.5, 2.0 / 3.0, 0.75] {
        assert!(run.next().is_some());
        let after = parameters(run.ema());
        assert_mean::<B>(&after, decay, &average, &parameters(&run.model()));
        average = after;
    }
}

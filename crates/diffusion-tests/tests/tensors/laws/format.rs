//! The format of checkpoints: one that was written once must load for ever.

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use diffusion::core::network::mlp::TimeInputMlpConfig;
use diffusion::core::schedule::ScheduleConfig;
use diffusion::core::{AnyPrediction, Diffusion};
use diffusion::data::{Batches, Points};
use diffusion::train::{Checkpoint, ModelSpec, TrainConfig, Training, Weights, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::path::{Path, PathBuf};

backend_tests!(a_checkpoint_of_format_3_loads, training_goes_on_from_a_checkpoint_of_format_3);

/// Written by `cargo test -p diffusion-tests -- --ignored write_the_checkpoint_of_format_3`.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoint-format-3")
}

const STEPS: u64 = 3;
const PREDICTION: AnyPrediction = AnyPrediction::V;
const SCHEDULE: ScheduleConfig = ScheduleConfig::LogLinear { n: 10, sigma_min: 0.1, sigma_max: 5.0 };

fn network() -> TimeInputMlpConfig {
    TimeInputMlpConfig { dim: 2, hidden_dims: vec![4, 3], ..Default::default() }
}

fn spec() -> ModelSpec {
    ModelSpec::new(&network(), &PREDICTION, &SCHEDULE)
}

type Run<B, I> = Training<
    Autodiff<B>,
    diffusion::core::network::mlp::TimeInputMlp<Autodiff<B>>,
    AnyPrediction,
    diffusion::core::schedule::AnySchedule,
    I,
    2,
>;

/// The run of which the fixture is the third step.
fn run<B: TestBackend>(device: &B::Device, steps: u64, from: u64) -> Run<B, Batches<Points>> {
    let data = Points::new(vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0], &[2]);
    let batches = Batches::new(data, 4, 7).starting_at(from);
    let model = Diffusion::new(network().init::<Autodiff<B>>(7, device), PREDICTION);
    train(batches, model, SCHEDULE.init(), &TrainConfig { seed: 7, ..TrainConfig::new(steps) })
}

fn a_checkpoint_of_format_3_loads<B: TestBackend>(device: &B::Device) {
    let checkpoint = Checkpoint::latest(folder()).unwrap();
    assert_eq!((checkpoint.state().format, checkpoint.state().step), (3, STEPS));
    for (weights, expected) in [(Weights::Raw, RAW), (Weights::Ema, EMA)] {
        // Other weights than the checkpoint's, which must take their place.
        let model = Diffusion::new(network().init::<B>(8, device), PREDICTION);
        let model = checkpoint.load(model, &spec(), weights.clone()).unwrap();
        let x = Tensor::<B, 2>::from_data([[0.5, -1.0]], device);
        let found: Vec<f64> = model.predict_eps(x, 0.7, ()).into_data().iter().collect();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{weights:?}: {found}, expected {expected}");
        }
    }
}

fn training_goes_on_from_a_checkpoint_of_format_3<B: TestBackend>(device: &B::Device) {
    let checkpoint = Checkpoint::latest(folder()).unwrap();
    let at = checkpoint.state().batches;
    let mut resumed = run::<B>(device, STEPS + 1, at).resume(&checkpoint, &spec()).unwrap();
    let mut whole = run::<B>(device, STEPS + 1, 0);
    let (found, expected) = (resumed.next().unwrap().unwrap(), whole.by_ref().last().unwrap().unwrap());
    assert_eq!(found.index, expected.index);
    assert!((found.loss() - expected.loss()).abs() < 1e-5, "{} {}", found.loss(), expected.loss());
}

/// ε at (0.5, −1), σ = 0.7, by the weights and by their EMA.
const RAW: [f64; 2] = [0.098_271_07, -0.482_608_23];
const EMA: [f64; 2] = [0.096_477_99, -0.484_832_05];

#[cfg(feature = "flex")]
#[test]
#[ignore = "writes the fixture anew, whose loading is the test"]
#[allow(clippy::print_stdout, reason = "the numbers are copied into this file")]
fn write_the_checkpoint_of_format_3() {
    use burn::backend::Flex;
    let device = Default::default();
    let mut run = run::<Flex>(&device, STEPS, 0);
    run.by_ref().for_each(drop);
    run.save(folder(), &spec(), None).unwrap();
    for model in [run.model(), run.ema().clone()] {
        let x = Tensor::<Flex, 2>::from_data([[0.5, -1.0]], &device);
        println!("{:?}", model.predict_eps(x, 0.7, ()).into_data().iter::<f64>().collect::<Vec<_>>());
    }
}

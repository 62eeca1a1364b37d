//! The training loop.

use crate::support::parameters::parameters;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::LogLinear;
use diffusion::core::watch::Watch;
use diffusion::core::{Diffusion, EpsPrediction};
use diffusion::data::{Batches, Swissroll};
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::cell::Cell;
use std::f64::consts::PI;
use std::panic::{AssertUnwindSafe, catch_unwind};

backend_tests!(
    training_lowers_the_loss,
    the_same_seed_gives_the_same_losses,
    a_step_is_yielded_after_its_update,
    training_ends_with_its_steps_or_its_batches,
    batches_are_taken_as_they_are_needed,
    data_that_panic_leave_the_model,
    data_that_cannot_be_read_leave_the_model,
    a_failure_or_a_stop_within_a_step_loses_nothing,
    batches_of_other_sizes_weigh_as_their_examples,
);

type Model<B> = Diffusion<B, TimeInputMlp<B>, EpsPrediction>;

fn model<B: Backend>(device: &B::Device) -> Model<B> {
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 32, 16], ..Default::default() };
    Diffusion::new(config.init(0, device), EpsPrediction)
}

/// Forty points in batches of sixteen, three batches an epoch.
fn batches() -> Batches<Swissroll> {
    Batches::new(Swissroll::new(PI / 2.0, 5.0 * PI, 40), 16, 0)
}

fn losses<B: TestBackend>(steps: u64, seed: u64, lr: f64, device: &B::Device) -> Vec<f64> {
    let schedule = LogLinear::new(200, 0.005, 10.0);
    let config = TrainConfig { seed, lr, ..TrainConfig::new(steps) };
    train(batches(), model::<Autodiff<B>>(device), &schedule, &config)
        .map(|step| step.unwrap().loss())
        .collect()
}

/// From about 1, the loss of a network that says nothing, to what the noise at small σ leaves.
fn training_lowers_the_loss<B: TestBackend>(device: &B::Device) {
    let losses = losses::<B>(300, 0, 5e-3, device);
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..30]), mean(&losses[200..]));
    assert!(last < 0.85 * first, "the loss went from {first} to {last}");
}

fn the_same_seed_gives_the_same_losses<B: TestBackend>(device: &B::Device) {
    let bits = |losses: Vec<f64>| losses.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let first = bits(losses::<B>(10, 3, 1e-3, device));
    assert_eq!(first, bits(losses::<B>(10, 3, 1e-3, device)));
    assert_ne!(first, bits(losses::<B>(10, 4, 1e-3, device)));
}

fn a_step_is_yielded_after_its_update<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (LogLinear::default(), TrainConfig::new(5));
    let mut run = train(batches(), model::<Autodiff<B>>(device), &schedule, &config);
    let initial = parameters(&model::<B>(device));
    assert_eq!(parameters(&run.model()), initial, "nothing happens before the first step is asked for");
    assert_eq!(parameters(run.ema()), initial);

    let step = run.next().unwrap().unwrap();
    assert_eq!((step.index, step.examples, step.lr), (1, 16, 1e-3));
    assert_eq!((run.step(), run.examples()), (1, 16));
    for (i, (found, initial)) in parameters(&run.model()).iter().zip(&initial).enumerate() {
        assert_ne!(found, initial, "parameter {i} is still the initial one");
    }
    let examples: Vec<u64> = run.by_ref().map(|step| step.unwrap().examples).collect();
    // The last batch of an epoch of forty has eight.
    assert_eq!(examples, [32, 40, 56, 72]);
    let last = parameters(&run.model());
    assert_eq!(parameters(&run.into_model()), last);
}

fn training_ends_with_its_steps_or_its_batches<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (LogLinear::default(), TrainConfig::new(5));
    let run = |batches| train(batches, model::<Autodiff<B>>(device), &schedule, &config);
    let mut endless = run(batches());
    assert_eq!(endless.by_ref().count(), 5);
    assert!(endless.next().is_none());
    let mut short = run(batches().epochs(1));
    assert_eq!(short.by_ref().count(), 3);
    assert!(short.next().is_none());
    assert_eq!((short.step(), short.examples()), (3, 40));
    assert_eq!(run(batches().epochs(0)).count(), 0);
}

/// No batch is taken before its step is asked for, and none that no step needs.
fn batches_are_taken_as_they_are_needed<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::default();
    for (accumulate, taken_after) in [(1, [1, 2, 3]), (2, [2, 4, 6])] {
        let config = TrainConfig { accumulate, ..TrainConfig::new(3) };
        let taken = Cell::new(0);
        let counted = batches().inspect(|_| taken.set(taken.get() + 1));
        let mut run = train(counted, model::<Autodiff<B>>(device), &schedule, &config);
        assert_eq!(taken.get(), 0, "nothing is taken before the first step is asked for");
        for expected in taken_after {
            run.next().unwrap().unwrap();
            assert_eq!(taken.get(), expected, "after step {} of {config:?}", run.step());
        }
        assert!(run.next().is_none() && taken.get() == taken_after[2]);
    }
}

/// The first batch cannot be had: the model is still there, as it was.
fn data_that_panic_leave_the_model<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (LogLinear::default(), TrainConfig::new(3));
    let mut is_first = true;
    let torn = batches().map(move |batch| match std::mem::take(&mut is_first) {
        true => panic!("the disk is gone"),
        false => batch,
    });
    let mut run = train(torn, model::<Autodiff<B>>(device), &schedule, &config);
    assert!(catch_unwind(AssertUnwindSafe(|| run.next().map(|step| step.unwrap().index))).is_err());
    assert_eq!(run.step(), 0);
    assert_eq!(parameters(&run.model()), parameters(&model::<B>(device)));
    assert_eq!(
        run.next().map(|step| step.unwrap().examples),
        Some(16),
        "the second batch is the next to be had"
    );
}

/// The first batch cannot be read, and then it can: the run is as if nothing had happened.
fn data_that_cannot_be_read_leave_the_model<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (LogLinear::new(200, 0.005, 10.0), TrainConfig::new(3));
    let torn = std::iter::once(Err("the disk is gone")).chain(batches().map(|batch| Ok(batch.unwrap())));
    let mut run = train(torn, model::<Autodiff<B>>(device), &schedule, &config);
    assert_eq!(run.next().unwrap().err(), Some("the disk is gone"));
    assert_eq!(run.step(), 0);
    assert_eq!(parameters(&run.model()), parameters(&model::<B>(device)));
    let losses: Vec<f64> = run.map(|step| step.unwrap().loss()).collect();
    assert_eq!(losses, self::losses::<B>(3, config.seed, config.lr, device));
}

/// Three batches a step, the second of which fails at first; and a stop before the third. What is there of a step stays.
fn a_failure_or_a_stop_within_a_step_loses_nothing<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::new(200, 0.005, 10.0);
    let config = TrainConfig { accumulate: 3, ..TrainConfig::new(4) };
    let bits = |losses: Vec<f64>| losses.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let whole = train(batches(), model::<Autodiff<B>>(device), &schedule, &config);
    let whole = bits(whole.map(|step| step.unwrap().loss()).collect());

    let (taken, watch) = (Cell::new(0), Watch::default());
    let mut failed = false;
    let mut whole_batches = batches();
    let torn = std::iter::from_fn(|| {
        if taken.get() == 4 && !std::mem::replace(&mut failed, true) {
            return Some(Err("the disk is gone"));
        }
        taken.set(taken.get() + 1);
        if taken.get() == 8 {
            watch.stop();
        }
        whole_batches.next().map(|batch| Ok(batch.unwrap()))
    });
    let run = train(torn, model::<Autodiff<B>>(device), &schedule, &config);
    let mut run = run.watched(watch.clone());
    let mut losses = vec![run.next().unwrap().unwrap().loss()];
    let before = parameters(&run.model());
    assert_eq!(run.next().unwrap().err(), Some("the disk is gone"));
    assert_eq!(parameters(&run.model()), before);
    losses.push(run.next().unwrap().unwrap().loss());
    let before = parameters(&run.model());
    assert!(run.next().is_none() && run.step() == 2 && taken.get() == 8, "{} are taken", taken.get());
    assert_eq!(parameters(&run.model()), before);
    let run = run.watched(Watch::default());
    losses.extend(run.map(|step| step.unwrap().loss()));
    assert_eq!(bits(losses), whole);
}

/// Sixteen, sixteen and eight points are the forty that they are together.
fn batches_of_other_sizes_weigh_as_their_examples<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::new(200, 0.005, 10.0);
    let losses = |size: usize, accumulate: usize| {
        let batches = Batches::new(Swissroll::new(PI / 2.0, 5.0 * PI, 40), size, 0);
        let config = TrainConfig { accumulate, ..TrainConfig::new(5) };
        let run = train(batches, model::<Autodiff<B>>(device), &schedule, &config);
        run.map(|step| step.unwrap().loss()).collect::<Vec<f64>>()
    };
    for (one, three) in losses(40, 1).into_iter().zip(losses(16, 3)) {
        assert!((one - three).abs() < 1e-4 * one, "{one} in one batch, {three} in three");
    }
}

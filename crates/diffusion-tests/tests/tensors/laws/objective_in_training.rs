//! An objective: training and validation draw its noise levels and minimize its loss.

use burn::backend::Autodiff;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::objective::{AnyObjective, Objective, PredictionMse, Weight};
use diffusion::core::random::Stream;
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction, Parameterization, Schedule};
use diffusion::data::{Batches, Dataset, Swissroll};
use diffusion::eval::{LossBySigma, Validation, ValidationConfig};
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};

backend_tests!(
    the_chosen_default_is_the_default_bit_for_bit,
    training_draws_and_weighs_as_the_objective_says,
    validation_draws_and_weighs_as_the_objective_says,
    the_optimal_loss_is_that_of_the_objective,
);

/// Only the level 0.5, where the mean of |error| weighs `weight`.
#[derive(Clone, Copy, Debug)]
struct OneLevel {
    weight: f64,
}

const LEVEL: f64 = 0.5;

impl Objective for OneLevel {
    fn draw<S: Schedule + ?Sized>(&self, _schedule: &S, _stream: &mut Stream) -> f64 {
        LEVEL
    }

    fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
        assert_eq!(sigma, LEVEL);
        Weight::OnOutput(self.weight)
    }

    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        error.abs()
    }
}

fn data() -> Swissroll {
    Swissroll::new(1.5, 15.0, 20)
}

fn schedule() -> LogLinear {
    LogLinear::new(50, 0.05, 5.0)
}

fn model<B: Backend>(device: &B::Device) -> Diffusion<B, TimeInputMlp<B>, EpsPrediction> {
    Diffusion::new(
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init(1, device),
        EpsPrediction,
    )
}

fn losses<B: TestBackend>(objective: impl Objective, device: &B::Device) -> Vec<f64> {
    let batches = Batches::new(data(), 4, 0);
    let run = train(batches, model::<Autodiff<B>>(device), schedule(), &TrainConfig::new(5));
    run.under(objective).map(|step| step.unwrap().loss()).collect()
}

fn validation<O: Objective>(objective: O) -> Validation<(), O> {
    let config = ValidationConfig { bins: 2, per_bin: 4, ..ValidationConfig::default() };
    Validation::under(objective, config, 0, &schedule(), data().len(), |indices| data().gather(indices))
        .unwrap()
}

fn assert_scaled(found: &[f64], by: f64, of: &[f64]) {
    assert_eq!(found.len(), of.len());
    for (found, of) in found.iter().zip(of) {
        assert!((found / of - by).abs() < 1e-5 * by, "{found} is not {by} times {of}");
    }
}

fn of(losses: &LossBySigma) -> Vec<f64> {
    losses.0.iter().map(|bin| bin.loss).collect()
}

fn the_chosen_default_is_the_default_bit_for_bit<B: TestBackend>(device: &B::Device) {
    assert_eq!(losses::<B>(AnyObjective::default(), device), losses::<B>(PredictionMse, device));
    let evaluate = |losses: LossBySigma| of(&losses);
    assert_eq!(
        evaluate(validation(AnyObjective::default()).evaluate(&model::<B>(device), device)),
        evaluate(validation(PredictionMse).evaluate(&model::<B>(device), device)),
    );
}

/// The weight of the first step's loss is that of the objective; the gradients, and so the next losses, have it too,
/// but AdamW is blind to it.
fn training_draws_and_weighs_as_the_objective_says<B: TestBackend>(device: &B::Device) {
    let [one, four] = [1.0, 4.0].map(|weight| losses::<B>(OneLevel { weight }, device));
    assert_scaled(&four[..1], 4.0, &one[..1]);
    assert_ne!(one, losses::<B>(PredictionMse, device));
}

fn validation_draws_and_weighs_as_the_objective_says<B: TestBackend>(device: &B::Device) {
    let [one, four] =
        [1.0, 4.0].map(|weight| validation(OneLevel { weight }).evaluate(&model::<B>(device), device));
    assert!(one.0.iter().all(|bin| bin.sigma_min == LEVEL && bin.sigma_max == LEVEL));
    assert_scaled(&of(&four), 4.0, &of(&one));
}

/// Evaluated as a model and as a denoiser the ideal denoiser has the same loss, whatever the objective.
fn the_optimal_loss_is_that_of_the_objective<B: TestBackend>(device: &B::Device) {
    let ideal = IdealDenoiser::<B, 2>::new(&data().all().unwrap(), device);
    let set = validation(OneLevel { weight: 3.0 });
    let optimal = set.evaluate_denoiser(&EpsPrediction, device, |x, sigma, ()| ideal.denoise(x, sigma));
    let model = set.evaluate(&Diffusion::new(ideal.clone(), EpsPrediction), device);
    for (optimal, model) in of(&optimal).into_iter().zip(of(&model)) {
        assert!((optimal - model).abs() < 1e-3 * model.max(1e-2), "{optimal}, as a model {model}");
    }
}

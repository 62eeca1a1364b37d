//! Objectives: what they weight is what the loss is, whatever the network predicts.

use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::{
    AnyObjective, AnyPrediction, Diffusion, Noise, Objective, Parameterization, PredictionMse, Weight,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    a_weight_on_the_data_weights_its_error,
    a_weight_on_the_output_weights_the_error_of_the_prediction,
    the_penalty_replaces_the_square,
    the_loss_is_the_mean_of_the_examples,
    the_loss_is_that_of_prediction_mse,
);

const SIGMAS: [f64; 3] = [0.05, 0.4, 0.9];

type Model<B> = Diffusion<B, TimeInputMlp<B>, AnyPrediction>;

/// A model of each mode.
fn models<B: Backend>(device: &B::Device) -> impl Iterator<Item = Model<B>> {
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
    let network = config.init::<B>(3, device);
    let modes = [
        AnyPrediction::Eps,
        AnyPrediction::X0,
        AnyPrediction::V,
        AnyPrediction::Edm { sigma_data: 0.5 },
        AnyPrediction::ScaledEps,
        AnyPrediction::ScaledX0,
        AnyPrediction::ScaledV,
        AnyPrediction::Flow,
    ];
    modes.into_iter().map(move |mode| Diffusion::new(network.clone(), mode))
}

/// Data and noise.
fn batch<B: Backend>(device: &B::Device) -> [Tensor<B, 2>; 2] {
    [1, 2].map(|seed| Noise::new(seed).initial([SIGMAS.len(), 2], device))
}

/// The mean over an example's values, times the example's weight.
fn weighted<B: Backend>(losses: Tensor<B, 2>, weight: impl Fn(f64) -> f64) -> Tensor<B, 1> {
    let weights = SIGMAS.map(|sigma| weight(sigma) as f32);
    let weights = Tensor::from_floats(weights, &losses.device());
    losses.mean_dim(1).squeeze_dim::<1>(1) * weights
}

/// EDM's weight for data of standard deviation ½ (Karras et al. 2022, Table 1), whose range is wide.
fn edm_weight(sigma: f64) -> f64 {
    (sigma * sigma + 0.25) / (sigma * 0.5).powi(2)
}

#[derive(Clone, Debug)]
struct OnDenoised;

impl Objective for OnDenoised {
    fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
        Weight::OnDenoised(edm_weight(sigma))
    }
}

/// `w·‖D − x₀‖²` for every mode, so that a weight from a paper is stated once.
fn a_weight_on_the_data_weights_its_error<B: TestBackend>(device: &B::Device) {
    let [x0, eps] = batch::<B>(device);
    for model in models::<B>(device) {
        let found = model.loss_per_example_under(&OnDenoised, x0.clone(), SIGMAS, eps.clone(), ());
        let x = model.noised(x0.clone(), SIGMAS, eps.clone());
        let expected = weighted((model.denoised(x, SIGMAS, ()) - x0.clone()).square(), edm_weight);
        let what = format!("{:?}", model.parameterization);
        assert_close(&what, found.into_data(), expected.into_data(), 10.0 * B::TOLERANCE);
    }
}

#[derive(Clone, Debug)]
struct AbsoluteOnOutput;

impl Objective for AbsoluteOnOutput {
    fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
        Weight::OnOutput(2.0 + sigma)
    }

    fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
        error.abs()
    }
}

#[derive(Clone, Debug)]
struct OnOutput;

impl Objective for OnOutput {
    fn weight<P: Parameterization>(&self, _parameterization: &P, sigma: f64) -> Weight {
        Weight::OnOutput(2.0 + sigma)
    }
}

fn a_weight_on_the_output_weights_the_error_of_the_prediction<B: TestBackend>(device: &B::Device) {
    let [x0, eps] = batch::<B>(device);
    for model in models::<B>(device) {
        let found = model.loss_per_example_under(&OnOutput, x0.clone(), SIGMAS, eps.clone(), ());
        let plain = model.loss_per_example(x0.clone(), SIGMAS, eps.clone(), ());
        let expected = weighted(plain.unsqueeze_dim::<2>(1), |sigma| 2.0 + sigma);
        assert_close("loss", found.into_data(), expected.into_data(), B::TOLERANCE);
    }
}

fn the_penalty_replaces_the_square<B: TestBackend>(device: &B::Device) {
    let [x0, eps] = batch::<B>(device);
    for model in models::<B>(device) {
        let found = model.loss_per_example_under(&AbsoluteOnOutput, x0.clone(), SIGMAS, eps.clone(), ());
        let output = model.predict(model.noised(x0.clone(), SIGMAS, eps.clone()), SIGMAS, ());
        let column = |of: &dyn Fn(f64) -> f64| {
            Tensor::<B, 1>::from_floats(SIGMAS.map(|s| of(s) as f32), device).unsqueeze_dim::<2>(1)
        };
        let target = |s| model.parameterization.target(s);
        let target = x0.clone() * column(&|s| target(s).x0) + eps.clone() * column(&|s| target(s).eps);
        let expected = weighted((output - target).abs(), |sigma| 2.0 + sigma);
        assert_close("loss", found.into_data(), expected.into_data(), 10.0 * B::TOLERANCE);
    }
}

fn the_loss_is_the_mean_of_the_examples<B: TestBackend>(device: &B::Device) {
    let [x0, eps] = batch::<B>(device);
    for model in models::<B>(device) {
        let mean = model.loss_per_example_under(&OnDenoised, x0.clone(), SIGMAS, eps.clone(), ()).mean();
        let found = model.loss_under(&OnDenoised, x0.clone(), SIGMAS, eps.clone(), ());
        assert_close("loss", found.into_data(), mean.into_data(), B::TOLERANCE);
    }
}

/// To the bit, chosen at run time or not, for one noise level and for several.
fn the_loss_is_that_of_prediction_mse<B: TestBackend>(device: &B::Device) {
    let [x0, eps] = batch::<B>(device);
    let bytes = |loss: Tensor<B, 1>| loss.into_data().bytes;
    for model in models::<B>(device) {
        for sigma in [diffusion::core::Sigma::from(SIGMAS), 0.3.into()] {
            let (x0, eps) = (|| x0.clone(), || eps.clone());
            let expected = bytes(model.loss(x0(), &sigma, eps(), ()));
            assert_eq!(bytes(model.loss_under(&PredictionMse, x0(), &sigma, eps(), ())), expected);
            assert_eq!(bytes(model.loss_under(&AnyObjective::default(), x0(), &sigma, eps(), ())), expected);
            let expected = bytes(model.loss_per_example(x0(), &sigma, eps(), ()));
            let found = model.loss_per_example_under(&AnyObjective::default(), x0(), &sigma, eps(), ());
            assert_eq!(bytes(found), expected);
        }
    }
}

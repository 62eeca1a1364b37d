//! The MLPs, under every modifier: output, loss and the prediction that samplers use.
//!
//! Compared with smalldiffusion's formulas in f64: its own f32 is up to 4.6e-6 away from them (v-prediction at
//! σ = 0.005, where it takes √(1 − ᾱ)), which is half of the tolerance.

use crate::support::{fixture::Fixture, weights};
use burn::tensor::Tensor;
use diffusion::core::network::mlp::TimeInputMlp;
use diffusion::core::{
    Diffusion, EpsPrediction, FlowPrediction, Parameterization, Scaled, Sigma, VPrediction, X0Prediction,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    plain_matches,
    scaled_matches,
    pred_x0_matches,
    pred_v_matches,
    pred_flow_matches,
    scaled_pred_x0_matches,
    scaled_pred_v_matches,
    conditional_mlp_matches,
);

fn plain_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("plain", EpsPrediction, "", predict_eps, device);
}

fn scaled_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("scaled", Scaled(EpsPrediction), "", predict_eps, device);
}

fn pred_x0_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("pred_x0", X0Prediction, "", predict_eps, device);
}

fn pred_v_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("pred_v", VPrediction, "", predict_eps, device);
}

/// What smalldiffusion calls `predict_eps` of a flow model is the velocity ε − x₀.
fn pred_flow_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>(
        "pred_flow",
        FlowPrediction,
        "flow_",
        |model, x, sigma| model.velocity(x, sigma, ()),
        device,
    );
}

fn scaled_pred_x0_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("scaled_pred_x0", Scaled(X0Prediction), "", predict_eps, device);
}

fn scaled_pred_v_matches<B: TestBackend>(device: &B::Device) {
    modifier::<B, _>("scaled_pred_v", Scaled(VPrediction), "", predict_eps, device);
}

type Model<B, P> = Diffusion<B, TimeInputMlp<B>, P>;
type Predict<B, P> = fn(&Model<B, P>, Tensor<B, 2>, Sigma) -> Tensor<B, 2>;

fn predict_eps<B: TestBackend, P: Parameterization>(
    model: &Model<B, P>,
    x: Tensor<B, 2>,
    sigma: Sigma,
) -> Tensor<B, 2> {
    model.predict_eps(x, sigma, ())
}

fn modifier<B: TestBackend, P: Parameterization>(
    name: &str,
    parameterization: P,
    sigma_prefix: &str,
    predict_eps: Predict<B, P>,
    device: &B::Device,
) {
    let fixture = Fixture::open("mlp");
    let exact = fixture.case("exact").case(name);
    let model = Diffusion::new(weights::time_input_mlp(&fixture, device), parameterization);
    let tensor = |name| fixture.tensor::<B, 2>(name, device);
    let each = Sigma::Each(fixture.numbers(&format!("in.{sigma_prefix}sigma")));
    let all = Sigma::All(fixture.number(&format!("in.{sigma_prefix}sigma_scalar")));

    for (shape, sigma) in [("batch", each.clone()), ("scalar", all)] {
        let (forward, eps) = (format!("forward_{shape}"), format!("predict_eps_{shape}"));
        let found = model.predict(tensor("in.x"), &sigma, ()).into_data();
        assert_close(&forward, found, exact.data(&forward), B::TOLERANCE);
        let found = predict_eps(&model, tensor("in.x"), sigma).into_data();
        assert_close(&eps, found, exact.data(&eps), B::TOLERANCE);
    }

    let loss = model.loss(tensor("in.x0"), &each, tensor("in.eps"), ());
    assert_close("loss", loss.into_data(), exact.data("loss"), B::TOLERANCE);
    let mean = model.loss_per_example(tensor("in.x0"), &each, tensor("in.eps"), ()).mean();
    assert_close("mean loss", mean.into_data(), exact.data("loss"), B::TOLERANCE);
}

fn conditional_mlp_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("conditional_mlp");
    let model = Diffusion::new(weights::conditional_mlp(&fixture, device), EpsPrediction);
    let tensor = |name| fixture.tensor::<B, 2>(name, device);
    let (each, all) = (Sigma::Each(fixture.numbers("in.sigma")), fixture.number("in.sigma_scalar"));
    let (labels, classes) = (fixture.labels("in.labels"), fixture.labels("in.cfg_labels"));
    let close = |name: &str, found| assert_close(name, found, fixture.data(name), B::TOLERANCE);

    close("out.forward_scalar", model.predict(tensor("in.x"), all, labels.clone()).into_data());
    close("out.forward_batch", model.predict(tensor("in.x"), &each, labels.clone()).into_data());
    let loss = model.loss(tensor("in.x0"), &each, tensor("in.eps"), labels);
    close("out.loss", loss.into_data());
    for (name, scale) in [("0", 0.0), ("1_5", 1.5), ("4", 4.0)] {
        let found = model.predict_eps_cfg(tensor("in.x"), all, classes.clone(), scale);
        close(&format!("out.predict_eps_cfg_{name}"), found.into_data());
    }
}

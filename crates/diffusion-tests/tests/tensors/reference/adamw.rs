//! Ten updates of AdamW, as PyTorch makes them.

use super::modifiers::{dit_conditional, four_classes};
use crate::support::{fixture::Fixture, hashed, weights};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Param};
use burn::nn::LinearConfig;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::{Diffusion, EpsPrediction, Labels};
use diffusion::train::{AdamWConfig, state_dict};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    ten_updates_match,
    ten_updates_of_a_dit_match,
    a_gradient_as_small_as_epsilon_makes_half_a_step,
);

fn ten_updates_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("adamw");
    let network = weights::time_input_mlp::<Autodiff<B>>(&fixture, device);
    let mut model = Diffusion::new(network, EpsPrediction);
    let mut optimizer = AdamWConfig::default().init();
    let of_step = |name, step| -> Tensor<Autodiff<B>, 2> {
        fixture.tensor::<Autodiff<B>, 3>(name, device).narrow(0, step, 1).squeeze_dim(0)
    };
    let sigmas = fixture.numbers("in.sigma");
    let mut losses = Vec::new();
    for (step, sigmas) in sigmas.chunks(16).enumerate() {
        let loss = model.loss(of_step("in.x0", step), sigmas, of_step("in.eps", step), ());
        losses.push(loss.clone().inner());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    let losses = Tensor::cat(losses, 0).into_data();
    assert_close("losses", losses, fixture.data("out.losses"), B::TOLERANCE);

    let expected = weights::time_input_mlp::<B>(&fixture.case("out"), device);
    for (i, (found, expected)) in model.valid().network.net.into_iter().zip(expected.net).enumerate() {
        for (name, found, expected) in [
            ("weight", found.weight.val().into_data(), expected.weight.val().into_data()),
            ("bias", found.bias.unwrap().val().into_data(), expected.bias.unwrap().val().into_data()),
        ] {
            assert_close(&format!("{name} of layer {i}"), found, expected, B::TOLERANCE);
        }
    }
}

/// With labels; the weights afterwards by their fingerprints.
fn ten_updates_of_a_dit_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("adamw_dit");
    let network = dit_conditional().init_conditional::<Autodiff<B>>(&four_classes(), 0, device);
    let network = hashed::load("dit_modifiers.conditional", network);
    let mut model = Diffusion::new(network, EpsPrediction);
    let mut optimizer = AdamWConfig::default().init();
    let of_step = |name, step| -> Tensor<Autodiff<B>, 4> {
        fixture.tensor::<Autodiff<B>, 5>(name, device).narrow(0, step, 1).squeeze_dim(0)
    };
    let (sigmas, labels) = (fixture.numbers("in.sigma"), fixture.labels("in.labels").0);
    let mut losses = Vec::new();
    for (step, (sigmas, labels)) in sigmas.chunks(4).zip(labels.chunks(4)).enumerate() {
        let labels = Labels(labels.to_vec());
        let loss = model.loss(of_step("in.x0", step), sigmas, of_step("in.eps", step), labels);
        losses.push(loss.clone().inner());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    let losses = Tensor::cat(losses, 0).into_data();
    assert_close("losses", losses, fixture.data("out.losses"), B::TOLERANCE);

    let mut found = state_dict(&model.valid().network);
    found.remove("pos_embed");
    // The bias of the keys has no gradient but rounding, of which Adam makes steps; the fixture has zeros there.
    let bias = found.remove("blocks.0.attn.qkv.bias").unwrap();
    let without_keys =
        bias.iter::<f32>().enumerate().map(|(i, b)| if (12..24).contains(&i) { 0.0 } else { b });
    found.insert("blocks.0.attn.qkv.bias", TensorData::new(without_keys.collect::<Vec<f32>>(), [36]));
    let (expected, case) = (fixture.case("out.model"), "dit_modifiers.conditional");
    hashed::assert_fingerprints("weights", &found, &expected, case, B::GRADIENT_TOLERANCE);
}

/// The first step is `lr·g/(|g| + ε)`, and PyTorch's ε is 1e-8, Burn's 1e-5.
fn a_gradient_as_small_as_epsilon_makes_half_a_step<B: TestBackend>(device: &B::Device) {
    let mut layer = LinearConfig::new(1, 1).with_bias(false).init::<Autodiff<B>>(device);
    layer.weight = Param::from_tensor(Tensor::from_floats([[1.0]], device));
    let loss = layer.forward(Tensor::<Autodiff<B>, 2>::from_floats([[1e-8]], device)).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &layer);
    let layer = AdamWConfig::default().init().step(0.1, layer, gradients);
    let expected = TensorData::from([[1.0 - 0.1 * 0.01 - 0.1 * 0.5]]);
    assert_close("weight", layer.weight.val().into_data(), expected, B::TOLERANCE);
}

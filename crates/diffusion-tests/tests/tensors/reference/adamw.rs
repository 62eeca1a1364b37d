//! Ten updates of AdamW, as PyTorch makes them.

use crate::support::{fixture::Fixture, weights};
use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use diffusion::core::{Diffusion, EpsPrediction};
use diffusion::train::AdamWConfig;
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(ten_updates_match);

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

//! The transformer: output, loss, the gradient of every parameter, and guidance.

use crate::support::{fixture::Fixture, hashed, weights};
use burn::backend::Autodiff;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::{Diffusion, EpsPrediction, Sigma};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::collections::BTreeSet;

backend_tests!(
    unconditional_dit_matches,
    every_gradient_of_dit_matches,
    conditional_dit_matches,
    dit_of_large_patches_matches,
);

fn unconditional_dit_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("dit").case("unconditional");
    let network = weights::load(weights::dit_config().init::<B>(0, device), &fixture);
    let model = Diffusion::new(network, EpsPrediction);
    let tensor = |name| fixture.tensor::<B, 4>(name, device);
    let (each, all) = (Sigma::Each(fixture.numbers("in.sigma")), fixture.number("in.sigma_scalar"));
    let close = |name: &str, found| assert_close(name, found, fixture.data(name), B::TOLERANCE);

    close("out.forward_scalar", model.predict(tensor("in.x"), all, ()).into_data());
    close("out.forward_batch", model.predict(tensor("in.x"), &each, ()).into_data());
    let loss = model.loss(tensor("in.x0"), &each, tensor("in.eps"), ());
    close("out.loss", loss.into_data());
}

fn every_gradient_of_dit_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("dit").case("unconditional");
    let network = weights::load(weights::dit_config().init::<Autodiff<B>>(0, device), &fixture);
    let model = Diffusion::new(network, EpsPrediction);
    let tensor = |name| fixture.tensor::<Autodiff<B>, 4>(name, device);
    let loss = model.loss(tensor("in.x0"), fixture.numbers("in.sigma"), tensor("in.eps"), ());
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let found = hashed::gradients::<Autodiff<B>, _, 4>(&model.network, &gradients);

    let expected: BTreeSet<String> = fixture.names("grad.").into_iter().collect();
    assert_eq!(found.names().map(str::to_string).collect::<BTreeSet<_>>(), expected);
    for (name, found) in found {
        assert_close(&name, found, fixture.data(&format!("grad.{name}")), B::GRADIENT_TOLERANCE);
    }
}

fn conditional_dit_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("dit").case("conditional");
    let network = weights::dit_config().init_conditional::<B>(&CondEmbedderLabelConfig::new(4), 0, device);
    let model = Diffusion::new(weights::load(network, &fixture), EpsPrediction);
    let tensor = |name| fixture.tensor::<B, 4>(name, device);
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

fn dit_of_large_patches_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("dit").case("patch4");
    let sizes = DitConfig { in_dim: 8, channels: 1, patch_size: 4, depth: 1, ..Default::default() };
    let network = weights::load(
        DitConfig { head_dim: 8, num_heads: 1, mlp_ratio: 2.0, ..sizes }.init::<B>(0, device),
        &fixture,
    );
    let x: Tensor<B, 4> = fixture.tensor("in.x", device);
    let found = Diffusion::new(network, EpsPrediction).predict(x, fixture.number("in.sigma_scalar"), ());
    assert_close("forward", found.into_data(), fixture.data("out.forward_scalar"), B::TOLERANCE);
}

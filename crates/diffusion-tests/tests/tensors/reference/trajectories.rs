//! Sampling with the reference's noise: every state of every step.

use crate::support::{fixture::Fixture, weights};
use burn::tensor::Tensor;
use diffusion::core::{Denoiser, Diffusion, EpsPrediction, General, Sigmas, VarianceExploding, sample};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(unconditional_trajectories_match, conditional_trajectories_match, guided_trajectories_match,);

fn unconditional_trajectories_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("trajectories");
    let network = weights::time_input_mlp::<B>(&fixture.case("mlp"), device);
    trajectories_match::<B, _>(&fixture, "mlp", &Diffusion::new(network, EpsPrediction), device);
}

fn conditional_trajectories_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("trajectories");
    let network = weights::conditional_mlp::<B>(&fixture.case("conditional"), device);
    let model = Diffusion::new(network, EpsPrediction);
    trajectories_match::<B, _>(&fixture, "conditional", &model.given(fixture.labels("in.labels")), device);
}

fn guided_trajectories_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("trajectories");
    let network = weights::conditional_mlp::<B>(&fixture.case("conditional"), device);
    let model = Diffusion::new(network, EpsPrediction);
    let guided = model.given(fixture.labels("in.labels")).guided(2.0);
    trajectories_match::<B, _>(&fixture, "guided", &guided, device);
}

fn trajectories_match<B: TestBackend, M: Denoiser<B, 2, Path = VarianceExploding>>(
    fixture: &Fixture,
    case: &str,
    denoiser: &M,
    device: &B::Device,
) {
    let sigmas = Sigmas::new(fixture.numbers("in.sigmas"));
    let noise: Tensor<B, 3> = fixture.tensor("in.noise", device);
    let noise_of = |step: usize| noise.clone().narrow(0, step, 1).squeeze_dim::<2>(0);
    for (name, sampler) in [
        ("gam10_mu00", General::DDIM),
        ("gam10_mu05", General::DDPM),
        ("gam20_mu00", General::ACCELERATED),
        ("gam16_mu00", General::new(1.6, 0.0)),
    ] {
        let states: Vec<Tensor<B, 2>> =
            sample(denoiser, sampler, &sigmas, fixture.tensor("in.xt", device), noise_of).collect();
        let found = Tensor::stack::<3>(states, 0).into_data();
        assert_close(name, found, fixture.data(&format!("{case}.out.{name}")), B::TOLERANCE);
    }
}

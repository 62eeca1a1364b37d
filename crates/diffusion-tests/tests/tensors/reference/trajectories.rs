//! Sampling with smalldiffusion's noise: every state of every step.

use super::modifiers::{dit_conditional, dit_timestep, four_classes, unet_conditional, unet_timestep};
use crate::support::{fixture::Fixture, hashed, weights};
use burn::tensor::Tensor;
use diffusion::core::network::NullCondition;
use diffusion::core::{
    Denoiser, Diffusion, EpsPrediction, FlowPrediction, GradientEstimation, Labels, Network, NoiseRequest,
    Sigmas, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    unconditional_trajectories_match,
    conditional_trajectories_match,
    guided_trajectories_match,
    trajectories_of_unets_match,
    trajectories_of_dits_match,
    trajectories_of_flows_match,
);

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

fn trajectories_of_unets_match<B: TestBackend>(device: &B::Device) {
    let network = unet_conditional().init_conditional::<B>(&four_classes(), 0, device);
    images_match::<B, _>("unet", hashed::load("unet_conditional", network), device);
}

fn trajectories_of_dits_match<B: TestBackend>(device: &B::Device) {
    let network = dit_conditional().init_conditional::<B>(&four_classes(), 0, device);
    images_match::<B, _>("dit", hashed::load("dit_modifiers.conditional", network), device);
}

/// Without guidance and with it.
fn images_match<B: TestBackend, N>(case: &str, network: N, device: &B::Device)
where
    N: Network<B, 4, Condition = Labels> + NullCondition<Condition = Labels>,
{
    let fixture = Fixture::open("image_trajectories");
    let model = Diffusion::new(network, EpsPrediction);
    let given = model.given(fixture.labels("in.labels"));
    let sigmas = Sigmas::new(fixture.numbers("in.sigmas"));
    samplers_match::<B, _, 4, 5>(&fixture, [case, case], &sigmas, &given, device);
    let guided = model.given(fixture.labels("in.labels")).guided(2.0);
    samplers_match::<B, _, 4, 5>(&fixture, [case, &format!("{case}_guided")], &sigmas, &guided, device);
}

fn trajectories_of_flows_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("image_trajectories");
    let sigmas = Sigmas::new(fixture.numbers("in.flow_sigmas"));
    let unet = hashed::load("unet_shapes.timestep", unet_timestep().init::<B>(0, device));
    let unet = Diffusion::new(unet, FlowPrediction);
    samplers_match::<B, _, 4, 5>(&fixture, ["unet_flow"; 2], &sigmas, &unet, device);
    let dit = hashed::load("dit_modifiers.timestep", dit_timestep().init::<B>(0, device));
    let dit = Diffusion::new(dit, FlowPrediction);
    samplers_match::<B, _, 4, 5>(&fixture, ["dit_flow"; 2], &sigmas, &dit, device);
}

fn trajectories_match<B: TestBackend, M: Denoiser<B, 2, Path = VarianceExploding>>(
    fixture: &Fixture,
    case: &str,
    denoiser: &M,
    device: &B::Device,
) {
    let sigmas = Sigmas::new(fixture.numbers("in.sigmas"));
    samplers_match::<B, _, 2, 3>(fixture, ["", case], &sigmas, denoiser, device);
}

/// The samplers of `outputs` in the fixture, with the start and the noise of `inputs`. `S` is `D` + 1.
fn samplers_match<B: TestBackend, M: Denoiser<B, D>, const D: usize, const S: usize>(
    fixture: &Fixture,
    [inputs, outputs]: [&str; 2],
    sigmas: &Sigmas<M::Path>,
    denoiser: &M,
    device: &B::Device,
) {
    let input = |name: &str| if inputs.is_empty() { name.to_string() } else { format!("{inputs}.{name}") };
    let noise: Tensor<B, S> = fixture.tensor(&input("in.noise"), device);
    let noise_of = |step: NoiseRequest| noise.clone().narrow(0, step.index, 1).squeeze_dim::<D>(0);
    // Flows have no stochastic sampler in the fixtures.
    let samplers = if outputs.ends_with("flow") { 3 } else { 4 };
    let mut seen = 0;
    for (name, sampler) in [
        ("gam10_mu00", GradientEstimation::DDIM),
        ("gam10_mu05", GradientEstimation::DDPM),
        ("gam20_mu00", GradientEstimation::ACCELERATED),
        ("gam16_mu00", GradientEstimation::new(1.6, 0.0)),
    ] {
        let name = format!("{outputs}.out.{name}");
        if fixture.has(&name) {
            let x = fixture.tensor(&input("in.xt"), device);
            let states: Vec<Tensor<B, D>> = sample_from(denoiser, sampler, sigmas, x, noise_of).collect();
            let found = Tensor::stack::<S>(states, 0).into_data();
            assert_close(&name, found, fixture.data(&name), B::TOLERANCE);
            seen += 1;
        }
    }
    assert_eq!(seen, samplers, "trajectories of {outputs}");
}

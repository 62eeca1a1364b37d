//! Equivalence with diffusers 0.32.1: its four β schedules, and its DDIM and DDPM schedulers over whole runs with an
//! exact denoiser.

use super::schedules::{Table, assert_column};
use crate::support::{fixture, fixture::Fixture, gaussian::Gaussian};
use burn::tensor::Tensor;
use diffusion::core::schedule::{Ddpm, Schedule, trailing};
use diffusion::core::{GradientEstimation, NoiseRequest, Sigmas, VarianceExploding, sample_from};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use serde::Deserialize;

backend_tests!(ddim_matches, ddpm_matches);

#[derive(Deserialize)]
struct Expected {
    levels: Vec<Levels>,
}

#[derive(Deserialize)]
struct Levels {
    /// How far diffusers' f32 is from f64, as `make.py` found it.
    deviation: f64,
    #[serde(flatten)]
    table: Table,
}

/// Named there linear, scaled_linear, sigmoid and squaredcos_cap_v2.
#[test]
fn beta_schedules_match() {
    let text = std::fs::read(fixture::path("diffusers.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&text).unwrap();
    assert_eq!(expected.levels.len(), 12);
    for Levels { deviation, table } in expected.levels {
        assert!(deviation < 1e-3, "{deviation}");
        assert_column(&table, &table.f32, 1.1 * deviation);
        assert_column(&table, &table.f64, 1e-11);
    }
}

#[test]
fn timesteps_match() {
    for steps in [10, 20, 50] {
        let fixture = Fixture::open("diffusers").case(&format!("steps{steps}"));
        let timesteps: Vec<usize> = fixture.numbers("in.timesteps").iter().map(|&t| t as usize).collect();
        let picked = trailing(1000, steps);
        assert_eq!((&picked[..steps], picked[steps]), (&timesteps[..], 0));
        let (found, expected) = (Ddpm::default().sigmas(steps), fixture.numbers("in.sigmas"));
        for (found, expected) in found.iter().zip(&expected) {
            // smalldiffusion's levels are of f32, and the smallest loses most.
            assert!((found / expected - 1.0).abs() < 7e-5, "{found}, expected {expected}");
        }
    }
}

fn ddim_matches<B: TestBackend>(device: &B::Device) {
    for steps in [10, 20, 50] {
        let fixture = Fixture::open("diffusers").case(&format!("steps{steps}"));
        let found = states::<B>(&fixture, GradientEstimation::DDIM, fixture.numbers("in.sigmas"), device);
        for expected in ["out.diffusers_ddim", "out.ddim"] {
            let what = format!("{expected} in {steps} steps");
            assert_close(&what, found.clone().into_data(), fixture.data(expected), B::TOLERANCE);
        }
    }
}

/// Their DDPM ends at σ = 0, where smalldiffusion's ends at the schedule's smallest level.
fn ddpm_matches<B: TestBackend>(device: &B::Device) {
    for steps in [10, 20, 50] {
        let fixture = Fixture::open("diffusers").case(&format!("steps{steps}"));
        let mut sigmas = fixture.numbers("in.sigmas");
        let found = states::<B>(&fixture, GradientEstimation::DDPM, sigmas.clone(), device).into_data();
        assert_close("out.ddpm", found, fixture.data("out.ddpm"), B::TOLERANCE);
        sigmas[steps] = 0.0;
        let found = states::<B>(&fixture, GradientEstimation::DDPM, sigmas, device).into_data();
        let what = format!("out.diffusers_ddpm in {steps} steps");
        assert_close(&what, found, fixture.data("out.diffusers_ddpm"), B::TOLERANCE);
    }
}

/// Every state of a run with the fixture's noise and the denoiser that is exact for data of N(0, 0.7²).
fn states<B: TestBackend>(
    fixture: &Fixture,
    sampler: GradientEstimation,
    sigmas: Vec<f64>,
    device: &B::Device,
) -> Tensor<B, 4> {
    let denoiser = Gaussian::<VarianceExploding>::new(0.7);
    let noise: Tensor<B, 4> = fixture.tensor("in.noise", device);
    let noise_of = |step: NoiseRequest| noise.clone().narrow(0, step.index, 1).squeeze_dim::<3>(0);
    let x = fixture.tensor::<B, 3>("in.xt", device);
    let states: Vec<_> = sample_from(&denoiser, sampler, &Sigmas::new(sigmas), x, noise_of).collect();
    Tensor::stack(states, 0)
}

//! Samplers with given noise beside k-diffusion's and diffusers', whose numbers `fixtures/samplers_sde.py` draws in f64.

use crate::support::{fixture::Fixture, mixture::plane};
use diffusion::core::sampler::Variant;
use diffusion::core::{
    AnySampler, Dpm2Ancestral, DpmSolver, Dpmpp2sAncestral, DpmppSde, EulerAncestral, GradientEstimation,
    Heun, NoiseRequest, Sigmas, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, backend_tests};

backend_tests!(trajectories_of_k_diffusion, trajectories_of_diffusers);

const GRIDS: [&str; 3] = ["usual", "edm", "high"];

fn trajectories_of_k_diffusion<B: TestBackend>(device: &B::Device) {
    let (eta, s_noise) = (0.6, 1.1);
    let churn = Heun { s_churn: 3.0, s_noise: 1.1, ..Heun::default() };
    let part = |solver: DpmSolver| AnySampler::from(DpmSolver { eta, s_noise, ..solver });
    let cases: [(&str, AnySampler); 15] = [
        ("k.euler_ancestral", EulerAncestral::default().into()),
        ("k.euler_ancestral_part", EulerAncestral { eta, s_noise }.into()),
        ("k.dpm_2_ancestral", Dpm2Ancestral::default().into()),
        ("k.dpm_2_ancestral_part", Dpm2Ancestral { eta, s_noise }.into()),
        ("k.dpmpp_2s_ancestral", Dpmpp2sAncestral::default().into()),
        ("k.dpmpp_2s_ancestral_part", Dpmpp2sAncestral { eta, s_noise }.into()),
        ("k.dpmpp_sde", DpmppSde::default().into()),
        ("k.dpmpp_sde_part", DpmppSde { eta, s_noise }.into()),
        ("k.dpmpp_2m", DpmSolver::M2.into()),
        ("k.dpmpp_2m_sde", DpmSolver::M2_SDE.into()),
        ("k.dpmpp_2m_sde_heun", part(DpmSolver { variant: Variant::Heun, ..DpmSolver::M2 })),
        ("k.dpmpp_3m", DpmSolver::M3.into()),
        ("k.dpmpp_3m_sde", DpmSolver::M3_SDE.into()),
        ("k.dpmpp_3m_sde_part", part(DpmSolver::M3)),
        ("k.heun_churn", churn.into()),
    ];
    trajectories_match::<B>(&cases, device);
}

fn trajectories_of_diffusers<B: TestBackend>(device: &B::Device) {
    let first = DpmSolver { order: 1, ..DpmSolver::M2_SDE };
    let cases: [(&str, AnySampler); 11] = [
        ("d.euler_ancestral", EulerAncestral::default().into()),
        ("d.dpmsolver_1", DpmSolver { order: 1, ..DpmSolver::M2 }.into()),
        ("d.dpmsolver_2", DpmSolver::M2.into()),
        ("d.dpmsolver_2_heun", DpmSolver { variant: Variant::Heun, ..DpmSolver::M2 }.into()),
        ("d.dpmsolver_sde", DpmppSde::default().into()),
        ("d.kdpm2_ancestral", Dpm2Ancestral::default().into()),
        ("d.sde_1", first.into()),
        ("d.sde_2", DpmSolver::M2_SDE.into()),
        ("d.sde_2_heun", DpmSolver { variant: Variant::Heun, ..DpmSolver::M2_SDE }.into()),
        ("d.ddpm", EulerAncestral::default().into()),
        ("d.ddpm", GradientEstimation::DDPM.into()),
    ];
    trajectories_match::<B>(&cases, device);
}

/// Each state, to 1e-6 of its own largest value on a CPU, a tenth of the tolerance there; of that on GPUs too, whose exponentials
/// in the denoiser are coarser (1.01e-6 on Mesa's CPU device, of 3M SDE).
fn trajectories_match<B: TestBackend>(cases: &[(&str, AnySampler)], device: &B::Device) {
    let fixture = Fixture::open("samplers_sde");
    let model = plane(VarianceExploding);
    let mut worst = Vec::new();
    for grid in GRIDS {
        let fixture = fixture.case(grid);
        let sigmas = Sigmas::<VarianceExploding>::new(fixture.numbers("sigmas"));
        let noise = fixture.tensor::<B, 4>("noise", device);
        for &(name, sampler) in cases {
            let given = |request: NoiseRequest| {
                let [_, _, batch, size] = noise.dims();
                let [step, draw] = [request.index, request.draw];
                let drawn = noise.clone().slice([step..step + 1, draw..draw + 1, 0..batch, 0..size]);
                drawn.reshape([batch, size])
            };
            let start = fixture.tensor::<B, 2>("start", device);
            let found: Vec<_> = sample_from(&model, sampler, &sigmas, start, given).collect();
            let expected = fixture.tensor::<B, 3>(&format!("{name}.states"), device);
            let compared = expected.dims()[0];
            for (i, state) in found[found.len() - compared..].iter().enumerate() {
                let expected: Vec<f64> = expected.clone().narrow(0, i, 1).into_data().iter().collect();
                let found: Vec<f64> = state.clone().into_data().iter().collect();
                let size = expected.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
                let pairs = found.iter().zip(&expected);
                let error = pairs.fold(0.0, |error: f64, (a, b)| error.max((a - b).abs())) / size;
                worst.push((error, format!("{grid} {name} {sampler:?}, state {i}")));
            }
        }
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    let bound = 0.1 * B::TOLERANCE;
    assert!(worst.len() > 100 && worst[0].0 < bound, "{:#?}", &worst[..5]);
}

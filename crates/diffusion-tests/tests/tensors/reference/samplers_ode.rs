//! Samplers without noise beside k-diffusion's and diffusers', whose numbers `fixtures/samplers_ode.py` draws in f64.

use crate::support::fixture::Fixture;
use crate::support::mixture::plane;
use burn::tensor::Tensor;
use diffusion::core::sampler::BVariant;
use diffusion::core::{
    AnySampler, Deis, Dpm2Ancestral, DpmSolver, Dpmpp2sAncestral, EulerAncestral, GradientEstimation, Heun,
    Ipndm, Lms, Noise, Path, Sigmas, Straight, UniPc, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    trajectories_of_k_diffusion,
    trajectories_of_diffusers,
    trajectories_between_the_ends,
    steps_of_two_levels_have_their_middle,
    trajectories_of_flow_matching,
);

/// Those on the variance-exploding path.
const GRIDS: [&str; 3] = ["usual", "edm", "high"];

fn trajectories_of_k_diffusion<B: TestBackend>(device: &B::Device) {
    let cases: [(&str, AnySampler); 5] = [
        ("k.euler", EulerAncestral::EULER.into()),
        ("k.euler", GradientEstimation::DDIM.into()),
        ("k.heun", Heun::default().into()),
        ("k.dpm_2", Dpm2Ancestral::DPM2.into()),
        ("k.lms", Lms::default().into()),
    ];
    on_grids::<B>(&cases, |sigmas| sigmas, device);
}

fn trajectories_of_diffusers<B: TestBackend>(device: &B::Device) {
    let cases: [(&str, AnySampler); 6] = [
        ("d.euler", EulerAncestral::EULER.into()),
        ("d.ddim", EulerAncestral::EULER.into()),
        ("d.heun", Heun::default().into()),
        ("d.kdpm2", Dpm2Ancestral::DPM2.into()),
        ("d.lms", Lms::default().into()),
        ("d.ipndm", Ipndm::default().into()),
    ];
    on_grids::<B>(&cases, |sigmas| sigmas, device);
}

/// Those whose classes in diffusers divide by zero where no noise is left.
fn trajectories_between_the_ends<B: TestBackend>(device: &B::Device) {
    let deis = |order| AnySampler::from(Deis { order, lower_order_final: false });
    let unipc = |variant, order| AnySampler::from(UniPc { order, variant, lower_order_final: true });
    let (bh1, bh2) = (BVariant::Bh1, BVariant::Bh2);
    let cases: [(&str, AnySampler); 9] = [
        ("d.deis_1", deis(1)),
        ("d.deis_2", deis(2)),
        ("d.deis_3", deis(3)),
        ("d.unipc_bh1_1", unipc(bh1, 1)),
        ("d.unipc_bh1_2", unipc(bh1, 2)),
        ("d.unipc_bh1_3", unipc(bh1, 3)),
        ("d.unipc_bh2_1", unipc(bh2, 1)),
        ("d.unipc_bh2_2", unipc(bh2, 2)),
        ("d.unipc_bh2_3", unipc(bh2, 3)),
    ];
    on_grids::<B>(&cases, |sigmas| sigmas[..sigmas.len() - 1].to_vec(), device);
}

fn steps_of_two_levels_have_their_middle<B: TestBackend>(device: &B::Device) {
    let cases: [(&str, AnySampler); 1] = [("d.single", Dpmpp2sAncestral::DPMPP_2S.into())];
    on_grids::<B>(&cases, |sigmas| sigmas[..sigmas.len() - 1].to_vec(), device);
}

fn trajectories_of_flow_matching<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("samplers_ode").case("flow");
    let sigmas = fixture.numbers("sigmas");
    let unipc = |order| UniPc { order, variant: BVariant::Bh2, lower_order_final: false }.into();
    let whole: [(&str, AnySampler); 3] = [
        ("d.euler", EulerAncestral::EULER.into()),
        ("d.euler", GradientEstimation::DDIM.into()),
        ("d.heun", Heun::default().into()),
    ];
    let inner: [(&str, AnySampler); 5] = [
        ("d.dpmsolver_1", DpmSolver { order: 1, ..DpmSolver::M2 }.into()),
        ("d.dpmsolver_2", DpmSolver::M2.into()),
        ("d.unipc_bh2_1", unipc(1)),
        ("d.unipc_bh2_2", unipc(2)),
        ("d.unipc_bh2_3", unipc(3)),
    ];
    for (start, levels, cases) in
        [("start", &sigmas[..], &whole[..]), ("inner", &sigmas[1..sigmas.len() - 1], &inner[..])]
    {
        let sigmas = Sigmas::<Straight>::new(levels.to_vec());
        for &(name, sampler) in cases {
            let x = fixture.tensor(start, device);
            check::<B, _>(&fixture, ("flow", name), sampler, &sigmas, x, device);
        }
    }
}

fn on_grids<B: TestBackend>(
    cases: &[(&str, AnySampler)],
    levels: impl Fn(Vec<f64>) -> Vec<f64>,
    device: &B::Device,
) {
    let fixture = Fixture::open("samplers_ode");
    for grid in GRIDS {
        let fixture = fixture.case(grid);
        let sigmas = Sigmas::<VarianceExploding>::new(levels(fixture.numbers("sigmas")));
        for &(name, sampler) in cases {
            let x = fixture.tensor("start", device);
            check::<B, _>(&fixture, (grid, name), sampler, &sigmas, x, device);
        }
    }
}

/// Holds the states of a run against the fixture's, or the last ones where it has no more.
fn check<B: TestBackend, P: Path + Default>(
    fixture: &Fixture,
    (grid, name): (&str, &str),
    sampler: AnySampler,
    sigmas: &Sigmas<P>,
    x: Tensor<B, 2>,
    device: &B::Device,
) {
    let model = plane(P::default());
    let found: Vec<Tensor<B, 2>> = sample_from(&model, sampler, sigmas, x, Noise::new(0)).collect();
    let expected = fixture.tensor::<B, 3>(&format!("{name}.states"), device);
    let count = expected.dims()[0];
    assert!((1..=found.len()).contains(&count), "{name}: {count} states of {}", found.len());
    for (i, state) in found[found.len() - count..].iter().enumerate() {
        let expected: Tensor<B, 2> = expected.clone().narrow(0, i, 1).reshape(state.dims());
        let what = format!("{grid} {name} {sampler:?}, state {i}");
        assert_close(&what, state.clone().into_data(), expected.into_data(), 1e-6);
    }
}

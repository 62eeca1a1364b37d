//! Six updates of Muon, as PyTorch makes them.

use crate::support::fixture::Fixture;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use diffusion::train::{MuonConfig, MuonScale};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(six_updates_of_matrices_match, six_updates_of_convolutions_match);

/// A module that is a parameter.
#[derive(Module, Debug)]
struct One<B: Backend, const D: usize> {
    weight: Param<Tensor<B, D>>,
}

/// Makes the updates of a case, and compares the parameter after each. A matrix of PyTorch's is the transpose of ours.
fn six_updates_match<B: TestBackend, const D: usize, const E: usize>(
    case: &str,
    config: &MuonConfig,
    device: &B::Device,
) {
    let fixture = Fixture::open("muon").case(case);
    let ours = |x: Tensor<B, D>| if D == 2 { x.swap_dims(0, 1) } else { x };
    let of_step = |name, step| -> Tensor<B, D> {
        ours(fixture.tensor::<B, E>(name, device).narrow(0, step, 1).squeeze_dim(0))
    };
    let weight = Tensor::from_inner(ours(fixture.tensor::<B, D>("in.weight", device)));
    let mut module = One::<Autodiff<B>, D> { weight: Param::from_tensor(weight.require_grad()) };
    let mut optimizer = config.init();
    for step in 0..6 {
        let mut gradients = GradientsParams::new();
        gradients.register(module.weight.id, of_step("in.gradients", step));
        module = optimizer.step(0.02, module, gradients);
        let (found, expected) = (module.valid().weight.val(), of_step("out.weights", step));
        let expected: TensorData = expected.into_data();
        assert_close(&format!("{case} after step {}", 1 + step), found.into_data(), expected, 1e-5);
    }
}

fn six_updates_of_matrices_match<B: TestBackend>(device: &B::Device) {
    let original = MuonConfig { scale: MuonScale::Original, ..MuonConfig::default() };
    let matched = MuonConfig::default();
    for (case, config) in [
        ("tall", original.clone()),
        ("wide", original),
        ("square", MuonConfig { weight_decay: 0.0, ..matched.clone() }),
        ("tall_matched", MuonConfig { momentum: 0.8, ..matched.clone() }),
        ("plain", MuonConfig { nesterov: false, ..matched }),
    ] {
        six_updates_match::<B, 2, 3>(case, &config, device);
    }
}

fn six_updates_of_convolutions_match<B: TestBackend>(device: &B::Device) {
    let original = MuonConfig { scale: MuonScale::Original, ..MuonConfig::default() };
    for (case, config) in [("convolution", original), ("wide_convolution", MuonConfig::default())] {
        six_updates_match::<B, 4, 5>(case, &config, device);
    }
}

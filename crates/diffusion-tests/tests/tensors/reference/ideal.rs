//! The ideal denoiser, as noise prediction.

use crate::support::fixture::Fixture;
use burn::tensor::Tensor;
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::{Diffusion, EpsPrediction, Sigma};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(ideal_denoiser_of_points_matches, ideal_denoiser_of_images_matches);

fn ideal_denoiser_of_points_matches<B: TestBackend>(device: &B::Device) {
    ideal_denoiser_matches::<B, 2>("points", device);
}

fn ideal_denoiser_of_images_matches<B: TestBackend>(device: &B::Device) {
    ideal_denoiser_matches::<B, 4>("images", device);
}

fn ideal_denoiser_matches<B: TestBackend, const D: usize>(case: &str, device: &B::Device) {
    let fixture = Fixture::open("ideal").case(case);
    let model = Diffusion::new(IdealDenoiser::<B, D>::new(&fixture.data("in.data"), device), EpsPrediction);
    let levels =
        [("0_01", 0.01), ("0_5", 0.5), ("10", 10.0), ("100", 100.0)].map(|(name, s)| (name, Sigma::All(s)));
    let each = ("batch", Sigma::Each(fixture.numbers("in.sigma")));
    for (name, sigma) in levels.into_iter().chain([each]) {
        let x: Tensor<B, D> = fixture.tensor(&format!("in.x_{name}"), device);
        let expected = fixture.data(&format!("exact.eps_{name}"));
        assert_close(name, model.predict_eps(x, sigma, ()).into_data(), expected, B::TOLERANCE);
    }
}

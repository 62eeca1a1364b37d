//! Painting a part anew, with a denoiser that has a closed form.

use crate::support::gaussian::Gaussian;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::schedule::Ldm;
use diffusion::core::schedule::Schedule;
use diffusion::core::{
    AnyPath, AnySampler, Denoiser, DenoiserOutput, GradientEstimation, Heun, Noise, Sigmas,
    VarianceExploding, sample_from,
};
use diffusion::latent::inpaint::{mask_of_latents, without_painted};
use diffusion::latent::schedule::{FromPureNoise, PURE_NOISE, Start};
use diffusion::latent::{Known, Plan, repaint};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    what_is_known_has_the_first_noise_and_stays,
    masks_are_made_smaller_by_the_nearest_pixel,
    noise_of_no_data_loses_nothing,
);

/// The denoiser of Gaussian data, on a path that is chosen at run time.
struct Exact(Gaussian<VarianceExploding>);

impl<B: Backend> Denoiser<B, 4> for Exact {
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        AnyPath::VarianceExploding
    }

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, 1, 2, 4]
    }

    fn evaluate(&self, x: Tensor<B, 4>, sigma: f64) -> DenoiserOutput<B, 4> {
        Denoiser::<B, 4>::evaluate(&self.0, x, sigma)
    }
}

fn picture<B: Backend>(values: [f32; 8], device: &B::Device) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, 2, 4]), device)
}

fn what_is_known_has_the_first_noise_and_stays<B: TestBackend>(device: &B::Device) {
    let model = Exact(Gaussian::new(0.7));
    let latents = picture::<B>([0.5, -1.0, 2.0, 0.1, 0.2, 0.3, -0.4, 1.5], device);
    let noise = picture::<B>([1.0, -0.5, 0.25, 2.0, -1.0, 0.75, 0.125, -2.0], device);
    let mask = picture::<B>([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0], device);
    let known = mask.clone() * -1.0 + 1.0;
    for sampler in [AnySampler::from(GradientEstimation::DDIM), Heun::default().into()] {
        let sigmas = Ldm::default().sigmas(4).into_any();
        let end = sigmas[4];
        let plan = Plan { sigmas, start: Start::Preserving, result: 0.9, sampler: FromPureNoise(sampler) };
        let x = plan.from_noise(noise.clone());
        assert_close(
            "start",
            x.clone().into_data(),
            (noise.clone() * plan.sigmas[0].hypot(1.0)).into_data(),
            1e-6,
        );
        let free: Vec<_> = sample_from(&model, sampler, &plan.sigmas, x.clone(), Noise::new(0)).collect();
        let given = Known::new(latents.clone(), mask.clone(), noise.clone());
        let states: Vec<_> = repaint(&model, &plan, x, Noise::new(0), given).collect();
        assert_eq!(states.len(), 4);
        for (i, (state, free)) in states.into_iter().zip(free).enumerate() {
            // What is painted has nothing to do with what is known: pixels of this denoiser are by themselves.
            assert_close(
                "painted",
                (state.clone() * mask.clone()).into_data(),
                (free * mask.clone()).into_data(),
                1e-6,
            );
            let expected = match i {
                3 => latents.clone() / 0.9,
                _ => latents.clone() + noise.clone() * plan.sigmas[i + 1],
            };
            assert_close(
                "known",
                (state * known.clone()).into_data(),
                (expected * known.clone()).into_data(),
                1e-6,
            );
        }
        assert!(end > 0.0);
    }
}

fn masks_are_made_smaller_by_the_nearest_pixel<B: TestBackend>(device: &B::Device) {
    let rows: Vec<f32> = (0..5 * 7).map(|i| i as f32 / 32.0).collect();
    let mask: Tensor<B, 4> = Tensor::from_data(TensorData::new(rows, [1, 1, 5, 7]), device);
    // Rows ⌊5i/2⌋ are 0 and 2, columns ⌊7i/3⌋ are 0, 2 and 4; 16/32 and more is to be painted.
    let found = mask_of_latents(mask.clone(), [2, 3]).into_data();
    let expected = TensorData::new(vec![0.0f32, 0.0, 0.0, 0.0, 1.0, 1.0], [1, 1, 2, 3]);
    assert_close("mask", found, expected, 0.0);
    let seen = without_painted(mask.ones_like() * 3.0, mask).into_data();
    let expected: Vec<f32> = (0..35).map(|i| if i < 16 { 3.0 } else { 0.0 }).collect();
    assert_close("picture", seen, TensorData::new(expected, [1, 1, 5, 7]), 0.0);
}

/// From a level without data, steps have them to the last digits, with the wrapper for such a level and without.
fn noise_of_no_data_loses_nothing<B: TestBackend>(device: &B::Device) {
    let model = Fixed(picture::<B>([0.5, -1.0, 2.0, 0.1, 0.2, 0.3, -0.4, 1.5], device));
    let sigmas = Sigmas::on(AnyPath::VarianceExploding, vec![PURE_NOISE, 3.0, 1.0, 0.0]);
    let noise = picture::<B>([1.0, -0.5, 0.25, 2.0, -1.0, 0.75, 0.125, -2.0], device);
    let check = |first: Tensor<B, 4>, last: Tensor<B, 4>| {
        assert_close("first", first.into_data(), (model.0.clone() + noise.clone() * 3.0).into_data(), 1e-6);
        assert_close("last", last.into_data(), model.0.clone().into_data(), 1e-6);
    };
    for sampler in [AnySampler::from(GradientEstimation::DDIM), Heun::default().into()] {
        let x = noise.clone() * PURE_NOISE;
        let mut run = sample_from(&model, FromPureNoise(sampler), &sigmas, x.clone(), Noise::new(0));
        check(run.next().unwrap(), run.last().unwrap());
    }
    let x = noise.clone() * PURE_NOISE;
    let mut run = sample_from(&model, GradientEstimation::DDIM, &sigmas, x, Noise::new(0));
    check(run.next().unwrap(), run.last().unwrap());
}

/// Knows the data.
struct Fixed<B: Backend>(Tensor<B, 4>);

impl<B: Backend> Denoiser<B, 4> for Fixed<B> {
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        AnyPath::VarianceExploding
    }

    fn input_shape(&self, _batch: usize) -> [usize; 4] {
        self.0.dims()
    }

    fn evaluate(&self, x: Tensor<B, 4>, sigma: f64) -> DenoiserOutput<B, 4> {
        DenoiserOutput::from_denoised(&self.path(), x, self.0.clone(), sigma)
    }
}

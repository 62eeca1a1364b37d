//! The ideal denoiser against its definition.

use burn::tensor::{Tensor, TensorData};
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::random::{Purpose, normal_data};
use diffusion::core::{Denoiser, GradientEstimation, Noise, Sigma, Sigmas, sample_from};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    every_noise_level_gives_a_number,
    blocks_give_the_mean_of_all_data,
    data_given_twice_count_as_once,
    sampling_returns_the_data,
);

/// `rows` points of the plane, normally distributed.
fn points(seed: u64, rows: usize) -> TensorData {
    normal_data(seed, Purpose::INITIAL_NOISE, 0, 0, [rows, 2])
}

fn every_noise_level_gives_a_number<B: TestBackend>(device: &B::Device) {
    let data = points(0, 50);
    let ideal = IdealDenoiser::<B, 2>::new(&data, device);
    for sigma in [0.001, 0.01, 0.1, 1.0, 10.0, 100.0] {
        let x = Tensor::from_data(data.clone(), device) + Noise::new(1).initial([50, 2], device) * sigma;
        let found = ideal.evaluate(x, sigma);
        let (denoised, velocity) = (found.clone().denoised().into_data(), found.velocity().into_data());
        // A mean of the data lies among them; the largest here is below 4.
        assert!(denoised.iter::<f64>().all(|x| x.abs() < 4.0), "at σ = {sigma}: {denoised}");
        assert!(velocity.iter::<f64>().all(f64::is_finite), "at σ = {sigma}: {velocity}");
    }
}

/// Σ softmaxᵢ(−‖x − dᵢ‖²/2σ²)·dᵢ in f64, as it is written.
fn by_definition(data: &TensorData, x: &TensorData, sigmas: &[f64]) -> TensorData {
    let data: Vec<f64> = data.iter::<f64>().collect();
    let x: Vec<f64> = x.iter::<f64>().collect();
    let mean = |(x, sigma): (&[f64], &f64)| {
        let logit = |d: &[f64]| -((x[0] - d[0]).powi(2) + (x[1] - d[1]).powi(2)) / (2.0 * sigma * sigma);
        let highest = data.chunks(2).map(logit).fold(f64::NEG_INFINITY, f64::max);
        let mut sums = [0.0; 3];
        for d in data.chunks(2) {
            let weight = (logit(d) - highest).exp();
            sums = [sums[0] + weight * d[0], sums[1] + weight * d[1], sums[2] + weight];
        }
        [(sums[0] / sums[2]) as f32, (sums[1] / sums[2]) as f32]
    };
    let means: Vec<f32> = x.chunks(2).zip(sigmas).flat_map(mean).collect();
    TensorData::new(means, [sigmas.len(), 2])
}

/// Twenty thousand points are three blocks of at most 8192, and three hundred queries are two groups of at most 256.
fn blocks_give_the_mean_of_all_data<B: TestBackend>(device: &B::Device) {
    let (data, x) = (points(2, 20_000), points(3, 300));
    let levels = [0.05, 0.2, 1.0, 5.0, 50.0];
    let sigmas: Vec<f64> = levels.into_iter().cycle().take(300).collect();
    let ideal = IdealDenoiser::<B, 2>::new(&data, device);
    let levels = Sigma::Each(sigmas.clone()).tensor(300, device);
    let found = ideal.denoise(Tensor::from_data(x.clone(), device), levels);
    // With ‖x‖² ≈ 16 the expanded squares are off by some 1e-6, which 1/2σ² turns into 2e-4 of a weight; a mean of
    // points within σ is then off by 1e-5.
    assert_close("mean", found.into_data(), by_definition(&data, &x, &sigmas), 1e-4);
}

/// The mean does not see that all data are there twice, but the second copy lies in another block.
fn data_given_twice_count_as_once<B: TestBackend>(device: &B::Device) {
    let (data, x) = (points(4, 8192), points(5, 7));
    let once: Vec<f32> = data.to_vec().unwrap();
    let twice = TensorData::new([once.clone(), once].concat(), [2 * 8192, 2]);
    let sigmas = vec![0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 50.0];
    let denoise = |data: &TensorData| {
        let levels = Sigma::Each(sigmas.clone()).tensor(7, device);
        IdealDenoiser::<B, 2>::new(data, device)
            .denoise(Tensor::from_data(x.clone(), device), levels)
            .into_data()
    };
    assert_close("mean", denoise(&twice), denoise(&data), B::TOLERANCE);
    assert_close("mean", denoise(&data), by_definition(&data, &x, &sigmas), 1e-4);
}

fn sampling_returns_the_data<B: TestBackend>(device: &B::Device) {
    let corners = [[-1.0f32, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]];
    let ideal = IdealDenoiser::<B, 2>::new(&corners.into(), device);
    let (sigmas, noise) = (Sigmas::karras(40, 0.002, 80.0, 7.0), Noise::new(8));
    for sampler in [GradientEstimation::DDIM, GradientEstimation::DDPM] {
        let x = noise.initial([32, 2], device) * sigmas[0];
        let end: Vec<f64> =
            sample_from(&ideal, sampler, &sigmas, x, noise).last().unwrap().into_data().iter().collect();
        let at = |corner: [f32; 2]| {
            let close = |point: &&[f64]| (0..2).all(|i| (point[i] - f64::from(corner[i])).abs() < 1e-4);
            end.chunks(2).filter(close).count()
        };
        let counts = corners.map(at);
        assert_eq!(counts.iter().sum::<usize>(), 32, "{counts:?} of 32 samples lie at the four corners");
        assert!(counts.iter().all(|&count| count > 0), "some corners are never found: {counts:?}");
    }
}

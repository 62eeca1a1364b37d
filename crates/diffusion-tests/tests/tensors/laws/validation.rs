//! Validation: the same triples for every model, spread evenly over training's noise levels, and a bound that holds.

use burn::tensor::Tensor;
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::network::mlp::TimeInputMlpConfig;
use diffusion::core::random::Stream;
use diffusion::core::schedule::{Flow, LogLinear, LogNormalFlow};
use diffusion::core::{Diffusion, EpsPrediction, FlowPrediction, Schedule, VPrediction, X0Prediction};
use diffusion::data::{Dataset, Swissroll};
use diffusion::eval::{LossBySigma, Validation, ValidationConfig};
use diffusion_tests::{TestBackend, backend_tests};

backend_tests!(
    validation_repeats_itself,
    its_levels_are_training_s,
    its_mean_is_the_training_loss,
    the_ideal_denoiser_has_the_optimal_loss,
    the_optimal_loss_of_pure_noise_is_the_spread_of_the_data,
);

const CONFIG: ValidationConfig =
    ValidationConfig { every: 1, examples: 20, bins: 4, per_bin: 8, metrics: Vec::new(), samples: 256 };

fn data() -> Swissroll {
    Swissroll::new(1.5, 15.0, 20)
}

fn validation<S: Schedule>(schedule: &S, config: ValidationConfig, seed: u64) -> Validation<()> {
    Validation::new(config, seed, schedule, data().len(), |indices| data().gather(indices)).unwrap()
}

fn losses(curve: &LossBySigma) -> Vec<f64> {
    curve.0.iter().map(|bin| bin.loss).collect()
}

fn validation_repeats_itself<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::new(50, 0.05, 5.0);
    let network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<B>(1, device);
    let model = Diffusion::new(network, EpsPrediction);
    let curve = |seed| validation(&schedule, CONFIG, seed).evaluate(&model, device);
    assert_eq!(curve(3), curve(3));
    assert_ne!(losses(&curve(3)), losses(&curve(4)));
}

/// Each bin has as much of training's draws as any other.
fn its_levels_are_training_s<B: TestBackend>(device: &B::Device) {
    let schedule = LogNormalFlow::new(100, 0.01, 1.0);
    let network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<B>(1, device);
    let curve = validation(&schedule, CONFIG, 0).evaluate(&Diffusion::new(network, FlowPrediction), device);
    assert_eq!(curve.0.len(), 4);
    let draws: Vec<f64> = (0..4000)
        .map(|i| schedule.draw(&mut Stream::new(9, diffusion::train::purpose::TRAINING_SIGMA, 0, i)))
        .collect();
    for (i, bin) in curve.0.iter().enumerate() {
        assert!(bin.sigma_min < bin.sigma_max);
        let below = draws.iter().filter(|&&sigma| sigma < bin.sigma_min).count() as f64 / 4000.0;
        let upto = draws.iter().filter(|&&sigma| sigma <= bin.sigma_max).count() as f64 / 4000.0;
        // The outermost of eight levels in a quarter, and the scatter of the validation's own draws.
        assert!((below - 0.25 * i as f64).abs() < 0.06, "bin {i} begins above {below} of the draws");
        assert!((upto - 0.25 * (i + 1) as f64).abs() < 0.06, "bin {i} ends above {upto} of the draws");
    }
}

/// The mean over many training draws agrees with the validation's within their errors.
fn its_mean_is_the_training_loss<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::new(50, 0.05, 5.0);
    let network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<B>(1, device);
    let model = Diffusion::new(network, X0Prediction);
    let curve = validation(&schedule, ValidationConfig { bins: 10, per_bin: 64, ..CONFIG }, 0)
        .evaluate(&model, device);
    let n = 2000;
    let sigmas: Vec<f64> = (0..n)
        .map(|i| schedule.draw(&mut Stream::new(1, diffusion::train::purpose::TRAINING_SIGMA, 0, i)))
        .collect();
    let indices: Vec<usize> = (0..n as usize).map(|i| i % 20).collect();
    let x0: Tensor<B, 2> = Tensor::from_data(data().gather(&indices).unwrap().0, device);
    let eps = diffusion::core::random::normal(
        1,
        diffusion::train::purpose::TRAINING_NOISE,
        0,
        0,
        [n as usize, 2],
        device,
    );
    let losses: Vec<f64> = model.loss_per_example(x0, sigmas, eps, ()).into_data().iter::<f64>().collect();
    let mean = losses.iter().sum::<f64>() / n as f64;
    let error = (losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>()).sqrt() / n as f64;
    let off = (curve.mean() - mean).abs() / (curve.error().powi(2) + error.powi(2)).sqrt();
    assert!(off < 4.0, "validation says {} ± {}, training {mean} ± {error}", curve.mean(), curve.error());
}

/// Asked as a model and as a denoiser it gives the same answers, in every mode's own unit.
fn the_ideal_denoiser_has_the_optimal_loss<B: TestBackend>(device: &B::Device) {
    let schedule = LogLinear::new(50, 0.05, 5.0);
    let ideal = IdealDenoiser::<B, 2>::new(&data().all().unwrap(), device);
    let triples = validation(&schedule, CONFIG, 0);
    let optimal = triples.evaluate_denoiser(&EpsPrediction, device, |x, sigma, ()| ideal.denoise(x, sigma));
    let model = triples.evaluate(&Diffusion::new(ideal.clone(), EpsPrediction), device);
    for (optimal, model) in losses(&optimal).into_iter().zip(losses(&model)) {
        assert!(
            (optimal - model).abs() < 1e-3 * model.max(1e-2),
            "the optimal loss is {optimal}, the denoiser has {model}"
        );
    }
    // (a − b/σ)² is 1 for x₀ and 1/σ² for ε; v = αₜε − σₜx₀ has (1 + σ²)/σ².
    let of = |curve: LossBySigma| losses(&curve);
    let (x0, v) = (
        of(triples.evaluate_denoiser(&X0Prediction, device, |x, sigma, ()| ideal.denoise(x, sigma))),
        of(triples.evaluate_denoiser(&VPrediction, device, |x, sigma, ()| ideal.denoise(x, sigma))),
    );
    for ((x0, v), bin) in x0.iter().zip(v).zip(&optimal.0) {
        let (low, high) = (bin.sigma_min.powi(2), bin.sigma_max.powi(2));
        assert!((low * bin.loss..=high * bin.loss).contains(x0), "{x0}, of ε {}", bin.loss);
        assert!((v - (bin.loss + x0)).abs() < 1e-3 * v, "{v}, of ε {} and of x₀ {x0}", bin.loss);
    }
    // A worse denoiser is above the optimal loss: its error is the noise itself, which no two bins have in common.
    let worse = triples.evaluate_denoiser(&EpsPrediction, device, |x: Tensor<B, 2>, _, ()| x);
    assert!(worse.mean() > optimal.mean());
    let noise = losses(&worse);
    assert!(noise.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-3), "{noise:?}");
}

/// On the straight path at σ = 1 nothing is left of the data: the best answer is their mean, and its error their
/// variance.
fn the_optimal_loss_of_pure_noise_is_the_spread_of_the_data<B: TestBackend>(device: &B::Device) {
    let schedule = Flow::new(2, 0.999, 1.0);
    let points = data().all().unwrap();
    let ideal = IdealDenoiser::<B, 2>::new(&points, device);
    let triples = validation(&schedule, ValidationConfig { bins: 1, per_bin: 20, ..CONFIG }, 0);
    // F = ε − x₀: an error D of x₀ is one of −(1 + α/σ)·D.
    let optimal =
        triples.evaluate_denoiser(&FlowPrediction, device, |x, sigma, ()| ideal.denoise(x, sigma)).mean();
    let values: Vec<f64> = points.iter::<f64>().collect();
    let variance = |axis: usize| {
        let column: Vec<f64> = values.iter().skip(axis).step_by(2).copied().collect();
        let mean = column.iter().sum::<f64>() / 20.0;
        column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20.0
    };
    let expected = (variance(0) + variance(1)) / 2.0;
    assert!((optimal / expected - 1.0).abs() < 0.02, "{optimal}, expected {expected}");
}

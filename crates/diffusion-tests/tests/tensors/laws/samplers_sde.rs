//! Stochastic and adaptive samplers: one Brownian path, equalities between methods, variances, tolerances and restarts.

use crate::support::{gaussian::Gaussian, mixture::plane};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::sampler::{NoiseKind, Predictor};
use diffusion::core::{
    Adaptive, AnySampler, BrownianNoise, Denoiser, DenoiserOutput, Dpm2Ancestral, DpmSolver,
    Dpmpp2sAncestral, DpmppSde, EulerAncestral, GradientEstimation, Heun, Noise, NoiseRequest, Path,
    PredictorCorrector, Restart, Sampler, Sigmas, Straight, VarianceExploding, sample, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::cell::RefCell;

backend_tests!(
    samples_do_not_depend_on_their_batch,
    sampling_takes_the_noise_of_its_sampler,
    later_draws_of_a_step_are_others,
    ancestral_is_ddpm_at_one_and_ddim_at_none,
    without_noise_stochastic_methods_are_those_of_the_flow,
    without_noise_none_is_asked_for,
    a_run_may_begin_and_end_anywhere,
    a_brownian_step_adds_up,
    adaptive_steps_are_each_samples_own,
    restarts_draw_and_return,
);

/// Runs of many steps, whose outcome is the method's and not the device's: on one backend.
#[cfg(feature = "flex")]
mod on_flex {
    use burn::backend::Flex;

    #[test]
    fn a_picture_stays_at_any_number_of_steps() {
        super::a_picture_stays_at_any_number_of_steps::<Flex>(&Default::default());
    }

    #[test]
    fn tolerances_control_the_error() {
        super::tolerances_control_the_error::<Flex>(&Default::default());
    }

    #[test]
    fn restarts_contract_errors() {
        super::restarts_contract_errors::<Flex>(&Default::default());
    }

    #[test]
    fn predictors_and_correctors_keep_the_variance() {
        super::predictors_and_correctors_keep_the_variance::<Flex>(&Default::default());
    }

    #[test]
    fn correctors_repair_a_predictor() {
        super::correctors_repair_a_predictor::<Flex>(&Default::default());
    }
}

/// Those with noise by default.
fn stochastic() -> [AnySampler; 8] {
    [
        EulerAncestral::default().into(),
        Dpm2Ancestral::default().into(),
        Dpmpp2sAncestral::default().into(),
        DpmppSde::default().into(),
        DpmSolver { order: 1, ..DpmSolver::M2_SDE }.into(),
        DpmSolver::M2_SDE.into(),
        DpmSolver::M3_SDE.into(),
        DpmSolver { eta: 0.5, ..DpmSolver::M2_SDE }.into(),
    ]
}

/// From pure noise.
fn straight(steps: usize) -> Sigmas<Straight> {
    // As many steps in ln(σ/α) as in Karras' grid: a uniform one has none near data.
    let karras = Sigmas::karras(steps - 1, 0.01, 80.0, 7.0);
    let levels = karras.iter().map(|sigma| sigma / (1.0 + sigma));
    Sigmas::new([1.0].into_iter().chain(levels).collect())
}

/// The root of the mean square distance of two batches.
fn distance<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>) -> f64 {
    let squares: Vec<f64> = (a - b).square().into_data().iter().collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Strong convergence: with the noise of one path, more steps refine the picture; with other noise in each step they
/// draw another.
#[cfg(feature = "flex")]
fn a_picture_stays_at_any_number_of_steps<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path>(path: P, sigmas: impl Fn(usize) -> Sigmas<P>, device: &B::Device) {
        let model = plane(path);
        for sampler in stochastic() {
            let end = |steps: usize, kind: NoiseKind| {
                let (sigmas, noise) = (sigmas(steps), Noise::new(4));
                let x = noise.initial::<B, 2>([64, 2], device) * sigmas[0];
                sample_from(&model, sampler, &sigmas, x, kind.of(noise)).last().unwrap()
            };
            let far = |kind| {
                let finest = end(400, kind);
                [50, 100, 200].map(|steps| distance(end(steps, kind), finest.clone()))
            };
            let [brownian, steps] = [NoiseKind::Brownian, NoiseKind::Steps].map(far);
            assert!(
                brownian[2] < 0.5 * brownian[0] && brownian[2] < 0.15,
                "{sampler:?}: the ends of 50, 100 and 200 steps are {brownian:?} from that of 400"
            );
            assert!(steps[2] > 0.5, "{sampler:?}: with other noise they are {steps:?} from it");
        }
    }
    check::<B, _>(VarianceExploding, |steps| Sigmas::karras(steps, 0.01, 80.0, 7.0), device);
    check::<B, _>(Straight, straight, device);
}

/// Sample 3 of five is sample 0 of a batch that begins with it.
fn samples_do_not_depend_on_their_batch<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(12, 0.02, 80.0, 7.0);
    let model = plane(VarianceExploding);
    for name in AnySampler::names_for_any_model() {
        let sampler = AnySampler::from_name(name).unwrap();
        let end = |first, count| {
            let noise = Noise::new(11).starting_at(first);
            sample::<B, 2, _, _>(&model, sampler, &sigmas, count, noise, device).last().unwrap()
        };
        let (whole, part) = (end(0, 5).narrow(0, 3, 2), end(3, 2));
        assert_close(name, part.into_data(), whole.into_data(), 1e-5);
    }
}

fn sampling_takes_the_noise_of_its_sampler<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(6, 0.02, 80.0, 7.0);
    let (model, noise) = (plane(VarianceExploding), Noise::new(1));
    let x = || noise.initial::<B, 2>([3, 2], device) * sigmas[0];
    let bits = |x: Tensor<B, 2>| x.into_data().bytes;
    let default =
        |sampler: AnySampler| bits(sample(&model, sampler, &sigmas, 3, noise, device).last().unwrap());
    let brownian = |sampler: AnySampler| {
        bits(sample_from(&model, sampler, &sigmas, x(), BrownianNoise::new(1)).last().unwrap())
    };
    let steps = |sampler: AnySampler| bits(sample_from(&model, sampler, &sigmas, x(), noise).last().unwrap());
    for sampler in [DpmSolver::M2_SDE.into(), DpmppSde::default().into()] {
        assert_eq!(default(sampler), brownian(sampler), "{sampler:?}");
        assert_ne!(default(sampler), steps(sampler), "{sampler:?}");
    }
    let sampler = AnySampler::from(EulerAncestral::default());
    assert_eq!(default(sampler), steps(sampler));
}

fn later_draws_of_a_step_are_others<B: TestBackend>(device: &B::Device) {
    let noise = Noise::new(6).starting_at(2);
    let draw = |step, draw| noise.draw::<B, 2>(step, draw, [2, 3], device).into_data().bytes;
    assert_eq!(draw(5, 0), noise.step::<B, 2>(5, [2, 3], device).into_data().bytes);
    let draws = [draw(5, 0), draw(5, 1), draw(5, 2), draw(6, 0), draw(6, 1)];
    for (i, one) in draws.iter().enumerate() {
        assert!(draws[..i].iter().all(|other| other != one), "draw {i}");
    }
}

fn ancestral_is_ddpm_at_one_and_ddim_at_none<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(10, 0.02, 80.0, 7.0);
    let (model, noise) = (plane(VarianceExploding), Noise::new(2));
    for (eta, other) in [(1.0, GradientEstimation::DDPM), (0.0, GradientEstimation::DDIM)] {
        let sampler = EulerAncestral { eta, ..EulerAncestral::default() };
        let found = sample::<B, 2, _, _>(&model, sampler, &sigmas, 5, noise, device);
        let expected = sample::<B, 2, _, _>(&model, other, &sigmas, 5, noise, device);
        for (found, expected) in found.zip(expected) {
            assert_close(&format!("η = {eta}"), found.into_data(), expected.into_data(), 1e-6);
        }
    }
}

/// On the straight path, from pure noise.
fn without_noise_stochastic_methods_are_those_of_the_flow<B: TestBackend>(device: &B::Device) {
    let (model, sigmas) = (plane(Straight), straight(10));
    let end = |sampler: AnySampler| {
        let x = Noise::new(3).initial::<B, 2>([6, 2], device);
        sample_from(&model, sampler, &sigmas, x, no_noise).last().unwrap().into_data()
    };
    let euler = end(EulerAncestral { eta: 0.0, ..EulerAncestral::default() }.into());
    assert_close("euler", euler.clone(), end(GradientEstimation::DDIM.into()), 1e-5);
    let first = DpmSolver { order: 1, ..DpmSolver::M2 };
    assert_close("dpm-solver of order 1", end(first.into()), euler.clone(), 1e-6);
    let predictor = Predictor::Euler;
    let predictor = PredictorCorrector { predictor, corrections: 0, ..PredictorCorrector::default() };
    assert_close("predictor", end(predictor.into()), euler, 1e-6);
    let single = end(Dpmpp2sAncestral { eta: 0.0, ..Dpmpp2sAncestral::default() }.into());
    assert_close("dpmpp-sde", end(DpmppSde { eta: 0.0, ..DpmppSde::default() }.into()), single, 1e-6);
    let restart = Restart { repeats: 0, ..Restart::default() };
    assert_close("restart", end(restart.into()), end(Heun::default().into()), 1e-6);
}

fn without_noise_none_is_asked_for<B: TestBackend>(device: &B::Device) {
    let (model, sigmas) = (plane(VarianceExploding), Sigmas::karras(5, 0.02, 80.0, 7.0));
    for sampler in [
        Dpm2Ancestral { eta: 0.0, ..Dpm2Ancestral::default() }.into(),
        DpmSolver::M2.into(),
        DpmSolver::M3.into(),
        AnySampler::from(Adaptive::default()),
    ] {
        let x = Tensor::<B, 2>::ones([2, 2], device);
        assert_eq!(sample_from(&model, sampler, &sigmas, x, no_noise).count(), 5);
    }
}

/// From the largest level that f32 holds to the smallest and to data, over levels that are repeated; and on the straight path
/// from pure noise in one step, and to a last level above 0.
fn a_run_may_begin_and_end_anywhere<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path + Default>(sampler: AnySampler, levels: &[f64], device: &B::Device) {
        let sigmas = Sigmas::<P>::new(levels.to_vec());
        for kind in [NoiseKind::Steps, NoiseKind::Brownian] {
            let noise = Noise::new(9);
            let x = noise.initial::<B, 2>([3, 4], device) * sigmas[0];
            let end = sample_from(&Gaussian::<P>::new(0.7), sampler, &sigmas, x, kind.of(noise)).last();
            let values: Vec<f64> = end.unwrap().into_data().iter().collect();
            // Heun's method overshoots where a step is longer than it is stable for.
            let bound = if levels[0] > 80.0 { f64::INFINITY } else { 30.0 };
            assert!(values.iter().all(|x| x.abs() < bound), "{sampler:?}, {levels:?}: {values:?}");
        }
    }
    for name in AnySampler::names_for_any_model() {
        let sampler = AnySampler::from_name(name).unwrap();
        for levels in
            [&[1e15, 1.0, 1.0, 1e-15, 0.0][..], &[80.0, 3.0, 0.5], &[700.0, 0.0], &[1e-15, 1e-15, 0.0]]
        {
            check::<B, VarianceExploding>(sampler, levels, device);
        }
        for levels in [&[1.0, 0.0][..], &[1.0, 1.0, 0.5, 0.0], &[1.0, 1.0 - 1e-16, 0.3], &[0.4, 1e-15, 0.0]] {
            check::<B, Straight>(sampler, levels, device);
        }
    }
}

/// While the estimate of the data stays, an ancestral step of η = 1 is exact: two of them are the one over both.
fn a_brownian_step_adds_up<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path>(path: P, levels: [f64; 3], device: &B::Device) {
        let model = Point(path.clone());
        let end = |sampler: AnySampler, levels: &[f64]| {
            let sigmas = Sigmas::on(path.clone(), levels.to_vec());
            let x = Noise::new(5).initial::<B, 2>([8, 2], device) * levels[0];
            sample_from(&model, sampler, &sigmas, x, BrownianNoise::new(5)).last().unwrap()
        };
        for sampler in stochastic() {
            // Other amounts of noise weight the path by σ.
            if matches!(sampler, AnySampler::DpmSolver(DpmSolver { eta: 0.5, .. })) {
                continue;
            }
            let (two, one) = (end(sampler, &levels), end(sampler, &[levels[0], levels[2]]));
            assert_close(&format!("{sampler:?}"), two.into_data(), one.into_data(), 1e-5);
        }
    }
    // (α/σ)² are powers of two and sums of some, which are not rounded.
    check::<B, _>(VarianceExploding, [4.0, 1.0, 0.5], device);
    check::<B, _>(Straight, [0.8, 0.5, 1.0 / 3.0], device);
}

/// Data that are one point.
struct Point<P>(P);

impl<B: Backend, P: Path> Denoiser<B, 2> for Point<P> {
    type Path = P;

    fn path(&self) -> P {
        self.0.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        let point = x.full_like(0.6);
        DenoiserOutput::from_denoised(&self.0, x, point, sigma)
    }
}

/// Counts how often it is asked.
struct Counting<M>(M, RefCell<usize>);

impl<B: Backend, M: Denoiser<B, 2>> Denoiser<B, 2> for Counting<M> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.0.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.0.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        *self.1.borrow_mut() += 1;
        self.0.evaluate(x, sigma)
    }
}

/// A tighter tolerance takes more evaluations and ends nearer, on a grid of a few levels and to σ = 0.
#[cfg(feature = "flex")]
fn tolerances_control_the_error<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path>(path: P, grid: Sigmas<P>, fine: Sigmas<P>, device: &B::Device) {
        let x = || Noise::new(12).initial::<B, 2>([32, 2], device) * grid[0];
        let exact = sample_from(&plane(path.clone()), Heun::default(), &fine, x(), no_noise).last().unwrap();
        let found = [1e-1, 1e-2, 1e-3, 1e-4].map(|rtol| {
            let model = Counting(plane(path.clone()), 0.into());
            let sampler = Adaptive { rtol, atol: rtol / 10.0, ..Adaptive::default() };
            let end = sample_from(&model, sampler, &grid, x(), no_noise).last().unwrap();
            (distance(end, exact.clone()), model.1.take())
        });
        for (i, pair) in found.windows(2).enumerate() {
            let [(loose, few), (tight, many)] = [pair[0], pair[1]];
            assert!(tight < 0.5 * loose || tight < 3e-5, "the errors and evaluations are {found:?}, {i}");
            assert!(few < many, "the errors and evaluations are {found:?}, {i}");
        }
        assert!(found[3].0 < 1e-3 && found[0].1 < 30, "the errors and evaluations are {found:?}");
    }
    let grid = Sigmas::<VarianceExploding>::new(vec![80.0, 0.5, 0.0]);
    check::<B, _>(VarianceExploding, grid, Sigmas::karras(2000, 1e-4, 80.0, 7.0), device);
    // From pure noise: the reference has its steps where σ/α is alike.
    let fine = Sigmas::karras(2000, 1e-4, 1e4, 7.0);
    let levels = fine.iter().map(|sigma| sigma / (1.0 + sigma));
    let fine = Sigmas::new([1.0].into_iter().chain(levels).collect());
    check::<B, _>(Straight, Sigmas::new(vec![1.0, 0.0]), fine.clone(), device);
    check::<B, _>(Straight, Sigmas::new(vec![1.0, 0.3, 0.0]), fine, device);
}

/// Samples with a hard one among them take the steps that they take alone.
fn adaptive_steps_are_each_samples_own<B: TestBackend>(device: &B::Device) {
    let model = plane(VarianceExploding);
    let sigmas = Sigmas::<VarianceExploding>::new(vec![20.0, 1.0, 0.0]);
    let x = Noise::new(13).initial::<B, 2>([4, 2], device) * 20.0;
    let run = |x: Tensor<B, 2>| {
        let model = Counting(&model, 0.into());
        let end = sample_from(&model, Adaptive::default(), &sigmas, x, no_noise).last().unwrap();
        (end, model.1.take())
    };
    let (together, of_all) = run(x.clone());
    let mut most = 0;
    for row in 0..4 {
        let (alone, evaluations) = run(x.clone().narrow(0, row, 1));
        most = most.max(evaluations);
        let together = together.clone().narrow(0, row, 1);
        assert_close(&format!("sample {row}"), alone.into_data(), together.into_data(), 1e-5);
    }
    assert!(of_all >= most, "together {of_all} evaluations, alone up to {most}");
}

/// Each of K restarts asks once, for the way up from t_min to t_max, or to where the run began.
fn restarts_draw_and_return<B: TestBackend>(device: &B::Device) {
    let model = plane(VarianceExploding);
    let restart = Restart { t_min: 0.2, t_max: 2.0, repeats: 3, ..Restart::default() };
    for (levels, highest) in [(vec![9.0, 1.0, 0.1, 0.0], 2.0), (vec![1.0, 0.2, 0.1, 0.0], 1.0)] {
        let mut asked = Vec::new();
        let noise = |request: NoiseRequest| {
            asked.push((request.draw, request.from, request.to));
            Tensor::<B, 2>::zeros([2, 2], device)
        };
        let sigmas = Sigmas::<VarianceExploding>::new(levels);
        let x = Tensor::<B, 2>::ones([2, 2], device);
        sample_from(&model, restart, &sigmas, x, noise).last();
        assert_eq!(asked, [(0, 0.2, highest), (1, 0.2, highest), (2, 0.2, highest)]);
    }
    // With one path, too, each has noise of its own.
    let noise = BrownianNoise::new(1);
    let [once, twice] = [1, 2].map(|repeats| {
        let sigmas = Sigmas::<VarianceExploding>::new(vec![9.0, 0.1, 0.0]);
        let x = Tensor::<B, 2>::ones([2, 2], device);
        sample_from(&model, Restart { repeats, ..restart }, &sigmas, x, noise.clone()).last().unwrap()
    });
    assert!(distance(once, twice) > 1e-3);
}

/// The start has a fifth too much variance; restarts bring the end back to the data's, on both paths.
#[cfg(feature = "flex")]
fn restarts_contract_errors<B: TestBackend>(device: &B::Device) {
    fn std<B: TestBackend, P: Path + Default>(
        sampler: AnySampler,
        sigmas: &Sigmas<P>,
        device: &B::Device,
    ) -> f64 {
        let (data, noise) = (Gaussian::<P>::new(0.7), Noise::new(5));
        let x = noise.initial::<B, 2>([128, 128], device) * (1.2 * data.std_at(sigmas[0]));
        let end = sample_from(&data, sampler, sigmas, x, noise).last().unwrap();
        distance(end.clone(), end.zeros_like())
    }
    let restart = |t_max, repeats| Restart { t_min: 0.05, t_max, repeats, steps: 16, s_noise: 1.0 };
    let exploding = Sigmas::karras(40, 0.002, 80.0, 7.0);
    let straight = straight(40);
    for (repeats, expected) in [(0, 0.84), (5, 0.7)] {
        let found = std::<B, _>(restart(2.0, repeats).into(), &exploding, device);
        assert!((found / expected - 1.0).abs() < 0.02, "{repeats} restarts end at {found}");
        let found = std::<B, _>(restart(0.8, repeats).into(), &straight, device);
        assert!(
            (found / expected - 1.0).abs() < 0.02,
            "{repeats} restarts end at {found} on the straight path"
        );
    }
}

#[cfg(feature = "flex")]
fn end_std<B: TestBackend, P: Path + Default>(
    sampler: impl Sampler,
    sigmas: &Sigmas<P>,
    start: f64,
    device: &B::Device,
) -> f64 {
    let (data, noise) = (Gaussian::<P>::new(0.7), Noise::new(5));
    let x = noise.initial::<B, 2>([64, 256], device) * (start * data.std_at(sigmas[0]));
    let end = sample_from(&data, sampler, sigmas, x, noise).last().unwrap();
    distance(end.clone(), end.zeros_like())
}

#[cfg(feature = "flex")]
fn predictors_and_correctors_keep_the_variance<B: TestBackend>(device: &B::Device) {
    for predictor in [Predictor::ReverseDiffusion, Predictor::Ancestral, Predictor::Euler] {
        for corrections in [0, 1] {
            let sampler = PredictorCorrector { predictor, corrections, snr: 0.08, s_noise: 1.0 };
            let error = |found: f64| (found / 0.7 - 1.0).abs();
            let exploding = [100, 400].map(|steps| {
                error(end_std::<B, _>(sampler, &Sigmas::karras(steps, 0.01, 80.0, 7.0), 1.0, device))
            });
            assert!(exploding[1] < 0.03, "{sampler:?}: the errors are {exploding:?}");
            let straight =
                [100, 400].map(|steps| error(end_std::<B, _>(sampler, &straight(steps), 1.0, device)));
            assert!(straight[1] < 0.03, "{sampler:?}: the errors are {straight:?} on the straight path");
        }
    }
}

/// The reverse diffusion of few steps has too much variance; the corrector takes most of it away.
#[cfg(feature = "flex")]
fn correctors_repair_a_predictor<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(40, 0.01, 80.0, 7.0);
    let error = |corrections| {
        let predictor = Predictor::ReverseDiffusion;
        let sampler = PredictorCorrector { predictor, corrections, ..PredictorCorrector::default() };
        (end_std::<B, _>(sampler, &sigmas, 1.3, device) / 0.7 - 1.0).abs()
    };
    let found = [0, 1, 4].map(error);
    let is_less = found[1] < 0.85 * found[0] && found[2] < 0.5 * found[0];
    assert!(is_less, "the errors without, with one and with four are {found:?}");
}

fn no_noise<B: Backend>(request: NoiseRequest) -> Tensor<B, 2> {
    panic!("{request:?} was asked for");
}

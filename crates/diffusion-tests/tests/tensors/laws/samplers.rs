//! Samplers against closed forms: orders of convergence, variances, and equalities between methods.

use crate::support::gaussian::Gaussian;
use burn::tensor::{DType, FloatDType, Tensor, TensorData, backend::Backend};
use diffusion::core::network::mlp::TimeInputMlpConfig;
use diffusion::core::sampler::{BVariant, Predictor};
use diffusion::core::schedule::{Flow, LogLinear, Schedule};
use diffusion::core::{
    Adaptive, AnySampler, Deis, Denoiser, DenoiserOutput, Diffusion, Dpm2Ancestral, DpmSolver,
    Dpmpp2sAncestral, DpmppSde, EpsPrediction, EulerAncestral, GradientEstimation, Heun, Ipndm, Lms, Noise,
    NoiseRequest, Path, Pndm, PredictorCorrector, Restart, Sampler, SamplerStep, Sigmas, Straight, UniPc,
    VarianceExploding, sample, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::cell::Cell;
use std::fmt::Debug;

backend_tests!(
    every_sampler_converges_with_its_order,
    every_step_evaluates_as_often_as_it_says,
    a_sampler_chosen_at_run_time_is_the_one_that_it_stands_for,
    noise_is_asked_for_between_the_levels_of_the_step,
    a_run_starts_from_scaled_noise_by_itself,
    ddim_converges_with_order_one,
    heun_converges_with_order_two,
    mu_keeps_the_variance_on_both_paths,
    ddpm_is_euler_ancestral,
    ddim_is_euler,
    churn_keeps_the_variance,
    deterministic_samplers_take_no_noise,
    a_sampler_says_whether_it_adds_noise,
    churn_takes_noise_once_a_step,
    repeated_levels_change_nothing,
    sampling_is_lazy_and_can_be_cut_short,
);

/// Those with a name, and those of their parameters that have an order or a number of evaluations of their own.
fn samplers() -> Vec<AnySampler> {
    let named = AnySampler::names_for_any_model().map(|name| AnySampler::from_name(name).unwrap());
    let adams_bashforth = GradientEstimation::new(1.5, 0.0).into();
    let noisy = GradientEstimation::new(1.5, 0.2).into();
    let churn = Heun { s_churn: 5.0, ..Heun::default() }.into();
    let part = 0.4;
    let parts = [
        EulerAncestral { eta: part, ..EulerAncestral::default() }.into(),
        Dpm2Ancestral { eta: part, ..Dpm2Ancestral::default() }.into(),
        Dpmpp2sAncestral { eta: part, ..Dpmpp2sAncestral::default() }.into(),
        DpmppSde { eta: part, ..DpmppSde::default() }.into(),
        DpmSolver { eta: part, ..DpmSolver::M2 }.into(),
        DpmSolver { order: 1, ..DpmSolver::M2_SDE }.into(),
    ];
    let without = [
        EulerAncestral { eta: 0.0, ..EulerAncestral::default() }.into(),
        Dpm2Ancestral { eta: 0.0, ..Dpm2Ancestral::default() }.into(),
        Dpmpp2sAncestral { eta: 0.0, ..Dpmpp2sAncestral::default() }.into(),
    ];
    named.chain([adams_bashforth, noisy, churn]).chain(parts).chain(without).chain(orders()).collect()
}

/// Methods of several steps, of every order and variant but those with a name.
fn orders() -> Vec<AnySampler> {
    let lms = [1, 2, 3].map(|order| Lms { order }.into());
    let ipndm = [1, 2, 3].map(|order| Ipndm { order }.into());
    let deis = [1, 3].map(|order| Deis { order, ..Deis::default() }.into());
    let variants = [BVariant::Bh1, BVariant::Bh2].into_iter();
    let unipc = variants
        .flat_map(|variant| [1, 2, 3].map(|order| UniPc { order, variant, lower_order_final: false }.into()));
    lms.into_iter().chain(ipndm).chain(deis).chain(unipc).collect()
}

/// The draws of a step, at most.
const DRAWS: usize = 2;

/// Of the standard deviation at the end of a run, exactly: the denoiser multiplies by a number, so the end is a sum of
/// the start and of each draw of noise. In one batch the first row finds the start's factor and each other row one
/// draw's. In f64, where the device computes in it.
fn std_error<B: TestBackend, P: Path + Default>(
    sampler: AnySampler,
    sigmas: &Sigmas<P>,
    device: &B::Device,
) -> f64 {
    let data = Gaussian::<P>::new(0.7);
    let rows = 1 + DRAWS * sigmas.steps();
    let unit = |row: usize| {
        let values: Vec<f32> = (0..rows).map(|i| f32::from(i == row)).collect();
        let unit = Tensor::<B, 2>::from_data(TensorData::new(values, [rows, 1]), device);
        if B::supports_dtype(device, DType::F64) { unit.cast(FloatDType::F64) } else { unit }
    };
    let noise = |request: NoiseRequest| {
        assert!(request.draw < DRAWS, "{sampler:?} asked for {request:?}");
        unit(1 + DRAWS * request.index + request.draw)
    };
    let x = unit(0) * data.std_at(sigmas[0]);
    let end = sample_from(&data, sampler, sigmas, x, noise).last().unwrap().into_data();
    let expected = data.std_at(sigmas[sigmas.steps()]);
    (end.iter::<f64>().map(|factor| factor * factor).sum::<f64>().sqrt() - expected).abs()
}

/// From noise to a level that is nearly data, so that nothing is measured but the steps. The first steps of a method of
/// several are of lower order; from high levels, where the estimate hardly changes, that is not seen.
///
/// The same computation in f64 by a program of its own measures LMS 1.97, 2.94 and 3.88 and on the straight path 2.01, 2.95 and
/// 4.10, DEIS 2.01 and 2.95 and 2.91, UniPC 2.00, 3.01 and 4.01 on both.
fn every_sampler_converges_with_its_order<B: TestBackend>(device: &B::Device) {
    let is_exact = B::supports_dtype(device, DType::F64);
    for sampler in samplers() {
        let expected = f64::from(sampler.order());
        // Of a restart, the steps back are of the grid's size.
        let with_steps = |steps: usize| match sampler {
            AnySampler::Restart(restart) => Restart { steps: steps / 4, ..restart }.into(),
            sampler => sampler,
        };
        let steps = match sampler {
            // A corrector's error is its own, however many steps there are. Of a consistency model there is no limit.
            AnySampler::PredictorCorrector(_) | AnySampler::Consistency(_) => continue,
            // Its order comes near to 2 from below: 1.37 at 80, 1.78 and 1.90 at the double and at four times as many.
            AnySampler::DpmSolver(DpmSolver { order: 3, eta, .. }) if eta > 0.0 && is_exact => [640, 1280],
            _ if is_exact => [160, 320],
            // More than f32 knows.
            AnySampler::DpmSolver(DpmSolver { order: 3, .. }) => continue,
            _ if expected > 2.0 => continue,
            _ => [80, 160],
        };
        let karras = |steps, highest| Sigmas::karras(steps + 1, 0.002, highest, 7.0)[..=steps].to_vec();
        let exploding = |steps| Sigmas::<VarianceExploding>::new(karras(steps, 80.0));
        let error = |steps| std_error::<B, _>(with_steps(steps), &exploding(steps), device);
        let order = (error(steps[0]) / error(steps[1])).log2();
        assert!((order - expected).abs() < 0.15, "{sampler:?}: the order is {order}, expected {expected}");

        // Times that are evenly spaced begin at noise alone. Where steps in ln σ grow without bound, the errors of methods in
        // ln σ fall as ln N/N²: for these, levels that are spaced as on the other path.
        let is_even = matches!(
            sampler,
            AnySampler::GradientEstimation(_)
                | AnySampler::Pndm(_)
                | AnySampler::Ipndm(_)
                | AnySampler::EulerAncestral(_)
                | AnySampler::Lms(Lms { order: ..=2 })
        );
        let straight = |steps: usize| {
            let even = |i| 1.0 - 0.98 * i as f64 / steps as f64;
            let levels = match is_even {
                true => (0..=steps).map(even).collect(),
                false => karras(steps, 1000.0).iter().map(|sigma| sigma / (1.0 + sigma)).collect(),
            };
            Sigmas::<Straight>::new(levels)
        };
        if !matches!(sampler, AnySampler::Heun(Heun { s_churn, .. }) if s_churn > 0.0) {
            let error = |steps| std_error::<B, _>(with_steps(steps), &straight(steps), device);
            let order = (error(steps[0]) / error(steps[1])).log2();
            assert!(
                (order - expected).abs() < 0.15,
                "{sampler:?}: the order is {order} on the straight path, expected {expected}"
            );
        }
    }
}

fn every_step_evaluates_as_often_as_it_says<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::<VarianceExploding>::new(vec![9.0, 3.0, 3.0, 1.0, 0.0]);
    for sampler in samplers() {
        let counting = Counting(0.into());
        let mut run =
            sample_from(&counting, sampler, &sigmas, Tensor::<B, 2>::ones([1, 1], device), Noise::new(0));
        for (index, levels) in sigmas.windows(2).enumerate() {
            let step = SamplerStep { index, from: levels[0], to: levels[1] };
            assert!(run.next().is_some());
            let (found, expected) = (counting.0.replace(0), sampler.evaluations(step));
            let is_adaptive = matches!(sampler, AnySampler::Adaptive(_));
            assert!(expected == Some(found) || is_adaptive && found > 0, "{sampler:?}, {step:?}: {found}");
        }
        assert!(run.next().is_none());
    }
}

fn a_sampler_chosen_at_run_time_is_the_one_that_it_stands_for<B: TestBackend>(device: &B::Device) {
    fn check<B: Backend, S: Sampler + Copy + Debug>(sampler: S, device: &B::Device)
    where
        AnySampler: From<S>,
    {
        let model = mlp::<B>(device);
        let sigmas = LogLinear::new(200, 0.005, 10.0).sigmas(6).to_zero();
        let run = sample::<B, 2, _, _>(&model, sampler, &sigmas, 3, Noise::new(2), device);
        let any = sample::<B, 2, _, _>(&model, AnySampler::from(sampler), &sigmas, 3, Noise::new(2), device);
        for (expected, found) in run.zip(any) {
            assert_eq!(found.into_data().bytes, expected.into_data().bytes, "{sampler:?}");
        }
    }
    check::<B, _>(GradientEstimation::new(1.6, 0.3), device);
    check::<B, _>(Heun { s_churn: 3.0, ..Heun::default() }, device);
    check::<B, _>(Pndm {}, device);
    check::<B, _>(DpmSolver::M3_SDE, device);
    check::<B, _>(Lms { order: 3 }, device);
    check::<B, _>(Ipndm { order: 3 }, device);
    check::<B, _>(Deis { order: 3, lower_order_final: true }, device);
    check::<B, _>(UniPc { order: 3, variant: BVariant::Bh1, lower_order_final: true }, device);
    check::<B, _>(EulerAncestral::default(), device);
    check::<B, _>(Dpm2Ancestral::default(), device);
    check::<B, _>(Dpmpp2sAncestral::default(), device);
    check::<B, _>(DpmppSde::default(), device);
    check::<B, _>(Adaptive::default(), device);
    check::<B, _>(Restart::default(), device);
    check::<B, _>(PredictorCorrector::default(), device);
}

/// So that noise may depend on the way, as that of a Brownian motion does.
fn noise_is_asked_for_between_the_levels_of_the_step<B: TestBackend>(device: &B::Device) {
    let data = Gaussian::<VarianceExploding>::new(1.0);
    let sigmas = Sigmas::karras(4, 0.002, 80.0, 7.0);
    for sampler in
        [GradientEstimation::DDPM.into(), AnySampler::Heun(Heun { s_churn: 1.0, ..Heun::default() })]
    {
        let mut asked = Vec::new();
        let noise = |step: NoiseRequest| {
            asked.push(step);
            Tensor::<B, 2>::zeros([2, 2], device)
        };
        sample_from(&data, sampler, &sigmas, Tensor::ones([2, 2], device), noise).last();
        for step in &asked {
            assert_eq!([step.from, step.to], sigmas[step.index..step.index + 2], "{sampler:?}");
        }
        assert!(asked.len() >= 3, "{sampler:?} asked for {asked:?}");
    }
}

fn a_run_starts_from_scaled_noise_by_itself<B: TestBackend>(device: &B::Device) {
    let (model, noise) = (mlp::<B>(device), Noise::new(3).starting_at(5));
    let sigmas = LogLinear::new(200, 0.005, 10.0).sigmas(4).to_zero();
    let x = model.rand_input::<2>(6, noise, device) * sigmas[0];
    let given = sample_from(&model, GradientEstimation::DDPM, &sigmas, x, noise);
    let started = sample::<B, 2, _, _>(&model, GradientEstimation::DDPM, &sigmas, 6, noise, device);
    for (found, expected) in started.zip(given) {
        assert_eq!(found.into_data().bytes, expected.into_data().bytes);
    }
}

/// Counts its evaluations.
struct Counting(Cell<usize>);

impl<B: Backend> Denoiser<B, 2> for Counting {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 1]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        self.0.set(self.0.get() + 1);
        Gaussian::<VarianceExploding>::new(1.0).evaluate(x, sigma)
    }
}

/// Data of standard deviation 0.7, from x = 104 at σ = 80 over Karras' grid to 0, against the solution of the ODE,
/// x(σ) = x(σ₀)·√((c² + σ²)/(c² + σ₀²)).
///
/// In f32 this is possible because the ODE contracts by a factor of 115: what is rounded at σ = 80 fades.
fn errors<B: TestBackend, S: Sampler + Copy>(sampler: S, device: &B::Device) -> [f64; 4] {
    let data = Gaussian::<VarianceExploding>::new(0.7);
    let expected = 104.0 * data.std_at(0.0) / data.std_at(80.0);
    [20, 40, 80, 160].map(|steps| {
        let sigmas = Sigmas::karras(steps, 0.002, 80.0, 7.0);
        let x = Tensor::<B, 2>::full([1, 1], 104.0, device);
        let end = sample_from(&data, sampler, &sigmas, x, no_noise).last().unwrap();
        (number(end) - expected).abs()
    })
}

fn assert_errors(found: [f64; 4], expected: [f64; 4], order: f64) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found / expected - 1.0).abs() < 0.02, "the error is {found}, expected {expected}");
    }
    let measured = (found[2] / found[3]).log2();
    assert!((measured - order).abs() < 0.1, "the order is {measured}, expected {order}");
}

/// The errors were computed in f64 by a program of its own, from the same formulas.
fn ddim_converges_with_order_one<B: TestBackend>(device: &B::Device) {
    assert_errors(errors::<B, _>(GradientEstimation::DDIM, device), [0.121, 0.0611, 0.0307, 0.0154], 1.0);
}

fn heun_converges_with_order_two<B: TestBackend>(device: &B::Device) {
    assert_errors(errors::<B, _>(Heun::default(), device), [0.0359, 0.00806, 0.00191, 4.63e-4], 2.0);
}

/// The exact denoiser of data of unit variance must end with unit variance. By smalldiffusion's rule, which is meant
/// for the variance-exploding path, 200 steps on the straight path end at a deviation of 1.8.
///
/// A method of first order approaches 1 from below. For a denoiser that is a factor, each step is one too, and the
/// recursion for the variance gives deviations of 0.9812 and 0.9875 at the end of these grids.
fn mu_keeps_the_variance_on_both_paths<B: TestBackend>(device: &B::Device) {
    let exploding = LogLinear::new(200, 0.005, 10.0).sigmas(200).to_zero();
    let std = end_std::<B, VarianceExploding, _>(1.0, GradientEstimation::new(1.0, 0.5), &exploding, device);
    assert!((std - 1.0).abs() < 0.03, "on the variance-exploding path the end has the deviation {std}");
    let straight = Flow::default().sigmas(200);
    let std = end_std::<B, Straight, _>(1.0, GradientEstimation::new(1.0, 0.5), &straight, device);
    assert!((std - 1.0).abs() < 0.03, "on the straight path the end has the deviation {std}");
}

fn churn_keeps_the_variance<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(100, 0.002, 80.0, 7.0);
    let std = end_std::<B, VarianceExploding, _>(
        0.7,
        Heun { s_churn: 40.0, ..Default::default() },
        &sigmas,
        device,
    );
    assert!((std / 0.7 - 1.0).abs() < 0.02, "the end has the deviation {std}, expected 0.7");
    let straight = Flow::default().sigmas(100);
    let std = end_std::<B, Straight, _>(0.7, Heun { s_churn: 20.0, ..Default::default() }, &straight, device);
    assert!(
        (std / 0.7 - 1.0).abs() < 0.02,
        "on the straight path the end has the deviation {std}, expected 0.7"
    );
}

/// The standard deviation of 32 768 samples, which chance moves by 0.4 %.
fn end_std<B: TestBackend, P: Path + Default, S: Sampler>(
    std: f64,
    sampler: S,
    sigmas: &Sigmas<P>,
    device: &B::Device,
) -> f64 {
    let data = Gaussian::<P>::new(std);
    let noise = Noise::new(5);
    let x = noise.initial::<B, 2>([128, 256], device) * data.std_at(sigmas[0]);
    let end: Vec<f64> =
        sample_from(&data, sampler, sigmas, x, noise).last().unwrap().into_data().iter().collect();
    (end.iter().map(|x| x * x).sum::<f64>() / end.len() as f64).sqrt()
}

/// Euler ancestral at η = 1 (Karras' k-diffusion): Euler's method down to √(σ′² − up²), then noise of level up.
fn ddpm_is_euler_ancestral<B: TestBackend>(device: &B::Device) {
    let up = |from: f64, to: f64| to.min((to * to * (from * from - to * to) / (from * from)).sqrt());
    let euler_ancestral = |model: &Mlp<B>, x: Tensor<B, 2>, from: f64, to: f64, noise: Tensor<B, 2>| {
        let up = up(from, to);
        let down = (to * to - up * up).sqrt();
        let eps = model.predict_eps(x.clone(), from, ());
        x + eps * (down - from) + noise * up
    };
    assert_same_trajectory::<B>(GradientEstimation::DDPM, euler_ancestral, device);
}

fn ddim_is_euler<B: TestBackend>(device: &B::Device) {
    let euler = |model: &Mlp<B>, x: Tensor<B, 2>, from: f64, to: f64, _noise: Tensor<B, 2>| {
        let denoised = model.denoised(x.clone(), from, ());
        x.clone() + (x - denoised) * ((to - from) / from)
    };
    assert_same_trajectory::<B>(GradientEstimation::DDIM, euler, device);
}

type Mlp<B> = Diffusion<B, diffusion::core::network::mlp::TimeInputMlp<B>, EpsPrediction>;

fn mlp<B: Backend>(device: &B::Device) -> Mlp<B> {
    Diffusion::new(
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 16], ..Default::default() }.init(7, device),
        EpsPrediction,
    )
}

/// Each state of `sampler` is what `rule` makes of the state before with the same noise.
fn assert_same_trajectory<B: TestBackend>(
    sampler: GradientEstimation,
    rule: impl Fn(&Mlp<B>, Tensor<B, 2>, f64, f64, Tensor<B, 2>) -> Tensor<B, 2>,
    device: &B::Device,
) {
    let (model, noise) = (mlp::<B>(device), Noise::new(3));
    let sigmas = LogLinear::new(200, 0.005, 10.0).sigmas(12).to_zero();
    let mut x = model.rand_input(6, noise, device) * sigmas[0];
    for (i, state) in sample_from(&model, sampler, &sigmas, x.clone(), noise).enumerate() {
        let expected = rule(&model, x, sigmas[i], sigmas[i + 1], noise.step(i, [6, 2], device));
        assert_close(&format!("state {i}"), state.clone().into_data(), expected.into_data(), B::TOLERANCE);
        x = state;
    }
}

fn deterministic_samplers_take_no_noise<B: TestBackend>(device: &B::Device) {
    let data = Gaussian::<VarianceExploding>::new(1.0);
    let sigmas = Sigmas::karras(5, 0.002, 80.0, 7.0);
    let x = || Tensor::<B, 2>::ones([2, 2], device);
    let named =
        ["ddim", "accelerated", "euler", "heun", "dpm2", "pndm", "dpm-solver", "dpmpp-3m", "dpmpp-2s"];
    let named = named.map(|name| AnySampler::from_name(name).unwrap());
    let more = ["lms", "ipndm", "deis", "unipc"].map(|name| AnySampler::from_name(name).unwrap());
    for sampler in named.into_iter().chain(more).chain(orders()) {
        assert_eq!(sample_from(&data, sampler, &sigmas, x(), no_noise).count(), 5, "{sampler:?}");
    }
    // Below S_min or above S_max there is no churn either.
    let outside = Heun { s_churn: 40.0, s_min: 81.0, ..Default::default() };
    assert_eq!(sample_from(&data, outside, &sigmas, x(), no_noise).count(), 5);
    let outside = Heun { s_churn: 40.0, s_max: 0.001, ..Default::default() };
    assert_eq!(sample_from(&data, outside, &sigmas, x(), no_noise).count(), 5);
}

/// On a grid that restarts go up on, too.
fn a_sampler_says_whether_it_adds_noise<B: TestBackend>(device: &B::Device) {
    let data = Gaussian::<VarianceExploding>::new(1.0);
    let sigmas = Sigmas::karras(5, 0.002, 80.0, 7.0);
    let once = Restart { repeats: 0, ..Restart::default() }.into();
    let still = PredictorCorrector { corrections: 0, predictor: Predictor::Euler, ..Default::default() };
    for sampler in samplers().into_iter().chain([once, still.into()]) {
        let asked = Cell::new(false);
        let noise = |_: NoiseRequest| {
            asked.set(true);
            Tensor::<B, 2>::zeros([2, 2], device)
        };
        sample_from(&data, sampler, &sigmas, Tensor::<B, 2>::ones([2, 2], device), noise).last();
        assert_eq!(asked.get(), sampler.adds_noise(), "{sampler:?}");
    }
}

fn churn_takes_noise_once_a_step<B: TestBackend>(device: &B::Device) {
    let data = Gaussian::<VarianceExploding>::new(1.0);
    let sigmas = Sigmas::karras(5, 0.002, 80.0, 7.0);
    let mut steps = Vec::new();
    let noise = |step: NoiseRequest| {
        steps.push(step.index);
        Tensor::<B, 2>::zeros([2, 2], device)
    };
    let churn = Heun { s_churn: 1.0, ..Default::default() };
    assert_eq!(sample_from(&data, churn, &sigmas, Tensor::ones([2, 2], device), noise).count(), 5);
    assert_eq!(steps, [0, 1, 2, 3, 4]);
}

/// More steps than levels repeat levels (see `Schedule::sigmas`): such a step must leave the state as it is.
fn repeated_levels_change_nothing<B: TestBackend>(device: &B::Device) {
    let (model, noise) = (mlp::<B>(device), Noise::new(4));
    let levels = |levels: &[f64]| Sigmas::<VarianceExploding>::new(levels.to_vec());
    let x: Tensor<B, 2> = model.rand_input(4, noise, device) * 3.0;
    for sampler in [GradientEstimation::DDIM, GradientEstimation::DDPM] {
        let sigmas = levels(&[3.0, 3.0, 3.0]);
        let end = sample_from(&model, sampler, &sigmas, x.clone(), noise).last().unwrap();
        assert_close("state", end.into_data(), x.clone().into_data(), B::TOLERANCE);
    }
    let sigmas = levels(&[3.0, 3.0]);
    let end = sample_from(&model, Heun::default(), &sigmas, x.clone(), noise).last().unwrap();
    assert_close("state", end.into_data(), x.clone().into_data(), B::TOLERANCE);

    // Nor do they change what methods of several steps remember.
    let end = |sampler, grid: &[f64]| {
        sample_from(&model, sampler, &levels(grid), x.clone(), noise).last().unwrap().into_data()
    };
    let named = ["lms", "ipndm", "deis", "unipc", "dpm-solver", "dpmpp-3m", "dpm2", "dpmpp-2s", "euler"];
    let named = named.map(|name| AnySampler::from_name(name).unwrap());
    let of_few = UniPc { lower_order_final: false, ..UniPc::default() }.into();
    let of_many = Deis { order: 3, lower_order_final: false }.into();
    for sampler in named.into_iter().chain(orders()).chain([of_few, of_many]) {
        if matches!(sampler, AnySampler::UniPc(unipc) if unipc.lower_order_final)
            || matches!(sampler, AnySampler::Deis(deis) if deis.lower_order_final)
        {
            // These look at how many steps are left.
            continue;
        }
        let repeated = end(sampler, &[3.0, 3.0, 2.0, 1.0, 1.0, 0.4, 0.0]);
        assert_close(
            &format!("{sampler:?}"),
            repeated,
            end(sampler, &[3.0, 2.0, 1.0, 0.4, 0.0]),
            B::TOLERANCE,
        );
    }
}

fn sampling_is_lazy_and_can_be_cut_short<B: TestBackend>(device: &B::Device) {
    let sigmas = Sigmas::karras(5, 0.002, 80.0, 7.0);
    let evaluations = |taken, sampler: &dyn Fn(&Counting, usize)| {
        let counting = Counting(0.into());
        sampler(&counting, taken);
        counting.0.get()
    };
    let x = || Tensor::<B, 2>::ones([1, 1], device);
    let ddim = |model: &Counting, n| {
        _ = sample_from(model, GradientEstimation::DDIM, &sigmas, x(), no_noise).take(n).count()
    };
    let heun =
        |model: &Counting, n| _ = sample_from(model, Heun::default(), &sigmas, x(), no_noise).take(n).count();
    assert_eq!([0, 2, 9].map(|taken| evaluations(taken, &ddim)), [0, 2, 5]);
    // The last step goes to 0 and is Euler's.
    assert_eq!([0, 2, 9].map(|taken| evaluations(taken, &heun)), [0, 4, 9]);
}

fn no_noise<B: Backend>(step: NoiseRequest) -> Tensor<B, 2> {
    panic!("{step:?} asked for noise");
}

fn number<B: Backend>(x: Tensor<B, 2>) -> f64 {
    x.into_data().iter::<f64>().next().unwrap()
}

//! Tasks against closed forms: Gaussian data, correlated and not, and a mixture of Gaussians.

use crate::support::gaussian::Gaussian;
use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::network::ideal::IdealDenoiser;
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::task::{
    Inversion, Jumps, Known, LikelihoodConfig, OdeSolver, PIXEL_OFFSET, Start, Trace, Variation, dequantized,
    inpaint, invert, likelihood, noised, repaint, slerp, vary,
};
use diffusion::core::{
    AnySampler, Denoiser, DenoiserOutput, Diffusion, EpsPrediction, GradientEstimation, Heun, Network, Noise,
    Path, Sigmas, Straight, VarianceExploding, sample, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::f64::consts::{LN_2, PI};

backend_tests!(
    strength_goes_from_the_data_to_noise,
    a_part_of_the_way_begins_at_its_level,
    what_is_known_stays_bit_for_bit,
    what_is_made_follows_what_is_known,
    masks_of_other_shapes_are_errors,
    inversion_is_the_solution_of_the_flow,
    solvers_converge_with_their_orders,
    inversion_leads_back,
    mended_steps_lead_back_in_few,
    arcs_have_their_ends_and_norms,
    opposite_and_equal_ends_have_arcs,
    variations_go_from_the_data_to_others,
    variations_are_distributed_as_the_data,
    likelihood_is_the_closed_form,
    likelihood_of_a_mixture,
    random_signs_estimate_the_trace,
    samples_do_not_depend_on_those_beside_them,
    bytes_become_continuous,
    gradients_by_the_input_have_no_dropout,
);

/// The exact denoiser of pairs of values with the covariance [[1, ρ], [ρ, 1]].
struct Correlated<P>(f64, P);

impl<B: Backend, P: Path> Denoiser<B, 2> for Correlated<P> {
    type Path = P;

    fn path(&self) -> P {
        self.1.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    /// Along (1, 1) and (1, −1) the data are Gaussian by themselves, of variances 1 + ρ and 1 − ρ.
    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        let alpha = self.1.alpha(sigma);
        let weight = |variance: f64| alpha * variance / (alpha * alpha * variance + sigma * sigma);
        let (along, across) = (weight(1.0 + self.0), weight(1.0 - self.0));
        let denoised = x.clone() * (0.5 * (along + across)) + x.clone().flip([1]) * (0.5 * (along - across));
        DenoiserOutput::from_denoised(&self.1, x, denoised, sigma)
    }
}

fn exploding(steps: usize) -> Sigmas<VarianceExploding> {
    Sigmas::karras(steps, 0.002, 80.0, 7.0)
}

/// From noise alone down to 0.001, evenly spaced, and to 0.
fn straight(steps: usize) -> Sigmas<Straight> {
    let level = |i: usize| 0.001 + 0.999 * (1.0 - i as f64 / (steps - 1) as f64);
    Sigmas::new((0..steps).map(level).collect()).to_zero()
}

fn normal<B: Backend, const D: usize>(seed: u64, dims: [usize; D], device: &B::Device) -> Tensor<B, D> {
    Noise::new(seed).initial(dims, device)
}

fn values<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn bits<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<u32> {
    x.into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

fn largest_difference<B: Backend, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> f64 {
    values((a - b).abs().max())[0]
}

fn strength_goes_from_the_data_to_noise<B: TestBackend>(device: &B::Device) {
    let (model, sigmas, noise) = (Gaussian::<VarianceExploding>::new(0.7), exploding(20), Noise::new(3));
    let (x0, unit) = (normal::<B, 2>(1, [4, 1], device), noise.initial([4, 1], device));
    assert!(Start::new(&sigmas, x0.clone(), 0.0, unit.clone()).unwrap().is_none());
    let start = Start::new(&sigmas, x0.clone(), 1.0, unit.clone()).unwrap().unwrap();
    let from_noise = sample::<B, 2, _, _>(&model, Heun::default(), &sigmas, 4, noise, device).last().unwrap();
    let found = sample_from(&model, Heun::default(), &start.sigmas, start.x, noise).last().unwrap();
    assert_eq!(bits(found), bits(from_noise));
    for strength in [-0.1, 1.5, f64::NAN] {
        let error = Start::new(&sigmas, x0.clone(), strength, unit.clone()).unwrap_err();
        assert_eq!(error.setting, "strength");
    }
}

fn a_part_of_the_way_begins_at_its_level<B: TestBackend>(device: &B::Device) {
    let (x0, unit) = (normal::<B, 2>(1, [4, 1], device), normal(2, [4, 1], device));
    let sigmas = straight(20);
    let Start { sigmas: part, x } = Start::new(&sigmas, x0.clone(), 0.5, unit.clone()).unwrap().unwrap();
    assert_eq!(&part[..], &sigmas[10..]);
    let expected = x0.clone() * (1.0 - part[0]) + unit.clone() * part[0];
    assert_close("start", x.into_data(), expected.into_data(), 1e-6);
    // 20 · 0.04 is less than a step.
    assert!(Start::new(&sigmas, x0, 0.04, unit).unwrap().is_none());
}

/// Two columns, of which the second is to be made.
fn known<B: Backend>(known: f32, rows: usize, device: &B::Device) -> Known<B, 2> {
    let values = Tensor::from_floats([[known, 7.0]], device).repeat_dim(0, rows);
    Known::new(values, Tensor::from_floats([[0.0, 1.0]], device)).unwrap()
}

fn what_is_known_stays_bit_for_bit<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path>(path: P, sigmas: &Sigmas<P>, device: &B::Device) {
        let (model, noise, dims) = (Correlated(0.8, path), Noise::new(5), [3, 2]);
        let x: Tensor<B, 2> = noise.initial(dims, device) * sigmas[0];
        let jumps = Jumps::new(sigmas, 4, 3).unwrap();
        for sampler in [AnySampler::from(GradientEstimation::DDPM), Heun::default().into()] {
            let fresh = |step: diffusion::core::SamplerStep| noise.known(step.index, dims, device);
            let plain = inpaint(&model, sampler, sigmas, x.clone(), noise, (known(0.3, 3, device), fresh));
            let plain: Vec<_> = plain.collect();
            assert_eq!(plain.len(), sigmas.steps());
            let jumped = repaint(&model, sampler, &jumps, x.clone(), noise, known(0.3, 3, device));
            let jumped: Vec<_> = jumped.collect();
            assert_eq!(jumped.len(), jumps.steps());
            assert_eq!(jumps.steps(), 3 * sigmas.steps());
            // On the way what is known is at the level of the state.
            let before = values(plain[plain.len() - 2].clone());
            assert!(before.iter().step_by(2).all(|x| *x != f64::from(0.3f32)));
            for states in [plain, jumped] {
                let last = values(states.last().unwrap().clone());
                assert!(last.iter().step_by(2).all(|x| *x == f64::from(0.3f32)), "{last:?}");
                assert!(last.iter().skip(1).step_by(2).all(|x| x.is_finite() && *x != 7.0), "{last:?}");
            }
        }
    }
    check::<B, _>(VarianceExploding, &exploding(10), device);
    check::<B, _>(Straight, &straight(10), device);
    // A grid that ends above 0, too.
    check::<B, _>(VarianceExploding, &Sigmas::new(vec![10.0, 3.0, 1.0, 0.3, 0.1, 0.03]), device);
}

/// Of a pair with the correlation ρ the second, given the first: mean ρ·first, variance 1 − ρ². Sampling alone pulls it too
/// little; with jumps it comes near. By an emulation in f64 the means are 0.51 and 0.78 of 0.8.
fn what_is_made_follows_what_is_known<B: TestBackend>(device: &B::Device) {
    let (rho, rows, noise) = (0.8, 2000, Noise::new(11));
    let model = Correlated(rho, VarianceExploding);
    let sigmas = Sigmas::exponential(60, 0.02, 10.0);
    let x: Tensor<B, 2> = noise.initial([rows, 2], device) * sigmas[0];
    let made = |times: usize| {
        let jumps = Jumps::new(&sigmas, 2, times).unwrap();
        let given = known(1.0, rows, device);
        let states = repaint(&model, GradientEstimation::DDPM, &jumps, x.clone(), noise, given);
        let second: Vec<f64> = values(states.last().unwrap()).into_iter().skip(1).step_by(2).collect();
        mean_and_variance(&second)
    };
    let (plain, jumped) = (made(1), made(20));
    assert!(plain.0 < rho - 0.2, "{plain:?}");
    // The standard errors of mean and variance are 0.013 and 0.011.
    assert!((jumped.0 - rho).abs() < 0.06, "{jumped:?}");
    assert!((jumped.1 - (1.0 - rho * rho)).abs() < 0.06, "{jumped:?}");
    // Of values that have nothing to do with each other none is pulled at all.
    let apart = Correlated(0.0, VarianceExploding);
    let jumps = Jumps::new(&sigmas, 2, 1).unwrap();
    let given = known(1.0, rows, device);
    let states = repaint(&apart, GradientEstimation::DDPM, &jumps, x, noise, given);
    let second: Vec<f64> = values(states.last().unwrap()).into_iter().skip(1).step_by(2).collect();
    let (mean, variance) = mean_and_variance(&second);
    assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
}

fn masks_of_other_shapes_are_errors<B: TestBackend>(device: &B::Device) {
    let data = Tensor::<B, 4>::zeros([2, 3, 4, 5], device);
    for shape in [[2, 3, 4, 5], [1, 1, 4, 5], [2, 1, 4, 5], [1, 3, 1, 1]] {
        assert!(Known::new(data.clone(), Tensor::ones(shape, device)).is_ok(), "{shape:?}");
    }
    for shape in [[1, 1, 5, 4], [3, 1, 4, 5], [2, 2, 4, 5]] {
        let error = Known::new(data.clone(), Tensor::ones(shape, device)).unwrap_err();
        assert_eq!(error.setting, "mask");
        assert!(
            error.reason.contains(&format!("{shape:?}")) && error.reason.contains("[2, 3, 4, 5]"),
            "{error}"
        );
    }
    let sigmas = exploding(4);
    assert_eq!(Jumps::new(&sigmas, 0, 2).unwrap_err().setting, "jump");
    assert_eq!(Jumps::new(&sigmas, 2, 0).unwrap_err().setting, "times");
}

/// x(σ) = x₀ · std(σ)/std(σmin): noise of the right size, from data of any.
fn inversion_is_the_solution_of_the_flow<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, fine: &Sigmas<P>, device: &B::Device) {
        let model = Gaussian::<P>::new(0.7);
        let x0 = normal::<B, 2>(1, [500, 1], device) * 0.7;
        let (low, high) = (sigmas[sigmas.steps() - 1], sigmas[0]);
        let alpha = P::default().alpha(low);
        let expected = x0.clone() * (alpha * model.std_at(high) / model.std_at(low));
        for solver in [OdeSolver::Heun, OdeSolver::Rk4, OdeSolver::ADAPTIVE] {
            let sigmas = if solver == OdeSolver::Heun { fine } else { sigmas };
            let found = invert(&model, &Inversion { solver, fixed_point: 0 }, sigmas, x0.clone());
            let tolerance = if solver == OdeSolver::Heun { 1e-3 } else { 1e-4 };
            assert_close(
                &format!("{solver:?}"),
                found.clone().into_data(),
                expected.clone().into_data(),
                tolerance,
            );
            let (_, variance) = mean_and_variance(&values(found));
            let ratio = variance / model.std_at(high).powi(2);
            // Of 500 draws the standard error is 0.063.
            assert!((ratio - 1.0).abs() < 0.2, "{ratio}");
        }
    }
    check::<B, _>(&exploding(100), &exploding(300), device);
    check::<B, _>(&straight(100), &straight(300), device);
}

fn solvers_converge_with_their_orders<B: TestBackend>(device: &B::Device) {
    let model = Gaussian::<VarianceExploding>::new(0.7);
    for (solver, steps) in [(OdeSolver::Euler, 80), (OdeSolver::Heun, 40), (OdeSolver::Rk4, 10)] {
        let error = |steps: usize| {
            let sigmas = Sigmas::karras(steps + 1, 0.2, 5.0, 3.0);
            let x0 = Tensor::<B, 2>::ones([1, 1], device);
            let found = invert(&model, &Inversion { solver, fixed_point: 0 }, &sigmas, x0);
            (values(found)[0] / (model.std_at(5.0) / model.std_at(0.2)) - 1.0).abs()
        };
        let order = (error(steps) / error(2 * steps)).log2();
        let expected = f64::from(solver.order());
        assert!((order - expected).abs() < 0.25, "{solver:?}: the order is {order}, expected {expected}");
    }
}

fn inversion_leads_back<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, const D: usize, M: Denoiser<B, D>>(
        model: &M,
        sigmas: &Sigmas<M::Path>,
        x0: Tensor<B, D>,
    ) {
        let noise = invert(model, &Inversion::default(), sigmas, x0.clone());
        let back = sample_from(model, Heun::default(), sigmas, noise, Noise::new(0)).last().unwrap();
        assert_close("back", back.into_data(), x0.into_data(), 1e-3);
    }
    let pairs = normal::<B, 2>(2, [6, 2], device);
    check(&Correlated(0.8, VarianceExploding), &exploding(200), pairs.clone());
    check(&Correlated(0.8, Straight), &straight(400), pairs);
    check(&Gaussian::<VarianceExploding>::new(0.7), &exploding(200), normal::<B, 4>(3, [2, 1, 3, 3], device));
    // A mixture of two points with some noise around them.
    let points = TensorData::new(vec![0.0f32, 0.0, 1.0, 2.0], [2, 2]);
    let mixture = IdealDenoiser::<B, 2>::new(&points, device);
    let near = Tensor::from_floats([[0.1, -0.2], [1.2, 1.7], [0.4, 1.1]], device);
    let sigmas = Sigmas::new(exploding(400).iter().copied().filter(|&sigma| sigma > 0.3).collect());
    check(&mixture, &sigmas, near);
}

/// In ten steps DDIM's inversion is far from leading back; mended it leads back, also through the last step to 0.
fn mended_steps_lead_back_in_few<B: TestBackend>(device: &B::Device) {
    let model = Correlated(0.8, VarianceExploding);
    let x0 = normal::<B, 2>(2, [6, 2], device);
    let sigmas = Sigmas::karras(10, 0.05, 20.0, 5.0);
    for (solver, sampler) in [
        (OdeSolver::Euler, AnySampler::from(GradientEstimation::DDIM)),
        (OdeSolver::Heun, Heun::default().into()),
    ] {
        let error = |fixed_point: usize| {
            let noise = invert(&model, &Inversion { solver, fixed_point }, &sigmas, x0.clone());
            let back = sample_from(&model, sampler, &sigmas, noise, Noise::new(0)).last().unwrap();
            largest_difference(back, x0.clone())
        };
        let (bare, mended) = (error(0), error(40));
        assert!(bare > 1e-2 && mended < 1e-3, "{solver:?}: {bare} and {mended}");
    }
    let adaptive = Inversion { solver: OdeSolver::ADAPTIVE, fixed_point: 1 };
    assert_eq!(adaptive.validate().unwrap_err().setting, "fixed_point");
}

fn norms<B: Backend>(x: Tensor<B, 3>) -> Vec<f64> {
    let row = x.dims()[1] * x.dims()[2];
    values(x).chunks(row).map(|row| row.iter().map(|x| x * x).sum::<f64>().sqrt()).collect()
}

fn arcs_have_their_ends_and_norms<B: TestBackend>(device: &B::Device) {
    let (a, b) = (normal::<B, 3>(1, [3, 4, 5], device), normal::<B, 3>(2, [3, 4, 5], device));
    assert_eq!(bits(slerp(a.clone(), b.clone(), 0.0)), bits(a.clone()));
    assert_eq!(bits(slerp(a.clone(), b.clone(), 1.0)), bits(b.clone()));
    let (long, wide) = (norms(a.clone()), norms(b.clone()));
    for t in [0.1, 0.5, 0.9] {
        let found = slerp(a.clone(), b.clone(), t);
        for (i, norm) in norms(found.clone()).into_iter().enumerate() {
            let expected = (1.0 - t) * long[i] + t * wide[i];
            assert!((norm / expected - 1.0).abs() < 1e-6, "{norm}, expected {expected}");
        }
        // Each sample has an arc of its own.
        let alone = slerp(a.clone().narrow(0, 1, 1), b.clone().narrow(0, 1, 1), t);
        assert_eq!(bits(alone), bits(found.narrow(0, 1, 1)));
    }
    let [x, y] = [[[[3.0, 0.0]]], [[[0.0, 3.0]]]].map(|x| Tensor::<B, 3>::from_floats(x, device));
    let half = 3.0 * 0.5f64.sqrt();
    let third = TensorData::new(vec![3.0 * (PI / 6.0).cos() as f32, 1.5], [1, 1, 2]);
    assert_close("half", slerp(x.clone(), y.clone(), 0.5).into_data(), [[[half as f32; 2]]].into(), 1e-6);
    assert_close("third", slerp(x, y, 1.0 / 3.0).into_data(), third, 1e-6);
}

fn opposite_and_equal_ends_have_arcs<B: TestBackend>(device: &B::Device) {
    let a = normal::<B, 3>(1, [2, 2, 3], device);
    let length = norms(a.clone());
    for (end, name) in
        [(-a.clone(), "opposite"), (a.clone(), "equal"), (a.clone() * (1.0 + 1e-7), "almost equal")]
    {
        for t in [0.25, 0.5, 0.75] {
            let found = slerp(a.clone(), end.clone(), t);
            for (found, expected) in norms(found).into_iter().zip(&length) {
                assert!((found / expected - 1.0).abs() < 1e-5, "{name} at {t}: {found}, expected {expected}");
            }
        }
    }
    assert_close("equal", slerp(a.clone(), a.clone(), 0.3).into_data(), a.clone().into_data(), 1e-6);
    // Half way from a to −a lies at a right angle to both, and what is near the end is near it.
    let middle = slerp(a.clone(), -a.clone(), 0.5);
    let product = values((middle * a.clone()).sum_dim(1).sum_dim(2));
    assert!(product.iter().all(|product| product.abs() < 1e-4), "{product:?}");
    let near = slerp(a.clone(), -a.clone(), 0.9999);
    assert_close("near the end", near.into_data(), (-a.clone()).into_data(), 1e-3);
    // Without a direction, that of the other end.
    let from_zero = slerp(a.zeros_like(), a.clone(), 0.5);
    assert_close("from zero", from_zero.into_data(), (a.clone() * 0.5).into_data(), 1e-6);
    assert_eq!(values(slerp(a.zeros_like(), a.zeros_like(), 0.5)), vec![0.0; 12]);
}

fn variations_go_from_the_data_to_others<B: TestBackend>(device: &B::Device) {
    let model = Correlated(0.8, VarianceExploding);
    let (x0, unit) = (normal::<B, 2>(2, [200, 2], device), normal::<B, 2>(3, [200, 2], device));
    let sigmas = Sigmas::karras(100, 0.01, 20.0, 5.0);
    let begin = |strength: f64, fresh: f64| {
        let variation = Variation { strength, fresh, ..Variation::default() };
        vary(&model, &variation, &sigmas, x0.clone(), unit.clone())
    };
    let distance = |strength: f64, fresh: f64| {
        let Start { sigmas, x } = begin(strength, fresh).unwrap();
        let found = sample_from(&model, Heun::default(), &sigmas, x, Noise::new(0)).last().unwrap();
        mean_and_variance(&values(found - x0.clone())).1.sqrt()
    };
    assert!(begin(0.0, 0.5).is_none());
    assert!(distance(0.7, 0.0) < 2e-3, "{}", distance(0.7, 0.0));
    let (slight, half, whole) = (distance(0.7, 0.1), distance(0.7, 0.5), distance(0.7, 1.0));
    assert!(0.01 < slight && slight < half && half < whole, "{slight} {half} {whole}");
    assert!(distance(0.4, 0.5) < half);
    let Start { sigmas: part, x } = begin(0.7, 1.0).unwrap();
    let expected = noised(&VarianceExploding, x0.clone(), unit.clone(), part[0]);
    assert_eq!(bits(x), bits(expected));
    let wrong = Variation { fresh: 1.5, ..Variation::default() };
    assert_eq!(wrong.validate().unwrap_err().setting, "fresh");
}

/// States are distributed at each level as those of data, whichever way leads up.
fn variations_are_distributed_as_the_data<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, device: &B::Device) {
        let model = Gaussian::<P>::new(0.7);
        // Of 2000 rows of 4 values the standard error of the variance is 1.6 %.
        let x0 = normal::<B, 2>(2, [2000, 4], device) * 0.7;
        let unit = normal::<B, 2>(3, [2000, 4], device);
        for fresh in [0.0, 0.3, 0.7, 1.0] {
            let variation = Variation { fresh, ..Variation::default() };
            let Start { sigmas, x } = vary(&model, &variation, sigmas, x0.clone(), unit.clone()).unwrap();
            let found = sample_from(&model, Heun::default(), &sigmas, x, Noise::new(0)).last().unwrap();
            let (_, variance) = mean_and_variance(&values(found));
            assert!((variance / 0.49 - 1.0).abs() < 0.08, "{fresh}: {variance}");
        }
    }
    check::<B, _>(&exploding(60), device);
    check::<B, _>(&straight(60), device);
}

/// ln N(x; 0, c² + (σmin/α)²): the state at σmin, divided by α, is data with noise of σmin/α.
fn likelihood_is_the_closed_form<B: TestBackend>(device: &B::Device) {
    fn check<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, fine: &Sigmas<P>, device: &B::Device) {
        let (model, dims) = (Gaussian::<P>::new(0.7), [5, 1, 2, 2]);
        let x0 = normal::<B, 4>(4, dims, device) * 0.7;
        let low = sigmas[sigmas.steps() - 1];
        let variance = (model.std_at(low) / P::default().alpha(low)).powi(2);
        let rows = values(x0.clone());
        let expected: Vec<f64> = rows
            .chunks(4)
            .map(|row| {
                let squares = row.iter().map(|x| x * x).sum::<f64>();
                let nats = -0.5 * squares / variance - 2.0 * (2.0 * PI * variance).ln();
                -nats / (4.0 * LN_2)
            })
            .collect();
        let bits = |solver, trace| {
            let config = LikelihoodConfig { solver, trace };
            let sigmas = if solver == OdeSolver::Heun { fine } else { sigmas };
            let found = likelihood::<Autodiff<B>, 4, _>(&model, &config, sigmas, x0.clone(), Noise::new(1));
            assert_eq!(found.values, 4);
            found.bits_per_dim(0.0)
        };
        for solver in [OdeSolver::Heun, OdeSolver::Rk4, OdeSolver::ADAPTIVE] {
            let [exact, estimated] = [Trace::Exact, Trace::default()].map(|trace| bits(solver, trace));
            for ((exact, estimated), expected) in exact.iter().zip(&estimated).zip(&expected) {
                assert!((exact - expected).abs() < 1e-3, "{solver:?}: {exact}, expected {expected}");
                // The Jacobian is a multiple of the identity, of which signs find the trace itself.
                assert!((exact - estimated).abs() < 1e-5, "{solver:?}: {exact} and {estimated}");
            }
        }
        let config = LikelihoodConfig::default();
        let found = likelihood::<Autodiff<B>, 4, _>(&model, &config, sigmas, x0, Noise::new(1));
        let [plain, pixels] = [0.0, PIXEL_OFFSET].map(|offset| found.bits_per_dim(offset)[0]);
        assert!((pixels - plain - 7.0).abs() < 1e-12);
    }
    check::<B, _>(&exploding(100), &exploding(400), device);
    check::<B, _>(&straight(100), &straight(400), device);
}

/// Points with noise of σmin around them have a density in closed form. Their mean is 0, so that σmax drowns them.
fn likelihood_of_a_mixture<B: TestBackend>(device: &B::Device) {
    let (points, low) = ([[0.5f32, -2.5], [1.0, 2.0], [-1.5, 0.5]], 0.3);
    let data = TensorData::new(points.concat(), [3, 2]);
    let model = IdealDenoiser::<Autodiff<B>, 2>::new(&data, device);
    let at = [[0.4f32, -2.2], [1.2, 1.7], [0.4, 1.1], [-1.0, 0.0]];
    let density = |x: &[f32; 2]| {
        let kernel = |point: &[f32; 2]| {
            let squares: f64 = x.iter().zip(point).map(|(x, p)| f64::from(x - p).powi(2)).sum();
            (-squares / (2.0 * low * low)).exp() / (2.0 * PI * low * low)
        };
        points.iter().map(kernel).sum::<f64>() / 3.0
    };
    let config = LikelihoodConfig { solver: OdeSolver::Rk4, trace: Trace::Exact };
    let sigmas = Sigmas::karras(300, low, 200.0, 7.0);
    let found = likelihood(&model, &config, &sigmas, Tensor::<B, 2>::from_floats(at, device), Noise::new(0));
    for (found, x) in found.log_likelihood.iter().zip(&at) {
        let expected = density(x).ln();
        // Two values: 1e-3 bits of each are 1.4e-3 nats.
        assert!((found - expected).abs() < 1.4e-3, "{found}, expected {expected}");
    }
}

/// Of a correlated Gaussian one draw is off by chance, and the mean over many is within its standard error.
fn random_signs_estimate_the_trace<B: TestBackend>(device: &B::Device) {
    let (model, sigmas) = (Correlated(0.8, VarianceExploding), Sigmas::karras(30, 0.05, 80.0, 7.0));
    let (rows, solver) = (400, OdeSolver::Heun);
    // One sample many times: its signs are those of its place.
    let x0 = Tensor::<B, 2>::from_floats([[0.5, -0.3]], device).repeat_dim(0, rows);
    let run = |trace: Trace, seed: u64| {
        let config = LikelihoodConfig { solver, trace };
        likelihood::<Autodiff<B>, 2, _>(&model, &config, &sigmas, x0.clone(), Noise::new(seed)).log_likelihood
    };
    let exact = run(Trace::Exact, 0)[0];
    let single = run(Trace::Hutchinson { draws: 1 }, 0);
    let (mean, variance) = mean_and_variance(&single);
    let error = (variance / rows as f64).sqrt();
    assert!(variance.sqrt() > 0.1, "{variance}");
    assert!((mean - exact).abs() < 4.0 * error, "{mean} ± {error}, expected {exact}");
    // Sixteen draws of each have a quarter of the spread.
    let (mean, less) = mean_and_variance(&run(Trace::Hutchinson { draws: 16 }, 1));
    let ratio = (less / variance).sqrt();
    assert!((0.2..0.3).contains(&ratio), "{ratio}");
    assert!((mean - exact).abs() < 4.0 * (less / rows as f64).sqrt(), "{mean}, expected {exact}");
    assert_ne!(single, run(Trace::Hutchinson { draws: 1 }, 1));
}

/// The later half of sixteen samples are those of a batch that begins there.
fn samples_do_not_depend_on_those_beside_them<B: TestBackend>(device: &B::Device) {
    let (model, sigmas) = (Correlated(0.8, VarianceExploding), Sigmas::karras(12, 0.05, 20.0, 7.0));
    let data = normal::<B, 2>(9, [16, 2], device);
    let close = |what: &str, whole: Vec<f64>, part: Vec<f64>| {
        let whole = whole[whole.len() / 2..].to_vec();
        let n = whole.len();
        assert_close(what, TensorData::new(part, [n]), TensorData::new(whole, [n]), 1e-6);
    };
    let of = |first: usize| {
        let rows = 16 - first;
        (Noise::new(7).starting_at(first as u64), data.clone().narrow(0, first, rows), rows)
    };
    let config = LikelihoodConfig::default();
    let [whole, part] = [0, 8].map(|first| {
        let (noise, x0, _) = of(first);
        likelihood::<Autodiff<B>, 2, _>(&model, &config, &sigmas, x0, noise).log_likelihood
    });
    close("likelihood", whole, part);
    let jumps = Jumps::new(&sigmas, 3, 3).unwrap();
    let [whole, part] = [0, 8].map(|first| {
        let (noise, x0, rows) = of(first);
        let x = noise.initial([rows, 2], device) * sigmas[0];
        let known = Known::new(x0, Tensor::from_floats([[0.0, 1.0]], device)).unwrap();
        let states = repaint(&model, GradientEstimation::DDPM, &jumps, x, noise, known);
        values(states.last().unwrap())
    });
    close("repainted", whole, part);
    let [whole, part] = [0, 8].map(|first| {
        let (noise, x0, rows) = of(first);
        let unit = noise.initial([rows, 2], device);
        values(vary(&model, &Variation::default(), &sigmas, x0, unit).unwrap().x)
    });
    close("varied", whole, part);
    let [whole, part] = [0, 8].map(|first| {
        let (noise, x0, _) = of(first);
        values(dequantized(x0, noise))
    });
    close("dequantized", whole, part);
}

fn bytes_become_continuous<B: TestBackend>(device: &B::Device) {
    let bytes: Vec<f32> = (0..256).map(|byte| byte as f32 / 127.5 - 1.0).collect();
    let x0 = Tensor::<B, 2>::from_data(TensorData::new(bytes.repeat(20), [20, 256]), device);
    let cells: Vec<f64> = values(dequantized(x0, Noise::new(0))).iter().map(|x| (x + 1.0) * 128.0).collect();
    let parts: Vec<f64> = cells.iter().enumerate().map(|(i, cell)| cell - (i % 256) as f64).collect();
    // f32 has 2⁻¹⁷ cells to both sides of 128.
    assert!(parts.iter().all(|part| (-1e-4..1.0001).contains(part)), "{parts:?}");
    let (mean, variance) = mean_and_variance(&parts);
    assert!((mean - 0.5).abs() < 0.02 && (variance - 1.0 / 12.0).abs() < 0.005, "{mean} {variance}");
}

fn gradients_by_the_input_have_no_dropout<B: TestBackend>(device: &B::Device) {
    let config = UnetConfig { in_dim: 8, ch: 32, ch_mult: vec![1, 1], dropout: 0.5, ..UnetConfig::default() };
    let network = config.init::<Autodiff<B>>(0, device);
    let x = normal::<Autodiff<B>, 4>(
        1,
        Denoiser::input_shape(&Diffusion::new(network.clone(), EpsPrediction), 1),
        device,
    );
    let of = |network| {
        let model = Diffusion::new(network, EpsPrediction);
        [0, 1].map(|_| values(model.evaluate(x.clone(), 1.0).velocity()))
    };
    let [first, second] = of(network.clone());
    assert_ne!(first, second);
    let [first, second] = of(network.without_dropout());
    assert_eq!(first, second);
}

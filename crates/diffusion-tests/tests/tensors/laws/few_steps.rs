//! Models for few steps: consistency functions and straightened flows, against closed forms of normally distributed data.

use crate::support::gaussian::Gaussian;
use crate::support::parameters::parameters;
use crate::support::spec::named;
use burn::backend::Autodiff;
use burn::module::{Module, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::network::mlp::TimeInputMlpConfig;
use diffusion::core::objective::{
    AnyLoss, BatchPlace, ConsistencyDistillation, ConsistencyTraining, NoisyBatch, Squared, TrainedModel,
};
use diffusion::core::random::normal_data;
use diffusion::core::sampler::Consistency;
use diffusion::core::schedule::{Flow, LogLinear};
use diffusion::core::{
    ConsistencyPrediction, Denoiser, DenoiserOutput, Diffusion, FlowPrediction, Heun, Network, Noise,
    NoiseRequest, Objective, Path, Purpose, Sigmas, Straight, Tracer, VarianceExploding, X0Prediction,
    sample_from,
};
use diffusion::train::{AdamWConfig, Checkpoint, LrDecay, LrSchedule, TrainConfig, denoiser_teacher, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::panic::{AssertUnwindSafe, catch_unwind};

backend_tests!(
    at_the_smallest_level_the_estimate_is_the_input,
    a_perfect_consistency_function_has_no_loss,
    the_target_takes_no_gradient,
    consistency_training_finds_the_factor_of_normal_data,
    a_consistency_function_samples_in_any_number_of_steps,
    consistency_sampling_follows_the_published_rule,
    given_noise_takes_the_place_of_drawn_noise,
    a_curriculum_goes_on_exactly,
);

/// Training at length, whose outcome is the method's and not the device's: on one backend.
#[cfg(feature = "flex")]
mod on_flex {
    use burn::backend::Flex;

    #[test]
    fn distillation_finds_the_factor_of_normal_data() {
        super::distillation_finds_the_factor_of_normal_data::<Flex>(&Default::default());
    }

    #[test]
    fn reflow_of_normal_data_is_straight() {
        super::reflow_of_normal_data_is_straight::<Flex>(&Default::default());
    }
}

/// The data's standard deviation.
const STD: f64 = 0.5;

/// A network that multiplies by one number for each of some noise levels.
#[derive(Module, Debug)]
struct Table<B: Backend> {
    factors: Param<Tensor<B, 1>>,
    #[module(skip)]
    levels: Vec<f64>,
}

impl<B: Backend> Table<B> {
    fn new(levels: &[f64], factor: impl Fn(f64) -> f64, device: &B::Device) -> Self {
        let factors: Vec<f32> = levels.iter().map(|&level| factor(level) as f32).collect();
        let factors = Tensor::from_data(TensorData::new(factors, [levels.len()]), device);
        Self { factors: Param::from_tensor(factors), levels: levels.to_vec() }
    }

    fn place(&self, sigma: f64) -> i64 {
        let distance = |&place: &usize| (self.levels[place].ln() - sigma.ln()).abs();
        let places = 0..self.levels.len();
        places.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap() as i64
    }
}

impl<B: Backend> Network<B, 2> for Table<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 2]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let places: Vec<i64> = sigma.into_data().iter::<f64>().map(|sigma| self.place(sigma)).collect();
        let places = TensorData::new(places, [x.dims()[0]]);
        let factors = self.factors.val().select(0, Tensor::from_data(places, &x.device()));
        tracer.layer(&"network", x * factors.unsqueeze_dim(1))
    }
}

/// Where the probability flow of normal data takes x from `sigma` to `to`, as a factor of x.
fn factor<P: Path + Default>(sigma: f64, to: f64) -> f64 {
    let data = Gaussian::<P>::new(STD);
    data.std_at(to) / data.std_at(sigma)
}

/// The levels of `intervals` intervals between 0.01 and 10.
fn grid(intervals: usize) -> Vec<f64> {
    let down = Sigmas::<VarianceExploding>::karras(intervals + 1, 0.01, 10.0, 7.0);
    down.iter().rev().skip(1).copied().collect()
}

fn schedule() -> LogLinear {
    LogLinear::new(10, 0.01, 10.0)
}

/// One number of intervals, and the squared distance, under which a linear model has a minimum in closed form.
fn settings(intervals: usize) -> ConsistencyTraining {
    let loss = AnyLoss::from(Squared {});
    ConsistencyTraining { intervals, most_intervals: intervals, loss, ..ConsistencyTraining::default() }
}

fn at_the_smallest_level_the_estimate_is_the_input<B: TestBackend>(device: &B::Device) {
    /// Never to be asked.
    #[derive(Module, Debug)]
    struct Untouchable<B: Backend> {
        weight: Param<Tensor<B, 1>>,
    }

    impl<B: Backend> Network<B, 2> for Untouchable<B> {
        type Condition = ();

        fn input_shape(&self, batch: usize) -> [usize; 2] {
            [batch, 2]
        }

        fn trace<T: Tracer<B>>(&self, _: Tensor<B, 2>, _: Tensor<B, 1>, (): (), _: &mut T) -> Tensor<B, 2> {
            panic!("the network was asked")
        }
    }

    let mode = ConsistencyPrediction { sigma_data: 0.5, sigma_min: 0.02 };
    let network = Untouchable { weight: Param::from_tensor(Tensor::zeros([1], device)) };
    let model = Diffusion::<B, _, _>::new(network, mode);
    let x = Tensor::<B, 2>::from_floats([[0.3, -1.7], [1e-4, 12.0]], device);
    let bytes = |x: Tensor<B, 2>| x.into_data().bytes;
    assert_eq!(bytes(model.denoised(x.clone(), 0.02, ())), bytes(x.clone()));
    assert_eq!(bytes(model.denoised(x.clone(), vec![0.02, 0.01], ())), bytes(x.clone()));
    assert_eq!(bytes(model.evaluate(x.clone(), 0.02).denoised()), bytes(x.clone()));
    assert!(catch_unwind(AssertUnwindSafe(|| model.denoised(x.clone(), 0.021, ()))).is_err());
    // Of a batch some examples may be there.
    let mlp = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<B>(0, device);
    let both = Diffusion::<B, _, _>::new(mlp, mode).denoised(x.clone(), vec![0.02, 3.0], ());
    let row = |x: Tensor<B, 2>, row| x.narrow(0, row, 1).into_data().bytes;
    assert_eq!(row(both.clone(), 0), row(x.clone(), 0));
    assert_ne!(row(both, 1), row(x, 1));
}

/// The model whose estimate is `scale` times the consistency function, with the oracle's velocity for a teacher.
struct Scaled<B: AutodiffBackend> {
    scale: Tensor<B, 1>,
}

impl<B: AutodiffBackend> Scaled<B> {
    fn times<C: Backend>(x: Tensor<C, 2>, sigmas: &[f64], factor: impl Fn(f64) -> f64) -> Tensor<C, 2> {
        let factors: Vec<f32> = sigmas.iter().map(|&sigma| factor(sigma) as f32).collect();
        let factors = Tensor::<C, 2>::from_data(TensorData::new(factors, [sigmas.len(), 1]), &x.device());
        x * factors
    }
}

impl<B: AutodiffBackend> TrainedModel<B, 2> for Scaled<B> {
    fn alpha(&self, _: f64) -> f64 {
        1.0
    }

    fn denoised(&self, x: Tensor<B, 2>, sigmas: &[f64]) -> Tensor<B, 2> {
        Self::times(x, sigmas, |sigma| factor::<VarianceExploding>(sigma, 0.01))
            * self.scale.clone().unsqueeze::<2>()
    }

    fn frozen(&self, x: Tensor<B::InnerBackend, 2>, sigmas: &[f64]) -> Tensor<B::InnerBackend, 2> {
        let scale = self.scale.clone().inner().unsqueeze::<2>();
        Self::times(x, sigmas, |sigma| factor::<VarianceExploding>(sigma, 0.01)) * scale
    }

    fn taught_velocity(
        &self,
        x: Tensor<B::InnerBackend, 2>,
        sigmas: &[f64],
    ) -> Option<Tensor<B::InnerBackend, 2>> {
        Some(Self::times(x, sigmas, |sigma| sigma / (sigma * sigma + STD * STD)))
    }
}

/// The mean loss of a batch and its derivative by the scale of the estimates.
fn loss_of<B: TestBackend>(objective: &impl Objective, scale: f64, device: &B::Device) -> (f64, f64) {
    let n = 4096;
    let place = BatchPlace { seed: 3, step: 0, first: 0, examples: n, total: n };
    let levels = objective.levels(&schedule(), &place, &objective.memory());
    let normal = |purpose| Tensor::from_data(normal_data(3, Purpose(purpose), 0, 0, [n, 2]), device);
    let sigmas = levels.iter().map(|level| level.sigma).collect();
    let batch = NoisyBatch::<Autodiff<B>, 2> { x0: normal(901) * STD, eps: normal(902), sigmas };
    let scale = Tensor::<Autodiff<B>, 1>::from_floats([scale as f32], device).require_grad();
    let model = Scaled { scale: scale.clone() };
    let losses = objective.batch_losses(&model, &schedule(), &batch, &place).unwrap();
    assert_eq!(losses.dims(), [n]);
    let loss = losses.reshape([1, n]).mean_dim(1).reshape([1]);
    let gradient = scale.grad(&loss.backward()).unwrap();
    let number = |x: TensorData| x.iter::<f64>().next().unwrap();
    (number(loss.into_data()), number(gradient.into_data()))
}

/// Two points of one way of the teacher have the same end, up to its error; two points of one example and noise have so
/// on average, as their levels come together.
fn a_perfect_consistency_function_has_no_loss<B: TestBackend>(device: &B::Device) {
    let distillation = ConsistencyDistillation(settings(160));
    let (loss, gradient) = loss_of::<B>(&distillation, 1.0, device);
    let (other, steep) = loss_of::<B>(&distillation, 1.1, device);
    assert!(loss < 1e-6 * other && gradient.abs() < 1e-3 * steep, "{loss} of {other}, {gradient} of {steep}");
    let huber = ConsistencyDistillation(ConsistencyTraining {
        loss: ConsistencyTraining::default().loss,
        ..settings(160)
    });
    let (loss, _) = loss_of::<B>(&huber, 1.0, device);
    let (other, _) = loss_of::<B>(&huber, 1.1, device);
    assert!(loss < 1e-2 * other, "{loss} of {other}");

    let (_, gradient) = loss_of::<B>(&settings(160), 1.0, device);
    let (_, steep) = loss_of::<B>(&settings(160), 1.1, device);
    assert!(gradient.abs() < 0.2 * steep, "{gradient} of {steep}");
}

/// Of levels above the lowest interval, both estimates have the scale: were the gradient to flow through the target too, it
/// would be that of their difference, which is twice as large.
fn the_target_takes_no_gradient<B: TestBackend>(device: &B::Device) {
    let objective = ConsistencyTraining { mean: 1.5, std: 0.01, ..settings(2) };
    let loss = |scale| loss_of::<B>(&objective, scale, device).0;
    let whole = (loss(1.1) - loss(0.9)) / 0.2;
    let (_, found) = loss_of::<B>(&objective, 1.0, device);
    assert!((found / whole - 0.5).abs() < 0.1, "{found}, of all {whole}");
}

/// A table of factors for `intervals` intervals that is trained under `objective`, with the oracle for a teacher, and its
/// levels; the lowest is never asked for.
fn trained<B: TestBackend, O: Objective>(
    objective: O,
    intervals: usize,
    device: &B::Device,
) -> Vec<(f64, f64)> {
    let n = 256;
    let batches = (0..).map(|i| {
        let values = normal_data(i, Purpose(903), 0, 0, [n, 2]);
        let values: Vec<f32> = values.iter::<f32>().map(|x| STD as f32 * x).collect();
        (TensorData::new(values, [n, 2]), ())
    });
    let levels = grid(intervals);
    let network = Table::<Autodiff<B>>::new(&levels, |_| 0.5, device);
    let model = Diffusion::new(network, X0Prediction);
    let teacher = denoiser_teacher(Gaussian::<VarianceExploding>::new(STD));
    let mut run = train(batches, model, schedule(), &quick(1_500)).under(objective).taught_by(teacher);
    assert!(run.has_teacher());
    run.by_ref().last();
    let found = parameters(&run.model()).concat().into_iter().map(f64::from);
    levels.into_iter().zip(found).skip(1).collect()
}

/// For a few numbers that are to be found.
fn quick(steps: u64) -> TrainConfig {
    TrainConfig {
        lr: 0.05,
        lr_schedule: LrSchedule { warmup: 0, decay: LrDecay::Cosine { floor: 0.0 } },
        adamw: AdamWConfig { beta_2: 0.95, weight_decay: 0.0, ..AdamWConfig::default() },
        ..TrainConfig::new(steps)
    }
}

/// The teacher's own error along so few levels is 1.3 %.
#[cfg(feature = "flex")]
fn distillation_finds_the_factor_of_normal_data<B: TestBackend>(device: &B::Device) {
    for (level, found) in trained::<B, _>(ConsistencyDistillation(settings(20)), 20, device) {
        let expected = factor::<VarianceExploding>(level, 0.01);
        // High levels are drawn seldom.
        let tolerance = if level < 5.0 { 0.03 } else { 0.1 };
        assert!((found / expected - 1.0).abs() < tolerance, "{found} at {level}, expected {expected}");
    }
}

/// Two noisy examples of the same noise are not on one way: the best factor of the upper one is that of the lower one times
/// (c² + σ·σ′)/(c² + σ²), and only with many levels that of the flow.
fn consistency_training_finds_the_factor_of_normal_data<B: TestBackend>(device: &B::Device) {
    let ratio = |upper: f64, lower: f64| (STD * STD + upper * lower) / (STD * STD + upper * upper);
    let along = |levels: &[f64]| -> f64 { levels.windows(2).map(|pair| ratio(pair[1], pair[0])).product() };
    let levels = grid(10);
    for (i, (level, found)) in trained::<B, _>(settings(10), 10, device).into_iter().enumerate() {
        let expected = along(&levels[..=i + 1]);
        assert!((found / expected - 1.0).abs() < 0.06, "{found} at {level}, expected {expected}");
    }
    let flow = factor::<VarianceExploding>(10.0, 0.01);
    assert!((along(&grid(1280)) / flow - 1.0).abs() < 2e-3 && (along(&levels) / flow - 1.0).abs() > 0.1);
}

/// The exact consistency function of normal data, which ends at the noise level `to`.
struct Perfect<P> {
    path: P,
    to: f64,
}

impl<B: Backend, P: Path + Default> Denoiser<B, 2> for Perfect<P> {
    type Path = P;

    fn path(&self) -> P {
        self.path.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 1]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        let end = x.clone() * factor::<P>(sigma, self.to);
        DenoiserOutput::from_denoised(&self.path, x, end, sigma)
    }
}

/// The standard deviation of the end, exactly: a row for the start and one for the noise of each step.
fn std_of_the_end<B: TestBackend, P: Path + Default>(levels: Vec<f64>, device: &B::Device) -> f64 {
    let sigmas = Sigmas::<P>::new(levels);
    let unit = |row: usize| {
        let values: Vec<f32> = (0..sigmas.len()).map(|i| f32::from(i == row)).collect();
        Tensor::<B, 2>::from_data(TensorData::new(values, [sigmas.len(), 1]), device)
    };
    let data = Gaussian::<P>::new(STD);
    let model = Perfect { path: P::default(), to: *sigmas.last().unwrap() };
    let x = unit(0) * data.std_at(sigmas[0]);
    let noise = |step: NoiseRequest| unit(step.index + 1);
    let end = sample_from(&model, Consistency {}, &sigmas, x, noise).last().unwrap().into_data();
    end.iter::<f64>().map(|factor| factor * factor).sum::<f64>().sqrt()
}

fn a_consistency_function_samples_in_any_number_of_steps<B: TestBackend>(device: &B::Device) {
    for levels in [
        vec![10.0, 0.0],
        vec![10.0, 0.02],
        vec![10.0, 1.0, 0.02],
        vec![10.0, 3.0, 3.0, 1.0, 0.1, 0.02],
        vec![10.0, 0.5, 0.0],
    ] {
        let expected = Gaussian::<VarianceExploding>::new(STD).std_at(*levels.last().unwrap());
        let found = std_of_the_end::<B, VarianceExploding>(levels.clone(), device);
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} along {levels:?}, expected {expected}");
    }
    for levels in [vec![1.0, 0.0], vec![1.0, 0.7, 0.2, 0.0], vec![1.0, 0.5, 0.01]] {
        let expected = Gaussian::<Straight>::new(STD).std_at(*levels.last().unwrap());
        let found = std_of_the_end::<B, Straight>(levels.clone(), device);
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} along {levels:?}, expected {expected}");
    }
}

/// x ← D + √(τ² − ε²)·z between steps, and D at the end.
fn consistency_sampling_follows_the_published_rule<B: TestBackend>(device: &B::Device) {
    let (model, sigmas) =
        (Gaussian::<VarianceExploding>::new(STD), Sigmas::<VarianceExploding>::new(vec![5.0, 2.0, 0.3]));
    let x = Tensor::<B, 2>::from_floats([[4.0], [-1.0]], device);
    let z = |_: NoiseRequest| Tensor::<B, 2>::from_floats([[0.5], [1.5]], device);
    let states: Vec<Vec<f64>> = sample_from(&model, Consistency {}, &sigmas, x, z)
        .map(|state| state.into_data().iter::<f64>().collect())
        .collect();
    let d = |x: f64, sigma: f64| x * STD * STD / (STD * STD + sigma * sigma);
    for (row, (x, z)) in [(4.0, 0.5), (-1.0, 1.5)].into_iter().enumerate() {
        let first = d(x, 5.0) + (2.0f64 * 2.0 - 0.3 * 0.3).sqrt() * z;
        for (found, expected) in [(states[0][row], first), (states[1][row], d(first, 2.0))] {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    }
}

fn given_noise_takes_the_place_of_drawn_noise<B: TestBackend>(device: &B::Device) {
    let (n, config) = (64, TrainConfig::new(3));
    let x0 = || TensorData::zeros::<f32, _>([n, 2]);
    let model = || {
        let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }
            .init::<Autodiff<B>>(0, device);
        Diffusion::new(network, FlowPrediction)
    };
    let drawn = |step| normal_data(config.seed, diffusion::train::purpose::TRAINING_NOISE, step, 0, [n, 2]);
    let flow = Flow::default();
    let losses = |noise: &dyn Fn(u64) -> TensorData| -> Vec<u64> {
        let batches = (0..3).map(|step| (x0(), noise(step), ()));
        train(batches, model(), &flow, &config).map(|step| step.unwrap().loss().to_bits()).collect()
    };
    let own: Vec<u64> = train((0..3).map(|_| (x0(), ())), model(), &flow, &config)
        .map(|step| step.unwrap().loss().to_bits())
        .collect();
    assert_eq!(losses(&drawn), own);
    assert_ne!(losses(&|step| drawn(step + 1)), own);
}

/// The flow takes noise ε to c·ε. Trained on such pairs a model goes straight: one step of Euler's method is exact, where
/// of the first flow's it ends at 0, the mean of all data.
#[cfg(feature = "flex")]
fn reflow_of_normal_data_is_straight<B: TestBackend>(device: &B::Device) {
    let many = Sigmas::<Straight>::new((0..=64).rev().map(|i| f64::from(i) / 64.0).collect());
    let oracle = Gaussian::<Straight>::new(STD);
    let n = 256;
    let pairs = |seed| {
        let eps: Tensor<B, 2> = Noise::new(seed).initial([n, 2], device);
        let x0 = sample_from(&oracle, Heun::default(), &many, eps.clone(), Noise::new(seed)).last().unwrap();
        (x0.into_data(), eps.into_data())
    };
    let levels: Vec<f64> = vec![0.25, 0.5, 0.75, 1.0];
    let schedule = diffusion::core::schedule::Levels::<Straight>::new(levels.clone());
    let trained = |paired: bool| {
        let network = Table::<Autodiff<B>>::new(&levels, |_| 0.0, device);
        let config = quick(300);
        let batches = (0..300).map(|seed| {
            let (x0, eps) = pairs(seed);
            let other = if paired { eps } else { pairs(1_000 + seed).1 };
            (x0, other, ())
        });
        let mut run = train(batches, Diffusion::new(network, FlowPrediction), &schedule, &config);
        run.by_ref().last();
        run.model()
    };
    let end = |model: &Diffusion<B, Table<B>, FlowPrediction>, levels: Vec<f64>| -> f64 {
        let eps = Tensor::<B, 2>::ones([1, 2], device);
        let sigmas = Sigmas::<Straight>::new(levels);
        let euler = diffusion::core::GradientEstimation::DDIM;
        sample_from(model, euler, &sigmas, eps, Noise::new(0))
            .last()
            .unwrap()
            .into_data()
            .iter::<f64>()
            .next()
            .unwrap()
    };
    let straight = trained(true);
    for levels in [vec![1.0, 0.0], vec![1.0, 0.5, 0.0], vec![1.0, 0.75, 0.5, 0.25, 0.0]] {
        let found = end(&straight, levels.clone());
        assert!((found - STD).abs() < 2e-3, "{found} along {levels:?}, expected {STD}");
    }
    let curved = end(&trained(false), vec![1.0, 0.0]);
    assert!(curved.abs() < 0.05, "{curved}");
}

/// Three steps, a doubling of the noise levels among them, and three more are six.
fn a_curriculum_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let spec = named("network", "consistency", "log-linear");
    let folder = tempfile::tempdir().unwrap();
    let objective = || ConsistencyTraining { double_every: 2, ..ConsistencyTraining::default() };
    let config = TrainConfig { accumulate: 2, seed: 4, ..TrainConfig::new(6) };
    let batches = |first: u64| {
        (first..).map(|i| {
            let values = (0..12).map(|j| ((i as usize * 5 + j) % 17) as f32 / 9.0 - 1.0).collect::<Vec<_>>();
            (TensorData::new(values, [6, 2]), ())
        })
    };
    let model = || {
        let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }
            .init::<Autodiff<B>>(0, device);
        Diffusion::new(network, ConsistencyPrediction { sigma_data: 0.5, sigma_min: 0.01 })
    };
    let start = |first| train(batches(first), model(), schedule(), &config);
    let mut whole = start(0).under(objective());
    let losses: Vec<u64> = whole.by_ref().map(|step| step.unwrap().loss().to_bits()).collect();
    let mut part = start(0).under(objective());
    let mut again: Vec<u64> = part.by_ref().take(3).map(|step| step.unwrap().loss().to_bits()).collect();
    let saved = part.save(folder.path(), &spec, None).unwrap();
    let checkpoint = Checkpoint::open(saved.path()).unwrap();
    let mut rest = start(checkpoint.state().batches).under(objective()).resume(&checkpoint, &spec).unwrap();
    again.extend(rest.by_ref().map(|step| step.unwrap().loss().to_bits()));
    assert_eq!(losses, again);
    assert_eq!(parameters(&rest.model()), parameters(&whole.model()));
    assert_eq!(parameters(rest.ema()), parameters(whole.ema()));
    // Without the curriculum it is another run.
    let flat = start(0).under(ConsistencyTraining::default());
    assert_ne!(losses, flat.map(|step| step.unwrap().loss().to_bits()).collect::<Vec<_>>());
}

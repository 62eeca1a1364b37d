//! A network that is given its own estimate of the data: which one, in sampling and in training.

use crate::support::parameters::parameters;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::guidance::Interval;
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::objective::{ConsistencyTraining, LearnedVariance, Weighted};
use diffusion::core::schedule::{Levels, LogLinear};
use diffusion::core::{
    Adaptive, AnyPath, AnyPrediction, ClassifierFree, Denoiser, DenoiserOutput, Diffusion, EpsPrediction,
    GradientEstimation, Guided, Heun, Labels, Network, Noise, NullCondition, Objective, Parameterization,
    PredictionMse, Sampler, Sigmas, Tracer, VarianceExploding, sample_from,
};
use diffusion::train::{TrainConfig, state_dict, train};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

backend_tests!(
    only_the_first_layer_widens,
    every_network_reads_its_estimate,
    every_prediction_is_told_its_last_estimate,
    within_a_step_the_estimate_is_that_of_its_beginning,
    a_sample_does_not_depend_on_the_others,
    each_condition_has_its_own_estimate,
    half_of_the_examples_are_trained_with_an_estimate,
    no_gradient_flows_into_the_estimate,
    objectives_without_a_prediction_are_refused,
);

fn mlp() -> TimeInputMlpConfig {
    TimeInputMlpConfig { hidden_dims: vec![16, 16], self_condition: true, ..Default::default() }
}

fn conditional() -> ConditionalMlpConfig {
    let labels = CondEmbedderLabelConfig::new(5);
    ConditionalMlpConfig { hidden_dims: vec![16, 16], labels, self_condition: true, ..Default::default() }
}

fn dit() -> DitConfig {
    let (in_dim, channels) = (4, 3);
    DitConfig {
        in_dim,
        channels,
        depth: 1,
        head_dim: 4,
        num_heads: 2,
        self_condition: true,
        ..Default::default()
    }
}

fn unet() -> UnetConfig {
    UnetConfig {
        in_dim: 4,
        in_ch: 3,
        out_ch: 3,
        ch: 32,
        ch_mult: vec![1],
        embed_ch_mult: 1,
        num_res_blocks: 1,
        attn_resolutions: vec![],
        self_condition: true,
        ..Default::default()
    }
}

/// Shapes of the state dicts of a network that is given an estimate and of the same without, beside their numbers of
/// parameters.
fn widened<B: Backend, N: Network<B, D> + Module<B>, const D: usize>(
    [told, plain]: [N; 2],
    counted: [u128; 2],
    first: (&str, &[usize], &[usize]),
) {
    let shapes = |network: &N| -> Vec<(String, Vec<usize>)> {
        let dict = state_dict::<B, N, D>(network);
        dict.iter().map(|(name, tensor)| (name.clone(), tensor.shape.to_vec())).collect()
    };
    assert!(told.self_conditioned() && !plain.self_conditioned());
    assert_eq!(told.input_shape(2), plain.input_shape(2));
    assert_eq!([&told, &plain].map(|network| network.num_params() as u128), counted);
    let (told, plain) = (shapes(&told), shapes(&plain));
    let differing: Vec<_> = told.iter().zip(&plain).filter(|(told, plain)| told != plain).collect();
    let [((name, wide), (_, narrow))] = differing[..] else { panic!("{differing:?}") };
    assert_eq!((&name[..], &wide[..], &narrow[..]), first);
}

fn only_the_first_layer_widens<B: TestBackend>(device: &B::Device) {
    let mlps = [mlp(), TimeInputMlpConfig { self_condition: false, ..mlp() }];
    let counted = mlps.clone().map(|config| config.num_params());
    let first = ("net.0.weight", &[16, 6][..], &[16, 4][..]);
    widened::<B, _, 2>(mlps.map(|config| config.init(0, device)), counted, first);
    let mlps = [conditional(), ConditionalMlpConfig { self_condition: false, ..conditional() }];
    let counted = mlps.clone().map(|config| config.num_params());
    let first = ("net.0.weight", &[16, 10][..], &[16, 8][..]);
    widened::<B, _, 2>(mlps.map(|config| config.init(0, device)), counted, first);
    let dits = [dit(), DitConfig { self_condition: false, ..dit() }];
    let counted = dits.clone().map(|config| config.num_params(None));
    let first = ("x_embed.proj.weight", &[8, 6, 2, 2][..], &[8, 3, 2, 2][..]);
    widened::<B, _, 4>(dits.map(|config| config.init(0, device)), counted, first);
    let unets = [unet(), UnetConfig { self_condition: false, ..unet() }];
    let counted = unets.clone().map(|config| config.num_params(None));
    let first = ("conv_in.weight", &[32, 6, 3, 3][..], &[32, 3, 3, 3][..]);
    widened::<B, _, 4>(unets.map(|config| config.init(0, device)), counted, first);
}

/// Moves every parameter off zero, where some begin.
struct OffZero;

impl<B: Backend> ModuleMapper<B> for OffZero {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let noise =
            Noise::new(tensor.dims().iter().sum::<usize>() as u64).initial(tensor.dims(), &tensor.device());
        Param::from_mapped_value(id, tensor + noise * 0.1, mapper)
    }
}

/// The network takes its estimate for what it is: none is zeros, and another one changes the output.
fn reads_its_estimate<B: TestBackend, N, const D: usize>(
    network: N,
    condition: N::Condition,
    device: &B::Device,
) where
    N: Network<B, D> + Module<B>,
{
    let model = Diffusion::<B, _, _>::new(network.map(&mut OffZero), EpsPrediction);
    let x = model.rand_input::<D>(3, Noise::new(1), device);
    let after = |estimate: Option<Tensor<B, D>>| {
        model.predict_after(x.clone(), 0.7, condition.clone(), estimate).into_data()
    };
    let none = after(None);
    assert_eq!(none.shape, x.shape());
    assert_eq!(model.predict(x.clone(), 0.7, condition.clone()).into_data().bytes, none.bytes);
    assert_eq!(after(Some(x.zeros_like())).bytes, none.bytes);
    assert_ne!(after(Some(x.clone() * 0.5)).bytes, none.bytes);
    let alone = model.given(condition.clone()).evaluate(x.clone(), 0.7);
    let expected = x - Tensor::from_data(none, device) * 0.7;
    assert_close("evaluated alone", alone.denoised().into_data(), expected.into_data(), B::TOLERANCE);
}

fn every_network_reads_its_estimate<B: TestBackend>(device: &B::Device) {
    reads_its_estimate::<B, _, 2>(mlp().init(0, device), (), device);
    reads_its_estimate::<B, _, 2>(conditional().init(0, device), Labels(vec![0, 3, 5]), device);
    reads_its_estimate::<B, _, 4>(dit().init(0, device), (), device);
    reads_its_estimate::<B, _, 4>(unet().init(0, device), (), device);
}

/// Input, estimate, and whether dropout was off, of one call.
type Call = (Vec<f64>, Vec<f64>, bool);

/// F = w·(x + estimate); notes what it is given.
#[derive(Module, Debug)]
struct Noting<B: Backend> {
    w: Param<Tensor<B, 1>>,
    frozen: bool,
    #[module(skip)]
    calls: Arc<Mutex<Vec<Call>>>,
}

impl<B: Backend> Noting<B> {
    fn new(w: f32, device: &B::Device) -> Self {
        Self { w: Param::from_tensor(Tensor::from_floats([w], device)), frozen: false, calls: Arc::default() }
    }
}

fn host<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f64> {
    x.into_data().iter().collect()
}

impl<B: Backend> Network<B, 2> for Noting<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 1]
    }

    fn self_conditioned(&self) -> bool {
        true
    }

    fn trace<T: Tracer<B>>(&self, x: Tensor<B, 2>, _: Tensor<B, 1>, (): (), tracer: &mut T) -> Tensor<B, 2> {
        let (x, estimate) = (x.clone().narrow(1, 0, 1), x.narrow(1, 1, 1));
        self.calls.lock().unwrap().push((host(x.clone()), host(estimate.clone()), self.frozen));
        tracer.layer(&"network", (x + estimate) * self.w.val().unsqueeze::<2>())
    }

    fn without_dropout(self) -> Self {
        Self { frozen: true, ..self }
    }
}

/// Euler's method by hand, with the estimate of the step before.
fn every_prediction_is_told_its_last_estimate<B: TestBackend>(device: &B::Device) {
    let levels = |mode: AnyPrediction| match mode {
        AnyPrediction::Flow => vec![0.9, 0.6, 0.2, 0.1],
        _ => vec![4.0, 1.5, 0.6, 0.1],
    };
    for mode in [
        AnyPrediction::Eps,
        AnyPrediction::X0,
        AnyPrediction::V,
        AnyPrediction::Edm { sigma_data: 0.5 },
        AnyPrediction::Consistency { sigma_data: 0.5, sigma_min: 0.01 },
        AnyPrediction::ScaledEps,
        AnyPrediction::ScaledX0,
        AnyPrediction::ScaledV,
        AnyPrediction::Flow,
    ] {
        let model = Diffusion::new(Noting::<B>::new(0.3, device), mode);
        let sigmas = Sigmas::on(mode.path(), levels(mode));
        let start = Tensor::<B, 2>::from_floats([[1.3], [-0.4]], device) * sigmas[0];
        let (mut x, mut last) = (start.clone(), None);
        for step in sigmas.windows(2) {
            let output = model.predict_after(x.clone(), step[0], (), last);
            let [denoised, velocity] = [mode.denoised(step[0]), mode.velocity(step[0])]
                .map(|scalings| x.clone() * scalings.skip + output.clone() * scalings.out);
            (x, last) = (x + velocity * (step[1] - step[0]), Some(denoised));
        }
        let euler = GradientEstimation::DDIM;
        let found = |model: &dyn Denoiser<B, 2, Path = AnyPath>| {
            sample_from(model, euler, &sigmas, start.clone(), Noise::new(0)).last().unwrap().into_data()
        };
        assert_close(&format!("{mode:?}"), found(&model), x.clone().into_data(), B::TOLERANCE);
        assert_close(&format!("{mode:?}, given"), found(&model.given(())), x.into_data(), B::TOLERANCE);
        let never = found(&Alone(&model));
        let far = host(Tensor::<B, 2>::from_data(never, device) - Tensor::from_data(found(&model), device));
        assert!(far.iter().any(|far| far.abs() > 1e-3), "{mode:?} is not told");
    }
}

/// A denoiser that remembers nothing.
struct Alone<'a, M>(&'a M);

impl<B: Backend, M: Denoiser<B, 2>> Denoiser<B, 2> for Alone<'_, M> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.0.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.0.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        self.0.evaluate(x, sigma)
    }
}

fn within_a_step_the_estimate_is_that_of_its_beginning<B: TestBackend>(device: &B::Device) {
    let model = Diffusion::new(Noting::<B>::new(0.5, device), EpsPrediction);
    let sigmas = Sigmas::<VarianceExploding>::new(vec![4.0, 2.0, 1.0]);
    let x = Tensor::<B, 2>::from_floats([[4.0]], device);
    sample_from(&model, Heun::default(), &sigmas, x, Noise::new(0)).last();
    let calls = model.network.calls.lock().unwrap();
    let [first, second, third, fourth] = &calls[..] else { panic!("{} calls", calls.len()) };
    // D = x − σ·F of the first call of a step.
    let found = |(x, estimate, _): &Call, sigma: f64| x[0] - sigma * 0.5 * (x[0] + estimate[0]);
    let expected = [0.0, found(first, 4.0), found(first, 4.0), found(third, 2.0)];
    for (call, expected) in [first, second, third, fourth].into_iter().zip(expected) {
        assert!((call.1[0] - expected).abs() < 1e-5, "{calls:?}");
    }
}

/// The adaptive sampler takes each sample along by its own steps.
fn a_sample_does_not_depend_on_the_others<B: TestBackend>(device: &B::Device) {
    let network = mlp().init::<B>(3, device).map(&mut OffZero);
    let model = Diffusion::new(network, EpsPrediction);
    let sigmas = Sigmas::<VarianceExploding>::new(vec![5.0, 1.0, 0.1]);
    let starts = Tensor::<B, 2>::from_floats([[9.0, -3.0], [0.5, 0.1], [-6.0, 2.0]], device);
    fn end<B: Backend, S: Sampler>(
        model: &impl Denoiser<B, 2, Path = VarianceExploding>,
        sampler: S,
        sigmas: &Sigmas<VarianceExploding>,
        x: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        sample_from(model, sampler, sigmas, x, Noise::new(0)).last().unwrap()
    }
    let adaptive = Adaptive { rtol: 1e-3, atol: 1e-4, ..Adaptive::default() };
    let together = [
        end(&model, adaptive, &sigmas, starts.clone()),
        end(&model, Heun::default(), &sigmas, starts.clone()),
    ];
    for row in 0..3 {
        let start = || starts.clone().narrow(0, row, 1);
        let alone = [end(&model, adaptive, &sigmas, start()), end(&model, Heun::default(), &sigmas, start())];
        for (alone, together) in alone.into_iter().zip(&together) {
            let together = together.clone().narrow(0, row, 1).into_data();
            assert_close(&format!("sample {row}"), alone.into_data(), together, 1e-4);
        }
    }
}

/// In one batch each condition is told what it is told alone, also where guidance leaves one of them out for some steps.
fn each_condition_has_its_own_estimate<B: TestBackend>(device: &B::Device) {
    let network = conditional().init::<B>(3, device).map(&mut OffZero);
    let model = Diffusion::new(network, EpsPrediction);
    let sigmas = Sigmas::<VarianceExploding>::new(vec![5.0, 3.0, 2.0, 1.0, 0.7, 0.3, 0.1]);
    let x = || Tensor::<B, 2>::from_floats([[9.0, -3.0], [0.5, 0.1]], device);
    let labels = Labels(vec![1, 4]);
    let null = model.network.null_condition(&labels);
    let ends = |rule: ClassifierFree| {
        let one = model.given(labels.clone()).guided_with(null.clone(), rule.clone());
        let two = Guided::new(model.given(labels.clone()), model.given(null.clone()), rule);
        let one = sample_from(&one, Heun::default(), &sigmas, x(), Noise::new(0)).last().unwrap();
        (one, sample_from(&two, Heun::default(), &sigmas, x(), Noise::new(0)).last().unwrap())
    };
    let interval = Interval { low: 0.5, high: 2.5 };
    for rule in [ClassifierFree::new(1.5), ClassifierFree::new(1.5).with(vec![interval.into()])] {
        let (one, two) = ends(rule);
        assert_close("two denoisers", one.into_data(), two.into_data(), 1e-4);
    }
    // Two conditions, of which one weighs nothing, are the other.
    let composed =
        model.given_all([(1.0, labels.clone()), (0.0, Labels(vec![0, 0]))]).guided_by(null.clone(), 1.5);
    let composed = sample_from(&composed, Heun::default(), &sigmas, x(), Noise::new(0)).last().unwrap();
    assert_close("composed", composed.into_data(), ends(ClassifierFree::new(1.5)).0.into_data(), 1e-4);
}

/// The calls of a training on examples of zeros, with one noise level, so that the input is σ·ε; in batches of `batch`,
/// `accumulate` for a step.
fn calls<B: TestBackend>(
    objective: impl Objective,
    (batch, accumulate): (usize, usize),
    device: &B::Device,
) -> (Vec<Call>, Vec<Option<f64>>) {
    let network = Noting::<Autodiff<B>>::new(W as f32, device);
    let calls = Arc::clone(&network.calls);
    let config = TrainConfig { accumulate, seed: 2, ..TrainConfig::new(3) };
    let batches = std::iter::repeat_with(|| (TensorData::zeros::<f32, _>([batch, 1]), ()));
    let run = train(batches, Diffusion::new(network, EpsPrediction), level(), &config);
    let norms = run.under(objective).map(|step| step.unwrap().gradient_norm).collect();
    let calls = calls.lock().unwrap().clone();
    (calls, norms)
}

/// The network's parameter in the first step.
const W: f64 = 0.25;
const SIGMA: f64 = 2.0;

fn level() -> Levels<VarianceExploding> {
    Levels::new(vec![SIGMA])
}

/// A first pass without dropout and with nothing, then one in which every other example has what the first one found;
/// however a step is cut into batches, and the other half in the next step.
fn half_of_the_examples_are_trained_with_an_estimate<B: TestBackend>(device: &B::Device) {
    let learned = Weighted { learned_variance: Some(LearnedVariance { channels: 4 }), ..Weighted::new() };
    let all = |cut: (usize, usize)| {
        [calls::<B>(PredictionMse, cut, device).0, calls::<B>(learned.clone(), cut, device).0]
    };
    let mut firsts: Vec<Vec<f64>> = Vec::new();
    for (batch, accumulate) in [(6, 1), (3, 2), (2, 3)] {
        for calls in all((batch, accumulate)) {
            assert_eq!(calls.len(), 2 * 3 * accumulate);
            let mut first_step = Vec::new();
            for (part, pair) in calls.chunks(2).enumerate() {
                let [(x, nothing, frozen), (again, estimates, trained)] = pair else { panic!() };
                assert!(*frozen && !*trained);
                assert_eq!(x, again);
                assert!(nothing.iter().all(|&value| value == 0.0));
                let (step, first) = (part / accumulate, part % accumulate * batch);
                for (i, (x, estimate)) in x.iter().zip(estimates).enumerate() {
                    let is_given = (step + first + i) % 2 == 0;
                    assert_eq!(*estimate != 0.0, is_given, "example {i} of part {part}");
                    // D = x − σ·w·x; later steps have another w.
                    let expected = x * (1.0 - SIGMA * W);
                    let is_found = (estimate - expected).abs() < 1e-5;
                    assert!(is_found || !is_given || step > 0, "{estimate}, expected {expected}");
                }
                if step == 0 {
                    first_step.extend(estimates.clone());
                }
            }
            firsts.push(first_step);
        }
    }
    assert!(firsts.windows(2).all(|pair| pair[0] == pair[1]), "a step depends on how it is cut: {firsts:?}");
}

/// The gradient of (w·(x + e) − ε)² by w, where e is a number.
fn no_gradient_flows_into_the_estimate<B: TestBackend>(device: &B::Device) {
    let (calls, norms) = calls::<B>(PredictionMse, (6, 1), device);
    let (x, estimates, _) = &calls[1];
    let gradient = |(x, e): (&f64, &f64)| 2.0 * (W * (x + e) - x / SIGMA) * (x + e);
    let expected = x.iter().zip(estimates).map(gradient).sum::<f64>() / x.len() as f64;
    let found = norms[0].unwrap();
    assert!((found - expected.abs()).abs() < 1e-4 * found, "{found}, expected {expected}");
}

/// Nothing is trained where the objective would never show the network an estimate.
fn objectives_without_a_prediction_are_refused<B: TestBackend>(device: &B::Device) {
    let network = mlp().init::<Autodiff<B>>(0, device);
    let batch = (TensorData::zeros::<f32, _>([2, 2]), ());
    let model = Diffusion::new(network, EpsPrediction);
    let before = parameters(&model);
    let mut run = train([batch], model, LogLinear::default(), &TrainConfig::new(1))
        .under(ConsistencyTraining::default());
    assert!(catch_unwind(AssertUnwindSafe(|| run.next())).is_err());
    assert_eq!(parameters(&run.into_model()), before);
}

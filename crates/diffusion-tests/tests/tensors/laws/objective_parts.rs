//! Objectives that are put together of parts: what training does under them, whatever the network predicts.

use crate::support::parameters::parameters;
use crate::support::spec::named;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::objective::{
    Adaptive, AnyLoss, AnyObjective, AnyPairing, AnyWeight, Assignment, BatchPlace, Cosmap, Drawn, EdmWeight,
    LearnedVariance, Likelihood, LogNormal, Memory, MinSnr, OffsetNoise, P2, PseudoHuber, Seen,
    SigmaDistribution, SoftMinSnr, Strength, TruncatedSnr, Weighted,
};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{
    AnyPrediction, Condition, Diffusion, EpsPrediction, Labels, Network, Noise, Objective, Parameterization,
    Path, PredictionMse, Schedule, Tracer, Weight,
};
use diffusion::data::{Batches, Dataset, Swissroll};
use diffusion::eval::{Validation, ValidationConfig};
use diffusion::train::{Checkpoint, TrainConfig, train};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::sync::{Arc, Mutex};

backend_tests!(
    gradients_are_those_of_eps_prediction_under_every_weight,
    the_default_is_prediction_mse_bit_for_bit,
    a_step_of_several_batches_is_that_of_a_large_one,
    every_batch_is_stratified_in_training,
    the_learned_variance_is_part_of_the_loss,
    rare_levels_count_more,
    noise_is_paired_within_classes,
    a_skipped_step_teaches_nothing,
    what_was_learned_is_in_the_checkpoint,
    validation_has_the_quantiles_and_the_noise_of_training,
);

/// A network that is the same denoiser whatever it is said to predict: it asks one for ε on the exploding path, and
/// outputs what its mode has for that estimate.
#[derive(Module, Debug)]
struct Same<B: Backend> {
    eps: TimeInputMlp<B>,
    #[module(skip)]
    mode: AnyPrediction,
}

impl<B: Backend> Network<B, 2> for Same<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.eps.input_shape(batch)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let sigmas: Vec<f64> = sigma.into_data().iter::<f64>().collect();
        let (mode, device) = (&self.mode, x.device());
        let column = |of: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = sigmas.iter().map(|&s| of(s) as f32).collect();
            Tensor::<B, 2>::from_data(TensorData::new(values, [sigmas.len(), 1]), &device)
        };
        let alpha = |s: f64| mode.path().alpha(s);
        let x = x * column(&|s| 1.0 / (mode.c_in(s) * alpha(s))); // on the exploding path
        let ratio = column(&|s| s / alpha(s));
        let eps = self.eps.forward(x.clone(), ratio.clone().squeeze_dim(1), ());
        let denoised = x - eps.clone() * ratio;
        let output = denoised * column(&|s| mode.target(s).x0) + eps * column(&|s| mode.target(s).eps);
        tracer.layer(&"network", output)
    }
}

/// The gradients of all parameters, one after the other.
fn gradients<B: AutodiffBackend, M: Module<B>>(loss: Tensor<B, 1>, module: &M) -> TensorData {
    struct Read<'a, B: AutodiffBackend>(&'a B::Gradients, Vec<f32>);

    impl<B: AutodiffBackend> ModuleVisitor<B> for Read<'_, B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let gradient = param.val().grad(self.0).unwrap();
            self.1.extend(gradient.into_data().iter::<f32>());
        }
    }

    let gradients = loss.backward();
    let mut read = Read::<B>(&gradients, Vec::new());
    module.visit(&mut read);
    let n = read.1.len();
    TensorData::new(read.1, [n])
}

const MODES: [AnyPrediction; 8] = [
    AnyPrediction::Eps,
    AnyPrediction::X0,
    AnyPrediction::V,
    AnyPrediction::Edm { sigma_data: 0.5 },
    AnyPrediction::ScaledEps,
    AnyPrediction::ScaledX0,
    AnyPrediction::ScaledV,
    AnyPrediction::Flow,
];

/// A weight on the estimate of the data means the same for every parameterization, on both paths, under every loss.
fn gradients_are_those_of_eps_prediction_under_every_weight<B: TestBackend>(device: &B::Device) {
    let ratios = [0.1, 0.7, 1.5, 6.0];
    let eps = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }
        .init::<Autodiff<B>>(3, device);
    let [x0, noise] = [1, 2].map(|seed| Noise::new(seed).initial([4, 2], device));
    let weights: [AnyWeight; 7] = [
        EdmWeight::default().into(),
        MinSnr::default().into(),
        SoftMinSnr::default().into(),
        P2::default().into(),
        TruncatedSnr::default().into(),
        Likelihood {}.into(),
        Cosmap {}.into(),
    ];
    for weight in weights {
        for loss in [AnyLoss::default(), PseudoHuber { c: Some(0.3) }.into()] {
            let objective = Weighted { weight, loss, ..Weighted::new() };
            let of = |mode: AnyPrediction| {
                let sigmas = ratios.map(|ratio| mode.path().sigma_of_ratio(ratio));
                let model = Diffusion::new(Same { eps: eps.clone(), mode }, mode);
                let loss = model.loss_under(&objective, x0.clone(), sigmas, noise.clone(), ());
                gradients(loss, &model.network.eps)
            };
            let expected = of(AnyPrediction::Eps);
            for mode in MODES {
                let what = format!("{weight:?}, {loss:?} of {mode:?}");
                assert_close(&what, of(mode), expected.clone(), B::GRADIENT_TOLERANCE);
            }
        }
    }
}

fn schedule() -> LogLinear {
    LogLinear::new(50, 0.05, 5.0)
}

fn data() -> Swissroll {
    Swissroll::new(1.5, 15.0, 24)
}

fn model<B: Backend>(device: &B::Device) -> Diffusion<B, TimeInputMlp<B>, EpsPrediction> {
    Diffusion::new(
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init(1, device),
        EpsPrediction,
    )
}

/// The losses of all steps, and the weights after them.
fn trained<B: TestBackend>(
    objective: impl Objective,
    batch: usize,
    config: &TrainConfig,
    device: &B::Device,
) -> (Vec<f64>, Vec<f32>) {
    let run = train(Batches::new(data(), batch, 0), model::<Autodiff<B>>(device), schedule(), config);
    let mut run = run.under(objective);
    let losses = run.by_ref().map(|step| step.unwrap().loss()).collect();
    (losses, parameters(&run.model()).concat())
}

/// Everything that an objective can do at once.
fn richest() -> Weighted {
    Weighted {
        sigmas: LogNormal::default().into(),
        weight: EdmWeight::default().into(),
        loss: PseudoHuber::default().into(),
        stratified: true,
        adaptive: Some(Adaptive { bins: 4, warmup: 1, ..Adaptive::default() }),
        learned_variance: Some(LearnedVariance { channels: 8 }),
        offset_noise: Some(OffsetNoise { strength: Strength::All(0.2) }),
        pairing: Some(Assignment {}.into()),
    }
}

fn the_default_is_prediction_mse_bit_for_bit<B: TestBackend>(device: &B::Device) {
    let config = TrainConfig { accumulate: 2, ..TrainConfig::new(4) };
    let expected = trained::<B>(PredictionMse, 4, &config, device);
    assert_eq!(trained::<B>(Weighted::new(), 4, &config, device), expected);
    assert_eq!(trained::<B>(AnyObjective::from(Weighted::new()), 4, &config, device), expected);
    assert_ne!(trained::<B>(richest(), 4, &config, device).1, expected.1);
}

/// Levels, offsets and what is learned belong to places in the step; pairs belong to the batch.
fn a_step_of_several_batches_is_that_of_a_large_one<B: TestBackend>(device: &B::Device) {
    let objective = Weighted { pairing: None, ..richest() };
    let run = |batch: usize, accumulate: usize| {
        trained::<B>(objective.clone(), batch, &TrainConfig { accumulate, ..TrainConfig::new(6) }, device)
    };
    let ((losses, weights), (whole_losses, whole_weights)) = (run(4, 3), run(12, 1));
    for (found, expected) in losses.iter().zip(&whole_losses) {
        assert!((found - expected).abs() < 1e-4 * expected.abs().max(1.0), "{losses:?}, {whole_losses:?}");
    }
    let n = weights.len();
    let [found, expected] = [weights, whole_weights].map(|values| TensorData::new(values, [n]));
    assert_close("weights", found, expected, 1e-3);
}

/// The levels of a batch with its place.
type Levels = (BatchPlace, Vec<Drawn>);

/// An objective that tells which levels it gave, and how often it was told losses.
#[derive(Clone, Debug)]
struct Told {
    objective: Weighted,
    levels: Arc<Mutex<Vec<Levels>>>,
    losses: Arc<Mutex<Vec<Vec<f64>>>>,
    noise: Arc<Mutex<Vec<[TensorData; 2]>>>,
}

impl Told {
    fn new(objective: Weighted) -> Self {
        Self { objective, levels: Arc::default(), losses: Arc::default(), noise: Arc::default() }
    }
}

impl Objective for Told {
    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        self.objective.weight(parameterization, sigma)
    }

    fn levels<S: Schedule + ?Sized>(&self, schedule: &S, place: &BatchPlace, memory: &Memory) -> Vec<Drawn> {
        let levels = self.objective.levels(schedule, place, memory);
        self.levels.lock().unwrap().push((*place, levels.clone()));
        levels
    }

    fn noise(
        &self,
        noise: TensorData,
        x0: &TensorData,
        classes: Option<&[usize]>,
        place: &BatchPlace,
    ) -> TensorData {
        let found = self.objective.noise(noise.clone(), x0, classes, place);
        self.noise.lock().unwrap().push([noise, found.clone()]);
        found
    }

    fn memory(&self) -> Memory {
        self.objective.memory()
    }

    fn observe(&self, memory: &mut Memory, seen: &Seen<'_>) {
        self.losses.lock().unwrap().push(seen.losses.to_vec());
        self.objective.observe(memory, seen);
    }
}

fn every_batch_is_stratified_in_training<B: TestBackend>(device: &B::Device) {
    let told = Told::new(Weighted { stratified: true, ..Weighted::new() });
    trained::<B>(told.clone(), 4, &TrainConfig { accumulate: 3, ..TrainConfig::new(2) }, device);
    let levels = told.levels.lock().unwrap();
    let places: Vec<_> = levels.iter().map(|(place, _)| (place.step, place.first, place.total)).collect();
    assert_eq!(places, [(0, 0, 12), (0, 4, 12), (0, 8, 12), (1, 0, 12), (1, 4, 12), (1, 8, 12)]);
    for step in levels.chunks(3) {
        let ranks = step.iter().flat_map(|(_, levels)| levels).map(|level| level.rank.unwrap());
        let mut strata: Vec<usize> = ranks.map(|rank| (12.0 * rank) as usize).collect();
        strata.sort_unstable();
        assert_eq!(strata, Vec::from_iter(0..12));
    }
    assert!(told.losses.lock().unwrap().is_empty(), "nothing is read for an objective that learns nothing");
}

/// The loss is the mean of L·e^(−u) + u, and u moves towards ln L.
fn the_learned_variance_is_part_of_the_loss<B: TestBackend>(device: &B::Device) {
    let learned = LearnedVariance { channels: 8 };
    let told = Told::new(Weighted { learned_variance: Some(learned), ..Weighted::new() });
    let config = TrainConfig { lr: 0.02, accumulate: 2, ..TrainConfig::new(200) };
    let (found, _) = trained::<B>(told.clone(), 6, &config, device);
    let (plain, _) = trained::<B>(PredictionMse, 6, &config, device);
    assert!((found[0] - plain[0]).abs() < 1e-5 * plain[0], "u begins at 0: {} and {}", found[0], plain[0]);
    let (levels, losses) = (told.levels.lock().unwrap(), told.losses.lock().unwrap());
    assert_eq!((levels.len(), losses.len(), losses[0].len()), (400, 200, 12));
    for step in [1, 20, 199] {
        let drawn = levels[2 * step..2 * step + 2].iter().flat_map(|(_, levels)| levels);
        let terms = drawn.zip(&losses[step]).map(|(level, loss)| {
            assert!(level.log_variance != 0.0);
            loss * (-level.log_variance).exp() + level.log_variance
        });
        let expected = terms.sum::<f64>() / 12.0;
        assert!(
            (found[step] - expected).abs() < 1e-5 * expected.abs().max(1.0),
            "{} {expected}",
            found[step]
        );
    }
    // In the mean over the last steps, the losses are as large as was expected.
    let late = (150..200).flat_map(|step| {
        let drawn = levels[2 * step..2 * step + 2].iter().flat_map(|(_, levels)| levels);
        drawn.zip(&losses[step]).map(|(level, loss)| loss * (-level.log_variance).exp())
    });
    let ratio = late.sum::<f64>() / 600.0;
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
}

/// The loss of training is that of the batch with the importance of each of its levels.
fn rare_levels_count_more<B: TestBackend>(device: &B::Device) {
    let adaptive = Adaptive { bins: 3, warmup: 1, ..Adaptive::default() };
    let weight = MinSnr::default().into();
    let told = Told::new(Weighted { weight, stratified: true, adaptive: Some(adaptive), ..Weighted::new() });
    let (found, _) = trained::<B>(told.clone(), 6, &TrainConfig::new(30), device);
    let (levels, losses) = (told.levels.lock().unwrap(), told.losses.lock().unwrap());
    assert!(levels[0].1.iter().all(|level| level.importance == 1.0));
    assert!(levels[20].1.iter().any(|level| level.importance < 0.9));
    for step in [0, 20, 29] {
        let terms = levels[step].1.iter().zip(&losses[step]).map(|(level, loss)| level.importance * loss);
        let expected = terms.sum::<f64>() / 6.0;
        assert!((found[step] - expected).abs() < 1e-5 * expected, "{} {expected}", found[step]);
    }
}

/// The noise of each class stays within it, and the pairs are nearer.
fn noise_is_paired_within_classes<B: TestBackend>(device: &B::Device) {
    let labels = vec![0, 1, 0, 1, 0, 1, 0, 1];
    let x0: Vec<f32> = (0..16).map(|i| (i * 7 % 13) as f32 / 4.0 - 1.5).collect();
    let batch = || (TensorData::new(x0.clone(), [8, 2]), Labels(labels.clone()));
    let told = Told::new(Weighted { pairing: Some(AnyPairing::from(Assignment {})), ..Weighted::new() });
    let network = ConditionalMlpConfig { hidden_dims: vec![8], cond_dim: 4, ..Default::default() };
    let model = Diffusion::new(network.init::<Autodiff<B>>(0, device), EpsPrediction);
    let batches = std::iter::repeat_with(batch);
    train(batches, model, schedule(), &TrainConfig::new(1)).under(told.clone()).last().unwrap().unwrap();
    let noise = told.noise.lock().unwrap();
    let [before, after] = [0, 1].map(|which| noise[0][which].to_vec::<f32>().unwrap());
    let of = |values: &[f32], class: usize| {
        let rows = values.chunks(2).zip(&labels).filter(|(_, label)| **label == class);
        let mut rows: Vec<[u32; 2]> = rows.map(|(row, _)| [row[0].to_bits(), row[1].to_bits()]).collect();
        rows.sort_unstable();
        rows
    };
    assert_ne!(before, after);
    assert_eq!(of(&before, 0), of(&after, 0));
    assert_eq!(of(&before, 1), of(&after, 1));
    let cost = |noise: &[f32]| x0.iter().zip(noise).map(|(x, e)| (x - e).powi(2)).sum::<f32>();
    assert!(cost(&after) < cost(&before));
    assert_eq!(Labels(labels.clone()).classes(), Some(&labels[..]));
}

fn a_skipped_step_teaches_nothing<B: TestBackend>(device: &B::Device) {
    let bad = |i: usize| if i == 1 { f32::NAN } else { 0.5 };
    let batches = (0..3).map(|i| (TensorData::new(vec![bad(i), 1.0, 0.0, 1.0], [2, 2]), ()));
    let told = Told::new(Weighted { pairing: None, ..richest() });
    let run = train(batches, model::<Autodiff<B>>(device), schedule(), &TrainConfig::new(3));
    let mut run = run.under(told.clone());
    run.next();
    let before = run.memory().clone();
    assert!(run.next().unwrap().unwrap().skipped.is_some());
    assert_eq!(run.memory(), &before);
    run.next();
    assert_ne!(run.memory(), &before);
    assert_eq!(told.losses.lock().unwrap().len(), 2);
}

/// Under its names; one that learns nothing writes nothing, and a checkpoint of another objective is no obstacle.
fn what_was_learned_is_in_the_checkpoint<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let spec = named("network", "eps", "log-linear");
    let begin =
        || train(Batches::new(data(), 4, 0), model::<Autodiff<B>>(device), schedule(), &TrainConfig::new(9));
    let mut run = begin().under(richest());
    run.by_ref().take(3).for_each(drop);
    let saved = run.save(folder.path().join("rich"), &spec, None).unwrap();
    let saved = Checkpoint::open(saved.path()).unwrap();
    assert_eq!(&saved.state().objective, run.memory());
    assert!(!run.memory().is_empty());

    let resumed = begin().under(richest()).resume(&saved, &spec).unwrap();
    assert_eq!(resumed.memory(), run.memory());
    let plain = begin().resume(&saved, &spec).unwrap();
    assert!(plain.memory().is_empty());
    let saved = plain.save(folder.path().join("plain"), &spec, None).unwrap();
    assert!(!std::fs::read_to_string(saved.path().join("state.toml")).unwrap().contains("objective"));
    let anew = begin().under(richest()).resume(&Checkpoint::open(saved.path()).unwrap(), &spec).unwrap();
    assert_eq!(anew.memory(), &richest().memory());
}

fn validation_has_the_quantiles_and_the_noise_of_training<B: TestBackend>(device: &B::Device) {
    let config = ValidationConfig { bins: 2, per_bin: 6, ..ValidationConfig::default() };
    let evaluate = |objective: Weighted| {
        let gather = |indices: &[usize]| data().gather(indices);
        let set = Validation::under(objective, config.clone(), 0, &schedule(), data().len(), gather).unwrap();
        set.evaluate(&model::<B>(device), device)
    };
    let plain = evaluate(Weighted { sigmas: LogNormal { mean: 0.0, std: 0.5 }.into(), ..Weighted::new() });
    for (bin, first, last) in [(0, 0.5, 5.5), (1, 6.5, 11.5)] {
        let quantile = |i: f64| LogNormal { mean: 0.0, std: 0.5 }.quantile(&schedule(), i / 12.0);
        assert_eq!((plain.0[bin].sigma_min, plain.0[bin].sigma_max), (quantile(first), quantile(last)));
    }
    let mean = |objective| evaluate(objective).mean();
    let default = mean(Weighted::new());
    let offset = Some(OffsetNoise { strength: Strength::All(3.0) });
    assert!(mean(Weighted { offset_noise: offset, ..Weighted::new() }) > 1.5 * default);
    assert_ne!(mean(Weighted { pairing: Some(Assignment {}.into()), ..Weighted::new() }), default);
    // What training learns is its own affair.
    let learns = Weighted {
        adaptive: Some(Adaptive::default()),
        learned_variance: Some(LearnedVariance::default()),
        ..Weighted::new()
    };
    assert_eq!(mean(learns), default);
}

//! A run that stops and goes on is the run that never stopped, bit for bit.

use crate::support::spec::named;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleDisplay, Param};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::objective::{
    Adaptive, Assignment, EdmWeight, LearnedVariance, LogNormal, OffsetNoise, Weighted,
};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction, Network, Objective, PredictionMse, Tracer};
use diffusion::data::{Batches, Dataset, Label, Points, TreeDataset};
use diffusion::train::{
    Checkpoint, CheckpointState, LrDecay, LrSchedule, ModelSpec, MuonConfig, OptimizerConfig, TrainConfig,
    train,
};
use diffusion_tests::{TestBackend, backend_tests};
use std::fs;
use std::path::Path;
use std::sync::Arc;

backend_tests!(
    a_perceptron_goes_on_exactly,
    a_transformer_goes_on_exactly,
    a_transformer_goes_on_exactly_by_muon,
    a_u_net_goes_on_exactly,
    a_parameter_without_gradient_goes_on_exactly,
    an_objective_that_learns_goes_on_exactly,
    a_network_that_is_told_its_estimate_goes_on_exactly,
    another_seed_and_an_imported_model_are_refused,
);

fn spec() -> ModelSpec {
    named("network", "eps", "log-linear")
}

/// With everything that a step can do: accumulation, clipping, a schedule with a warm-up.
fn config(steps: u64) -> TrainConfig {
    TrainConfig {
        seed: 5,
        accumulate: 2,
        clip_norm: Some(0.5),
        lr_schedule: LrSchedule { warmup: 3, decay: LrDecay::Cosine { floor: 0.1 } },
        ..TrainConfig::new(steps)
    }
}

/// The bytes of all files of the checkpoint in `folder` after `steps` steps.
fn files(checkpoint: &Checkpoint) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(checkpoint.path()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    let mut files: Vec<_> = entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

/// Trains 5 steps in one go, and 3 and then 2 in two runs with a file between them, and compares all that is written:
/// weights, average, both moments of the optimizer, counts.
fn goes_on_exactly<B, N, D, const R: usize>(network: impl Fn() -> N, data: D)
where
    B: TestBackend,
    D: Dataset + Clone,
    N: Network<Autodiff<B>, R, Condition = <D::Label as Label>::Condition>
        + AutodiffModule<Autodiff<B>>
        + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
{
    goes_on_exactly_by::<B, _, _, R>(&config(5), PredictionMse, network, data);
}

/// The same by these settings and under an objective.
fn goes_on_exactly_by<B, N, D, const R: usize>(
    config: &TrainConfig,
    objective: impl Objective,
    network: impl Fn() -> N,
    data: D,
) where
    B: TestBackend,
    D: Dataset + Clone,
    N: Network<Autodiff<B>, R, Condition = <D::Label as Label>::Condition>
        + AutodiffModule<Autodiff<B>>
        + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
{
    let schedule = LogLinear::new(50, 0.01, 5.0);
    let model = || Diffusion::<Autodiff<B>, _, _>::new(network(), EpsPrediction);
    let batches = || Batches::new(data.clone(), 3, 5);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    let mut whole = train(batches(), model(), &schedule, config).under(objective.clone());
    let losses: Vec<u64> = whole.by_ref().map(|step| step.unwrap().loss().to_bits()).collect();
    let whole = whole.save(path("whole"), &spec(), None).unwrap();

    let mut first = train(batches(), model(), &schedule, config).under(objective.clone());
    let mut again: Vec<u64> = first.by_ref().take(3).map(|step| step.unwrap().loss().to_bits()).collect();
    let checkpoint = first.save(path("first"), &spec(), Some(0.5)).unwrap();
    drop(first);
    assert_eq!((checkpoint.state().step, checkpoint.state().batches), (3, 6));

    let checkpoint = Checkpoint::open(checkpoint.path()).unwrap();
    let rest = batches().starting_at(checkpoint.state().batches);
    let second = train(rest, model(), &schedule, config).under(objective);
    let mut second = second.resume(&checkpoint, &spec()).unwrap();
    assert_eq!(second.step(), 3);
    again.extend(second.by_ref().map(|step| step.unwrap().loss().to_bits()));
    assert_eq!(losses, again);
    let second = second.save(path("second"), &spec(), None).unwrap();

    let (expected, found) = (files(&whole), files(&second));
    let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let all = [
        "ema.safetensors",
        "model.safetensors",
        "moment_1.safetensors",
        "moment_2.safetensors",
        "state.toml",
    ];
    assert_eq!(names, all);
    for ((name, expected), (_, found)) in expected.iter().zip(&found) {
        assert!(expected == found, "{name} differs");
    }
    assert_ne!(expected[2].1, expected[3].1, "both moments are the same");
}

fn a_perceptron_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let labels = CondEmbedderLabelConfig { dropout: 0.3, ..CondEmbedderLabelConfig::new(8) };
    let config =
        ConditionalMlpConfig { hidden_dims: vec![8, 16, 8], cond_dim: 4, labels, ..Default::default() };
    goes_on_exactly::<B, _, _, 2>(
        || config.init::<Autodiff<B>>(1, device),
        Arc::new(TreeDataset::new(2, 3, 3)),
    );
}

fn images(n: usize, side: usize) -> Arc<Points<()>> {
    let values = (0..side * side * n).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    Arc::new(Points::new(values, &[1, side, side]))
}

fn transformer() -> DitConfig {
    DitConfig {
        in_dim: 8,
        channels: 1,
        patch_size: 4,
        depth: 1,
        head_dim: 8,
        num_heads: 2,
        ..Default::default()
    }
}

fn a_transformer_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    goes_on_exactly::<B, _, _, 4>(|| transformer().init::<Autodiff<B>>(1, device), images(10, 8));
}

fn a_transformer_goes_on_exactly_by_muon<B: TestBackend>(device: &B::Device) {
    let muon = TrainConfig { optimizer: OptimizerConfig::Muon(MuonConfig::default()), ..config(5) };
    let network = || transformer().init::<Autodiff<B>>(1, device);
    goes_on_exactly_by::<B, _, _, 4>(&muon, PredictionMse, network, images(10, 8));
}

fn a_u_net_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let config = UnetConfig {
        in_dim: 4,
        in_ch: 1,
        out_ch: 1,
        ch: 32,
        ch_mult: vec![1],
        embed_ch_mult: 1,
        num_res_blocks: 1,
        attn_resolutions: vec![],
        // Other tests draw from the process's one generator at the same time.
        dropout: 0.0,
        ..Default::default()
    };
    goes_on_exactly::<B, _, _, 4>(|| config.init::<Autodiff<B>>(1, device), images(10, 4));
}

/// A network with a layer that takes no part, as in a model that is trained in stages.
#[derive(Module, Debug)]
struct Staged<B: Backend> {
    used: TimeInputMlp<B>,
    unused: burn::nn::Linear<B>,
}

impl<B: Backend> Network<B, 2> for Staged<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.used.input_shape(batch)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        tracer.layer(&"network", self.used.forward(x, sigma, ()))
    }
}

fn points() -> Arc<Points<()>> {
    Arc::new(Points::new((0..40).map(|i| (i * 7 % 19) as f32 / 9.0 - 1.0).collect(), &[2]))
}

fn a_parameter_without_gradient_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let weight = || Param::from_tensor(Tensor::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], device));
    goes_on_exactly::<B, _, _, 2>(
        || Staged {
            used: TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init(1, device),
            unused: burn::nn::Linear { weight: weight(), bias: None },
        },
        points(),
    );
}

/// Every state that an objective has: measured losses, the learned variance and its moments; and every draw that it
/// makes besides.
fn an_objective_that_learns_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let objective = Weighted {
        sigmas: LogNormal::default().into(),
        weight: EdmWeight::default().into(),
        stratified: true,
        adaptive: Some(Adaptive { bins: 3, warmup: 1, ..Adaptive::default() }),
        learned_variance: Some(LearnedVariance { channels: 8 }),
        offset_noise: Some(OffsetNoise::default()),
        pairing: Some(Assignment {}.into()),
        ..Weighted::new()
    };
    let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
    goes_on_exactly_by::<B, _, _, 2>(
        &config(5),
        objective,
        || network.init::<Autodiff<B>>(1, device),
        points(),
    );
}

/// Which examples are trained with an estimate follows from the step.
fn a_network_that_is_told_its_estimate_goes_on_exactly<B: TestBackend>(device: &B::Device) {
    let network = TimeInputMlpConfig { hidden_dims: vec![8], self_condition: true, ..Default::default() };
    goes_on_exactly::<B, _, _, 2>(|| network.init::<Autodiff<B>>(1, device), points());
}

fn another_seed_and_an_imported_model_are_refused<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (LogLinear::new(50, 0.01, 5.0), config(7));
    let model = || {
        Diffusion::<Autodiff<B>, _, _>::new(
            TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init(1, device),
            EpsPrediction,
        )
    };
    let run = |config: &TrainConfig| train(Batches::new(points(), 4, 5), model(), &schedule, config);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = run(&config).save(folder.path(), &spec(), None).unwrap();
    let refused = |config: &TrainConfig, checkpoint: &Checkpoint, spec: &ModelSpec| {
        run(config).resume(checkpoint, spec).err().unwrap().to_string()
    };
    let message = refused(&TrainConfig { seed: 6, ..config.clone() }, &checkpoint, &spec());
    assert!(message.ends_with("holds weights for the seed `5`, not for `6`"), "{message}");
    let other = named("network", "eps", "ddpm");
    let message = refused(&config, &checkpoint, &other);
    assert!(message.ends_with("holds weights for the schedule `log-linear`, not for `ddpm`"), "{message}");

    let weights = model().valid();
    let state = CheckpointState::new(spec(), 9, 36, 5);
    let imported = Checkpoint::save(folder.path(), state, &weights, &weights).unwrap();
    let message = refused(&config, &imported, &spec());
    assert!(message.ends_with("no optimizer's state, so training cannot go on from it"), "{message}");
}

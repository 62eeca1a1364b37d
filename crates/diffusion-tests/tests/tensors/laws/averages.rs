//! Several averages of the weights at once, and those that are made of snapshots after the training.

use crate::support::parameters::{assert_same_bits, parameters};
use crate::support::spec::named;
use burn::backend::Autodiff;
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction};
use diffusion::data::{Batches, Points};
use diffusion::train::{
    AverageFile, Checkpoint, CheckpointError, EmaConfig, ModelSpec, NamedEma, Snapshot, SnapshotConfig,
    SnapshotPrecision, TrainConfig, Training, Weights, Which, post_hoc, train,
};
use diffusion_tests::{TestBackend, backend_tests};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

backend_tests!(
    a_stored_average_comes_back,
    other_widths_are_near_to_those_that_were_tracked,
    averages_and_snapshots_go_on_exactly,
    an_average_that_is_new_begins_with_the_weights,
    every_kind_of_average_is_in_a_checkpoint,
    what_is_wrong_with_snapshots_is_said,
);

fn spec() -> ModelSpec {
    named("mlp", "eps", "log-linear")
}

fn points() -> Arc<Points<()>> {
    Arc::new(Points::new((0..80).map(|i| (i * 7 % 19) as f32 / 9.0 - 1.0).collect(), &[2]))
}

type Model<B> = Diffusion<B, TimeInputMlp<B>, EpsPrediction>;
type Run<B> =
    Training<Autodiff<B>, TimeInputMlp<Autodiff<B>>, EpsPrediction, LogLinear, Batches<Arc<Points<()>>>, 2>;

fn run<B: TestBackend>(device: &B::Device, config: &TrainConfig, from: u64) -> Run<B> {
    let network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 16], ..Default::default() }.init(1, device);
    let model = Diffusion::<Autodiff<B>, _, _>::new(network, EpsPrediction);
    train(Batches::new(points(), 8, 5).starting_at(from), model, LogLinear::new(50, 0.01, 5.0), config)
}

/// Snapshots every `every` steps, and averages of these widths that are really tracked.
fn config(steps: u64, every: u64, tracked: &[f64]) -> TrainConfig {
    let emas = tracked.iter().map(|&width| NamedEma::of_width(width)).collect();
    let snapshots = Some(SnapshotConfig::new(every));
    TrainConfig { seed: 5, lr: 3e-3, emas, snapshots, ..TrainConfig::new(steps) }
}

/// Makes all steps that are left, with their snapshots.
fn go<B: TestBackend>(run: &mut Run<B>, folder: &Path) {
    while run.next().is_some_and(|step| step.is_ok()) {
        run.save_snapshot(folder, &spec()).unwrap();
    }
}

/// The norm of the difference relative to that of what was expected.
fn distance<B: TestBackend>(found: &Model<B>, expected: &Model<B>) -> f64 {
    let (found, expected) = (parameters(found).concat(), parameters(expected).concat());
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 =
        found.iter().zip(&expected).map(|(f, e)| square(f64::from(*f) - f64::from(*e))).sum();
    (difference / expected.iter().map(|e| square(f64::from(*e))).sum::<f64>()).sqrt()
}

fn a_stored_average_comes_back<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = run::<B>(device, &config(60, 6, &[]), 0);
    go(&mut run, folder.path());
    for (width, name) in [(0.05, "0.05"), (0.1, "0.1")] {
        let out = folder.path().join("average.safetensors");
        let made = post_hoc(folder.path(), width, None, &out).unwrap();
        let found = made.file.load(run.model(), &spec()).unwrap();
        let distance = distance(&found, run.named_ema(name).unwrap());
        assert!(distance < 1e-6, "width {width}: {distance:e}");
    }
}

/// One in between, and others on both sides, at the end and in the middle.
fn other_widths_are_near_to_those_that_were_tracked<B: TestBackend>(device: &B::Device) {
    let widths = [0.04, 0.075, 0.15, 0.2];
    for precision in [SnapshotPrecision::F32, SnapshotPrecision::F16] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(320, 20, &widths);
        config.snapshots = config.snapshots.map(|snapshots| SnapshotConfig { precision, ..snapshots });
        let mut run = run::<B>(device, &config, 0);
        let mut middle = None;
        while run.next().is_some_and(|step| step.is_ok()) {
            run.save_snapshot(folder.path(), &spec()).unwrap();
            if run.step() == 240 {
                middle = Some(widths.map(|width| run.named_ema(&width.to_string()).unwrap().clone()));
            }
        }
        let end = widths.map(|width| run.named_ema(&width.to_string()).unwrap().clone());
        for (step, expected) in [(None, end), (Some(240), middle.unwrap())] {
            for (width, expected) in widths.iter().zip(&expected) {
                let out = folder.path().join("average.safetensors");
                let made = post_hoc(folder.path(), *width, step, &out).unwrap();
                assert_eq!(made.file.step(), step.unwrap_or(320));
                let found = AverageFile::open(&out).unwrap().load(run.model(), &spec()).unwrap();
                let distance = distance(&found, expected);
                assert!(distance < 2e-3, "width {width}, {precision:?}, {step:?}: {distance:e}");
                // The weights themselves are farther away than that, and so is the other average.
                if precision == SnapshotPrecision::F32 && step.is_none() {
                    let others = [run.ema(), run.named_ema("0.1").unwrap()];
                    let nearest =
                        others.map(|other| self::distance(other, expected)).into_iter().reduce(f64::min);
                    let nearest = nearest.unwrap();
                    assert!(distance < nearest, "{distance:e} of {nearest:e}");
                }
            }
        }
    }
}

/// The bytes of all files in `folder` and below, by their paths.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut folders, mut files) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(inner) = folders.pop() {
        for path in fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => folders.push(path),
                false => files.push((path.strip_prefix(folder).unwrap().into(), fs::read(&path).unwrap())),
            }
        }
    }
    files.sort();
    files
}

/// A run that was killed after the snapshot of step 8, and went on from the checkpoint of step 5, writes what the run
/// writes that was not.
fn averages_and_snapshots_go_on_exactly<B: TestBackend>(device: &B::Device) {
    let mut config = config(10, 4, &[0.2]);
    config.ema = EmaConfig::HalfLife { examples: 30.0, ramp_up: 0.05 };
    config.emas.push(NamedEma { name: "slow".into(), ema: EmaConfig::Constant { decay: 0.9 } });
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    let mut whole = run::<B>(device, &config, 0);
    go(&mut whole, &path("whole/snapshots"));
    whole.save(path("whole/checkpoints"), &spec(), None).unwrap();

    let mut killed = run::<B>(device, &config, 0);
    for _ in 0..9 {
        killed.next().unwrap().unwrap();
        killed.save_snapshot(path("again/snapshots"), &spec()).unwrap();
        if killed.step() == 5 {
            killed.save(path("saved"), &spec(), None).unwrap();
        }
    }
    drop(killed);
    let checkpoint = Checkpoint::latest(path("saved")).unwrap();
    assert_eq!(checkpoint.averages().collect::<Vec<_>>(), ["0.05", "0.1", "0.2", "slow"]);
    let again = run::<B>(device, &config, checkpoint.state().batches);
    let mut again = again.resume(&checkpoint, &spec()).unwrap();
    go(&mut again, &path("again/snapshots"));
    again.save(path("again/checkpoints"), &spec(), None).unwrap();

    let (expected, found) = (files(&path("whole")), files(&path("again")));
    let names =
        |files: &[(PathBuf, _)]| -> Vec<PathBuf> { files.iter().map(|(path, _)| path.clone()).collect() };
    assert_eq!(names(&expected), names(&found));
    for ((path, expected), (_, found)) in expected.iter().zip(&found) {
        assert!(expected == found, "{} differs", path.display());
    }
    let steps: Vec<u64> =
        Snapshot::list(path("again/snapshots")).unwrap().iter().map(Snapshot::step).collect();
    assert_eq!(steps, [4, 8, 10]);
}

/// As where a checkpoint of an older version is gone on from with more averages than it has.
fn an_average_that_is_new_begins_with_the_weights<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let without = TrainConfig { seed: 5, ..TrainConfig::new(6) };
    let mut before = run::<B>(device, &without, 0);
    before.by_ref().take(3).for_each(|step| drop(step.unwrap()));
    let checkpoint = before.save(folder.path(), &spec(), None).unwrap();
    assert_eq!(checkpoint.averages().count(), 0);
    let config = TrainConfig { emas: vec![NamedEma::of_width(0.1)], ..without };
    let again = run::<B>(device, &config, checkpoint.state().batches);
    let mut again = again.resume(&checkpoint, &spec()).unwrap();
    let average = |run: &Run<B>| parameters(run.named_ema("0.1").unwrap()).concat();
    assert_same_bits("the new average", &average(&again), &parameters(&before.model()).concat());
    again.next().unwrap().unwrap();
    assert!(average(&again) != parameters(&before.model()).concat());
    assert!(again.named_ema("0.2").is_none());
}

/// Each comes back from its file, is chosen by its name, and vanishes with its checkpoint; what is no checkpoint's stays.
fn every_kind_of_average_is_in_a_checkpoint<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let emas = [
        EmaConfig::Constant { decay: 0.5 },
        EmaConfig::warmup(0.99),
        EmaConfig::HalfLife { examples: 20.0, ramp_up: f64::INFINITY },
        EmaConfig::Power { width: 0.2 },
    ];
    let name = |i: usize| format!("average-{i}");
    let emas = emas.into_iter().enumerate().map(|(i, ema)| NamedEma { name: name(i), ema }).collect();
    let config = TrainConfig { emas, seed: 5, ..TrainConfig::new(4) };
    let mut run = run::<B>(device, &config, 0);
    for _ in 0..4 {
        run.next().unwrap().unwrap();
        run.save(folder.path(), &spec(), None).unwrap();
    }
    let checkpoint = Checkpoint::latest(folder.path()).unwrap();
    let mut found = Vec::new();
    for i in 0..4 {
        let average = checkpoint.load(run.model(), &spec(), Weights::Named(name(i))).unwrap();
        let values = parameters(&average).concat();
        assert_same_bits(&name(i), &values, &parameters(run.named_ema(&name(i)).unwrap()).concat());
        assert!(!found.contains(&values), "{} is that of another kind", name(i));
        found.push(values);
    }
    let other = Weights::Named("wide".to_string());
    let error = Checkpoint::find_weights(folder.path(), Which::Latest, other).unwrap_err();
    let CheckpointError::NoAverage { name, names, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), names.len()), ("wide", 4));

    // A file that only looks like an average is somebody's own.
    let first = folder.path().join("step-00000001");
    fs::write(first.join("ema-mine.safetensors"), "notes").unwrap();
    Checkpoint::prune(folder.path(), 1).unwrap();
    let mut left: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["step-00000001", "step-00000004"]);
    let kept = Checkpoint::remove_all(folder.path()).unwrap();
    assert_eq!(kept, [first.join("ema-mine.safetensors")]);
    assert_eq!(files(folder.path()).len(), 1);
}

fn what_is_wrong_with_snapshots_is_said<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("snapshots"), folder.path().join("average.safetensors"));
    let error = |width, step| post_hoc(&path, width, step, &out).unwrap_err();
    assert!(matches!(error(0.1, None), CheckpointError::NoSnapshots(_)));
    assert!(matches!(error(0.1, Some(5)), CheckpointError::NoSnapshots(_)));
    let mut run = run::<B>(device, &config(30, 10, &[]), 0);
    go(&mut run, &path);
    let CheckpointError::NoSnapshot { steps, .. } = error(0.1, Some(5)) else { panic!("a step") };
    assert_eq!(steps, [10, 20, 30]);
    for width in [0.01, 0.28, 0.5, -1.0, f64::NAN] {
        let CheckpointError::Width { range: Some((narrowest, widest)), .. } = error(width, None) else {
            panic!("{width}")
        };
        assert!(narrowest < 0.05 && widest > 0.1 && widest < 0.28, "{narrowest} to {widest}");
        // Both ends can be had.
        for width in [narrowest, widest] {
            post_hoc(&path, width, None, &out).unwrap();
        }
    }
    // What was made before stays.
    let before = fs::read(&out).unwrap();
    let file = path.join("step-00000020/ema-0.1.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let CheckpointError::Damaged { path: damaged, .. } = error(0.07, None) else { panic!("damage") };
    assert_eq!((damaged, fs::read(&out).unwrap()), (file, before));
    fs::write(path.join("step-00000010/state.toml"), "step = 10\n").unwrap();
    assert!(matches!(error(0.07, None), CheckpointError::State { .. }));

    let other = named("another", "eps", "log-linear");
    let average = AverageFile::open(&out).unwrap();
    assert!(matches!(average.load(run.model(), &other), Err(CheckpointError::OtherModel { .. })));
    let weights = run.save(folder.path(), &spec(), None).unwrap();
    let error = AverageFile::open(weights.path().join("ema.safetensors")).unwrap_err();
    assert!(matches!(error, CheckpointError::NotAnAverage { .. }), "{error}");
}

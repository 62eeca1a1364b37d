//! Runs that are stopped in the middle of something, or whose data or disk fail on the way, and go on to the same bytes.

#![allow(clippy::unwrap_used)]

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::trace::Tracer;
use diffusion::core::watch::Watch;
use diffusion::core::{AnyCondition, Network, NullCondition};
use diffusion::train::Which;
use diffusion_recipe::{
    CustomNetworkConfig, NetworkConfig, Observer, RecipeError, Run, RunConfig, RunFolder, SampleRequest,
    StepReport, Trained, TypedRun, ValidationLosses, train,
};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A linear layer on the values of an example.
#[derive(Module, Debug)]
struct Flat<B: Backend> {
    layer: Linear<B>,
}

impl<B: Backend> Network<B, 4> for Flat<B> {
    type Condition = AnyCondition;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, 1, 4, 4]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 4>,
        _sigma: Tensor<B, 1>,
        _condition: AnyCondition,
        tracer: &mut T,
    ) -> Tensor<B, 4> {
        let dims = x.dims();
        tracer.layer(&"layer", self.layer.forward(x.flatten::<2>(1, 3)).reshape(dims))
    }
}

impl<B: Backend> NullCondition for Flat<B> {
    type Condition = AnyCondition;

    fn null_condition(&self, condition: &AnyCondition) -> AnyCondition {
        condition.clone()
    }
}

/// Twelve steps of two batches on the latents in `data`.
fn config(data: &Path, settings: &[&str]) -> RunConfig {
    let mut config = RunConfig::preset("swissroll").unwrap();
    let few = ["batch_size=5", "training.steps=12", "training.accumulate=2", "checkpoint_every=3"];
    let sampling = ["sampling.count=3", "sampling.steps=4", "validation.every=4", "validation.per_bin=2"];
    config.set_all(few.into_iter().chain(sampling).chain(settings.iter().copied())).unwrap();
    let text = format!("kind = 'latents'\npath = {data:?}\nscale = 1.0\nshift = 0.0");
    let custom = CustomNetworkConfig {
        name: "flat".to_string(),
        input_shape: vec![1, 4, 4],
        num_classes: None,
        settings: toml::Table::new(),
    };
    RunConfig { network: NetworkConfig::Custom(custom), data: toml::from_str(&text).unwrap(), ..config }
}

fn run(config: &RunConfig) -> Box<dyn Run> {
    let device = Default::default();
    let layer = LinearConfig::new(16, 16).with_initializer(burn::nn::Initializer::Zeros).init(&device);
    Box::new(TypedRun::new(config.clone(), Flat::<Autodiff<Flex>> { layer }, &device).unwrap())
}

/// Sixty latents in a file.
fn write_latents(path: &Path) {
    let values: Vec<u8> =
        (0..60 * 16).flat_map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0).to_le_bytes()).collect();
    let labels = vec![0; 8 * 60];
    let values = TensorView::new(Dtype::F32, vec![60, 1, 4, 4], &values).unwrap();
    let labels = TensorView::new(Dtype::I64, vec![60], &labels).unwrap();
    let bytes = safetensors::serialize([("latent_mean", values), ("label", labels)], None).unwrap();
    fs::write(path, bytes).unwrap();
}

/// All that is trained, from the newest checkpoint in the folder on if there is one.
fn go_on(
    config: &RunConfig,
    path: &Path,
    observer: &mut dyn Observer,
    watch: Watch,
) -> Result<Trained, RecipeError> {
    let mut run = run(config);
    run.watch(watch);
    let folder = match path.exists() {
        true => RunFolder::open_locked(path)?.0,
        false => RunFolder::create(path, config, false)?,
    };
    if let Ok((checkpoint, _)) = folder.checkpoint(Which::Latest) {
        run.resume(&checkpoint)?;
    }
    train(&mut *run, &folder, observer)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let checkpoints = fs::read_dir(folder.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let inside =
        checkpoints.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let all = inside.chain([folder.join("metrics.jsonl")]);
    all.map(|path| {
        (path.strip_prefix(folder).unwrap().to_str().unwrap().to_string(), fs::read(path).unwrap())
    })
    .collect()
}

/// Panics unless what both have is the same, metrics and the last checkpoint among it.
#[track_caller]
fn assert_same(what: &str, found: &Path, expected: &Path) {
    let (found, expected) = (files(found), files(expected));
    let common: Vec<_> = expected.keys().filter(|name| found.contains_key(*name)).collect();
    for name in ["metrics.jsonl", "checkpoints/step-00000012/moment_2.safetensors"] {
        assert!(common.iter().any(|other| *other == name), "{what}: {name} is missing: {common:?}");
    }
    let other: Vec<_> = common.into_iter().filter(|name| found[*name] != expected[*name]).collect();
    assert!(other.is_empty(), "{what}: {other:?} differ");
}

/// Stops what it watches when it hears of `work` for the time number `time`.
fn stopping(work: &'static str, time: usize) -> Watch {
    let (itself, times) = (Arc::new(OnceLock::<Watch>::new()), std::sync::atomic::AtomicUsize::new(0));
    let handle = itself.clone();
    let watch = Watch::new(move |progress| {
        let is_it = progress.work == work;
        if is_it && times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == time {
            handle.get().unwrap().stop();
        }
    });
    itself.set(watch.clone()).unwrap();
    watch
}

/// The validation that was stopped is made when the run goes on, and its checkpoint and metrics know of it.
#[test]
fn a_stop_in_a_validation_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, whole) = (folder.path().join("latents.safetensors"), folder.path().join("whole"));
    write_latents(&data);
    let config = config(&data, &[]);
    assert!(go_on(&config, &whole, &mut (), Watch::default()).unwrap().stopped.is_none());
    for (work, time, step) in [
        ("validating the optimal denoiser", 3, 4),
        ("reading validation examples", 0, 4),
        ("validating", 0, 4),
        ("validating", 30, 8),
        ("validating", 62, 12),
    ] {
        let (what, run) = (format!("{work} {time}"), folder.path().join(format!("{work} {time}")));
        let end = go_on(&config, &run, &mut (), stopping(work, time)).unwrap().stopped;
        assert!(
            matches!(&end, Some(RecipeError::Interrupted { step: at, checkpoint }) if *at == step && checkpoint.ends_with(format!("step-{step:08}"))),
            "{what}: {end:?}"
        );
        let trained = go_on(&config, &run, &mut (), Watch::default()).unwrap();
        assert!(trained.stopped.is_none() && trained.validation.is_some(), "{what}");
        assert_same(&what, &run, &whole);
    }
}

/// What is told of a step happens between it and the next.
struct After<F>(F);

impl<F: FnMut(u64)> Observer for After<F> {
    fn warn(&mut self, _: &str) {}

    fn step(&mut self, step: &StepReport) {
        (self.0)(step.number);
    }

    fn validated(&mut self, _: u64, _: &ValidationLosses) {}
}

/// A file of the data is cut short while the run reads it: the run saves its last step and says what and where; when
/// the file is whole again the run goes on to the same bytes.
#[test]
fn data_that_fail_on_the_way_lose_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let (data, whole) = (folder.path().join("latents.safetensors"), folder.path().join("whole"));
    write_latents(&data);
    let mut config = config(&data, &["checkpoint_every=100"]);
    config.validation = None;
    assert!(go_on(&config, &whole, &mut (), Watch::default()).unwrap().stopped.is_none());

    let run = folder.path().join("run");
    let file = fs::OpenOptions::new().write(true).open(&data).unwrap();
    let mut cut = After(|step| {
        if step == 3 {
            file.set_len(600).unwrap();
        }
    });
    let end = go_on(&config, &run, &mut cut, Watch::default()).unwrap().stopped;
    let Some(RecipeError::DataFailed { step, reason, checkpoint: Some(checkpoint) }) = &end else {
        panic!("{end:?}");
    };
    assert!((3..12).contains(step) && checkpoint.ends_with(format!("step-{step:08}")), "{end:?}");
    assert!(reason.to_string().contains("latents.safetensors"), "{reason}");
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count();
    assert_eq!(lines as u64, *step);

    write_latents(&data);
    assert!(go_on(&config, &run, &mut (), Watch::default()).unwrap().stopped.is_none());
    assert_same("after a repair", &run, &whole);
}

/// A run that is asked to stop while it samples says so, and draws the same samples when it is asked again.
#[test]
fn a_stop_while_sampling_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("latents.safetensors");
    write_latents(&data);
    let config = config(&data, &[]);
    let mut run = run(&config);
    let sample = |run: &dyn Run| run.sample(&SampleRequest::of(&config), &mut |_| {});
    let expected = sample(&*run).unwrap().values;
    run.watch(stopping("drawing samples: step", 2));
    assert!(matches!(sample(&*run), Err(RecipeError::Stopped)));
    run.watch(Watch::default());
    assert_eq!(sample(&*run).unwrap().values, expected);
    run.watch(stopping("looking at the data", 4));
    assert!(matches!(run.open_data(), Err(RecipeError::Stopped)));
}

/// A checkpoint that cannot be written is tried again: the run goes on meanwhile.
#[cfg(unix)]
#[test]
fn a_checkpoint_that_has_no_place_for_a_while_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    let (data, whole) = (folder.path().join("latents.safetensors"), folder.path().join("whole"));
    write_latents(&data);
    let config = config(&data, &["checkpoint_every=2"]);
    go_on(&config, &whole, &mut (), Watch::default()).unwrap();
    let run = folder.path().join("run");
    let (checkpoints, away) = (run.join("checkpoints"), folder.path().join("away"));
    let mut gone = After(|step| match step {
        // A file in its place, as if another disk were mounted there.
        3 => {
            fs::rename(&checkpoints, &away).unwrap();
            fs::write(&checkpoints, "").unwrap();
        }
        9 => {
            fs::remove_file(&checkpoints).unwrap();
            fs::rename(&away, &checkpoints).unwrap();
        }
        _ => {}
    });
    let trained = go_on(&config, &run, &mut gone, Watch::default()).unwrap();
    assert!(trained.stopped.is_none());
    assert_same("after a while", &run, &whole);
}

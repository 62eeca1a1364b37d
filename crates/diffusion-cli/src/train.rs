//! `diffusion train`: from a preset to a run's folder.

use crate::args::TrainArgs;
use crate::backend::{Job, run_on};
use crate::condition::{RunCondition, check_data};
use crate::config::{DataConfig, RunConfig, Schedules};
use crate::error::CliError;
use crate::progress::Progress;
use crate::run::{RunFolder, check_kept, describe, with_model};
use crate::{pictures, samples};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use diffusion::prelude::{
    Batches, Checkpoint, CheckpointState, Dataset, Diffusion, Network, Parameterization, Training, Weights,
    train,
};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Batches that are prepared ahead of the training thread.
const PREFETCH: usize = 4;
/// How long a line of metrics may stay in memory.
const FLUSH: Duration = Duration::from_secs(2);

pub fn main(args: TrainArgs) -> Result<(), CliError> {
    let (config, begin) = configure(&args)?;
    if args.print_config {
        print!("{}", config.to_toml()?);
        return Ok(());
    }
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    if let Some(from) = &args.from {
        check_kept(from, &out)?;
    }
    let (overwrite, backend) = (args.overwrite, args.backend.name());
    run_on(args.backend, Train { config, begin, out, overwrite, backend })
}

/// The preset's, the file's or the other run's configuration with what the command line changes; and that run's
/// checkpoint.
fn configure(args: &TrainArgs) -> Result<(RunConfig, Option<Checkpoint>), CliError> {
    let (mut config, begin) = match (&args.config, &args.from) {
        (Some(path), _) => (RunConfig::read(path)?, None),
        (None, Some(from)) => {
            let (run, config) = RunFolder::open(from)?;
            (config, Some(Checkpoint::latest(&run.checkpoints())?))
        }
        (None, None) => (args.preset.unwrap_or_default().config(), None),
    };
    let training = &mut config.training;
    training.steps = args.steps.unwrap_or(training.steps);
    training.lr = args.lr.unwrap_or(training.lr);
    training.seed = args.seed.unwrap_or(training.seed);
    config.batch_size = args.batch_size.unwrap_or(config.batch_size);
    if let Some(data) = &args.data {
        match &mut config.data {
            DataConfig::Datasaurus { path, .. }
            | DataConfig::Mnist { path }
            | DataConfig::Cifar { path }
            | DataConfig::Images { path }
            | DataConfig::Latents { path, .. } => {
                *path = fs::canonicalize(data).unwrap_or_else(|_| data.clone());
            }
            DataConfig::Swissroll { .. } | DataConfig::Tree { .. } => {
                let what = format!("{} makes its own data and reads none", config.preset);
                return Err(CliError::invalid(what, "leave --data away"));
            }
        }
    }
    if let Some(images) = &args.images {
        let path = fs::canonicalize(images).unwrap_or_else(|_| images.clone());
        config.data = DataConfig::Images { path };
    }
    config.check()?;
    Ok((config, begin))
}

struct Train {
    config: RunConfig,
    /// The weights to begin with, if they are not drawn.
    begin: Option<Checkpoint>,
    out: PathBuf,
    overwrite: bool,
    backend: &'static str,
}

impl Job for Train {
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), CliError> {
        with_model!(self.config, Autodiff<B>, device, |network, mode, schedules| {
            self.train::<B, _, _, _>(Diffusion::new(network, mode), &schedules, device)
        })
    }
}

/// One line of metrics.jsonl.
#[derive(Serialize)]
struct Metrics {
    step: u64,
    examples: u64,
    loss: f64,
    lr: f64,
    seconds: f64,
}

impl Train {
    fn train<B: Backend, N, P: Parameterization, const D: usize>(
        &self,
        model: Diffusion<Autodiff<B>, N, P>,
        schedules: &Schedules<P::Path>,
        device: &B::Device,
    ) -> Result<(), CliError>
    where
        N: Network<Autodiff<B>, D> + AutodiffModule<Autodiff<B>> + ModuleDisplay,
        N::InnerModule: Network<B, D, Condition = N::Condition> + ModuleDisplay,
        N::Condition: RunCondition,
        Diffusion<Autodiff<B>, N, P>: ModuleSnapshot<Autodiff<B>>,
    {
        let config = &self.config;
        let description = describe(config, &model.parameterization);
        let model = match &self.begin {
            Some(begin) => begin.load(model, &description, Weights::Raw)?,
            None => model,
        };
        let data = Arc::new(N::Condition::data(config)?);
        check_data(&**data, config)?;
        let run = RunFolder::create(&self.out, config, self.overwrite)?;
        let parameters = burn::module::Module::num_params(&model);
        eprintln!(
            "training {} on {}: {parameters} parameters, {} examples, {} steps of {}",
            config.preset,
            self.backend,
            data.len(),
            config.training.steps,
            config.batch_size.min(data.len()),
        );

        let batches = Batches::new(data.clone(), config.batch_size, config.training.seed);
        let batches = if config.flip { batches.flip_horizontally() } else { batches };
        let mut training = train(batches.prefetch(PREFETCH), model, &*schedules.training, &config.training);
        let save = |training: &Training<'_, Autodiff<B>, N, P, _, _, D>| {
            let (step, examples) = (training.step(), training.examples());
            let state = CheckpointState::new(description.clone(), step, examples, config.training.seed);
            let checkpoint = Checkpoint::save(&run.checkpoints(), state, &training.model(), training.ema())?;
            Checkpoint::prune(&run.checkpoints(), config.checkpoint_keep)?;
            Ok::<_, CliError>(checkpoint.path().to_path_buf())
        };

        let stop = interrupted_flag();
        let metrics_path = run.file("metrics.jsonl");
        let written = || CliError::io("write", &metrics_path);
        let mut metrics = BufWriter::new(File::create(&metrics_path).map_err(written())?);
        let mut progress = Progress::new(config.training.steps);
        let (begun, mut flushed) = (Instant::now(), Instant::now());
        let mut losses: Vec<(f64, f64)> = Vec::new();
        let mut checkpoint = None;
        while let Some(step) = training.next() {
            let (loss, seconds) = (step.loss(), begun.elapsed().as_secs_f64());
            let line = Metrics { step: step.index, examples: step.examples, loss, lr: step.lr, seconds };
            serde_json::to_writer(&mut metrics, &line).map_err(|error| written()(error.into()))?;
            metrics.write_all(b"\n").map_err(written())?;
            losses.push((step.index as f64, loss));
            progress.step(step.index, loss);
            if !loss.is_finite() {
                progress.finish();
                metrics.flush().map_err(written())?;
                pictures::curve(
                    &run.file("loss.png"),
                    &losses,
                    &format!("{}: training loss", config.preset),
                )?;
                return Err(CliError::Diverged { step: step.index, loss });
            }
            if flushed.elapsed() >= FLUSH {
                metrics.flush().map_err(written())?;
                flushed = Instant::now();
            }
            let stopped = stop.load(Ordering::Relaxed);
            if stopped
                || step.index == config.training.steps
                || step.index.is_multiple_of(config.checkpoint_every)
            {
                checkpoint = Some(save(&training)?);
            }
            if stopped {
                break;
            }
        }
        progress.finish();
        metrics.flush().map_err(written())?;
        pictures::curve(&run.file("loss.png"), &losses, &format!("{}: training loss", config.preset))?;
        if training.step() < config.training.steps {
            let checkpoint = checkpoint.unwrap_or_default();
            return Err(CliError::Interrupted { step: training.step(), checkpoint });
        }

        let seconds = begun.elapsed().as_secs_f64();
        let drawn =
            samples::draw(training.ema(), &*schedules.sampling, config, None, config.training.seed, device)?;
        let behind = (data.shape() == [2]).then(|| data.all());
        samples::write(&run.file("samples.png"), &drawn, behind, &config.data)?;
        let last = &losses[losses.len() - losses.len().div_ceil(10)..];
        let mean = last.iter().map(|(_, loss)| loss).sum::<f64>() / last.len() as f64;
        println!(
            "trained {} steps in {seconds:.1} s; mean loss of the last {}: {mean:.4}",
            training.step(),
            last.len()
        );
        for name in ["samples.png", "samples.safetensors", "loss.png", "metrics.jsonl", "checkpoints"] {
            let path = run.file(name);
            if path.exists() {
                println!("  {}", path.display());
            }
        }
        Ok(())
    }
}

/// Set by the first Ctrl-C; the second ends the program at once.
fn interrupted_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will end the run without a checkpoint: {error}");
    }
    flag
}

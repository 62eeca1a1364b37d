//! `diffusion train`: from a preset to a run's folder, or from a checkpoint to the run's end.

use crate::args::{LrDecayName, TrainArgs};
use crate::condition::{RunCondition, examples};
use crate::config::{DataConfig, RunConfig, Schedules};
use crate::error::CliError;
use crate::examine::Exams;
use crate::inspect::inspect;
use crate::metrics::Metrics;
use crate::run::{RunFolder, check_kept, describe, with_model};
use crate::samples;
use crate::say::say;
use crate::session::Session;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use diffusion::prelude::{
    Batches, Checkpoint, CheckpointError, Dataset, Diffusion, LrDecay, Network, NonFinite, Parameterization,
    Weights, Which, train,
};
use diffusion_backends::{Job, run_on};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Batches that are prepared ahead of the training thread.
const PREFETCH: usize = 4;

pub fn main(args: TrainArgs) -> Result<(), CliError> {
    if let Some(run) = &args.resume {
        return resume(run, &args);
    }
    let config = configure(&args)?;
    if args.print_config {
        return say(config.to_toml()?.trim_end());
    }
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    let begin = match &config.from {
        Some(from) => {
            check_kept(from, &out)?;
            let (run, _) = RunFolder::open(from)?;
            Begin::From(run.checkpoint(Which::Latest)?)
        }
        None => Begin::Fresh,
    };
    let place = Place::New { out, overwrite: args.overwrite };
    run_on(args.backend, Train { config, begin, place, backend: args.backend.name() })?
}

/// Goes on with the run in the folder `path`.
fn resume(path: &Path, args: &TrainArgs) -> Result<(), CliError> {
    let (run, mut config) = RunFolder::open_locked(path)?;
    if Checkpoint::tidy(&run.checkpoints())? > 0 {
        eprintln!("removed a checkpoint that was being written when the run ended");
    }
    let begin = match run.checkpoint(Which::Latest) {
        Ok(checkpoint) => Begin::Resume(checkpoint),
        // Before its first checkpoint a run has done nothing that does not follow from its configuration.
        Err(CliError::Checkpoint(CheckpointError::None(_))) if config.from.is_none() => Begin::Fresh,
        Err(CliError::Checkpoint(CheckpointError::None(_))) => {
            return Err(CliError::NothingToResume(path.to_path_buf()));
        }
        Err(error) => return Err(error),
    };
    let before = config.clone();
    config.training.steps = args.steps.unwrap_or(config.training.steps);
    config.checkpoint_every = args.checkpoint_every.unwrap_or(config.checkpoint_every);
    config.checkpoint_keep = args.checkpoint_keep.unwrap_or(config.checkpoint_keep);
    config.check()?;
    if let Begin::Resume(checkpoint) = &begin {
        let (done, steps) = (checkpoint.state().step, config.training.steps);
        if done > steps {
            return Err(CliError::AlreadyLonger { run: path.to_path_buf(), done, steps });
        }
    }
    let is_cosine = matches!(config.training.lr_schedule.decay, LrDecay::Cosine { .. });
    if is_cosine && config.training.steps != before.training.steps {
        eprintln!(
            "warning: the learning rate falls until the last step, so a run of another length is another run"
        );
    }
    let place = Place::There { run, changed: config != before };
    run_on(args.backend, Train { config, begin, place, backend: args.backend.name() })?
}

/// The preset's, the file's or the other run's configuration with what the command line changes.
fn configure(args: &TrainArgs) -> Result<RunConfig, CliError> {
    let mut config = match (&args.config, &args.from) {
        (Some(path), _) => RunConfig::read(path)?,
        (None, Some(from)) => {
            let (_, config) = RunFolder::open(from)?;
            RunConfig { from: Some(absolute(from)), ..config }
        }
        (None, None) => args.preset.unwrap_or_default().config(),
    };
    let training = &mut config.training;
    training.steps = args.steps.unwrap_or(training.steps);
    training.lr = args.lr.unwrap_or(training.lr);
    training.seed = args.seed.unwrap_or(training.seed);
    training.accumulate = args.accumulate.unwrap_or(training.accumulate);
    training.clip_norm = args.clip_norm.or(training.clip_norm);
    training.lr_schedule.warmup = args.warmup.unwrap_or(training.lr_schedule.warmup);
    training.lr_schedule.decay = match args.lr_decay {
        None => training.lr_schedule.decay,
        Some(LrDecayName::Constant) => LrDecay::Constant,
        Some(LrDecayName::Cosine) => LrDecay::Cosine { floor: 0.0 },
        Some(LrDecayName::InverseSqrt) => LrDecay::InverseSqrt { after: training.lr_schedule.warmup.max(1) },
    };
    config.batch_size = args.batch_size.unwrap_or(config.batch_size);
    config.checkpoint_every = args.checkpoint_every.unwrap_or(config.checkpoint_every);
    config.checkpoint_keep = args.checkpoint_keep.unwrap_or(config.checkpoint_keep);
    if let Some(every) = args.exam_every {
        let Some(exam) = &mut config.held_out else {
            let what = "--exam-every was given, but this run has no exams";
            return Err(CliError::invalid(
                what,
                "add [held_out] to its configuration, or leave the flag away",
            ));
        };
        exam.every = every;
    }
    if let Some(data) = &args.data {
        match &mut config.data {
            DataConfig::Datasaurus { path, .. }
            | DataConfig::Mnist { path }
            | DataConfig::Cifar { path }
            | DataConfig::Images { path }
            | DataConfig::Latents { path, .. } => *path = absolute(data),
            DataConfig::Swissroll { .. } | DataConfig::Tree { .. } => {
                let what = format!("{} makes its own data and reads none", config.preset);
                return Err(CliError::invalid(what, "leave --data away"));
            }
        }
    }
    if let Some(images) = &args.images {
        config.data = DataConfig::Images { path: absolute(images) };
    }
    config.check()?;
    Ok(config)
}

/// So that the run can be repeated from another folder.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

struct Train {
    config: RunConfig,
    begin: Begin,
    place: Place,
    backend: &'static str,
}

/// What a run begins with.
enum Begin {
    /// Weights that are drawn.
    Fresh,
    /// The weights of another run.
    From(Checkpoint),
    /// All that there was at a checkpoint of this run.
    Resume(Checkpoint),
}

/// Where a run is kept.
enum Place {
    New {
        out: PathBuf,
        overwrite: bool,
    },
    There {
        run: RunFolder,
        /// Whether the command line changes the configuration.
        changed: bool,
    },
}

impl Job for Train {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        with_model!(self.config, Autodiff<B>, device, |network, mode, schedules| {
            self.train::<B, _, _, _>(Diffusion::new(network, mode), &schedules, device)
        })
    }
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
            Begin::From(checkpoint) => checkpoint.load(model, &description, Weights::Raw)?,
            Begin::Fresh | Begin::Resume(_) => model,
        };
        let parameterization = model.parameterization.clone();
        let data = examples::<N::Condition>(config)?;
        let run = match &self.place {
            Place::New { out, overwrite } => RunFolder::create(out, config, *overwrite)?,
            Place::There { run, .. } => run.clone(),
        };
        self.announce::<B>(burn::module::Module::num_params(&model), data.training.len(), device);
        if let Some(held_out) = &data.held_out {
            eprintln!("{} examples are held out", held_out.len());
        }
        inspect(&**data.training, &*schedules.training, config);

        let batches = Batches::new(data.training.clone(), config.batch_size, config.training.seed);
        let batches = if config.flip { batches.flip_horizontally() } else { batches };
        let done = match &self.begin {
            Begin::Resume(checkpoint) => checkpoint.state().batches,
            Begin::Fresh | Begin::From(_) => 0,
        };
        let batches = batches.starting_at(done).prefetch(PREFETCH);
        let mut training = train(batches, model, &*schedules.training, &config.training);
        if let Begin::Resume(checkpoint) = &self.begin {
            training = training.resume(checkpoint, &description)?;
        }
        if let Place::There { run, changed: true } = &self.place {
            run.write_config(config)?;
        }
        let exams = Exams::<N::Condition>::new::<B, P, D>(
            config,
            &data,
            &*schedules.training,
            &parameterization,
            device,
        );

        let mut session = Session::begin(config, run, description, training.step())?;
        if training.step() == 0 {
            // What cannot be written is found before anything is computed.
            session.save(None, |folder, model| training.save(folder, model, None))?;
        }
        let stop = interrupted_flag();
        let mut results = None;
        while let Some(step) = training.next() {
            let loss = step.loss();
            let is_last = step.index == config.training.steps;
            results = exams
                .as_ref()
                .filter(|exams| exams.is_due(step.index, is_last))
                .map(|exams| exams.of(training.ema(), device));
            session.metrics.write(&Metrics {
                step: step.index,
                examples: step.examples,
                loss,
                lr: step.lr,
                gradient_norm: step.gradient_norm,
                skipped: step.skipped.as_ref(),
                exam: results.as_ref(),
            })?;
            session.progress.step(step.index, loss);
            if let Some(reason) = &step.skipped {
                session.skipped(step.index, reason);
            }
            if training.gave_up() {
                let reason = step.skipped.unwrap_or(NonFinite::Loss(loss.to_string()));
                return Err(session
                    .give_up(step.index, reason, |folder, model| training.save(folder, model, None))?);
            }
            if let Some(results) = &results {
                session.progress.say(&format!("step {}  {}", step.index, results.sentence()));
            }
            let stopped = stop.load(Ordering::Relaxed);
            let judged = results.as_ref().map(|results| results.judged());
            let improved = judged.is_some_and(|loss| session.best.is_none_or(|best| loss < best));
            if stopped || is_last || improved || session.is_due(step.index) {
                session.save(judged, |folder, model| training.save(folder, model, judged))?;
            }
            if is_last && session.saved_step != step.index {
                session.finish()?;
                return Err(CliError::Spoilt { step: step.index, checkpoint: session.latest() });
            }
            if stopped && !is_last {
                session.finish()?;
                let checkpoint = session.latest().unwrap_or_default();
                return Err(CliError::Interrupted { step: step.index, checkpoint });
            }
        }
        if results.is_none() && training.step() == config.training.steps {
            let due = exams.as_ref().filter(|exams| exams.is_due(training.step(), true));
            results = due.map(|exams| exams.of(training.ema(), device));
        }
        session.finish()?;

        let seconds = session.metrics.seconds();
        let drawn = samples::draw(
            training.ema(),
            &*schedules.sampling,
            config,
            None,
            None,
            config.training.seed,
            device,
        )?;
        let behind = (data.training.shape() == [2]).then(|| data.training.all());
        samples::write(&session.run.file("samples.png"), &drawn, behind, &config.data)?;
        if let Some(results) = &results {
            results
                .draw(&session.run.file("exam.png"), &format!("{}: loss by noise level", config.preset))?;
            say(results.table())?;
            say(results.sentence())?;
        }
        session.report(training.step(), training.skipped(), seconds)
    }

    /// Says what is about to be trained.
    fn announce<B: Backend>(&self, parameters: usize, examples: usize, device: &B::Device) {
        let RunConfig { preset, training, batch_size, .. } = &self.config;
        let accumulate = match training.accumulate {
            1 => String::new(),
            n => format!("{n}·"),
        };
        eprintln!(
            "training {preset} on {}: {parameters} parameters, {examples} examples, {} steps of {accumulate}{}",
            self.backend,
            training.steps,
            (*batch_size).min(examples),
        );
        if let Begin::Resume(checkpoint) = &self.begin {
            let state = checkpoint.state();
            eprintln!("resuming after step {}, from {}", state.step, checkpoint.path().display());
            let here = B::name(device);
            if !state.backend.is_empty() && state.backend != here {
                eprintln!(
                    "warning: the run was on {} so far; on {here} it goes on, but not bit for bit as it would have there",
                    state.backend
                );
            }
        }
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

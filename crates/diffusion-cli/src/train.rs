//! `diffusion train`: from a preset to a run's folder, or from a checkpoint to the run's end.

use crate::args::TrainArgs;
use crate::draw;
use crate::error::CliError;
use crate::output::{log, print, try_print};
use crate::pictures;
use crate::progress::{Progress, SamplingProgress};
use crate::table;
use burn::tensor::backend::Backend;
use diffusion::train::{Checkpoint, CheckpointError, LrDecay, Weights, Which};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    RecipeError, Run, RunConfig, RunFolder, SampleRequest, Trained, check_replaces_not, train,
};
use std::fs;
use std::path::{Path, PathBuf};

pub fn main(args: TrainArgs) -> Result<(), CliError> {
    let training = match &args.resume {
        Some(run) => resumed(run, &args)?,
        None => {
            let config = configure(&args)?;
            if args.print_config {
                return Ok(print(config.to_toml()?.trim_end())?);
            }
            new(config, &args)?
        }
    };
    run_on(args.backend, training)?
}

/// A training that can be begun on any backend.
struct Training {
    config: RunConfig,
    start: Start,
    place: Place,
    backend: &'static str,
}

/// What a run begins with.
enum Start {
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

/// A run that does not exist yet.
fn new(config: RunConfig, args: &TrainArgs) -> Result<Training, CliError> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    let start = match &config.init_from {
        Some(from) => {
            check_replaces_not(from, &out)?;
            let (run, _) = RunFolder::open(from)?;
            Start::From(checkpoint(&run, Which::Latest)?)
        }
        None => Start::Fresh,
    };
    let place = Place::New { out, overwrite: args.overwrite };
    Ok(Training { config, start, place, backend: args.backend.name() })
}

/// The run in the folder `path`, to go on with it.
fn resumed(path: &Path, args: &TrainArgs) -> Result<Training, CliError> {
    let (run, before, half_written) = RunFolder::open_locked(path)?;
    if half_written > 0 {
        log("removed a checkpoint that was being written when the run ended");
    }
    let start = match checkpoint(&run, Which::Latest) {
        Ok(checkpoint) => Start::Resume(checkpoint),
        // Before its first checkpoint a run has done nothing that does not follow from its configuration.
        Err(CliError::Recipe(RecipeError::Checkpoint(CheckpointError::None(_)))) => match before.init_from {
            None => Start::Fresh,
            Some(_) => return Err(RecipeError::NothingToResume(path.to_path_buf()).into()),
        },
        Err(error) => return Err(error),
    };
    let mut config = before.clone();
    set(&mut config, args)?;
    config.validate()?;
    let steps = config.training.steps;
    if let Start::Resume(checkpoint) = &start
        && let done = checkpoint.state().step
        && done > steps
    {
        return Err(RecipeError::AlreadyLonger { run: path.to_path_buf(), done, steps }.into());
    }
    if matches!(config.training.lr_schedule.decay, LrDecay::Cosine { .. }) && steps != before.training.steps {
        log(
            "warning: the learning rate falls until the last step, so a run of another length is another run",
        );
    }
    let place = Place::There { run, changed: config != before };
    Ok(Training { config, start, place, backend: args.backend.name() })
}

/// The checkpoint that is asked for; damaged ones that would have come before it are named.
pub fn checkpoint(run: &RunFolder, which: Which) -> Result<Checkpoint, CliError> {
    let (checkpoint, damaged) = run.checkpoint(which)?;
    for error in damaged {
        log(format_args!("warning: passed over a damaged checkpoint: {error}"));
    }
    Ok(checkpoint)
}

/// The preset's, the file's, the images' or the other run's configuration with what the command line changes.
fn configure(args: &TrainArgs) -> Result<RunConfig, CliError> {
    let mut config = match (&args.config, &args.init_from, &args.preset, &args.images) {
        (Some(path), ..) => RunConfig::read(path)?,
        (_, Some(from), ..) => {
            let (_, config) = RunFolder::open(from)?;
            RunConfig { init_from: Some(absolute(from)), ..config }
        }
        (_, _, Some(preset), _) => RunConfig::preset(preset)?,
        (.., Some(images)) => for_images(images, args)?,
        _ => RunConfig::preset("swissroll")?,
    };
    if let Some(images) = &args.images {
        config.set_images(absolute(images));
    }
    if let Some(data) = &args.data
        && !config.data.set_path(absolute(data))
    {
        let what = format!("{} makes its own data and reads none", config.preset);
        return Err(CliError::usage(what, "leave --data out"));
    }
    set(&mut config, args)?;
    config.validate()?;
    Ok(config)
}

/// The configuration that follows from a folder of images.
fn for_images(images: &Path, args: &TrainArgs) -> Result<RunConfig, CliError> {
    let config = RunConfig::for_images(&absolute(images), args.image_size, args.network, args.size)?;
    if !args.print_config {
        log(format_args!("settings for the images in {}:\n\n{}", images.display(), config.to_toml()?));
    }
    Ok(config)
}

/// Changes what the command line changes.
fn set(config: &mut RunConfig, args: &TrainArgs) -> Result<(), CliError> {
    let flags = [
        ("training.steps", args.steps.map(|n| n.to_string())),
        ("batch_size", args.batch_size.map(|n| n.to_string())),
        ("training.lr", args.lr.map(toml_float)),
        ("training.seed", args.seed.map(|n| n.to_string())),
        ("checkpoint_every", args.checkpoint_every.map(|every| every.to_string())),
        ("validation.every", args.val_every.map(|n| n.to_string())),
    ];
    set_all(config, flags, &args.set)
}

/// Changes the settings that have flags of their own, where these are given, and then those of --set.
pub fn set_all<'a>(
    config: &mut RunConfig,
    flags: impl IntoIterator<Item = (&'a str, Option<String>)>,
    set: &[String],
) -> Result<(), CliError> {
    let flags = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    let assignments: Vec<String> = flags.chain(set.iter().cloned()).collect();
    Ok(config.set_all(assignments.iter().map(String::as_str))?)
}

/// As TOML writes it, whose `nan` is not Rust's.
fn toml_float(x: f64) -> String {
    format!("{x:?}").to_lowercase()
}

/// So that the run can be repeated from another folder.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

impl Job for Training {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let run = self.config.build::<B>(device)?;
        self.train(run)
    }
}

impl Training {
    fn train(self, mut run: Box<dyn Run>) -> Result<(), CliError> {
        match &self.start {
            Start::Fresh => {}
            Start::From(checkpoint) => run.load(checkpoint, Weights::Raw)?,
            Start::Resume(checkpoint) => run.resume(checkpoint)?,
        }
        let data = run.open_data()?;
        let folder = match self.place {
            Place::New { ref out, overwrite } => RunFolder::create(out, &self.config, overwrite)?,
            Place::There { ref run, changed } => {
                if changed {
                    run.write_config(&self.config)?;
                }
                run.clone()
            }
        };
        self.announce(&*run, data.training);
        if data.validation > 0 {
            log(format_args!("{} examples are kept for validation", data.validation));
        }
        let summary = &data.summary;
        let looked = match summary.read < summary.examples {
            true => format!(" of {} examples", summary.read),
            false => String::new(),
        };
        log(format_args!(
            "data{looked}: mean {:.3}, standard deviation {:.3}, from {:.3} to {:.3}",
            summary.mean, summary.standard_deviation, summary.min, summary.max
        ));
        data.warnings.iter().for_each(|warning| log(format_args!("warning: {warning}")));

        let mut progress = Progress::new(self.config.training.steps, run.counts().steps);
        let trained = train(&mut *run, &folder, &mut progress);
        progress.finish();
        let trained = trained?;
        let title = format!("{}: training loss", self.config.preset);
        let drawn = pictures::curve(&folder.file("loss.png"), &trained.losses, &title);
        match trained.stopped {
            Some(error) => Err(error.into()),
            None => {
                drawn?;
                self.finish(&mut *run, &folder, &trained)
            }
        }
    }

    /// Draws samples and losses of a run that is done, and says where all is.
    fn finish(&self, run: &mut dyn Run, folder: &RunFolder, trained: &Trained) -> Result<(), CliError> {
        let progress = SamplingProgress::new(self.config.sampling.count);
        let samples = run.sample(&SampleRequest::of(&self.config), &mut |state| progress.show(&state))?;
        drop(progress);
        let behind = if samples.shape == [2] { Some(run.examples()?) } else { None };
        draw::samples(&folder.file("samples.png"), &samples, &self.config, behind)?;
        if let Some(losses) = &trained.validation {
            let title = format!("{}: loss by noise level", self.config.preset);
            draw::validation(&folder.file("val_loss.png"), losses, &title)?;
            try_print(table::rows(losses));
            try_print(table::sentence(losses));
        }
        report(run, folder, trained);
        Ok(())
    }

    /// Says what is about to be trained.
    fn announce(&self, run: &dyn Run, examples: usize) {
        let RunConfig { preset, training, batch_size, .. } = &self.config;
        let accumulate = match training.accumulate {
            1 => String::new(),
            n => format!("{n}·"),
        };
        log(format_args!(
            "training {preset} on {}: {} parameters, {examples} examples, {} steps of {accumulate}{}",
            self.backend,
            run.num_params(),
            training.steps,
            (*batch_size).min(examples),
        ));
        if let Start::Resume(checkpoint) = &self.start {
            let state = checkpoint.state();
            log(format_args!("resuming after step {}, from {}", state.step, checkpoint.path().display()));
            let here = run.backend();
            if !state.backend.is_empty() && state.backend != here {
                log(format_args!(
                    "warning: the run was on {} so far; on {here} it goes on, but not bit for bit as it would have there",
                    state.backend
                ));
            }
        }
    }
}

/// Says what was done, and where it is.
fn report(run: &dyn Run, folder: &RunFolder, trained: &Trained) {
    let losses = &trained.losses;
    let last = &losses[losses.len() - losses.len().div_ceil(10)..];
    let finite: Vec<f64> = last.iter().map(|(_, loss)| *loss).filter(|loss| loss.is_finite()).collect();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    let counts = run.counts();
    let without = match counts.skipped {
        0 => String::new(),
        n => format!(", {n} of them skipped"),
    };
    try_print(format_args!(
        "trained {} steps{without} in {:.1} s; mean loss of the last {}: {mean:.4}",
        counts.steps,
        trained.seconds,
        last.len()
    ));
    for name in
        ["samples.png", "samples.safetensors", "loss.png", "val_loss.png", "metrics.jsonl", "checkpoints"]
    {
        let path = folder.file(name);
        if path.exists() {
            try_print(format_args!("  {}", path.display()));
        }
    }
}

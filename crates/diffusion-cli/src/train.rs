//! `diffusion train`: from a preset to a run's folder, or from a checkpoint to the run's end.

use crate::args::TrainArgs;
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::going_on::GoingOn;
use crate::invocation::{go_on, invocation, word};
use crate::memory::{Work, during};
use crate::output::{log, print, try_print};
use crate::pictures;
use crate::place::{output, say_kept, still_there};
use crate::progress::Progress;
use crate::report::report;
use crate::signals::{self, Busy};
use crate::table;
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::core::invalid::Number;
use diffusion::train::{Checkpoint, CheckpointError, Found, Weights, Which};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    LatentModel, RecipeError, Run, RunConfig, RunFolder, SampleRequest, Trained, check_replaces_not, train,
};
use std::fs;
use std::path::{Path, PathBuf};

pub fn main(args: TrainArgs, display: &Display) -> Result<(), CliError> {
    let training = match &args.resume {
        Some(run) => {
            signals::advise(go_on(run));
            resumed(run, &args)?
        }
        None => {
            let config = configure(&args, display)?;
            if args.print_config {
                return Ok(print(config.to_toml()?.trim_end())?);
            }
            new(config, &args)?
        }
    };
    run_on(args.backend, Watched { training, display })?
}

/// A training, and where it is shown.
struct Watched<'a> {
    training: Training,
    display: &'a Display,
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
    /// Weights of another run.
    From(Checkpoint, Weights),
    /// All that there was at a checkpoint of this run.
    Resume(Checkpoint),
}

/// Where a run is kept.
enum Place {
    New { out: PathBuf, overwrite: bool },
    There(GoingOn),
}

/// A run that does not exist yet.
fn new(config: RunConfig, args: &TrainArgs) -> Result<Training, CliError> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    let start = match &config.init_from {
        Some(from) => {
            check_replaces_not(from, &out)?;
            let (run, _) = RunFolder::open(from)?;
            let which = config.init_checkpoint.map_or(Which::Latest, Which::Step);
            let of = if config.init_ema { Weights::Ema } else { Weights::Raw };
            Start::From(weights(&run, which, of)?, of)
        }
        None => Start::Fresh,
    };
    RunFolder::check(&out, args.overwrite)?;
    let place = Place::New { out, overwrite: args.overwrite };
    Ok(Training { config, start, place, backend: args.backend.name() })
}

/// The run in the folder `path`, to go on with it.
fn resumed(path: &Path, args: &TrainArgs) -> Result<Training, CliError> {
    let (run, before, half_written) = RunFolder::open_locked(path)?;
    if half_written > 0 {
        log("removed a checkpoint that was being written when the run ended");
    }
    let start = match checkpoint(&run, args.checkpoint.unwrap_or_default()) {
        Ok(checkpoint) => Start::Resume(checkpoint),
        // Before its first checkpoint a run has done nothing that does not follow from its configuration.
        Err(CliError::Recipe(RecipeError::Checkpoint(CheckpointError::None(_))))
            if args.checkpoint.is_none() =>
        {
            match before.init_from {
                None => Start::Fresh,
                Some(_) => return Err(RecipeError::NothingToResume(path.to_path_buf()).into()),
            }
        }
        Err(error) => return Err(error),
    };
    let mut config = before.clone();
    set_data(&mut config, args)?;
    let mut asked = set(&mut config, args)?;
    // A setting may bring others: a table that was not there its defaults, moved data their path.
    let brought = config.changes_since(&before)?.into_iter().map(|change| change.path);
    asked.extend(brought.filter(|path| !path.ends_with(".kind")));
    config.validate()?;
    let steps = config.training.steps;
    if let Start::Resume(checkpoint) = &start
        && let done = checkpoint.state().step
        && done > steps
    {
        return Err(RecipeError::AlreadyLonger { run: path.to_path_buf(), done, steps }.into());
    }
    let (is_changed, goes_back) = (config != before, args.checkpoint.is_some());
    let place =
        Place::There(GoingOn { folder: run, is_changed, asked, accept: args.accept_changes, goes_back });
    Ok(Training { config, start, place, backend: args.backend.name() })
}

/// The checkpoint that is asked for, of which only these weights are needed; all damage is named.
pub fn weights(run: &RunFolder, which: Which, weights: Weights) -> Result<Checkpoint, CliError> {
    let Found { checkpoint, passed_over, unneeded } = run.weights(which, weights)?;
    for error in passed_over {
        log(format_args!("warning: passed over a damaged checkpoint: {error}"));
    }
    for error in unneeded {
        log(format_args!("warning: {error}; it is not needed here, but training cannot go on from there"));
    }
    Ok(checkpoint)
}

/// The checkpoint that is asked for; damaged ones that would have come before it are named.
fn checkpoint(run: &RunFolder, which: Which) -> Result<Checkpoint, CliError> {
    let (checkpoint, damaged) = run.checkpoint(which)?;
    for error in damaged {
        log(format_args!("warning: passed over a damaged checkpoint: {error}"));
    }
    Ok(checkpoint)
}

/// The preset's, the file's, the images' or the other run's configuration with what the command line changes.
fn configure(args: &TrainArgs, display: &Display) -> Result<RunConfig, CliError> {
    let folder = (&args.images, &args.latents);
    let mut config = match (&args.config, &args.init_from, &args.preset, folder) {
        (Some(path), ..) => RunConfig::read(path)?,
        (_, Some(from), ..) => {
            let (run, config) = RunFolder::open(from)?;
            let chosen = args.checkpoint.map(|which| checkpoint(&run, which)).transpose()?;
            let init_checkpoint = chosen.map(|checkpoint| checkpoint.state().step);
            RunConfig { init_from: Some(absolute(from)), init_checkpoint, init_ema: args.ema, ..config }
        }
        (_, _, Some(preset), _) => RunConfig::preset(preset)?,
        (.., (Some(images), _)) => for_images(images, args, display)?,
        (.., (_, Some(latents))) => for_latents(latents, args)?,
        _ => RunConfig::preset("swissroll")?,
    };
    set_data(&mut config, args)?;
    set(&mut config, args)?;
    config.validate()?;
    Ok(config)
}

/// Reads the data from where the command line says.
fn set_data(config: &mut RunConfig, args: &TrainArgs) -> Result<(), CliError> {
    if let Some(images) = &args.images {
        config.set_images(absolute(images));
    }
    if let Some(latents) = &args.latents {
        config.set_latents(absolute(latents))?;
    }
    if let Some(data) = &args.data
        && !config.data.set_path(absolute(data))
    {
        let what = format!("{} makes its own data and reads none", config.preset);
        return Err(CliError::usage(what, "leave --data out"));
    }
    Ok(())
}

/// The configuration that follows from a folder of images.
fn for_images(images: &Path, args: &TrainArgs, display: &Display) -> Result<RunConfig, CliError> {
    display.begin("looking at the images");
    let (folder, watch) = (absolute(images), display.watch());
    let config = RunConfig::for_images(folder, args.image_size, args.network, args.size, watch);
    display.end();
    let config = config?;
    say_settings("images", images, &config, args)?;
    Ok(config)
}

/// The configuration that follows from a folder of latents.
fn for_latents(latents: &Path, args: &TrainArgs) -> Result<RunConfig, CliError> {
    let folder = absolute(latents);
    let config = match &args.pretrained {
        Some(model) => {
            let rank = (!args.all_weights).then_some(args.lora_rank);
            RunConfig::for_pretrained(folder, absolute(model), rank)?
        }
        None => {
            let TrainArgs { network, size, condition, .. } = *args;
            RunConfig::for_latents(folder, LatentModel { network, size, condition })?
        }
    };
    say_settings("latents", latents, &config, args)?;
    Ok(config)
}

/// Says which settings follow from a folder.
fn say_settings(what: &str, folder: &Path, config: &RunConfig, args: &TrainArgs) -> Result<(), CliError> {
    if !args.print_config {
        log(format_args!("settings for the {what} in {}:\n\n{}", folder.display(), config.to_toml()?));
    }
    Ok(())
}

/// Changes what the command line changes, and returns the paths of these settings.
fn set(config: &mut RunConfig, args: &TrainArgs) -> Result<Vec<String>, CliError> {
    let flags = [
        ("training.steps", args.steps.map(|n| n.to_string())),
        ("batch_size", args.batch_size.map(|n| n.to_string())),
        ("training.lr", args.lr.map(toml_float)),
        ("training.seed", args.seed.map(|n| n.to_string())),
        ("checkpoint_every", args.checkpoint_every.map(|every| every.to_string())),
        ("validation.every", args.val_every.map(|n| n.to_string())),
    ];
    let keys =
        args.set.iter().filter_map(|assignment| Some(assignment.split_once('=')?.0.trim().to_string()));
    let flagged = flags.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.to_string());
    let asked = flagged.chain(keys).collect();
    set_all(config, flags, &args.set)?;
    Ok(asked)
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

impl Job for Watched<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let Self { training, display } = self;
        display.begin("making the network");
        during(Work::Network);
        let mut run = training.config.build::<B>(device)?;
        run.watch(display.watch().clone());
        display.watch().check().map_err(RecipeError::from)?;
        training.train(run, display)
    }
}

impl Training {
    fn train(self, mut run: Box<dyn Run>, display: &Display) -> Result<(), CliError> {
        match &self.start {
            Start::Fresh => {}
            Start::From(checkpoint, weights) => run.load(checkpoint, *weights)?,
            Start::Resume(checkpoint) => run.resume(checkpoint)?,
        }
        display.begin("opening the data");
        during(Work::Data);
        let data = run.open_data().map_err(|error| match self.place {
            Place::New { .. } => error.into(),
            Place::There(_) => CliError::moved(error),
        })?;
        display.end();
        let busy = Busy::begin();
        let folder = match self.place {
            Place::New { ref out, overwrite } => {
                let folder = RunFolder::create(out, run.config(), overwrite)?;
                say_kept(&folder);
                folder
            }
            Place::There(ref going_on) => {
                let checkpoint = match &self.start {
                    Start::Resume(checkpoint) => Some(checkpoint),
                    _ => None,
                };
                going_on.begin(&mut *run, checkpoint)?;
                going_on.folder.clone()
            }
        };
        self.announce(&*run, data.training);
        if data.validation > 0 {
            let kept = if data.validation == 1 { "is kept" } else { "are kept" };
            log(format_args!("{} {kept} for validation", counted(data.validation, "example")));
        }
        let summary = &data.summary;
        let looked = match summary.read < summary.examples {
            true => format!(" of {}", counted(summary.read, "example")),
            false => String::new(),
        };
        log(format_args!(
            "data{looked}: mean {:.3}, standard deviation {:.3}, from {:.3} to {:.3}",
            Number(summary.mean),
            Number(summary.standard_deviation),
            Number(summary.min.into()),
            Number(summary.max.into())
        ));
        data.notes.iter().for_each(log);
        if !data.classes.is_empty() {
            let is_told = self.config.network.classes().is_some();
            let untold = if is_told { "" } else { " (this network is not told them)" };
            log(format_args!("classes{untold}: {}", table::classes(&data.classes)));
        }
        if data.checked < data.training {
            log(format_args!(
                "the first {} of {} examples are finite; the others are checked when they are read",
                data.checked, data.training
            ));
        }
        data.warnings.iter().for_each(|warning| log(format_args!("warning: {warning}")));

        signals::advise(go_on(folder.path()));
        display.begin("computing the first step");
        during(Work::Steps);
        let mut progress = Progress::new(display.clone(), self.config.training.steps);
        let trained = train(&mut *run, &folder, &mut progress);
        display.end();
        let trained = trained?;
        let title = format!("{}: training loss", self.config.preset);
        let drawn = still_there(&folder, &*run)
            .and_then(|()| Ok(pictures::curve(&output(&folder, "loss", &["png"]), &trained.losses, &title)?));
        match trained.stopped {
            Some(error) => Err(error.into()),
            None => {
                drawn?;
                drop(busy);
                self.finish(&mut *run, &folder, &trained, display)
            }
        }
    }

    /// Draws samples and losses of a run that is done, and says where all is.
    fn finish(
        &self,
        run: &mut dyn Run,
        folder: &RunFolder,
        trained: &Trained,
        display: &Display,
    ) -> Result<(), CliError> {
        let (program, path) = (invocation(), word(folder.path()));
        signals::advise(format!("training is complete; `{program} sample {path}` draws from it"));
        during(Work::LastSamples);
        let texts = run.texts(self.config.sampling.count)?;
        let request = SampleRequest { texts, ..SampleRequest::of(&self.config) };
        let samples = run.sample(&request, &mut |_| {})?;
        display.end();
        let behind = if samples.shape == [2] { Some(run.examples(draw::POINTS)?) } else { None };
        let _busy = Busy::begin();
        still_there(folder, run)?;
        let place = output(folder, "samples", draw::endings(&self.config));
        draw::samples(&place, &samples, &self.config, behind)?;
        if let Some(losses) = &trained.validation {
            let title = format!("{}: loss by noise level", self.config.preset);
            draw::validation(&output(folder, "val_loss", &["png"]), losses, &title)?;
            try_print(table::rows(losses));
            try_print(table::sentence(losses));
        }
        report(run, folder, trained);
        Ok(samples.check()?)
    }

    /// Says what is about to be trained.
    fn announce(&self, run: &dyn Run, examples: usize) {
        let RunConfig { preset, training, batch_size, .. } = &self.config;
        let accumulate = match training.accumulate {
            1 => String::new(),
            n => format!("{n}·"),
        };
        log(format_args!(
            "training {preset} on {}: {}, {}, {} of {accumulate}{}",
            self.backend,
            counted(run.num_params(), "parameter"),
            counted(examples, "example"),
            counted(training.steps, "step"),
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

//! `diffusion train`: from a preset to a run's folder, or from a checkpoint to the run's end.

use crate::args::TrainArgs;
use crate::chosen::{checkpoint, weights};
use crate::configure::{absolute, configure, say_settings, set, set_data, set_pretrained};
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::gallery::Gallery;
use crate::going_on::GoingOn;
use crate::invocation::{go_on, invocation, word};
use crate::memory::{Work, during};
use crate::output::{log, print, try_print};
use crate::place::{output, say_kept, still_there};
use crate::progress::Progress;
use crate::report::report;
use crate::signals::{self, Busy};
use crate::table;
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::core::invalid::Number;
use diffusion::train::{Checkpoint, CheckpointError, Weights, Which};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    RecipeError, Run, RunConfig, RunFolder, SampleRequest, Trained, check_replaces_not, train,
};
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
            let training = new(config, &args)?;
            say_settings(&training.config, &args)?;
            training
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
            Start::From(weights(&run, which, of.clone())?, of)
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
    set_pretrained(&mut config, args.pretrained.as_deref())?;
    if let Some(teacher) = &args.teacher {
        config.teacher = Some(absolute(teacher));
    }
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
            Start::From(checkpoint, weights) => run.load(checkpoint, weights.clone())?,
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
        let mut gallery = Gallery::new(&mut *run);
        gallery.catch_up(&*run, &folder);
        display.begin("computing the first step");
        during(Work::Steps);
        let mut progress = Progress::new(display.clone(), self.config.training.steps, gallery);
        let trained = train(&mut *run, &folder, &mut progress);
        let mut gallery = progress.gallery;
        display.end();
        let trained = trained?;
        let drawn =
            still_there(&folder, &*run).and_then(|()| gallery.draw_last_curves(&folder, &trained.history));
        if matches!(trained.stopped, Some(RecipeError::Interrupted { .. })) {
            gallery.last(&mut *run, &folder);
            display.end();
        }
        match trained.stopped {
            Some(error) => {
                drawn.unwrap_or_else(|error| gallery.warn(&error));
                Err(error.into())
            }
            None => {
                drawn?;
                drop(busy);
                self.finish(&mut *run, &folder, (&trained, &mut gallery), display)
            }
        }
    }

    /// Draws samples and losses of a run that is done, and says where all is.
    fn finish(
        &self,
        run: &mut dyn Run,
        folder: &RunFolder,
        (trained, gallery): (&Trained, &mut Gallery),
        display: &Display,
    ) -> Result<(), CliError> {
        let (program, path) = (invocation(), word(folder.path()));
        signals::advise(format!("training is complete; `{program} sample {path}` draws from it"));
        // First what needs no samples, which may be stopped.
        gallery.animate(folder);
        if let Some(losses) = &trained.validation {
            let title = format!("{}: loss by noise level", self.config.preset);
            draw::validation(&output(folder, "val_loss", &["png"]), losses, &title)?;
        }
        during(Work::LastSamples);
        let texts = run.texts(self.config.sampling.count)?;
        let request = SampleRequest { texts, ..SampleRequest::of(&self.config) };
        run.open_weaker(folder)?;
        let samples = run.sample(&request, &mut |_| {})?;
        display.end();
        let behind = if samples.shape == [2] { Some(run.examples(draw::POINTS)?) } else { None };
        let _busy = Busy::begin();
        still_there(folder, run)?;
        let place = output(folder, "samples", draw::endings(&self.config));
        draw::samples(&place, &samples, &self.config, behind)?;
        if let Some(losses) = &trained.validation {
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

//! Pictures of a run while it trains: samples of the same noise at every time, and curves of what was measured. Nothing of
//! the run depends on them, and nothing that goes wrong with them ends it.

use crate::budget::Budget;
use crate::draw;
use crate::error::CliError;
use crate::output::log;
use crate::pictures;
use crate::place::output;
use burn::tensor::TensorData;
use diffusion::core::AnyGuidance;
use diffusion::core::watch::Watch;
use diffusion_recipe::{
    History, PictureInterval, PicturesConfig, RecipeError, Run, RunFolder, SampleRequest,
};
use image::RgbImage;
use std::mem::{replace, take};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The shares of a run's time for pictures of samples where no interval is set, and for curves.
const SHARES: [f64; 2] = [0.015, 0.005];
/// What a picture costs besides its samples, and what the curves cost, before it was measured.
const DRAWING: Duration = Duration::from_millis(200);
/// The most points of the data behind samples.
const BEHIND: usize = 5_000;
/// How long the last picture of a run that was asked to stop may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pictures of curves by their names.
const CURVES: [&str; 3] = ["loss", "learning_rate", "val_metrics"];
/// The most pictures of an animation of the training.
const FRAMES: usize = 50;
/// How long each of them stands, in milliseconds.
const STANDS: u16 = 400;

/// Draws pictures of a run while it trains.
pub struct Gallery {
    config: PicturesConfig,
    steps: u64,
    name: String,
    /// Nothing where samples have no picture.
    request: Option<SampleRequest>,
    /// The data behind points.
    behind: Option<TensorData>,
    begun: Instant,
    /// The step after which this process began.
    first: u64,
    samples: Budget,
    curves: Budget,
    is_validated: bool,
    is_warned: bool,
}

impl Gallery {
    /// That of `run`, whose data are open.
    pub fn new(run: &mut dyn Run) -> Self {
        let [samples, curves] = SHARES.map(Budget::new);
        let config = run.config();
        let mut gallery = Self {
            config: config.pictures,
            steps: config.training.steps,
            name: config.preset.clone(),
            request: None,
            behind: None,
            begun: Instant::now(),
            first: run.counts().steps,
            samples,
            curves,
            is_validated: false,
            is_warned: false,
        };
        match gallery.prepare(run) {
            Ok(request) => gallery.request = request,
            Err(RecipeError::Stopped) => {}
            Err(error) => gallery.warn(&error.into()),
        }
        gallery.begun = Instant::now();
        gallery
    }

    /// Reads what the samples are told and drawn over.
    fn prepare(&mut self, run: &mut dyn Run) -> Result<Option<SampleRequest>, RecipeError> {
        let shape = run.config().network.input_shape();
        let is_never = self.config.every == PictureInterval::Never;
        if is_never || !matches!(shape[..], [2] | [_, _, _]) {
            return Ok(None);
        }
        let mut request = SampleRequest::of_pictures(run.config());
        // Those that the samples at its end are told, of which these are the first.
        request.texts = run.texts(run.config().sampling.count)?;
        if shape == [2] {
            self.behind = Some(run.examples(BEHIND)?);
        }
        Ok(Some(request))
    }

    /// Draws the picture of the step that a run goes on from, if it is due there and an earlier process did not draw it.
    pub fn catch_up(&mut self, run: &dyn Run, folder: &RunFolder) {
        let is_set = matches!(self.config.every, PictureInterval::Steps(_));
        if is_set
            && self.first > 0
            && self.config.is_due(self.first, self.steps)
            && !has_picture(folder, self.first)
        {
            self.draw(run, folder, &mut || ());
        }
    }

    /// The run was validated.
    pub fn validated(&mut self) {
        self.is_validated = true;
    }

    /// Draws what is due after the last step of `run`, as far as there is time.
    pub fn look(&mut self, run: &dyn Run, folder: &RunFolder, history: &History) {
        let (step, is_validated) = (run.counts().steps, take(&mut self.is_validated));
        let is_set = matches!(self.config.every, PictureInterval::Steps(_));
        let is_drawn = self.request.is_some()
            && self.config.is_due(step, self.steps)
            && (is_set || self.samples.affords(self.begun.elapsed(), self.expected(run)));
        if is_drawn {
            let begun = Instant::now();
            self.draw(run, folder, &mut || ());
            self.samples.spend(begun.elapsed());
        }
        let is_time = is_drawn || is_validated || PicturesConfig::default().is_due(step, self.steps);
        // At the end they are drawn all the same.
        if is_time && step < self.steps && self.curves.affords(self.begun.elapsed(), DRAWING) {
            let begun = Instant::now();
            if let Err(error) = self.draw_curves(folder, history) {
                self.warn(&error);
            }
            self.curves.spend(begun.elapsed());
        }
    }

    /// Draws a last picture of a run that was asked to stop and is saved, unless that takes long.
    pub fn last(&mut self, run: &mut dyn Run, folder: &RunFolder) {
        let step = run.counts().steps;
        let expected = self.samples.last().unwrap_or_else(|| self.expected(run));
        if step <= self.first || has_picture(folder, step) || expected > PATIENCE {
            return;
        }
        // The one that it has says to stop.
        let (watch, begun) = (Watch::default(), Instant::now());
        run.watch(watch.clone());
        self.draw(run, folder, &mut || {
            if begun.elapsed() > PATIENCE {
                watch.stop();
            }
        });
    }

    /// How long the first picture takes, to judge by the steps so far: a step of training costs as much as three evaluations of
    /// as many examples.
    fn expected(&self, run: &dyn Run) -> Duration {
        let Some(request) = &self.request else { return Duration::ZERO };
        let steps = run.counts().steps.saturating_sub(self.first).max(1);
        let each = self.begun.elapsed().as_secs_f64() / steps as f64;
        let counts = run.counts();
        let examples = 3.0 * counts.examples as f64 / counts.steps.max(1) as f64;
        let guided = if request.sampling.guidance == AnyGuidance::None { 1.0 } else { 2.0 };
        let evaluations = guided * request.sampling.count as f64 * request.sampling.steps as f64;
        let seconds = each * evaluations / examples.max(1.0);
        DRAWING.saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Draws samples, and calls `observe` after each step of the sampler.
    fn draw(&mut self, run: &dyn Run, folder: &RunFolder, observe: &mut dyn FnMut()) {
        let Some(request) = &self.request else { return };
        if !folder.is_there() {
            return;
        }
        let behind = self.behind.clone();
        let draw = || -> Result<(), CliError> {
            let samples = run.sample(request, &mut |_| observe())?;
            draw::picture(&folder.picture(run.counts().steps)?, &samples, behind)
        };
        match draw() {
            // Then there is none of this step.
            Ok(()) | Err(CliError::Recipe(RecipeError::Stopped)) => {}
            Err(error) => self.warn(&error),
        }
    }

    /// Draws losses, learning rates and what was measured of samples so far.
    fn draw_curves(&self, folder: &RunFolder, history: &History) -> Result<(), CliError> {
        if !folder.is_there() {
            return Ok(());
        }
        self.curves_at(|name| folder.output(name, &["png"]), history)
    }

    /// Draws the curves at the end, and says so where they are not where they usually are.
    pub fn draw_last_curves(&self, folder: &RunFolder, history: &History) -> Result<(), CliError> {
        self.curves_at(|name| output(folder, name, &["png"]), history)
    }

    fn curves_at(&self, place: impl Fn(&str) -> PathBuf, history: &History) -> Result<(), CliError> {
        let [loss, rate, metrics] = CURVES;
        let named = [
            ("EMA weights, training examples", &history.training),
            ("EMA weights, validation examples", &history.validation),
        ];
        let others: Vec<(&str, &[(f64, f64)])> = named
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(name, points)| (name, &points[..]))
            .collect();
        pictures::curve(&place(loss), &history.losses, &others, &format!("{}: loss", self.name))?;
        pictures::rates(&place(rate), &history.rates, &format!("{}: learning rate", self.name))?;
        match &history.metrics[..] {
            [] => Ok(()),
            measured => draw::metrics(&place(metrics), measured, &format!("{}: samples and data", self.name)),
        }
    }

    /// Makes an animation of all pictures that were drawn while the run trained, if there are some, and are meant to move.
    pub fn animate(&self, folder: &RunFolder) {
        let drawn = folder.pictures_drawn();
        if !self.config.animation || drawn.len() < 2 {
            return;
        }
        let every = drawn.len().div_ceil(FRAMES);
        // Of the last one all the same.
        let places = drawn.iter().rev().step_by(every).rev();
        let animate = || -> Result<(), CliError> {
            let mut frames = Vec::new();
            for (_, path) in places {
                frames.push(draw::shrunk(pictures::open(path)?));
            }
            // Earlier ones may have been drawn with other settings.
            let last = frames.last().map(RgbImage::dimensions);
            frames.retain(|frame| Some(frame.dimensions()) == last);
            Ok(pictures::animation(&output(folder, "training", &["gif"]), &frames, STANDS)?)
        };
        if let Err(error) = animate() {
            log(format_args!("warning: training.gif was not made: {}", error.sentence()));
        }
    }

    /// Says once that a picture could not be drawn.
    pub fn warn(&mut self, error: &CliError) {
        if !replace(&mut self.is_warned, true) {
            log(format_args!("warning: a picture of the training was not drawn: {}", error.sentence()));
        }
    }
}

/// Whether there is a picture of a step.
fn has_picture(folder: &RunFolder, step: u64) -> bool {
    folder.pictures_drawn().iter().any(|(drawn, _)| *drawn == step)
}

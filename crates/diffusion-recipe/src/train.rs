//! Training a run into its folder: metrics, checkpoints, validation, and an end that loses nothing.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::folder::RunFolder;
use crate::metrics::MetricsFile;
use crate::run::{Run, StepReport};
use crate::validation::ValidationLosses;
use diffusion::data::DataError;
use diffusion::train::{Checkpoint, CheckpointError, NonFinite, Which};
use std::path::PathBuf;
use std::time::Instant;

/// Who is told of a run while it trains. What it does with that cannot end the training.
pub trait Observer {
    /// Something that the user should know.
    fn warn(&mut self, warning: &str);

    /// A step was made, its metrics are written, and so is its checkpoint if one was due.
    fn step(&mut self, step: &StepReport);

    /// The run was validated after the step `step`.
    fn validated(&mut self, step: u64, losses: &ValidationLosses);

    /// Whether training should stop after this step; its state is saved then.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Observes nothing.
impl Observer for () {
    fn warn(&mut self, _warning: &str) {}

    fn step(&mut self, _step: &StepReport) {}

    fn validated(&mut self, _step: u64, _losses: &ValidationLosses) {}
}

/// How training ended.
#[derive(Debug)]
pub struct Trained {
    /// (step, loss) of all steps of the run, earlier processes' included.
    pub losses: Vec<(f64, f64)>,
    /// The last validation, if there was one at the end.
    pub validation: Option<ValidationLosses>,
    /// The seconds that this process trained.
    pub seconds: f64,
    /// Why it ended early, if it did. All that could be saved is saved then too.
    pub stopped: Option<RecipeError>,
}

/// Makes all steps that are left of `run`, with its metrics and checkpoints in `folder`.
///
/// # Errors
/// If metrics or checkpoints cannot be read or written. Why a run ended early is [`Trained::stopped`].
pub fn train(
    run: &mut dyn Run,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Trained, RecipeError> {
    let mut log = RunLog::begin(run, folder, observer)?;
    if run.counts().steps == 0 {
        // What cannot be written is found before anything is computed.
        log.save(run, None, observer)?;
    }
    let steps = run.config().training.steps;
    let mut validation = None;
    let stopped = loop {
        let step = match run.step() {
            Ok(Some(step)) => step,
            Ok(None) => break None,
            Err(RecipeError::Data(reason)) => break Some(log.data_failed(run, reason, observer)?),
            Err(error) => return Err(error),
        };
        let is_last = step.number == steps;
        validation = match is_due(run.config(), step.number, is_last) {
            true => run.validate()?,
            false => None,
        };
        log.metrics.write(&step, validation.as_ref())?;
        let is_stopped = observer.is_stopped();
        log.save_if_due(run, step.number, validation.as_ref(), is_stopped || is_last, observer)?;
        observer.step(&step);
        if let Some(losses) = &validation {
            observer.validated(step.number, losses);
        }
        if let Some(end) = log.early_end(run, step, is_stopped) {
            break Some(end);
        }
    };
    let done = run.counts().steps;
    if stopped.is_none() && validation.is_none() && is_due(run.config(), done, done == steps) {
        validation = run.validate()?;
    }
    log.metrics.sync()?;
    let (losses, seconds) = (log.metrics.losses().to_vec(), log.metrics.seconds());
    Ok(Trained { losses, validation, seconds, stopped })
}

/// Whether there is a validation after the step `step`: every so many, and after the last of a run that is long enough
/// for one.
fn is_due(config: &RunConfig, step: u64, is_last: bool) -> bool {
    let every = config.validation.as_ref().map(|validation| validation.every);
    every.is_some_and(|every| step.is_multiple_of(every) || is_last && step > every)
}

/// The files of a run that is going on.
struct RunLog {
    folder: RunFolder,
    metrics: MetricsFile,
    /// The lowest validation loss of a checkpoint.
    best: Option<f64>,
    saved: Instant,
    /// The step of the newest checkpoint of this process.
    saved_step: u64,
}

impl RunLog {
    /// Begins after the steps of `run`, in a folder whose checkpoints and metrics may go further.
    fn begin(run: &dyn Run, folder: &RunFolder, observer: &mut dyn Observer) -> Result<Self, RecipeError> {
        // A run that was killed between the two has one too many.
        Checkpoint::prune(&folder.checkpoints(), run.config().checkpoint_keep)?;
        let done = run.counts().steps;
        let metrics = MetricsFile::resume(folder, done)?;
        let lines = metrics.losses().len();
        if lines as u64 != done {
            let path = folder.file("metrics.jsonl");
            observer.warn(&format!("{} has {lines} lines for {done} steps", path.display()));
        }
        let best = Checkpoint::best_loss(&folder.checkpoints())?;
        Ok(Self { folder: folder.clone(), metrics, best, saved: Instant::now(), saved_step: 0 })
    }

    /// Saves after the step `step` if it is time, `is_end` says so, or the validation loss is the lowest so far.
    fn save_if_due(
        &mut self,
        run: &dyn Run,
        step: u64,
        validation: Option<&ValidationLosses>,
        is_end: bool,
        observer: &mut dyn Observer,
    ) -> Result<(), RecipeError> {
        let val_loss = validation.map(ValidationLosses::loss);
        let improved = val_loss.is_some_and(|loss| self.best.is_none_or(|best| loss < best));
        let is_due = run.config().checkpoint_every.is_due(step, self.saved.elapsed());
        // Of a run that gave up the weights are those from before it went wrong.
        if is_end || improved || is_due || run.gave_up() {
            self.save(run, val_loss, observer)?;
        }
        Ok(())
    }

    /// Makes a checkpoint, the metrics so far included, and removes those that are too old. Where the weights are not
    /// finite it warns and makes none; whether the run can go on, its next steps will show.
    fn save(
        &mut self,
        run: &dyn Run,
        val_loss: Option<f64>,
        observer: &mut dyn Observer,
    ) -> Result<(), RecipeError> {
        self.metrics.sync()?;
        let checkpoints = self.folder.checkpoints();
        match run.save(&checkpoints, val_loss) {
            Err(RecipeError::Checkpoint(error @ CheckpointError::NotFinite { .. })) => {
                observer.warn(&error.to_string());
                return Ok(());
            }
            saved => self.saved_step = saved?.state().step,
        }
        Checkpoint::prune(&checkpoints, run.config().checkpoint_keep)?;
        if let Some(loss) = val_loss.filter(|loss| loss.is_finite()) {
            self.best = Some(self.best.map_or(loss, |best| best.min(loss)));
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// The end of a run whose next examples cannot be read.
    fn data_failed(
        &mut self,
        run: &dyn Run,
        reason: Box<DataError>,
        observer: &mut dyn Observer,
    ) -> Result<RecipeError, RecipeError> {
        self.save(run, None, observer)?;
        let (step, checkpoint) = (run.counts().steps, self.latest());
        Ok(RecipeError::DataFailed { step, reason, checkpoint })
    }

    /// Why the run ends with this step before its end, if it does.
    fn early_end(&self, run: &dyn Run, step: StepReport, is_stopped: bool) -> Option<RecipeError> {
        let (index, checkpoint) = (step.number, || self.latest());
        let is_last = index == run.config().training.steps;
        if run.gave_up() {
            let skipped = run.config().training.max_skipped;
            let reason = step.skipped.unwrap_or(NonFinite::Loss(step.loss.to_string()));
            return Some(RecipeError::Diverged { step: index, skipped, reason, checkpoint: checkpoint() });
        }
        if is_last && self.saved_step != index {
            return Some(RecipeError::NonFiniteWeights { step: index, checkpoint: checkpoint() });
        }
        let checkpoint = checkpoint().unwrap_or_default();
        (is_stopped && !is_last).then_some(RecipeError::Interrupted { step: index, checkpoint })
    }

    /// The newest checkpoint, for messages.
    fn latest(&self) -> Option<PathBuf> {
        let (checkpoint, _) = self.folder.checkpoint(Which::Latest).ok()?;
        Some(checkpoint.path().to_path_buf())
    }
}

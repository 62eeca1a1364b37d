//! Training a run into its folder: metrics, checkpoints, validation, and an end that loses nothing.

use crate::config::RunConfig;
use crate::error::RecipeError;
use crate::folder::RunFolder;
use crate::metrics::{History, MetricsFile};
use crate::run::{Run, StepReport};
use crate::validation::ValidationLosses;
use diffusion::core::counted;
use diffusion::train::{Checkpoint, CheckpointError, NonFinite, Which};
use std::mem::replace;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Who is told of a run while it trains. What it does with that cannot end the training.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_recipe::{Observer, RunConfig, RunFolder, StepReport, ValidationLosses, train};
///
/// /// Collects what it is told.
/// #[derive(Default)]
/// struct Notes(Vec<String>);
///
/// impl Observer for Notes {
///     fn warn(&mut self, warning: &str) {
///         self.0.push(format!("warning: {warning}"));
///     }
///
///     fn step(&mut self, step: &StepReport) {
///         self.0.push(format!("step {}: loss {:.3}", step.number, step.loss));
///     }
///
///     fn validated(&mut self, step: u64, losses: &ValidationLosses) {
///         self.0.push(format!("validated after step {step}: {:.3}", losses.loss()));
///     }
/// }
///
/// let folder = tempfile::tempdir()?;
/// let mut config = RunConfig::preset("swissroll")?;
/// config.set_all(["training.steps=4", "batch_size=32", "network.hidden_dims=[8]", "validation.every=2"])?;
/// let mut run = config.build::<Flex>(&Default::default())?;
/// let place = RunFolder::create(folder.path().join("run"), &config, false)?;
/// let mut notes = Notes::default();
/// train(&mut *run, &place, &mut notes)?;
/// assert!(notes.0[0].starts_with("step 1: loss") && notes.0[2].starts_with("validated after step 2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer {
    /// Something that the user should know.
    fn warn(&mut self, warning: &str);

    /// A step was made, its metrics are written, and so is its checkpoint if one was due.
    fn step(&mut self, step: &StepReport);

    /// The run was validated after the step `step`.
    fn validated(&mut self, step: u64, losses: &ValidationLosses);

    /// All that follows from a step is done and the run goes on, or is complete. Samples can be drawn of `run` now: it
    /// stays as it is, whatever is done here. `folder` is where it is kept, and `history` what was measured so far.
    fn look(&mut self, run: &dyn Run, folder: &RunFolder, history: &History) {
        let _ = (run, folder, history);
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
    /// What was measured in all steps of the run, earlier processes' included.
    pub history: History,
    /// The last validation, if there was one at the end.
    pub validation: Option<ValidationLosses>,
    /// The seconds that this process trained.
    pub seconds: f64,
    /// Why it ended early, if it did. All that could be saved is saved then too.
    pub stopped: Option<RecipeError>,
}

/// Makes all steps that are left of `run`, with its metrics and checkpoints in `folder`.
///
/// Whatever ends a run early, its last step is saved first. What the file system refuses on the way is warned of and tried
/// again, three times in all.
///
/// # Errors
/// If metrics or checkpoints cannot be read or written. Why a run ended early is [`Trained::stopped`].
pub fn train(
    run: &mut dyn Run,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Trained, RecipeError> {
    let mut log = RunLog::begin(run, folder, observer)?;
    let done = run.counts().steps;
    if done == 0 {
        // What cannot be written is found before anything is computed.
        log.save(run, None, observer)?;
    }
    let mut end = match log.owes_validation(run) {
        true => log.validate_late(run, observer)?,
        false => ControlFlow::Continue(()),
    };
    while end.is_continue() {
        end = log.step(run, observer)?;
    }
    let mut stopped = end.break_value().flatten();
    let done = run.counts().steps;
    if stopped.is_none() && log.validation.is_none() && is_due(run.config(), done) {
        match run.validate() {
            Ok(validation) => log.validation = validation,
            Err(error) => stopped = Some(log.failed(run, error, observer)?),
        }
    }
    log.metrics.sync()?;
    let (history, seconds) = (log.metrics.history().clone(), log.metrics.seconds());
    Ok(Trained { history, validation: log.validation, seconds, stopped })
}

/// How often the file system is asked before its refusal ends a run.
const TRIES: u32 = 3;
/// Between two of these while the run goes on.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two of these at its end.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Whether a run goes on, and if not, why it ended before its end.
type Flow = ControlFlow<Option<RecipeError>>;

/// Whether there is a validation after the step `step`: every so many, and after the last of a run that is long enough
/// for one.
fn is_due(config: &RunConfig, step: u64) -> bool {
    let (every, is_last) =
        (config.validation.as_ref().map(|validation| validation.every), step == config.training.steps);
    every.is_some_and(|every| step.is_multiple_of(every) || is_last && step > every)
}

/// The files of a run that is going on.
struct RunLog {
    folder: RunFolder,
    metrics: MetricsFile,
    /// The lowest validation loss of a checkpoint.
    best: Option<f64>,
    saved: Instant,
    /// The step of the newest checkpoint that is this run's.
    saved_step: u64,
    /// The last validation, if it was after the last step.
    validation: Option<ValidationLosses>,
    /// Since the last checkpoint that was made.
    trouble: Trouble,
}

/// What the file system refused.
#[derive(Default)]
struct Trouble {
    /// How often a checkpoint was tried in vain.
    tries: u32,
    /// When to try again.
    retry: Option<Instant>,
    /// Whether the user knows that metrics are not written.
    is_known: bool,
}

impl RunLog {
    /// Begins after the steps of `run`, in a folder whose checkpoints and metrics may go further.
    fn begin(run: &dyn Run, folder: &RunFolder, observer: &mut dyn Observer) -> Result<Self, RecipeError> {
        // A run that was killed between the two has one too many.
        Checkpoint::prune(folder.checkpoints(), run.config().checkpoint_keep)?;
        let done = run.counts().steps;
        let metrics = MetricsFile::resume(folder, done)?;
        let lines = metrics.history().losses.len();
        if lines as u64 != done {
            let path = folder.file("metrics.jsonl");
            observer.warn(&format!(
                "{} has {} for {}",
                path.display(),
                counted(lines, "line"),
                counted(done, "step")
            ));
        }
        let best = Checkpoint::best_loss(folder.checkpoints())?;
        let (folder, saved, validation, trouble) = (folder.clone(), Instant::now(), None, Trouble::default());
        Ok(Self { folder, metrics, best, saved, saved_step: done, validation, trouble })
    }

    /// Makes the next step, and all that follows from it.
    fn step(&mut self, run: &mut dyn Run, observer: &mut dyn Observer) -> Result<Flow, RecipeError> {
        let step = match run.step() {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(Flow::Break(None)),
            Err(error) => return Ok(Flow::Break(Some(self.failed(run, error, observer)?))),
        };
        let validated = if is_due(run.config(), step.number) { run.validate() } else { Ok(None) };
        let (validation, failure) = match validated {
            Ok(validation) => (validation, None),
            Err(error) => (None, Some(error)),
        };
        if let Err(error) = self.metrics.write(&step, validation.as_ref())
            && !replace(&mut self.trouble.is_known, true)
        {
            observer.warn(&format!("{error}; it is tried again"));
        }
        self.validation = validation;
        if let Some(error) = failure {
            let end = self.failed(run, error, observer)?;
            observer.step(&step);
            return Ok(Flow::Break(Some(end)));
        }
        // Once: who is stopped after it was not saved loses steps.
        let is_stopped = run.is_stopped();
        let is_end = step.number == run.config().training.steps || is_stopped;
        self.save_snapshot(run, observer);
        self.save_if_due(run, is_end, observer)?;
        observer.step(&step);
        if let Some(losses) = &self.validation {
            observer.validated(step.number, losses);
        }
        if let Some(end) = self.early_end(run, step, is_stopped) {
            return Ok(Flow::Break(Some(end)));
        }
        observer.look(run, &self.folder, self.metrics.history());
        Ok(Flow::Continue(()))
    }

    /// Whether the run was stopped after its last step and before the validation that belongs to it.
    fn owes_validation(&self, run: &dyn Run) -> bool {
        let done = run.counts().steps;
        done > 0 && self.metrics.unvalidated() == Some(done) && is_due(run.config(), done)
    }

    /// Validates the run after the step that it was stopped after.
    fn validate_late(&mut self, run: &mut dyn Run, observer: &mut dyn Observer) -> Result<Flow, RecipeError> {
        self.validation = match run.validate() {
            Ok(validation) => validation,
            Err(error) => return Ok(Flow::Break(Some(self.failed(run, error, observer)?))),
        };
        let Some(losses) = &self.validation else { return Ok(Flow::Continue(())) };
        self.metrics.validate(losses)?;
        let step = run.counts().steps;
        observer.validated(step, losses);
        self.save_if_due(run, step == run.config().training.steps, observer)?;
        Ok(Flow::Continue(()))
    }

    /// The end of a run that an error ends. Its last step is saved, unless it is already.
    fn failed(
        &mut self,
        run: &dyn Run,
        error: RecipeError,
        observer: &mut dyn Observer,
    ) -> Result<RecipeError, RecipeError> {
        let step = run.counts().steps;
        let saved = match self.saved_step == step && self.folder.is_there() {
            true => Ok(()),
            false => self.save_at_last(run, observer),
        };
        match error {
            RecipeError::Stopped => {
                saved?;
                Ok(RecipeError::Interrupted { step, checkpoint: self.latest().unwrap_or_default() })
            }
            error => {
                if let Err(error) = saved {
                    observer.warn(&error.to_string());
                }
                let checkpoint = self.latest();
                Ok(match error {
                    RecipeError::Data(reason) => RecipeError::DataFailed { step, reason, checkpoint },
                    other => other,
                })
            }
        }
    }

    /// Saves if it is time, `is_end` says so, or the validation loss is the lowest so far.
    fn save_if_due(
        &mut self,
        run: &dyn Run,
        is_end: bool,
        observer: &mut dyn Observer,
    ) -> Result<(), RecipeError> {
        // Of a run that gave up the weights are those from before it went wrong.
        if is_end || run.gave_up() {
            return self.save_at_last(run, observer);
        }
        let val_loss = self.validation.as_ref().map(ValidationLosses::loss);
        let improved = val_loss.is_some_and(|loss| self.best.is_none_or(|best| loss < best));
        let is_due = run.config().checkpoint_every.is_due(run.counts().steps, self.saved.elapsed());
        let is_due = match self.trouble.retry {
            Some(at) => Instant::now() >= at,
            None => improved || is_due,
        };
        if !is_due {
            return Ok(());
        }
        match self.save(run, val_loss, observer) {
            Err(error) if is_refusal(&error) && self.trouble.tries + 1 < TRIES => {
                self.trouble.tries += 1;
                self.trouble.retry = Some(Instant::now() + PAUSE);
                observer.warn(&format!("{error}; the run goes on, and tries again in {} s", PAUSE.as_secs()));
                Ok(())
            }
            saved => saved,
        }
    }

    /// Saves before the end, when there will be no other chance.
    fn save_at_last(&mut self, run: &dyn Run, observer: &mut dyn Observer) -> Result<(), RecipeError> {
        let val_loss = self.validation.as_ref().map(ValidationLosses::loss);
        for _ in 1..TRIES {
            match self.save(run, val_loss, observer) {
                Err(error) if is_refusal(&error) => thread::sleep(LAST_PAUSE),
                saved => return saved,
            }
        }
        self.save(run, val_loss, observer)
    }

    /// Makes a checkpoint, the metrics so far included, and removes those that are too old. Where the weights are not
    /// finite it warns and makes none; whether the run can go on, its next steps will show.
    fn save(
        &mut self,
        run: &dyn Run,
        val_loss: Option<f64>,
        observer: &mut dyn Observer,
    ) -> Result<(), RecipeError> {
        if !self.folder.is_there() {
            return Err(self.rescue(run, val_loss));
        }
        if !self.folder.config().exists() {
            observer.warn(&format!("{} was removed, and is written again", self.folder.config().display()));
            self.folder.write_config(run.config())?;
        }
        self.metrics.sync()?;
        let checkpoints = self.folder.checkpoints();
        match run.save(&checkpoints, val_loss) {
            Err(RecipeError::Checkpoint(error @ CheckpointError::NotFinite { .. })) => {
                observer.warn(&error.to_string());
                return Ok(());
            }
            saved => self.saved_step = saved?.state().step,
        }
        self.trouble = Trouble::default();
        if let Err(error) = Checkpoint::prune(&checkpoints, run.config().checkpoint_keep) {
            observer.warn(&error.to_string());
        }
        if let Some(loss) = val_loss.filter(|loss| loss.is_finite()) {
            self.best = Some(self.best.map_or(loss, |best| best.min(loss)));
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Makes a snapshot if one is due. Without one the others give other averages a little less well, so that it is not
    /// tried again.
    fn save_snapshot(&self, run: &dyn Run, observer: &mut dyn Observer) {
        if self.folder.is_there()
            && let Err(error) = run.save_snapshot(&self.folder.snapshots())
        {
            observer.warn(&format!("no snapshot was made of step {}: {error}", run.counts().steps));
        }
    }

    /// Saves a run whose folder is gone into a new one, and returns the error that this is.
    fn rescue(&mut self, run: &dyn Run, val_loss: Option<f64>) -> RecipeError {
        let (gone, step) = (self.folder.path().to_path_buf(), run.counts().steps);
        let mut rescue = || {
            let folder = self.folder.again(run.config())?;
            self.metrics = self.metrics.copied_to(&folder)?;
            self.folder = folder;
            self.metrics.sync()?;
            run.save(&self.folder.checkpoints(), val_loss)
        };
        let (place, failure) = match rescue() {
            Ok(checkpoint) => {
                self.saved_step = checkpoint.state().step;
                (Some(self.folder.path().to_path_buf()), None)
            }
            Err(error) => (None, Some(Box::new(error))),
        };
        RecipeError::FolderGone { run: gone, step, place, failure }
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

/// Whether the file system refused, which another time it may not.
fn is_refusal(error: &RecipeError) -> bool {
    matches!(error, RecipeError::Io { .. } | RecipeError::Checkpoint(CheckpointError::Io { .. }))
}

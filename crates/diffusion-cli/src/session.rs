//! What a run in training keeps in its folder: metrics, checkpoints, and the curve of its loss.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::metrics::MetricsFile;
use crate::pictures;
use crate::progress::Progress;
use crate::run::RunFolder;
use crate::say::say;
use diffusion::prelude::{Checkpoint, CheckpointError, Description, NonFinite, Which};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The files of a run that is going on.
pub struct Session<'a> {
    config: &'a RunConfig,
    pub run: RunFolder,
    description: Description,
    pub metrics: MetricsFile,
    pub progress: Progress,
    /// The lowest loss that a checkpoint was judged by.
    pub best: Option<f64>,
    saved: Instant,
    /// The step of the newest checkpoint of this process.
    pub saved_step: u64,
    skips_told: u64,
}

/// How many skipped steps are told of one by one.
const TOLD: u64 = 20;

impl<'a> Session<'a> {
    /// Begins after the step `step`, in a folder whose checkpoints and metrics may go that far.
    pub fn begin(
        config: &'a RunConfig,
        run: RunFolder,
        description: Description,
        step: u64,
    ) -> Result<Self, CliError> {
        // A run that was killed between the two has one too many.
        Checkpoint::prune(&run.checkpoints(), config.checkpoint_keep)?;
        let metrics = MetricsFile::resume(&run, step)?;
        let best = Checkpoint::best_loss(&run.checkpoints())?;
        let progress = Progress::new(config.training.steps, step);
        let saved = Instant::now();
        Ok(Self { config, run, description, metrics, progress, best, saved, saved_step: 0, skips_told: 0 })
    }

    /// Whether it is time for a checkpoint.
    pub fn is_due(&self, step: u64) -> bool {
        self.config.checkpoint_every.is_due(step, self.saved.elapsed())
    }

    /// Makes a checkpoint, the metrics so far included, and removes those that are too old. Where the weights are
    /// spoilt it says so and makes none; whether the run can go on, its next steps will show.
    pub fn save(
        &mut self,
        judged: Option<f64>,
        write: impl FnOnce(&Path, &Description) -> Result<Checkpoint, CheckpointError>,
    ) -> Result<(), CliError> {
        self.metrics.sync()?;
        let folder = self.run.checkpoints();
        let checkpoint = match write(&folder, &self.description) {
            Err(error @ CheckpointError::NotFinite { .. }) => {
                self.progress.say(&format!("warning: {error}"));
                return Ok(());
            }
            checkpoint => checkpoint?,
        };
        Checkpoint::prune(&folder, self.config.checkpoint_keep)?;
        self.saved_step = checkpoint.state().step;
        if let Some(loss) = judged.filter(|loss| loss.is_finite()) {
            self.best = Some(self.best.map_or(loss, |best| best.min(loss)));
        }
        self.saved = Instant::now();
        Ok(())
    }

    /// Tells of a skipped step.
    pub fn skipped(&mut self, step: u64, reason: &NonFinite) {
        self.skips_told += 1;
        if self.skips_told <= TOLD {
            self.progress.say(&format!("warning: skipped step {step}: {reason}"));
        }
        if self.skips_told == TOLD {
            self.progress.say("warning: further skipped steps are told of in metrics.jsonl only");
        }
    }

    /// Ends a run of which too many steps in a row were skipped: its weights are still those from before them, unless
    /// it was the last update that spoilt them.
    pub fn give_up(
        mut self,
        step: u64,
        reason: NonFinite,
        write: impl FnOnce(&Path, &Description) -> Result<Checkpoint, CheckpointError>,
    ) -> Result<CliError, CliError> {
        self.save(None, write)?;
        self.finish()?;
        let checkpoint = self.latest();
        Ok(CliError::Diverged { step, skipped: self.config.training.max_skipped, reason, checkpoint })
    }

    /// The newest checkpoint, for messages.
    pub fn latest(&self) -> Option<PathBuf> {
        self.run.checkpoint(Which::Latest).ok().map(|checkpoint| checkpoint.path().to_path_buf())
    }

    /// Clears the bar, brings the metrics to the disk and draws them.
    pub fn finish(&mut self) -> Result<(), CliError> {
        self.progress.finish();
        self.metrics.sync()?;
        let title = format!("{}: training loss", self.config.preset);
        Ok(pictures::curve(&self.run.file("loss.png"), self.metrics.losses(), &title)?)
    }

    /// Says what was done, and where it is.
    pub fn report(&self, steps: u64, skipped: u64, seconds: f64) -> Result<(), CliError> {
        let losses = self.metrics.losses();
        let last = &losses[losses.len() - losses.len().div_ceil(10)..];
        let finite: Vec<f64> = last.iter().map(|(_, loss)| *loss).filter(|loss| loss.is_finite()).collect();
        let mean = finite.iter().sum::<f64>() / finite.len() as f64;
        let without = match skipped {
            0 => String::new(),
            n => format!(", {n} of them skipped"),
        };
        say(format_args!(
            "trained {steps} steps{without} in {seconds:.1} s; mean loss of the last {}: {mean:.4}",
            last.len()
        ))?;
        for name in
            ["samples.png", "samples.safetensors", "loss.png", "exam.png", "metrics.jsonl", "checkpoints"]
        {
            let path = self.run.file(name);
            if path.exists() {
                say(format_args!("  {}", path.display()))?;
            }
        }
        Ok(())
    }
}

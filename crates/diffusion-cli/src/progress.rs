//! What is told of a run while it trains.

use crate::display::Display;
use crate::estimate::{Estimate, text};
use crate::gallery::Gallery;
use crate::output::log;
use crate::table;
use diffusion_recipe::{History, Observer, Run, RunFolder, StepReport, ValidationLosses};
use std::time::{Duration, Instant};

/// Between two plain lines.
const INTERVAL: Duration = Duration::from_secs(5);
/// The weight of the newest loss in the one that is shown, once there are enough of them for it.
const NEWEST: f64 = 0.02;
/// How many skipped steps are shown one by one.
const SHOWN: u64 = 20;

/// The progress of a run, on standard error.
pub struct Progress {
    display: Display,
    steps: u64,
    /// When the last line was written; none yet.
    written: Option<Instant>,
    estimate: Estimate,
    /// The mean of the newest losses, and how many there were.
    loss: Option<(f64, u64)>,
    skipped: u64,
    /// The pictures that are drawn on the way.
    pub gallery: Gallery,
}

impl Progress {
    /// Of a run of `steps` steps, with the pictures of `gallery`.
    pub fn new(display: Display, steps: u64, gallery: Gallery) -> Self {
        Self { display, steps, written: None, estimate: Estimate::default(), loss: None, skipped: 0, gallery }
    }

    /// Takes in the newest loss, and returns the one to be shown.
    fn smooth(&mut self, loss: f64) -> f64 {
        let (smooth, seen) = match self.loss {
            // One that is not finite would stay in the mean for good.
            Some((before, seen)) if loss.is_finite() => {
                let weight = NEWEST.max(1.0 / (seen + 1) as f64);
                (before + weight * (loss - before), seen + 1)
            }
            Some(before) => before,
            None => (loss, 1),
        };
        self.loss = Some((smooth, seen)).filter(|(loss, _)| loss.is_finite());
        smooth
    }
}

impl Observer for Progress {
    fn warn(&mut self, warning: &str) {
        log(format_args!("warning: {warning}"));
    }

    fn step(&mut self, step: &StepReport) {
        if let Some(reason) = &step.skipped {
            self.skipped += 1;
            if self.skipped <= SHOWN {
                self.warn(&format!("skipped step {}: {reason}", step.number));
            }
            if self.skipped == SHOWN {
                self.warn("further skipped steps are in metrics.jsonl only");
            }
        }
        let (smooth, step) = (self.smooth(step.loss), step.number);
        let now = Instant::now();
        self.estimate.add(now, step);
        let speed = self.estimate.speed().map(|speed| format!("  {speed:.2} steps/s")).unwrap_or_default();
        let left = self.estimate.left(self.steps).map(|left| format!("  {} left", text(left)));
        let message = format!("loss {smooth:.4}{speed}{}", left.unwrap_or_default());
        self.display.show_steps(step, self.steps, &message);
        let is_due = self.written.is_none_or(|written| now - written >= INTERVAL) || step == self.steps;
        if !self.display.is_bar() && is_due {
            self.written = Some(now);
            log(format_args!("step {step}/{}  {message}", self.steps));
        }
    }

    fn validated(&mut self, step: u64, losses: &ValidationLosses) {
        log(format_args!("step {step}  {}", table::sentence(losses)));
        self.gallery.validated();
    }

    fn look(&mut self, run: &dyn Run, folder: &RunFolder, history: &History) {
        self.gallery.look(run, folder, history);
    }
}

//! Showing how far training is: a bar on a terminal, plain lines elsewhere.

use crate::output::log;
use crate::table;
use diffusion_recipe::{Observer, SampleProgress, StepReport, ValidationLosses};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two plain lines.
const INTERVAL: Duration = Duration::from_secs(5);
/// The weight of the newest loss in the one that is shown, once there are enough of them for it.
const NEWEST: f64 = 0.02;
/// How many skipped steps are shown one by one.
const SHOWN: u64 = 20;

/// The progress of a run, on standard error; Ctrl-C stops the run.
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    done: u64,
    begun: Instant,
    shown: Instant,
    /// The mean of the newest losses, and how many there were.
    loss: Option<(f64, u64)>,
    skipped: u64,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// Of a run of `steps` steps, `done` of which were done before.
    pub fn new(steps: u64, done: u64) -> Self {
        let now = Instant::now();
        let bar = bar("{wide_bar} {pos}/{len}  loss {msg}  {per_sec}  {eta} left", steps);
        if let Some(bar) = &bar {
            bar.set_position(done);
            bar.reset_eta();
        }
        let stop = stop_flag();
        Self { bar, steps, done, begun: now, shown: now, loss: None, skipped: 0, stop }
    }

    /// Writes a line above the bar.
    fn log(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| log(text)),
            None => log(text),
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
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
        self.log(&format!("warning: {warning}"));
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
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(format!("{smooth:.4}"));
        } else if self.shown.elapsed() >= INTERVAL || step == self.done + 1 || step == self.steps {
            self.shown = Instant::now();
            let speed = (step - self.done) as f64 / self.begun.elapsed().as_secs_f64();
            let left = (self.steps - step) as f64 / speed;
            log(format_args!(
                "step {step}/{}  loss {smooth:.4}  {speed:.2} steps/s  {left:.0} s left",
                self.steps
            ));
        }
    }

    fn validated(&mut self, step: u64, losses: &ValidationLosses) {
        self.log(&format!("step {step}  {}", table::sentence(losses)));
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How far sampling is, on a terminal only.
pub struct SamplingProgress(Option<ProgressBar>);

impl SamplingProgress {
    /// Of `count` samples.
    pub fn new(count: usize) -> Self {
        Self(bar("{wide_bar} {pos}/{len} samples  {msg}  {eta} left", count as u64))
    }

    /// Shows how far the newest batch is.
    pub fn show(&self, progress: &SampleProgress<'_>) {
        if let Some(bar) = &self.0 {
            let SampleProgress { done, batch, step, steps, .. } = *progress;
            bar.set_position((done + batch * step / steps) as u64);
            bar.set_message(format!("step {step}/{steps}"));
        }
    }
}

impl Drop for SamplingProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A bar of `length`, if standard error is a terminal.
fn bar(template: &str, length: u64) -> Option<ProgressBar> {
    stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    })
}

/// Set by the first Ctrl-C; the second ends the program at once.
fn stop_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = flag.clone();
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        log("\nstopping after this step; press Ctrl-C again to stop at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        log(format_args!("warning: Ctrl-C will end the run without a checkpoint: {error}"));
    }
    flag
}

//! Telling how far training is: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Between two plain lines.
const INTERVAL: Duration = Duration::from_secs(5);
/// The weight of the newest loss in the one that is shown.
const NEWEST: f64 = 0.02;

/// The progress of a run, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    begun: Instant,
    told: Instant,
    loss: Option<f64>,
}

impl Progress {
    pub fn new(steps: u64) -> Self {
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            let template = "{wide_bar} {pos}/{len}  loss {msg}  {per_sec}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, steps, begun: now, told: now, loss: None }
    }

    /// Takes in the loss of the step `step`, counted from 1.
    pub fn step(&mut self, step: u64, loss: f64) {
        let smooth = self.loss.map_or(loss, |before| before + NEWEST * (loss - before));
        self.loss = Some(smooth);
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(format!("{smooth:.4}"));
        } else if self.told.elapsed() >= INTERVAL || step == 1 || step == self.steps {
            self.told = Instant::now();
            let seconds = self.begun.elapsed().as_secs_f64();
            let left = seconds / step as f64 * (self.steps - step) as f64;
            eprintln!(
                "step {step}/{}  loss {smooth:.4}  {:.2} steps/s  {left:.0} s left",
                self.steps,
                step as f64 / seconds
            );
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

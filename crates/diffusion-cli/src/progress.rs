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
    done: u64,
    begun: Instant,
    told: Instant,
    loss: Option<f64>,
}

impl Progress {
    /// Of a run of `steps` steps, `done` of which were done before.
    pub fn new(steps: u64, done: u64) -> Self {
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps).with_position(done);
            bar.reset_eta();
            let template = "{wide_bar} {pos}/{len}  loss {msg}  {per_sec}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, steps, done, begun: now, told: now, loss: None }
    }

    /// Takes in the loss of the step `step`, counted from 1.
    pub fn step(&mut self, step: u64, loss: f64) {
        let smooth = match self.loss {
            // One that is not finite would stay in the mean for good.
            Some(before) if loss.is_finite() => before + NEWEST * (loss - before),
            Some(before) => before,
            None => loss,
        };
        self.loss = Some(smooth).filter(|loss| loss.is_finite());
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(format!("{smooth:.4}"));
        } else if self.told.elapsed() >= INTERVAL || step == self.done + 1 || step == self.steps {
            self.told = Instant::now();
            let seconds = self.begun.elapsed().as_secs_f64();
            let speed = (step - self.done) as f64 / seconds;
            let left = (self.steps - step) as f64 / speed;
            eprintln!("step {step}/{}  loss {smooth:.4}  {speed:.2} steps/s  {left:.0} s left", self.steps);
        }
    }

    /// Says something above the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

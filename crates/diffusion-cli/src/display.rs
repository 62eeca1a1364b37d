//! Showing how far work is: a bar on a terminal, a plain line every few seconds elsewhere.

use crate::estimate::{Estimate, text};
use crate::output::{log, set_bar};
use diffusion::core::watch::{Progress, Watch};
use indicatif::{ProgressBar, ProgressStyle};
use std::env;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two plain lines.
const INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks at whether a line is due.
const TICK: Duration = Duration::from_millis(500);

/// What is being done, on standard error. Clones show it in the same place.
#[derive(Clone)]
pub struct Display {
    shown: Arc<Mutex<Shown>>,
    watch: Watch,
}

/// What is shown.
struct Shown {
    bar: Option<ProgressBar>,
    /// Nothing where this is empty.
    work: String,
    done: u64,
    total: Option<u64>,
    begun: Instant,
    /// When the last line was written, or this work began.
    written: Instant,
    /// That line.
    line: String,
    estimate: Estimate,
}

impl Display {
    /// One that shows nothing yet.
    pub fn new() -> Self {
        let is_terminal = stderr().is_terminal() && !is_plain();
        let now = Instant::now();
        let shown = Shown {
            bar: is_terminal.then(ProgressBar::no_length),
            work: String::new(),
            done: 0,
            total: None,
            begun: now,
            written: now,
            line: String::new(),
            estimate: Estimate::default(),
        };
        let shown = Arc::new(Mutex::new(shown));
        if !is_terminal {
            let shown = Arc::downgrade(&shown);
            // Who does work without a word does not write lines; without the thread there are fewer.
            let tick = move || {
                while let Some(shown) = shown.upgrade() {
                    lock(&shown).write();
                    drop(shown);
                    thread::sleep(TICK);
                }
            };
            let _ = thread::Builder::new().name("progress".into()).spawn(tick);
        }
        let listener = shown.clone();
        let watch = Watch::new(move |progress: Progress<'_>| show(&listener, progress));
        Self { shown, watch }
    }

    /// Whether there is a bar.
    pub fn is_bar(&self) -> bool {
        self.shown().bar.is_some()
    }

    /// The watch on all that the program does: what it is told is shown.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Work begins of which nothing is known but what it is.
    pub fn begin(&self, work: &str) {
        show(&self.shown, Progress { work, done: 0, total: None });
    }

    /// Nothing is being done any more.
    pub fn end(&self) {
        self.shown().work.clear();
        set_bar(None);
    }

    /// Shows the steps of training; `message` stands beside them on the bar.
    pub fn show_steps(&self, done: u64, total: u64, message: &str) {
        let mut shown = self.shown();
        let is_new = shown.take(Progress { work: TRAINING, done, total: Some(total) });
        shown.draw(is_new, message);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shown)
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows how far work is.
fn show(shown: &Mutex<Shown>, progress: Progress<'_>) {
    let mut shown = lock(shown);
    let is_new = shown.take(progress);
    if shown.bar.is_none() {
        shown.write();
        return;
    }
    let message = match progress.total.and_then(|total| shown.estimate.left(total)) {
        Some(left) => format!("{} left", text(left)),
        None => String::new(),
    };
    shown.draw(is_new, &message);
}

/// The work whose plain lines others write.
const TRAINING: &str = "training";

impl Shown {
    /// Takes in how far work is, and returns whether it is other work than before.
    fn take(&mut self, progress: Progress<'_>) -> bool {
        let now = Instant::now();
        let is_new = self.work != progress.work || progress.done < self.done;
        if is_new {
            self.work = progress.work.to_string();
            (self.begun, self.written, self.estimate) = (now, now, Estimate::default());
        }
        (self.done, self.total) = (progress.done, progress.total);
        self.estimate.add(now, progress.done);
        is_new
    }

    /// Draws the bar, another one for new work.
    fn draw(&mut self, is_new: bool, message: &str) {
        let Some(bar) = &mut self.bar else { return };
        if is_new {
            *bar = ProgressBar::no_length();
            let template = match self.total {
                Some(_) => "{prefix} {wide_bar} {pos}/{len}  {msg}",
                None => "{prefix} {spinner} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(self.work.clone());
            set_bar(Some(bar.clone()));
            if self.total.is_none() {
                bar.enable_steady_tick(TICK);
            }
        }
        if let Some(total) = self.total {
            bar.set_length(total);
        }
        bar.set_message(message.to_string());
        bar.set_position(self.done);
    }

    /// Writes a line if it is time, or nothing is being done that has lines.
    fn write(&mut self) {
        if self.work.is_empty() || self.work == TRAINING || self.written.elapsed() < INTERVAL {
            return;
        }
        self.written = Instant::now();
        let line = self.line();
        if line != self.line {
            log(&line);
            self.line = line;
        }
    }

    /// How far the work is, in a line that is another one after a while, however slow the work is.
    fn line(&self) -> String {
        let (work, done, time) = (&self.work, self.done, text(self.begun.elapsed()));
        // Work may name the unit of its parts, as in `drawing samples: step 3 of 100`.
        let colon = if work.contains(':') { "" } else { ":" };
        match self.total {
            None => format!("{work}{colon} {time} so far"),
            Some(total) => match self.estimate.left(total) {
                Some(left) => format!("{work}{colon} {done} of {total}, {time} so far, {} left", text(left)),
                None => format!("{work}{colon} {done} of {total}, {time} so far"),
            },
        }
    }
}

/// Whether the user wants plain lines: a terminal that can do no more, or <https://no-color.org>.
fn is_plain() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set("NO_COLOR") || env::var_os("TERM").is_none_or(|term| term == "dumb")
}

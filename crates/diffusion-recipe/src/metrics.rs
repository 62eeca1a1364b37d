//! metrics.jsonl: a line for each step, the same for every run of a configuration. How long it took stands apart, in
//! timing.jsonl.

use crate::error::RecipeError;
use crate::folder::{RunFolder, write_text};
use crate::run::StepReport;
use crate::validation::ValidationLosses;
use diffusion::train::NonFinite;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a line may stay in memory.
const FLUSH: Duration = Duration::from_secs(2);

/// One line of metrics.jsonl. A number that is not finite is written as null.
#[derive(Serialize)]
struct Line<'a> {
    step: u64,
    examples: u64,
    loss: f64,
    lr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient_norm: Option<f64>,
    /// Why the step changed nothing, if it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a NonFinite>,
    /// The validation after the step, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    val: Option<&'a ValidationLosses>,
}

/// What is read again of a line.
#[derive(Deserialize)]
struct Seen {
    step: u64,
    loss: Option<f64>,
}

/// The metrics of a run that is going on.
pub(crate) struct MetricsFile {
    path: PathBuf,
    lines: BufWriter<File>,
    timing: Option<BufWriter<File>>,
    begun: Instant,
    flushed: Instant,
    /// (step, loss) of all steps so far.
    losses: Vec<(f64, f64)>,
}

impl MetricsFile {
    /// Keeps the lines of the first `step` steps and goes on after them: what a killed run wrote after its last
    /// checkpoint will be computed again.
    pub fn resume(run: &RunFolder, step: u64) -> Result<Self, RecipeError> {
        let path = run.file("metrics.jsonl");
        let (kept, losses) = kept(&path, step)?;
        write_text(&path, &kept)?;
        let append = |path| OpenOptions::new().append(true).create(true).open(path);
        let lines = BufWriter::new(append(&path).map_err(RecipeError::io("open", &path))?);
        // Nothing depends on these; a run without them is as good.
        let timing = append(&run.file("timing.jsonl")).ok().map(BufWriter::new);
        let now = Instant::now();
        Ok(Self { path, lines, timing, begun: now, flushed: now, losses })
    }

    /// Writes a line; it is safe from a crash after the next [`sync`](Self::sync).
    pub fn write(&mut self, step: &StepReport, val: Option<&ValidationLosses>) -> Result<(), RecipeError> {
        let line = Line {
            step: step.number,
            examples: step.examples,
            loss: step.loss,
            lr: step.lr,
            gradient_norm: step.gradient_norm,
            skipped: step.skipped.as_ref(),
            val,
        };
        let failed = RecipeError::io("write", &self.path);
        let text = match serde_json::to_string(&line) {
            Ok(text) => text,
            Err(error) => return Err(failed(error.into())),
        };
        writeln!(self.lines, "{text}").map_err(failed)?;
        self.losses.push((step.number as f64, step.loss));
        if self.flushed.elapsed() >= FLUSH {
            self.time(step.number);
            self.lines.flush().map_err(RecipeError::io("write", &self.path))?;
            self.flushed = Instant::now();
        }
        Ok(())
    }

    /// Brings all lines so far to the disk.
    pub fn sync(&mut self) -> Result<(), RecipeError> {
        if let Some(&(step, _)) = self.losses.last() {
            self.time(step as u64);
        }
        let synced = self.lines.flush().and_then(|()| self.lines.get_ref().sync_data());
        synced.map_err(RecipeError::io("write", &self.path))
    }

    /// (step, loss) of all steps so far.
    pub fn losses(&self) -> &[(f64, f64)] {
        &self.losses
    }

    /// The seconds since this process began to train.
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn time(&mut self, step: u64) {
        let seconds = self.seconds();
        if let Some(timing) = &mut self.timing {
            let line = writeln!(timing, "{{\"step\":{step},\"seconds\":{seconds:.3}}}");
            let _ = line.and_then(|()| timing.flush());
        }
    }
}

/// The lines of the first `step` steps, and their (step, loss).
fn kept(path: &Path, step: u64) -> Result<(String, Vec<(f64, f64)>), RecipeError> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        old => old.map_err(RecipeError::io("read", path))?,
    };
    let (mut kept, mut losses) = (String::new(), Vec::new());
    for line in old.split_inclusive('\n') {
        match serde_json::from_str::<Seen>(line) {
            Ok(seen) if seen.step <= step && line.ends_with('\n') => {
                kept.push_str(line);
                losses.push((seen.step as f64, seen.loss.unwrap_or(f64::NAN)));
            }
            _ => {}
        }
    }
    Ok((kept, losses))
}

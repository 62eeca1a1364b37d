//! metrics.jsonl: a line for each step, the same for every run of a configuration. How long it took stands apart, in
//! timing.jsonl.

use crate::error::RecipeError;
use crate::folder::{RunFolder, write_text};
use crate::run::StepReport;
use crate::validation::ValidationLosses;
use diffusion::train::NonFinite;
use diffusion::weights::{check_regular, open_regular};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a line may stay in memory.
const FLUSH: Duration = Duration::from_secs(2);

/// The most bytes of a line, and of lines that are none of a run's: those after them are not read.
const LONGEST: u64 = 128 << 20;

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
    lr: Option<f64>,
    val: Option<SeenValidation>,
}

/// What is read again of a validation.
#[derive(Deserialize)]
struct SeenValidation {
    training: Option<SeenLosses>,
    validation: Option<SeenLosses>,
    #[serde(default)]
    metrics: BTreeMap<String, Option<f64>>,
}

/// What is read again of the losses of examples.
#[derive(Deserialize)]
struct SeenLosses {
    mean: Option<f64>,
}

/// What was measured of samples after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepMetrics {
    /// The step.
    pub step: u64,
    /// The values by their names; not a number where there was none.
    pub values: BTreeMap<String, f64>,
}

/// What was measured of a run so far, in all of its processes. A number that is not finite may be NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The loss of each step: (step, loss).
    pub losses: Vec<(f64, f64)>,
    /// The learning rate of each step: (step, rate).
    pub rates: Vec<(f64, f64)>,
    /// The mean loss of each validation on training examples: (step, loss).
    pub training: Vec<(f64, f64)>,
    /// The mean loss of each validation on validation examples, where there are some: (step, loss).
    pub validation: Vec<(f64, f64)>,
    /// What was measured of samples in each validation that did.
    pub metrics: Vec<StepMetrics>,
}

impl History {
    /// Adds a line that was read again.
    fn read(&mut self, seen: Seen) {
        let step = seen.step as f64;
        self.losses.push((step, seen.loss.unwrap_or(f64::NAN)));
        self.rates.push((step, seen.lr.unwrap_or(f64::NAN)));
        let Some(val) = seen.val else { return };
        let mean = |losses: SeenLosses| (step, losses.mean.unwrap_or(f64::NAN));
        self.training.extend(val.training.map(mean));
        self.validation.extend(val.validation.map(mean));
        let finite = val.metrics.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN)));
        self.measure(seen.step, finite.collect());
    }

    /// Adds the validation after the last step.
    fn validate(&mut self, val: &ValidationLosses) {
        let Some(&(step, _)) = self.losses.last() else { return };
        self.training.push((step, val.training.mean));
        self.validation.extend(val.validation.as_ref().map(|losses| (step, losses.mean)));
        self.measure(step as u64, val.metrics.clone());
    }

    /// Adds what was measured of samples, if anything was.
    fn measure(&mut self, step: u64, values: BTreeMap<String, f64>) {
        if !values.is_empty() {
            self.metrics.push(StepMetrics { step, values });
        }
    }
}

/// The metrics of a run that is going on.
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
    /// Lines that are not in the file yet. What could not be written stays here, to be tried again.
    pending: Vec<u8>,
    timing: Option<BufWriter<File>>,
    begun: Instant,
    flushed: Instant,
    history: History,
    /// The last step so far, if its line has no validation.
    unvalidated: Option<u64>,
}

impl MetricsFile {
    /// Keeps the lines of the first `step` steps and goes on after them: what a killed run wrote after its last
    /// checkpoint will be computed again.
    pub fn resume(run: &RunFolder, step: u64) -> Result<Self, RecipeError> {
        let path = run.file("metrics.jsonl");
        let Kept { text, history, unvalidated } = kept(&path, step)?;
        write_text(&path, &text)?;
        let file = append(&path).map_err(RecipeError::io("open", &path))?;
        // Nothing depends on these; a run without them is as good.
        let timing = append(&run.file("timing.jsonl")).ok().map(BufWriter::new);
        let (now, pending) = (Instant::now(), Vec::new());
        Ok(Self { path, file, pending, timing, begun: now, flushed: now, history, unvalidated })
    }

    /// The same in the folder `run`, where all lines so far are copied to, though the file may be gone from its own.
    pub fn copied_to(&mut self, run: &RunFolder) -> Result<Self, RecipeError> {
        // What does not get into the old file goes into the new one all the same.
        let _ = self.flush();
        let failed = RecipeError::io("read", &self.path);
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(failed)?;
        bytes.extend(&self.pending);
        let path = run.file("metrics.jsonl");
        write_text(&path, &String::from_utf8_lossy(&bytes))?;
        let step = self.history.losses.last().map_or(0, |&(step, _)| step as u64);
        Ok(Self { begun: self.begun, ..Self::resume(run, step)? })
    }

    /// The last step so far, if its line has no validation.
    pub fn unvalidated(&self) -> Option<u64> {
        self.unvalidated
    }

    /// Adds the validation after the last step to its line, which has none.
    pub fn validate(&mut self, val: &ValidationLosses) -> Result<(), RecipeError> {
        let failed = |error: io::Error| RecipeError::io("write", &self.path)(error);
        let Kept { mut text, .. } = kept(&self.path, u64::MAX)?;
        let json = serde_json::to_string(val).map_err(|error| failed(error.into()))?;
        add_validation(&mut text, &json);
        write_text(&self.path, &text)?;
        self.file = append(&self.path).map_err(failed)?;
        self.unvalidated = None;
        self.history.validate(val);
        Ok(())
    }

    /// Writes a line; it is safe from a crash after the next [`sync`](Self::sync). Where the file system refuses, the line
    /// is kept and tried again with the next.
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
        let text = serde_json::to_string(&line).map_err(io::Error::from);
        let text = text.map_err(RecipeError::io("write", &self.path))?;
        self.pending.extend(text.bytes().chain([b'\n']));
        self.history.losses.push((step.number as f64, step.loss));
        self.history.rates.push((step.number as f64, step.lr));
        if let Some(val) = val {
            self.history.validate(val);
        }
        self.unvalidated = val.is_none().then_some(step.number);
        if self.flushed.elapsed() >= FLUSH {
            self.flushed = Instant::now();
            self.time(step.number);
            self.flush()?;
        }
        Ok(())
    }

    /// Brings all lines so far to the disk.
    pub fn sync(&mut self) -> Result<(), RecipeError> {
        if let Some(&(step, _)) = self.history.losses.last() {
            self.time(step as u64);
        }
        self.flush()?;
        self.file.sync_data().map_err(RecipeError::io("write", &self.path))
    }

    fn flush(&mut self) -> Result<(), RecipeError> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(RecipeError::io("write", &self.path)(error)),
            }
        }
        Ok(())
    }

    /// All that was measured so far.
    pub fn history(&self) -> &History {
        &self.history
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

/// Adds a validation to the last line, which is an object.
fn add_validation(text: &mut String, json: &str) {
    // Its last brace alone: one before it may end what the step says of itself.
    let end = text.trim_end();
    text.truncate(end.strip_suffix('}').unwrap_or(end).len());
    text.push_str(&format!(",\"val\":{json}}}\n"));
}

/// Opens a file to write at its end and to read; one that is made if it is not there.
fn append(path: &Path) -> io::Result<File> {
    if path.exists() {
        check_regular(path)?;
    }
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// What is kept of the metrics.
#[derive(Default)]
struct Kept {
    /// The lines.
    text: String,
    /// What they say.
    history: History,
    /// The step of the last one, if it has no validation.
    unvalidated: Option<u64>,
}

/// The lines of the first `step` steps. What follows them is not read.
fn kept(path: &Path, step: u64) -> Result<Kept, RecipeError> {
    let mut kept = Kept::default();
    let mut file = match open_regular(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(kept),
        file => BufReader::new(file.map_err(RecipeError::io("read", path))?),
    };
    let mut foreign = 0;
    loop {
        let mut line = Vec::new();
        file.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(RecipeError::io("read", path))?;
        if !line.ends_with(b"\n") {
            return Ok(kept);
        }
        match serde_json::from_slice::<Seen>(&line) {
            Ok(seen) if seen.step > step => return Ok(kept),
            Ok(seen) => {
                kept.text.push_str(&String::from_utf8_lossy(&line));
                kept.unvalidated = seen.val.is_none().then_some(seen.step);
                kept.history.read(seen);
            }
            Err(_) => foreign += line.len() as u64,
        }
        if foreign > LONGEST {
            return Ok(kept);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_validation_follows_what_the_last_line_says() {
        let mut text = String::from("{\"step\":1}\n{\"step\":2,\"skipped\":{\"loss\":\"NaN\"}}\n");
        add_validation(&mut text, "{\"mean\":0.5}");
        let last: serde_json::Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
        assert_eq!((&last["skipped"]["loss"], &last["val"]["mean"]), (&"NaN".into(), &0.5.into()));
        assert_eq!(text.lines().count(), 2);
    }
}

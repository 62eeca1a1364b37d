//! What was measured of each recipe, in files and as a table.

use crate::error::BenchError;
use crate::facts::Facts;
use crate::table::{Table, grouped};
use diffusion_recipe::Measured;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A value with its standard error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Value {
    /// Its name.
    pub metric: String,
    /// What it is.
    pub value: f64,
    /// Its standard error, where there is one.
    pub error: Option<f64>,
    /// What it would be of samples that are examples.
    #[serde(default)]
    pub floor: Option<f64>,
}

impl From<Measured> for Value {
    fn from(measured: Measured) -> Self {
        let Measured { metric, value, error, floor, .. } = measured;
        Self { metric: metric.into(), value, error, floor }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, error, .. } = self;
        let digits = digits(&self.metric);
        write!(f, "{value:.digits$}")?;
        error.map_or(Ok(()), |error| write!(f, " ± {error:.digits$}"))
    }
}

/// How many decimal places of a metric are told.
fn digits(metric: &str) -> usize {
    if metric == "kid" { 5 } else { 3 }
}

/// What was measured of a recipe with one seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The recipe's name.
    pub name: String,
    /// What it changes.
    pub change: String,
    /// All that its samples depend on, besides seeds and the time of training.
    #[serde(default)]
    pub settings: String,
    /// The number of samples that were judged.
    #[serde(default)]
    pub count: u32,
    /// The seed of its training.
    pub seed: u64,
    /// Seconds of a step, where they were timed apart from the training.
    #[serde(default)]
    pub step: Option<f64>,
    /// What was trained.
    #[serde(flatten)]
    pub trained: Trained,
    /// Seconds that drawing and judging took.
    pub judged: f64,
    /// How good the samples are.
    pub values: Vec<Value>,
}

/// What is known of a training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Trained {
    /// Parameters of the network.
    pub parameters: usize,
    /// Examples of a step.
    pub batch_size: usize,
    /// Steps that were made.
    pub steps: u64,
    /// Seconds that they took.
    pub seconds: f64,
}

/// The file of a row.
pub const RESULT: &str = "result.json";

/// What is in a file of the study, if it is there.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, BenchError> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| BenchError::Study(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BenchError::Study(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Writes a file of the study, whose folder is made if it is not there.
pub fn write(path: &Path, what: &impl Serialize) -> Result<(), BenchError> {
    let failed = |source| BenchError::Write { path: path.to_path_buf(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let text = serde_json::to_string_pretty(what).map_err(BenchError::Request)?;
    fs::write(path, text + "\n").map_err(failed)
}

impl Row {
    /// Whether it is a result of these settings, and of as many samples.
    pub fn is_of(&self, settings: &str, count: u32) -> bool {
        (&self.settings[..], self.count) == (settings, count)
    }

    fn value(&self, metric: &str) -> Option<String> {
        self.values.iter().find(|value| value.metric == metric).map(ToString::to_string)
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, trained: Trained { steps, seconds, .. }, .. } = self;
        write!(f, "{name}, seed {seed}: {steps} steps in {seconds:.0} s")?;
        self.values.iter().try_for_each(|value| write!(f, ", {} {value}", value.metric))
    }
}

/// All of them as Markdown, those of a recipe with several seeds with their mean.
pub fn table(rows: &[Row], facts: &Facts) -> String {
    let mut table =
        Table::new(["recipe", "changes", "seed", "parameters", "batch", "ms per step", "steps", "FD", "KID"]);
    for recipe in rows.chunk_by(|one, next| one.name == next.name) {
        for row in recipe {
            let Trained { parameters, batch_size, steps, seconds } = row.trained;
            let step = row.step.unwrap_or(seconds / steps as f64);
            table.row([
                Some(format!("`{}`", row.name)),
                Some(row.change.clone()),
                Some(row.seed.to_string()),
                Some(grouped(parameters)),
                Some(batch_size.to_string()),
                Some(format!("{:.0}", 1e3 * step)),
                Some(grouped(steps as usize)),
                row.value("fd"),
                row.value("kid"),
            ]);
        }
        if recipe.len() > 1 {
            let [fd, kid] =
                ["fd", "kid"].map(|metric| mean(recipe, metric).as_ref().map(ToString::to_string));
            let name = Some(format!("`{}`", recipe[0].name));
            table.row([name, None, Some("mean".into()), None, None, None, None, fd, kid]);
        }
    }
    let Facts { processor, processors, system, .. } = facts;
    let counts = BTreeSet::from_iter(rows.iter().map(|row| row.count.to_string()));
    let counts = Vec::from_iter(counts).join(" or ");
    let floor = |Value { metric, floor, .. }: &Value| {
        floor.map(|floor| format!(", {metric} {floor:.*}", digits(metric)))
    };
    let floors = String::from_iter(rows.iter().take(1).flat_map(|row| row.values.iter().filter_map(floor)));
    format!(
        "{table}\n{counts} samples; of as many examples{floors}. {processors} processors ({processor}), {system}\n"
    )
}

/// The mean over seeds, with its standard error.
fn mean(rows: &[Row], metric: &str) -> Option<Value> {
    let of = |row: &Row| row.values.iter().find(|value| value.metric == metric).map(|value| value.value);
    let values = rows.iter().map(of).collect::<Option<Vec<_>>>()?;
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|found| (found - value).powi(2)).sum::<f64>();
    Some(Value { metric: metric.into(), value, error: Some((squares / (n - 1.0) / n).sqrt()), floor: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_seeds_have_a_mean() {
        let row = |seed, value| {
            let value = Value { metric: "fd".into(), value, error: None, floor: Some(0.25) };
            Row { name: "a".into(), seed, count: 7, values: vec![value], ..Row::default() }
        };
        let text = table(&[row(0, 1.0), row(1, 3.0)], &Facts::here());
        assert!(
            text.contains("2.000 ± 1.000") && text.contains("7 samples; of as many examples, fd 0.250"),
            "{text}"
        );
        assert!(!table(&[row(0, 1.0)], &Facts::here()).contains("mean"));
    }
}

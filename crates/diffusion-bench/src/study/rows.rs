//! What was measured of each recipe, in files and as a table.

use crate::error::BenchError;
use crate::facts::Facts;
use crate::table::{Table, grouped};
use diffusion_recipe::Measured;
use serde::{Deserialize, Serialize};
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
}

impl From<Measured> for Value {
    fn from(measured: Measured) -> Self {
        Self { metric: measured.metric.into(), value: measured.value, error: measured.error }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, error, .. } = self;
        let digits = if self.metric == "kid" { 4 } else { 2 };
        write!(f, "{value:.digits$}")?;
        error.map_or(Ok(()), |error| write!(f, " ± {error:.digits$}"))
    }
}

/// What was measured of a recipe with one seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The recipe's name.
    pub name: String,
    /// What it changes.
    pub change: String,
    /// The seed of its training.
    pub seed: u64,
    /// Parameters of the network.
    pub parameters: usize,
    /// Examples of a step.
    pub batch_size: usize,
    /// Steps that were made.
    pub steps: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// Seconds that drawing and judging took.
    pub judged: f64,
    /// How good the samples are.
    pub values: Vec<Value>,
}

/// The file of a row.
const FILE: &str = "result.json";

impl Row {
    /// The row that is in the folder, if it is there.
    pub fn read(folder: &Path) -> Result<Option<Self>, BenchError> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| BenchError::Study(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BenchError::Study(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Writes it into the folder.
    pub fn write(&self, folder: &Path) -> Result<(), BenchError> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(BenchError::Request)?;
        fs::write(&path, text + "\n").map_err(|source| BenchError::Write { path, source })
    }

    fn value(&self, metric: &str) -> Option<String> {
        self.values.iter().find(|value| value.metric == metric).map(ToString::to_string)
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, steps, seconds, .. } = self;
        write!(f, "{name}, seed {seed}: {steps} steps in {seconds:.0} s")?;
        self.values.iter().try_for_each(|value| write!(f, ", {} {value}", value.metric))
    }
}

/// All of them as Markdown.
pub fn table(rows: &[Row], facts: &Facts) -> String {
    let mut table =
        Table::new(["recipe", "changes", "seed", "parameters", "batch", "steps", "minutes", "FD", "KID"]);
    for row in rows {
        table.row([
            Some(format!("`{}`", row.name)),
            Some(row.change.clone()),
            Some(row.seed.to_string()),
            Some(grouped(row.parameters)),
            Some(row.batch_size.to_string()),
            Some(grouped(row.steps as usize)),
            Some(format!("{:.1}", row.seconds / 60.0)),
            row.value("fd"),
            row.value("kid"),
        ]);
    }
    let Facts { processor, processors, system, .. } = facts;
    format!("{table}\n{processors} processors ({processor}), {system}\n")
}

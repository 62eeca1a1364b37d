//! Two backends' findings side by side: how far apart they are, and whether that is too far.

use crate::examine::{Findings, Layer, STEPS};
use burn::tensor::TensorData;
use std::collections::BTreeMap;
use std::fmt;

/// The largest error of a layer's output, relative to its largest value. flex, ndarray and wgpu on llvmpipe differ by
/// up to 1.4e-6 in the small models.
pub const FORWARD_TOLERANCE: f64 = 1e-4;
/// The same of a gradient. wgpu and flex differ by up to 4.5e-5, ndarray and flex by 1e-4: Burn's gradient of a division
/// takes a reciprocal, and ndarray's is good to 14 bits with AVX-512 and to 12 without.
pub const BACKWARD_TOLERANCE: f64 = 1e-3;
/// The same of the losses of the training steps, 1e-6 between all three.
pub const LOSS_TOLERANCE: f64 = 1e-4;
/// The same of a parameter after the training steps, 4e-6 between all three.
pub const PARAMETER_TOLERANCE: f64 = 1e-3;
/// Gradients below this part of the largest of their layer are judged as if they were as large: what cancels, like the
/// gradient of a bias before a norm, is nothing but rounding.
const GRADIENT_FLOOR: f64 = 1e-2;

/// How far one layer is off.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The error of its output.
    pub forward: f64,
    /// The largest error of a gradient, and whose.
    pub backward: Option<(f64, String)>,
}

impl Row {
    /// Whether an error is beyond its tolerance.
    pub fn is_wrong(&self) -> bool {
        !within(self.forward, FORWARD_TOLERANCE) || !within(self.worst_gradient(), BACKWARD_TOLERANCE)
    }

    fn worst_gradient(&self) -> f64 {
        self.backward.as_ref().map_or(0.0, |(error, _)| *error)
    }

    /// What is wrong, in the verdict's words.
    fn fault(&self) -> String {
        let mut faults = Vec::new();
        if !within(self.forward, FORWARD_TOLERANCE) {
            faults.push(format!("forward {:.1e}, tolerance {FORWARD_TOLERANCE:e}", self.forward));
        }
        if let Some((error, of)) = &self.backward
            && !within(*error, BACKWARD_TOLERANCE)
        {
            faults.push(format!("backward {error:.1e} for {of}, tolerance {BACKWARD_TOLERANCE:e}"));
        }
        format!("{} ({})", self.name, faults.join("; "))
    }
}

/// How far a model is off.
#[derive(Clone, Debug)]
pub struct Report {
    /// The model.
    pub name: String,
    /// Its layers, in the order in which they compute.
    pub rows: Vec<Row>,
    /// The largest error of a loss.
    pub losses: f64,
    /// The largest error of a parameter after training, and whose.
    pub parameters: (f64, String),
}

impl Report {
    /// The differences between `found` and `expected`.
    pub(crate) fn new(name: &str, found: &Findings, expected: &Findings) -> Self {
        let pairs = found.layers.iter().zip(&expected.layers);
        let mut rows: Vec<Row> = pairs.map(|(found, expected)| row(found, expected)).collect();
        for ((row, found), expected) in rows.iter_mut().zip(&found.sampled).zip(&expected.layers) {
            row.forward = worse(row.forward, error(found, &expected.output, 0.0));
        }
        let parameters = expected.parameters.iter().zip(&found.parameters);
        let parameters = parameters.map(|((path, expected), (_, found))| (error(found, expected, 0.0), path));
        Self {
            name: name.to_string(),
            rows,
            losses: distance(found.losses.iter().copied(), expected.losses.iter().copied(), 0.0),
            parameters: worst(parameters).unwrap_or_default(),
        }
    }

    /// The layers whose errors are beyond their tolerances.
    pub fn wrong_layers(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_wrong())
    }

    /// Whether the training steps differ by more than their tolerances.
    pub fn training_is_wrong(&self) -> bool {
        !within(self.losses, LOSS_TOLERANCE) || !within(self.parameters.0, PARAMETER_TOLERANCE)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max(20);
        let mark = |wrong| if wrong { "WRONG" } else { "ok" };
        writeln!(f, "{:width$}  forward  backward", self.name, width = width + 2)?;
        for row in &self.rows {
            let backward = row.backward.as_ref().map(|(error, _)| format!("{error:.1e}"));
            let (forward, backward) = (format!("{:.1e}", row.forward), backward.unwrap_or_default());
            writeln!(f, "  {:width$}  {forward:>7}  {backward:>8}  {}", row.name, mark(row.is_wrong()))?;
        }
        let (parameters, of) = &self.parameters;
        writeln!(
            f,
            "  {STEPS} training steps: losses {:.1e}, parameters {parameters:.1e} ({of})  {}",
            self.losses,
            mark(self.training_is_wrong())
        )
    }
}

/// What all reports together say, and whether it is good.
///
/// # Errors
/// If a layer or the training steps of a model are beyond their tolerances: a sentence that names them.
pub fn verdict(reports: &[Report]) -> Result<String, String> {
    let place = |report: &Report, what: String| match reports {
        [_] => what,
        _ => format!("{what} of {}", report.name),
    };
    let wrong: Vec<String> = reports
        .iter()
        .flat_map(|report| report.wrong_layers().map(|row| place(report, row.fault())))
        .collect();
    let astray: Vec<String> = reports
        .iter()
        .filter(|report| report.training_is_wrong())
        .map(|report| {
            let (losses, (parameters, of)) = (report.losses, &report.parameters);
            format!(
                "{} (losses {losses:.1e}, tolerance {LOSS_TOLERANCE:e}; parameters {parameters:.1e} in {of}, tolerance \
                 {PARAMETER_TOLERANCE:e})",
                report.name
            )
        })
        .collect();
    match (wrong.len(), astray.len()) {
        (0, 0) => Ok(agreement(reports, place)),
        (0, _) => Err(format!("every layer agrees, but training does not: {}", astray.join(", "))),
        (1, _) => Err(format!("1 layer is wrong: {}", wrong[0])),
        (n, _) => Err(format!("{n} layers are wrong: {}", wrong.join(", "))),
    }
}

fn agreement(reports: &[Report], place: impl Fn(&Report, String) -> String) -> String {
    let rows = || reports.iter().flat_map(|report| report.rows.iter().map(move |row| (report, row)));
    let largest = |error: fn(&Row) -> f64| {
        let all = rows().map(|(report, row)| (error(row), place(report, row.name.clone())));
        all.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default()
    };
    let (forward, output) = largest(|row| row.forward);
    let (backward, gradient) = largest(Row::worst_gradient);
    format!(
        "every layer agrees (largest error {forward:.1e} forward in {output}, {backward:.1e} backward in {gradient})"
    )
}

fn row(found: &Layer, expected: &Layer) -> Row {
    let largest = expected.gradients.iter().map(|(_, gradient)| magnitude(gradient)).fold(0.0, f64::max);
    let mut by_name: BTreeMap<&str, &TensorData> =
        found.gradients.iter().map(|(of, gradient)| (of.as_str(), gradient)).collect();
    let mut errors: Vec<(f64, &String)> = Vec::new();
    for (of, gradient) in &expected.gradients {
        let found = by_name.remove(of.as_str());
        let floor = GRADIENT_FLOOR * largest;
        errors.push((found.map_or(f64::INFINITY, |found| error(found, gradient, floor)), of));
    }
    Row {
        name: expected.name.clone(),
        forward: error(&found.output, &expected.output, 0.0),
        backward: worst(errors.into_iter()),
    }
}

fn worst<'a>(errors: impl Iterator<Item = (f64, &'a String)>) -> Option<(f64, String)> {
    errors.reduce(|a, b| if is_worse(b.0, a.0) { b } else { a }).map(|(error, of)| (error, of.clone()))
}

/// Whether the error `a` is larger than `b`; NaN is the largest.
fn is_worse(a: f64, b: f64) -> bool {
    a > b || a.is_nan()
}

fn worse(a: f64, b: f64) -> f64 {
    if is_worse(a, b) { a } else { b }
}

/// Whether an error is small enough; NaN is not.
fn within(error: f64, tolerance: f64) -> bool {
    error <= tolerance
}

fn magnitude(data: &TensorData) -> f64 {
    data.iter::<f64>().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest difference, relative to the largest expected value or to `floor`, if that is larger.
fn error(found: &TensorData, expected: &TensorData, floor: f64) -> f64 {
    if found.shape != expected.shape {
        return f64::INFINITY;
    }
    distance(found.iter::<f64>(), expected.iter::<f64>(), floor)
}

fn distance(found: impl Iterator<Item = f64>, expected: impl Iterator<Item = f64>, floor: f64) -> f64 {
    let (mut difference, mut scale) = (0.0, floor);
    for (found, expected) in found.zip(expected) {
        difference = worse((found - expected).abs(), difference);
        scale = worse(expected.abs(), scale);
    }
    if difference == 0.0 { 0.0 } else { difference / scale }
}

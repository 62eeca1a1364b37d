//! `diffusion doctor`: does this device compute what a CPU computes?

use crate::args::DoctorArgs;
use crate::display::Display;
use crate::error::CliError;
use crate::output::{log, print};
use burn::tensor::backend::Backend;
use diffusion_backends::{BackendName, Job, describe, run_on};
use diffusion_doctor::{Reference, Report, verdict};
use diffusion_recipe::{RecipeError, RunConfig};

pub fn main(args: DoctorArgs, display: &Display) -> Result<(), CliError> {
    let backend = args.backend;
    let reference = args.reference.unwrap_or(backend.reference());
    print(format_args!("device: {}", describe(backend)?))?;
    let described = if reference == backend { "the same".to_string() } else { describe(reference)? };
    print(format_args!("reference: {described}\n"))?;
    let configs = match &args.preset {
        Some(preset) => vec![RunConfig::preset(preset)?],
        None => diffusion_doctor::models(),
    };
    let mut expected = Vec::new();
    for config in &configs {
        let work = format!("{}: computing on {}", config.preset, reference.name());
        log(&work);
        display.begin(&work);
        display.watch().check().map_err(RecipeError::from)?;
        expected.push((config, run_on(reference, Record(config))??));
    }
    for layer in &args.inject_fault {
        check_layer(layer, expected.iter().flat_map(|(_, reference)| reference.layers()))?;
    }
    let mut reports = Vec::new();
    for (config, expected) in &expected {
        let work = format!("{}: computing on {}", config.preset, backend.name());
        log(&work);
        display.begin(&work);
        display.watch().check().map_err(RecipeError::from)?;
        let report = run_on(backend, Compare { expected, faults: &args.inject_fault })??;
        print(&report)?;
        reports.push(report);
    }
    conclude(&reports, backend, reference)
}

/// Prints what all reports together say.
fn conclude(reports: &[Report], backend: BackendName, reference: BackendName) -> Result<(), CliError> {
    let verdict = verdict(reports);
    let (Ok(text) | Err(text)) = &verdict;
    print(format_args!("verdict: {text}"))?;
    let disagreement = CliError::Disagreement { backend: backend.name(), reference: reference.name() };
    verdict.map(|_| ()).map_err(|_| disagreement)
}

/// Refuses a name that no layer has.
fn check_layer<'a>(name: &str, layers: impl Iterator<Item = &'a str>) -> Result<(), CliError> {
    let names: Vec<&str> = layers.collect();
    if names.contains(&name) {
        return Ok(());
    }
    let some: Vec<&str> = names.iter().step_by(names.len().div_ceil(6)).copied().collect();
    let what = format!("no layer is called {name:?}; there are {}, …", some.join(", "));
    Err(CliError::usage(what, "without --inject-fault, the table has the names of all layers"))
}

/// Records what a backend that is trusted makes of a model.
struct Record<'a>(&'a RunConfig);

impl Job for Record<'_> {
    type Output = Result<Reference, RecipeError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        Reference::record::<B>(self.0, device)
    }
}

/// Compares another backend with that.
struct Compare<'a> {
    expected: &'a Reference,
    faults: &'a [String],
}

impl Job for Compare<'_> {
    type Output = Result<Report, RecipeError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.expected.compare::<B>(self.faults, device)
    }
}

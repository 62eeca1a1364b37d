//! `diffusion eval`: how far samples are from data.

use crate::args::{EvalArgs, SamplingArgs};
use crate::chosen::Chosen;
use crate::configure::set_location;
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::memory::{Work, during};
use crate::output::{log, print, try_print};
use crate::place::{check_file, check_png};
use crate::sample;
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use burn::tensor::backend::Backend;
use diffusion::core::Invalid;
use diffusion::eval::Metric;
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{
    EvaluateRequest, Evaluation, Judged, Measured, NearestPairs, RecipeError, RunConfig, RunFolder,
    SampleRequest, Samples, evaluate,
};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn main(args: EvalArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let request = EvaluateRequest {
        count: args.count,
        metrics: args.metrics.clone(),
        features: args.features,
        feature_weights: args.feature_weights.clone(),
        against: args.against.clone(),
        save_stats: args.save_stats.clone(),
    };
    request.validate().map_err(CliError::Option)?;
    let judged = match args.of.join("config.toml").exists() {
        true => Some(Box::new(run(&args)?)),
        false => {
            check_no_run(&args)?;
            None
        }
    };
    let picture = judged.as_ref().and_then(|run| run.picture(&args));
    check_places(&args, picture.as_deref())?;
    let (of, json) = (args.of, args.json);
    run_on(args.location.backend, Evaluating { of, judged, request, json, picture, display })?
}

/// A run that is measured.
struct OfRun {
    config: RunConfig,
    folder: RunFolder,
    chosen: Chosen,
    request: SampleRequest,
}

/// The run that is asked for, with what the command line changes.
fn run(args: &EvalArgs) -> Result<OfRun, CliError> {
    let (folder, mut config) = RunFolder::open(&args.of)?;
    sample::set(&mut config, &args.sampling, None, None)?;
    set_location(&mut config, &args.location)?;
    config.validate()?;
    config.warnings().iter().for_each(|warning| log(format_args!("warning: {warning}")));
    let guidance = &args.sampling.guidance;
    if config.network.text().is_some() && (guidance.negative.is_some() || !guidance.also.is_empty()) {
        let what = "--negative or --also was given, and this run is told the texts of its data";
        return Err(CliError::usage(what, "leave it out"));
    }
    let request = sample::request(&args.sampling, &config)?;
    let chosen = Chosen::find(&folder, &config, &args.weights)?;
    Ok(OfRun { config, folder, chosen, request })
}

impl OfRun {
    /// Where the samples nearest to the training examples are drawn, if memorization is measured.
    fn picture(&self, args: &EvalArgs) -> Option<PathBuf> {
        let usual = || self.folder.file(&format!("nearest-seed-{}.png", self.request.seed));
        let is_measured = args.metrics.contains(&Metric::Memorization);
        is_measured.then(|| args.out.clone().unwrap_or_else(usual))
    }
}

/// Finds options that are of runs, where samples are measured that are at hand.
fn check_no_run(args: &EvalArgs) -> Result<(), CliError> {
    let SamplingArgs { batch_size, steps, sampler, grid, cfg_scale, labels, seed, set, guidance } =
        &args.sampling;
    let given = [
        ("--batch-size", batch_size.is_some()),
        ("--steps", steps.is_some()),
        ("--sampler", sampler.is_some()),
        ("--grid", grid.is_some()),
        ("--cfg-scale", cfg_scale.is_some()),
        ("--labels", labels.is_some()),
        ("--seed", seed.is_some()),
        ("--set", !set.is_empty()),
        ("--negative", guidance.negative.is_some()),
        ("--also", !guidance.also.is_empty()),
        ("--weaker", guidance.weaker.is_some()),
        ("--guidance-interval and its like", !guidance.modifiers.is_empty()),
        ("--no-ema", args.weights.no_ema),
        ("--ema", args.weights.ema.is_some()),
        ("--weights", args.weights.weights.is_some()),
        ("--data", args.location.data.is_some()),
        ("--pretrained", args.location.pretrained.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given && args.of.exists()) {
        None => Ok(()),
        Some((option, _)) => {
            let what =
                format!("{option} says how a run's samples are drawn, and {} is no run", args.of.display());
            Err(CliError::usage(what, "leave it out, or pass a run's folder"))
        }
    }
}

/// Finds out before hours of sampling that a file will have no place.
fn check_places(args: &EvalArgs, picture: Option<&Path>) -> Result<(), CliError> {
    if let Some(path) = &args.save_stats
        && !path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"))
    {
        let what = format!("{} is not the name of a file of statistics", path.display());
        return Err(CliError::usage(what, "let --save-stats end in .npz"));
    }
    match (picture, &args.out) {
        (Some(picture), _) => check_png(picture)?,
        (None, Some(_)) => {
            let what = "--out was given, and nothing is drawn";
            return Err(CliError::usage(what, "it is for the pairs of --metrics memorization; leave it out"));
        }
        (None, None) => {}
    }
    let places = [args.save_stats.as_deref(), args.json.as_deref(), picture];
    places.into_iter().flatten().try_for_each(|path| check_file(path, args.overwrite))
}

struct Evaluating<'a> {
    of: PathBuf,
    judged: Option<Box<OfRun>>,
    request: EvaluateRequest,
    json: Option<PathBuf>,
    picture: Option<PathBuf>,
    display: &'a Display,
}

impl Job for Evaluating<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let (watch, begun) = (self.display.watch(), Instant::now());
        let found = match &self.judged {
            None => {
                let judged = Judged::Samples(self.of.clone());
                evaluate::<B>(judged, &self.request, device, watch).map_err(error)?
            }
            Some(of) => {
                self.display.begin("making the network");
                during(Work::Network);
                let mut run = of.config.build::<B>(device)?;
                run.watch(watch.clone());
                of.chosen.load(&mut *run)?;
                run.open_weaker(&of.folder)?;
                during(Work::Samples);
                let judged = Judged::Run(&mut *run, Box::new(of.request.clone()));
                evaluate::<B>(judged, &self.request, device, watch).map_err(error)?
            }
        };
        self.display.end();
        self.finish(found, begun)
    }
}

impl Evaluating<'_> {
    /// Writes what was found.
    fn finish(&self, mut found: Evaluation, begun: Instant) -> Result<(), CliError> {
        let _busy = Busy::begin();
        found.settings.of = self.of.display().to_string();
        found.settings.step = self.judged.as_ref().map(|run| run.chosen.step());
        found.settings.weights = self.judged.as_ref().map(|run| run.chosen.name());
        found.warnings.iter().for_each(|warning| log(format_args!("warning: {warning}")));
        if let (Some(path), Some(pairs)) = (&self.picture, &found.nearest) {
            nearest(path, pairs)?;
        }
        if let Some(path) = &self.json {
            found.write_json(path)?;
        }
        print(table(&found))?;
        for path in self.picture.iter().chain(&self.json).chain(&self.request.save_stats) {
            try_print(format_args!("  {}", path.display()));
        }
        log(format_args!("measured in {:.1} s", begun.elapsed().as_secs_f64()));
        Ok(())
    }
}

/// An error, of a setting that is an option as one of that option.
fn error(error: RecipeError) -> CliError {
    let options = ["count", "metrics", "features", "feature-weights", "against"];
    match error {
        RecipeError::Invalid(invalid) if options.contains(&&*invalid.setting) => {
            CliError::Option(Invalid::new(invalid.setting, invalid.reason))
        }
        error => CliError::moved(error),
    }
}

/// Draws samples above the training examples that are nearest to them.
fn nearest(path: &Path, pairs: &NearestPairs) -> Result<(), CliError> {
    let size = pairs.shape.iter().product::<usize>().max(1);
    let period = Some(pairs.samples.len() / size);
    let values = [&pairs.samples[..], &pairs.training].concat();
    let (shape, start, class_names, is_latent) =
        (pairs.shape.clone(), Vec::new(), Vec::new(), pairs.is_latent);
    let samples = Samples { values, start, shape, is_latent, labels: None, period, class_names };
    draw::picture(path, &samples, None)
}

/// A row for each value.
fn table(found: &Evaluation) -> String {
    let settings = &found.settings;
    let mut text = format!(
        "{} of {}, {} against {}\n{:<20} {:>12} {:>12} {:>12} {:>9} {:>9}",
        settings.count,
        settings.of,
        settings.features.name(),
        settings.against,
        "metric",
        "value",
        "error",
        "floor",
        "samples",
        "data"
    );
    for measured in &found.results {
        text += &row(measured);
    }
    text
}

fn row(measured: &Measured) -> String {
    let known = |value: Option<f64>| value.map_or_else(|| "–".to_string(), figure);
    let number = |count: Option<usize>| count.map_or_else(|| "–".to_string(), |count| count.to_string());
    format!(
        "\n{:<20} {:>12} {:>12} {:>12} {:>9} {:>9}",
        measured.metric,
        figure(measured.value),
        known(measured.error),
        known(measured.floor),
        number((measured.samples > 0).then_some(measured.samples)),
        number(measured.real)
    )
}

/// A number in five digits, of the usual sizes without an exponent.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        size if (1e-3..1e5).contains(&size) => {
            let before = size.log10().floor() as i32;
            format!("{value:.*}", (4 - before).max(0) as usize)
        }
        _ => format!("{value:.4e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_five_digits() {
        let found = [0.0, 12.34567, -0.001234567, 99999.4, 123456.7, 1e-9].map(figure);
        assert_eq!(found, ["0", "12.346", "-0.0012346", "99999", "1.2346e5", "1.0000e-9"]);
    }
}

//! `diffusion sample`: new pictures from a trained run.

use crate::args::{SampleArgs, SamplerName};
use crate::condition::RunCondition;
use crate::config::{RunConfig, SamplerConfig};
use crate::error::CliError;
use crate::run::{RunFolder, describe, with_model};
use crate::samples;
use crate::say::say;
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use diffusion::prelude::{Checkpoint, Dataset, Diffusion, Network, Parameterization, Schedule, Weights};
use diffusion_backends::{Job, run_on};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn main(args: SampleArgs) -> Result<(), CliError> {
    let (run, mut config) = RunFolder::open(&args.run)?;
    apply(&args, &mut config)?;
    config.check()?;
    if let Some(out) = &args.out {
        check_out(out)?;
    }
    if args.batch_size == Some(0) {
        return Err(CliError::invalid("0 samples at once were asked for", "give --batch-size at least 1"));
    }
    let checkpoint = run.checkpoint(args.checkpoint)?;
    let seed = args.seed.unwrap_or(config.training.seed);
    let out = args.out.unwrap_or_else(|| run.file(&format!("samples-seed-{seed}.png")));
    let weights = if args.raw { Weights::Raw } else { Weights::Ema };
    run_on(
        args.backend,
        Sample { config, checkpoint, labels: args.labels, at_once: args.batch_size, seed, out, weights },
    )?
}

/// The run's way of sampling, with what the command line changes.
fn apply(args: &SampleArgs, config: &mut RunConfig) -> Result<(), CliError> {
    let sampling = &mut config.sampling;
    sampling.count = args.count.unwrap_or(sampling.count);
    sampling.steps = args.steps.unwrap_or(sampling.steps);
    sampling.cfg_scale = args.cfg_scale.unwrap_or(sampling.cfg_scale);
    let (gam, mu) = match (args.sampler, &sampling.sampler) {
        (Some(SamplerName::Heun), _) | (None, SamplerConfig::Heun) => {
            sampling.sampler = SamplerConfig::Heun;
            if args.gam.is_some() || args.mu.is_some() {
                let what = "--gam and --mu belong to the general sampler";
                return Err(CliError::invalid(what, "leave them away, or pass --sampler general"));
            }
            return check_labels(args, config);
        }
        (_, &SamplerConfig::General { gam, mu }) => (gam, mu),
        (Some(SamplerName::General), SamplerConfig::Heun) => (1.0, 0.0),
    };
    sampling.sampler = SamplerConfig::General { gam: args.gam.unwrap_or(gam), mu: args.mu.unwrap_or(mu) };
    check_labels(args, config)
}

/// Finds out before hours of sampling that the picture will have no place.
fn check_out(out: &Path) -> Result<(), CliError> {
    let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !is_png && !samples::is_safetensors(out) {
        return Err(CliError::invalid(
            format!("{} is no name of a PNG picture or a safetensors file", out.display()),
            "let --out end in .png or .safetensors",
        ));
    }
    if out.is_dir() {
        return Err(CliError::invalid(
            format!("{} is a folder", out.display()),
            "pass --out FILE for another name",
        ));
    }
    samples::check_replaced(out)?;
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(CliError::invalid(format!("there is no folder {}", folder.display()), "make it first"))
        }
        _ => Ok(()),
    }
}

fn check_labels(args: &SampleArgs, config: &RunConfig) -> Result<(), CliError> {
    let Some(labels) = &args.labels else { return Ok(()) };
    let Some(classes) = config.network.classes() else {
        return Err(CliError::invalid("labels were given, but this model has none", "leave --labels away"));
    };
    match labels.iter().find(|&&label| label >= classes) {
        Some(label) => {
            let what = format!(
                "the label {label} was asked for, but the model has the classes 0 to {}",
                classes - 1
            );
            Err(CliError::invalid(what, "give labels among the model's classes"))
        }
        None => Ok(()),
    }
}

struct Sample {
    config: RunConfig,
    checkpoint: Checkpoint,
    labels: Option<Vec<usize>>,
    at_once: Option<usize>,
    seed: u64,
    out: PathBuf,
    weights: Weights,
}

impl Job for Sample {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        with_model!(self.config, B, device, |network, mode, schedules| {
            self.sample(Diffusion::new(network, mode), &*schedules.sampling, device)
        })
    }
}

impl Sample {
    fn sample<B: Backend, N, P: Parameterization, const D: usize>(
        &self,
        model: Diffusion<B, N, P>,
        schedule: &dyn Schedule<Path = P::Path>,
        device: &B::Device,
    ) -> Result<(), CliError>
    where
        N: Network<B, D>,
        N::Condition: RunCondition,
        Diffusion<B, N, P>: ModuleSnapshot<B>,
    {
        // Points are drawn over the data, if these are at hand; a picture of images does not need them.
        let behind = match self.config.network.input_shape()[..] {
            [2] if !samples::is_safetensors(&self.out) => match N::Condition::data(&self.config) {
                Ok(data) => Some(data.all()),
                Err(error) => {
                    eprintln!("warning: the samples are drawn without the data behind them: {error}");
                    None
                }
            },
            _ => None,
        };
        let description = describe(&self.config, &model.parameterization);
        let model = self.checkpoint.load(model, &description, self.weights)?;
        let begun = Instant::now();
        let drawn = samples::draw(
            &model,
            schedule,
            &self.config,
            self.labels.as_deref(),
            self.at_once,
            self.seed,
            device,
        )?;
        samples::write(&self.out, &drawn, behind, &self.config.data)?;
        say(format_args!(
            "{} samples of step {} in {:.1} s: {}",
            self.config.sampling.count,
            self.checkpoint.state().step,
            begun.elapsed().as_secs_f64(),
            self.out.display()
        ))?;
        Ok(())
    }
}

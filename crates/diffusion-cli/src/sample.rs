//! `diffusion sample`: new pictures from a trained run.

use crate::args::{SampleArgs, WeightsArgs};
use crate::draw;
use crate::error::CliError;
use crate::output::{log, try_print};
use crate::progress::SamplingProgress;
use crate::train::{checkpoint, set_all};
use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use diffusion::train::{Checkpoint, Weights};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{Run, RunConfig, RunFolder, SampleRequest, check_replaceable};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub fn main(args: SampleArgs) -> Result<(), CliError> {
    let (run, mut config) = RunFolder::open(&args.run)?;
    set(&mut config, &args)?;
    config.validate()?;
    if let Some(labels) = &args.labels {
        check_labels(labels, config.network.classes())?;
    }
    if let Some(out) = &args.out {
        check_out(out)?;
    }
    if args.batch_size == Some(0) {
        return Err(CliError::usage("0 samples at once were asked for", "give --batch-size at least 1"));
    }
    let checkpoint = checkpoint(&run, args.weights.checkpoint)?;
    let seed = args.seed.unwrap_or(config.training.seed);
    let out = args.out.unwrap_or_else(|| run.file(&format!("samples-seed-{seed}.png")));
    let (sampling, labels, batch_size) = (config.sampling.clone(), args.labels, args.batch_size);
    let request = SampleRequest { sampling, seed, labels, batch_size };
    let weights = args.weights.weights();
    run_on(args.backend, Sampling { config, checkpoint, weights, request, out })?
}

impl WeightsArgs {
    /// The checkpoint's weights that are asked for.
    pub fn weights(&self) -> Weights {
        if self.no_ema { Weights::Raw } else { Weights::Ema }
    }
}

/// Changes what the command line changes.
fn set(config: &mut RunConfig, args: &SampleArgs) -> Result<(), CliError> {
    if let Some(name) = &args.sampler {
        config.sampling.set_sampler(name)?;
    }
    if let Some(scale) = args.cfg_scale {
        config.sampling.set_cfg_scale(scale);
    }
    let flags = [("sampling.count", args.count), ("sampling.steps", args.steps)];
    set_all(config, flags.map(|(key, n)| (key, n.map(|n| n.to_string()))), &args.set)
}

/// Finds out before hours of sampling that the picture will have no place.
fn check_out(out: &Path) -> Result<(), CliError> {
    let is_png = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !is_png && !draw::is_safetensors(out) {
        let what = format!("{} is not the name of a PNG picture or a safetensors file", out.display());
        return Err(CliError::usage(what, "let --out end in .png or .safetensors"));
    }
    if out.is_dir() {
        let what = format!("{} is a folder", out.display());
        return Err(CliError::usage(what, "pass --out FILE for another name"));
    }
    if draw::is_safetensors(out) {
        check_replaceable(out)?;
    }
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(CliError::usage(format!("there is no folder {}", folder.display()), "make it first"))
        }
        _ => Ok(()),
    }
}

fn check_labels(labels: &[usize], classes: Option<usize>) -> Result<(), CliError> {
    let Some(classes) = classes else {
        return Err(CliError::usage("labels were given, but this model has none", "leave --labels out"));
    };
    match labels.iter().find(|&&label| label >= classes) {
        Some(label) => {
            let last = classes - 1;
            let what = format!("the label {label} was asked for, but the model has the classes 0 to {last}");
            Err(CliError::usage(what, "give --labels among the model's classes"))
        }
        None => Ok(()),
    }
}

struct Sampling {
    config: RunConfig,
    checkpoint: Checkpoint,
    weights: Weights,
    request: SampleRequest,
    out: PathBuf,
}

impl Job for Sampling {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let run = self.config.build::<B>(device)?;
        self.sample(run)
    }
}

impl Sampling {
    fn sample(&self, mut run: Box<dyn Run>) -> Result<(), CliError> {
        run.load(&self.checkpoint, self.weights)?;
        let begun = Instant::now();
        let progress = SamplingProgress::new(self.request.sampling.count);
        let samples = run.sample(&self.request, &mut |state| progress.show(&state))?;
        drop(progress);
        let behind = self.behind(&mut *run);
        draw::samples(&self.out, &samples, &self.config, behind)?;
        try_print(format_args!(
            "{} samples of step {} in {:.1} s: {}",
            samples.count(),
            self.checkpoint.state().step,
            begun.elapsed().as_secs_f64(),
            self.out.display()
        ));
        Ok(())
    }

    /// Points are drawn over the data, if these are at hand; a picture of images does not need them.
    fn behind(&self, run: &mut dyn Run) -> Option<TensorData> {
        if self.config.network.input_shape() != [2] || draw::is_safetensors(&self.out) {
            return None;
        }
        match run.examples() {
            Ok(data) => Some(data),
            Err(error) => {
                log(format_args!("warning: the samples are drawn without the data behind them: {error}"));
                None
            }
        }
    }
}

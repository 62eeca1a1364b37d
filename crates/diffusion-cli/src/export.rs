//! `diffusion export`: a run's weights as a state dict that smalldiffusion loads.

use crate::args::ExportArgs;
use crate::error::CliError;
use crate::output::try_print;
use crate::train::checkpoint;
use burn::tensor::backend::Backend;
use diffusion::train::{Checkpoint, Weights};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{RunConfig, RunFolder, smalldiffusion};
use std::path::PathBuf;

pub fn main(args: ExportArgs) -> Result<(), CliError> {
    let (run, config) = RunFolder::open(&args.run)?;
    config.validate()?;
    let checkpoint = checkpoint(&run, args.weights.checkpoint)?;
    let out = args.out.unwrap_or_else(|| run.file("state_dict.safetensors"));
    if out.exists() && !args.overwrite {
        return Err(CliError::FileExists(out));
    }
    run_on(args.backend, Export { config, checkpoint, weights: args.weights.weights(), out })?
}

struct Export {
    config: RunConfig,
    checkpoint: Checkpoint,
    weights: Weights,
    out: PathBuf,
}

impl Job for Export {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let mut run = self.config.build::<B>(device)?;
        run.load(&self.checkpoint, self.weights)?;
        run.export(&self.out)?;
        try_print(format_args!("exported step {} to {}", self.checkpoint.state().step, self.out.display()));
        match smalldiffusion::expression(&self.config) {
            Some(expression) => {
                try_print("in Python:");
                try_print("  from safetensors.torch import load_file");
                try_print("  from smalldiffusion import *");
                try_print(format_args!("  model = {expression}"));
                let file = self.out.display().to_string();
                try_print(format_args!("  model.load_state_dict(load_file({file:?}), strict=True)"));
            }
            None => try_print("smalldiffusion has no counterpart of this run's network and prediction"),
        }
        Ok(())
    }
}

//! `diffusion export`: a run's weights as a state dict that smalldiffusion loads.

use crate::args::ExportArgs;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::reference;
use crate::run::{RunFolder, describe, with_model};
use crate::say::say;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use diffusion::prelude::{Checkpoint, Diffusion, Network, Parameterization, Weights, export_state_dict};
use diffusion_backends::{Job, run_on};
use std::path::PathBuf;

pub fn main(args: ExportArgs) -> Result<(), CliError> {
    let (run, config) = RunFolder::open(&args.run)?;
    config.check()?;
    let checkpoint = run.checkpoint(args.checkpoint)?;
    let out = args.out.unwrap_or_else(|| run.file("state_dict.safetensors"));
    if out.exists() && !args.overwrite {
        return Err(CliError::FileExists(out));
    }
    let weights = if args.raw { Weights::Raw } else { Weights::Ema };
    run_on(args.backend, Export { config, checkpoint, weights, out })?
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
        with_model!(self.config, B, device, |network, mode, _schedules| {
            self.export::<B, _, _, _>(Diffusion::new(network, mode))
        })
    }
}

impl Export {
    fn export<B: Backend, N, P: Parameterization, const D: usize>(
        &self,
        model: Diffusion<B, N, P>,
    ) -> Result<(), CliError>
    where
        N: Network<B, D> + Module<B>,
        Diffusion<B, N, P>: ModuleSnapshot<B>,
    {
        let description = describe(&self.config, &model.parameterization);
        let model = self.checkpoint.load(model, &description, self.weights)?;
        export_state_dict(&model.network, &self.out)?;
        say(format_args!("exported step {} to {}", self.checkpoint.state().step, self.out.display()))?;
        match reference::expression(&self.config) {
            Some(expression) => {
                say("in Python:")?;
                say("  from safetensors.torch import load_file")?;
                say("  from smalldiffusion import *")?;
                say(format_args!("  model = {expression}"))?;
                say(format_args!(
                    "  model.load_state_dict(load_file({:?}), strict=True)",
                    self.out.display().to_string()
                ))?;
            }
            None => say("smalldiffusion has no counterpart of this run's prediction mode")?,
        }
        Ok(())
    }
}

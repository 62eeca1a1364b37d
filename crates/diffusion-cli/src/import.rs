//! `diffusion import`: from a state dict of smalldiffusion to a run that can be sampled or trained on.

use crate::args::ImportArgs;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::run::{RunFolder, check_kept, describe, with_model};
use crate::say::say;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_store::ModuleSnapshot;
use diffusion::prelude::{
    Checkpoint, CheckpointState, Diffusion, Network, Parameterization, import_state_dict,
};
use diffusion_backends::{Job, run_on};
use std::path::PathBuf;

pub fn main(args: ImportArgs) -> Result<(), CliError> {
    let config = match (&args.config, args.preset) {
        (Some(path), _) => RunConfig::read(path)?,
        (None, preset) => preset.unwrap_or_default().config(),
    };
    config.check()?;
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    check_kept(&args.file, &out)?;
    run_on(args.backend, Import { config, file: args.file, out, overwrite: args.overwrite })?
}

struct Import {
    config: RunConfig,
    file: PathBuf,
    out: PathBuf,
    overwrite: bool,
}

impl Job for Import {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        with_model!(self.config, B, device, |network, mode, _schedules| {
            self.import::<B, _, _, _>(network, mode)
        })
    }
}

impl Import {
    fn import<B: Backend, N, P: Parameterization, const D: usize>(
        &self,
        network: N,
        parameterization: P,
    ) -> Result<(), CliError>
    where
        N: Network<B, D> + Module<B>,
        Diffusion<B, N, P>: ModuleSnapshot<B>,
    {
        let network = import_state_dict(network, &self.file)?;
        let run = RunFolder::create(&self.out, &self.config, self.overwrite)?;
        let description = describe(&self.config, &parameterization);
        let state = CheckpointState::new(description, 0, 0, self.config.training.seed);
        let parameters = network.num_params();
        let model = Diffusion::new(network, parameterization);
        Checkpoint::save(&run.checkpoints(), state, &model, &model)?;
        let out = self.out.display();
        say(format_args!("imported {parameters} parameters of {} into {out}", self.file.display()))?;
        say(format_args!("  cargo xtask sample {out}          draws from it"))?;
        say(format_args!("  cargo xtask train --from {out}    trains it further"))?;
        Ok(())
    }
}

//! `diffusion import`: from a state dict of smalldiffusion to a run that can be sampled or trained on.

use crate::args::ImportArgs;
use crate::error::CliError;
use crate::invocation::invocation;
use crate::output::try_print;
use burn::tensor::backend::Backend;
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{RunConfig, RunFolder, check_replaces_not};
use std::path::PathBuf;

pub fn main(args: ImportArgs) -> Result<(), CliError> {
    let config = match (&args.config, &args.preset) {
        (Some(path), _) => RunConfig::read(path)?,
        (None, preset) => RunConfig::preset(preset.as_deref().unwrap_or_default())?,
    };
    config.validate()?;
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    check_replaces_not(&args.file, &out)?;
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
        let mut run = self.config.build::<B>(device)?;
        run.import(&self.file)?;
        let folder = RunFolder::create(&self.out, &self.config, self.overwrite)?;
        run.save_weights(&folder.checkpoints())?;
        let (out, program) = (self.out.display(), invocation());
        try_print(format_args!(
            "imported {} parameters of {} into {out}",
            run.num_params(),
            self.file.display()
        ));
        try_print(format_args!("  {program} sample {out}             draws from it"));
        try_print(format_args!("  {program} train --init-from {out}  trains it further"));
        Ok(())
    }
}

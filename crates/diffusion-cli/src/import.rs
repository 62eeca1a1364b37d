//! `diffusion import`: from a state dict of smalldiffusion, or a checkpoint with one in it, to a run that can be sampled or trained on.

use crate::args::ImportArgs;
use crate::display::Display;
use crate::error::CliError;
use crate::invocation::invocation;
use crate::memory::{Work, during};
use crate::output::{log, try_print};
use crate::place::say_kept;
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::weights::Taken;
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{RecipeError, RunConfig, RunFolder, check_replaces_not};
use std::path::PathBuf;

pub fn main(args: ImportArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let config = match (&args.config, &args.preset) {
        (Some(path), _) => RunConfig::read(path)?,
        (None, preset) => RunConfig::preset(preset.as_deref().unwrap_or_default())?,
    };
    config.validate()?;
    let out = args.out.unwrap_or_else(|| PathBuf::from("runs").join(&config.preset));
    check_replaces_not(&args.file, &out)?;
    RunFolder::check(&out, args.overwrite)?;
    let (file, key, overwrite) = (args.file, args.key, args.overwrite);
    run_on(args.backend, Import { config, file, key, out, overwrite, display })?
}

struct Import<'a> {
    config: RunConfig,
    file: PathBuf,
    key: Option<String>,
    out: PathBuf,
    overwrite: bool,
    display: &'a Display,
}

impl Job for Import<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.display.begin("making the network");
        during(Work::Network);
        let mut run = self.config.build::<B>(device)?;
        self.display.watch().check().map_err(RecipeError::from)?;
        self.display.begin("reading the weights");
        let taken = run.import(&self.file, self.key.as_deref())?;
        self.display.watch().check().map_err(RecipeError::from)?;
        self.display.end();
        tell(&taken);
        let _busy = Busy::begin();
        let folder = RunFolder::create(&self.out, &self.config, self.overwrite)?;
        say_kept(&folder);
        run.save_weights(&folder.checkpoints())?;
        let (out, program) = (self.out.display(), invocation());
        try_print(format_args!(
            "imported {} of {}{} into {out}",
            counted(run.num_params(), "parameter"),
            self.file.display(),
            if taken.key.is_empty() { String::new() } else { format!(", from `{}`,", taken.key) }
        ));
        try_print(format_args!("  {program} sample {out}             draws from it"));
        try_print(format_args!("  {program} train --init-from {out}  trains it further"));
        Ok(())
    }
}

/// Says what was left in the file, if there was something.
fn tell(taken: &Taken) {
    if taken.others > 0 {
        let plural = if taken.others == 1 { "" } else { "s" };
        log(format_args!("passed over {} other tensor{plural} in the file", taken.others));
    }
    if !taken.not_run.is_empty() {
        let objects = taken.not_run.join(", ");
        log(format_args!("passed over objects beside the weights, of which nothing was run: {objects}"));
    }
}

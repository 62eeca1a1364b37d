//! `diffusion export`: a run's weights as a state dict that smalldiffusion or diffusers loads.

use crate::args::ExportArgs;
use crate::chosen::Chosen;
use crate::configure::set_pretrained;
use crate::display::Display;
use crate::draw;
use crate::error::CliError;
use crate::invocation::invocation;
use crate::memory::{Work, during};
use crate::output::try_print;
use crate::place::check_file;
use crate::signals::{self, Busy, NOTHING_WRITTEN};
use burn::tensor::backend::Backend;
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{RecipeError, RunConfig, RunFolder, smalldiffusion};
use std::path::PathBuf;

pub fn main(args: ExportArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let (run, mut config) = RunFolder::open(&args.run)?;
    set_pretrained(&mut config, args.pretrained.as_deref())?;
    config.validate()?;
    let out = args.out.unwrap_or_else(|| run.file("state_dict.safetensors"));
    if !draw::is_safetensors(&out) {
        let what = format!("{} is not the name of a safetensors file", out.display());
        return Err(CliError::usage(what, "let --out end in .safetensors"));
    }
    check_file(&out, args.overwrite)?;
    let chosen = Chosen::find(&run, &config, &args.weights)?;
    run_on(args.backend, Export { config, chosen, out, display })?
}

struct Export<'a> {
    config: RunConfig,
    chosen: Chosen,
    out: PathBuf,
    display: &'a Display,
}

impl Job for Export<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.display.begin("making the network");
        during(Work::Network);
        let mut run = self.config.build::<B>(device)?;
        self.display.watch().check().map_err(RecipeError::from)?;
        self.display.begin("reading the weights");
        self.chosen.load(&mut *run)?;
        self.display.watch().check().map_err(RecipeError::from)?;
        self.display.end();
        let _busy = Busy::begin();
        run.export(&self.out)?;
        try_print(format_args!("exported step {} to {}", self.chosen.step(), self.out.display()));
        self.say_use();
        Ok(())
    }
}

impl Export<'_> {
    /// Says what can be done with the file.
    fn say_use(&self) {
        let file = self.out.display();
        let network = &self.config.network;
        if let Some(folder) = network.pretrained() {
            let (program, folder) = (invocation(), folder.display());
            return match network.is_lora() {
                true => try_print(format_args!(
                    "`{program} generate {folder} \"a prompt\" --lora {file}` draws with it"
                )),
                false => try_print(format_args!(
                    "it takes the place of unet/diffusion_pytorch_model.safetensors in a copy of {folder}"
                )),
            };
        }
        match smalldiffusion::expression(&self.config) {
            Some(expression) => {
                try_print("in Python:");
                try_print("  from safetensors.torch import load_file");
                try_print("  from smalldiffusion import *");
                try_print(format_args!("  model = {expression}"));
                try_print(format_args!(
                    "  model.load_state_dict(load_file({:?}), strict=True)",
                    file.to_string()
                ));
            }
            None => try_print("smalldiffusion has no counterpart of this run's network and prediction"),
        }
    }
}

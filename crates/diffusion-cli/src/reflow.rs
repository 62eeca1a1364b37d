//! `diffusion reflow`: pairs of noise and sample from a trained flow.

use crate::args::ReflowArgs;
use crate::chosen::Chosen;
use crate::configure::set_all;
use crate::display::Display;
use crate::error::CliError;
use crate::memory::{Work, during};
use crate::output::try_print;
use crate::signals;
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::train::{Checkpoint, Weights};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{ReflowRequest, RunConfig, RunFolder, reflow};
use std::time::Instant;

pub fn main(args: ReflowArgs, display: &Display) -> Result<(), CliError> {
    signals::advise("the same command goes on with it".to_string());
    let (run, mut config) = RunFolder::open(&args.run)?;
    if let Some(name) = &args.sampler {
        config.sampling.set_sampler(name)?;
    }
    if let Some(scale) = args.cfg_scale {
        config.sampling.set_cfg_scale(scale);
    }
    let flags = [("sampling.count", Some(args.count)), ("sampling.steps", args.steps)];
    set_all(&mut config, flags.map(|(key, n)| (key, n.map(|n| n.to_string()))), &args.set)?;
    config.validate()?;
    if args.batch_size == Some(0) {
        return Err(CliError::usage("0 pairs at once were asked for", "give --batch-size at least 1"));
    }
    let Chosen::Checkpoint(checkpoint, weights) = Chosen::find(&run, &config, &args.weights)? else {
        let what = "an average that was made after the training was asked for, and pairs name a checkpoint";
        return Err(CliError::usage(
            what,
            "give --ema NAME of an average that the run tracks, or leave it out",
        ));
    };
    let request = ReflowRequest {
        sampling: config.sampling.clone(),
        seed: args.seed.unwrap_or(config.training.seed),
        labels: None,
        out: args.out,
        batch_size: args.batch_size,
        overwrite: args.overwrite,
    };
    run_on(args.backend, Drawing { config, checkpoint, weights, request, display })?
}

struct Drawing<'a> {
    config: RunConfig,
    checkpoint: Box<Checkpoint>,
    weights: Weights,
    request: ReflowRequest,
    display: &'a Display,
}

impl Job for Drawing<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.display.begin("making the network");
        during(Work::Network);
        let mut run = self.config.build::<B>(device)?;
        run.watch(self.display.watch().clone());
        run.load(&self.checkpoint, self.weights.clone())?;
        let begun = Instant::now();
        during(Work::Samples);
        let drawn = reflow(&*run, &self.checkpoint, &self.request)?;
        self.display.end();
        try_print(format_args!(
            "{} of step {} in {:.1} s: {}",
            counted(drawn.count, "pair"),
            self.checkpoint.state().step,
            begun.elapsed().as_secs_f64(),
            self.request.out.display()
        ));
        Ok(())
    }
}

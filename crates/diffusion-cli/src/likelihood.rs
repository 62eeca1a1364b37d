//! `diffusion likelihood`: how likely a run's data are under its model.

use crate::args::LikelihoodArgs;
use crate::chosen::Chosen;
use crate::configure::set_location;
use crate::display::Display;
use crate::error::CliError;
use crate::memory::{Work, during};
use crate::output::{log, print};
use crate::signals::{self, NOTHING_WRITTEN};
use burn::tensor::backend::Backend;
use diffusion::core::counted;
use diffusion::core::task::{LikelihoodConfig, OdeSolver, Trace};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::{LikelihoodRequest, Likelihoods, RunConfig, RunFolder};
use std::time::Instant;

/// Values of an example from which on an exact trace takes long.
const MANY: usize = 256;

pub fn main(args: LikelihoodArgs, display: &Display) -> Result<(), CliError> {
    signals::advise(NOTHING_WRITTEN.to_string());
    let (run, mut config) = RunFolder::open(&args.run)?;
    set_location(&mut config, &args.location)?;
    config.validate()?;
    let solver = OdeSolver::from_name(&args.solver).unwrap_or_default();
    let trace = if args.exact { Trace::Exact } else { Trace::Hutchinson { draws: args.draws } };
    let request = LikelihoodRequest {
        count: args.count,
        steps: args.steps,
        config: LikelihoodConfig { solver, trace },
        seed: args.seed.unwrap_or(config.training.seed),
        batch_size: args.batch_size,
    };
    request.validate().map_err(|mut invalid| {
        invalid.setting = invalid.setting.replace("trace.", "");
        CliError::Option(invalid)
    })?;
    let values: usize = config.network.input_shape().iter().product();
    if args.exact && values > MANY {
        log(format_args!(
            "warning: the exact trace of {values} values needs as many gradients in each evaluation"
        ));
    }
    let chosen = Chosen::find(&run, &config, &args.weights)?;
    run_on(args.location.backend, Measuring { config, chosen, request, display })?
}

struct Measuring<'a> {
    config: RunConfig,
    chosen: Chosen,
    request: LikelihoodRequest,
    display: &'a Display,
}

impl Job for Measuring<'_> {
    type Output = Result<(), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        self.display.begin("making the network");
        during(Work::Network);
        let mut run = self.config.build::<B>(device)?;
        run.watch(self.display.watch().clone());
        self.chosen.load(&mut *run)?;
        let begun = Instant::now();
        during(Work::Samples);
        let found = run.likelihood(&self.request).map_err(CliError::moved)?;
        self.display.end();
        Ok(print(format_args!(
            "{} in {:.1} s, by step {}",
            sentence(&found),
            begun.elapsed().as_secs_f64(),
            self.chosen.step()
        ))?)
    }
}

/// The mean with its standard error.
fn sentence(found: &Likelihoods) -> String {
    let (mean, error) = found.mean();
    let error = error.map(|error| format!(" ± {error:.4}")).unwrap_or_default();
    let kind = if found.of_validation { "validation example" } else { "training example" };
    let density = if found.of_pixels { "" } else { " of density" };
    format!("{mean:.4}{error} bits/dim{density} on {}", counted(found.bits_per_dim.len(), kind))
}

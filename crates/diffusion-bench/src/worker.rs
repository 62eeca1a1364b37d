//! The worker: does work as the lines on standard input ask for it.

use crate::compute;
use crate::error::BenchError;
use crate::protocol::{Reply, Request};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use diffusion_backends::{BackendName, Job, run_on};
use std::io::{self, BufRead, StdinLock, Write};

/// The version of Burn, which this workspace pins.
const BURN: &str = "0.21.0";

/// Answers requests until there are no more.
pub fn main(backend: BackendName) -> Result<(), BenchError> {
    let result = run_on(backend, Conversation { backend }).map_err(BenchError::from).flatten();
    // The driver tells the user.
    result.or_else(|error| answer(&Reply::Failed(error.to_string())))
}

struct Conversation {
    backend: BackendName,
}

impl Job for Conversation {
    type Output = Result<(), BenchError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let mut input = io::stdin().lock();
        let work = match next(&mut input)? {
            None => return Ok(()),
            Some(Request::Prepare { work, .. }) => work,
            Some(Request::Steps(_)) => return Err(BenchError::Order),
        };
        compute::run::<Autodiff<B>>(&work, device, &mut |parameters, steps| {
            let device = B::name(device);
            let versions = format!(
                "diffusion {} on Burn {BURN}, {} ({device})",
                env!("CARGO_PKG_VERSION"),
                self.backend.name()
            );
            answer(&Reply::Ready { parameters, versions })?;
            while let Some(request) = next(&mut input)? {
                match request {
                    Request::Steps(count) => answer(&Reply::Took(steps(count)?))?,
                    Request::Prepare { .. } => return Err(BenchError::Order),
                }
            }
            Ok(())
        })
    }
}

fn next(input: &mut StdinLock<'_>) -> Result<Option<Request>, BenchError> {
    let mut line = String::new();
    match input.read_line(&mut line).map_err(BenchError::Input)? {
        0 => Ok(None),
        _ => serde_json::from_str(&line).map(Some).map_err(BenchError::Request),
    }
}

fn answer(reply: &Reply) -> Result<(), BenchError> {
    let mut output = io::stdout().lock();
    let line = serde_json::to_string(reply).map_err(|error| BenchError::Output(error.into()))?;
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(BenchError::Output)
}

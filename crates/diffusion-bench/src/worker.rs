//! The worker: does work as the lines on standard input ask for it.

use crate::args::BackendName;
use crate::compute;
use crate::error::BenchError;
use crate::protocol::{Reply, Request};
use burn::backend::Autodiff;
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::io::{self, BufRead, StdinLock, Write};

/// The version of Burn, which this workspace pins.
const BURN: &str = "0.21.0";

/// Answers requests until there are no more.
pub fn main(backend: BackendName) -> Result<(), BenchError> {
    let result = match backend {
        #[cfg(feature = "flex")]
        BackendName::Flex => run::<Autodiff<burn::backend::Flex>>(backend),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => run::<Autodiff<burn::backend::NdArray>>(backend),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => run::<Autodiff<burn::backend::Wgpu>>(backend),
        #[allow(unreachable_patterns, reason = "a build with every backend lacks none")]
        missing => Err(BenchError::BackendNotBuilt(missing.name())),
    };
    // The driver tells the user.
    result.or_else(|error| answer(&Reply::Failed(error.to_string())))
}

/// The conversation on the backend `B`.
fn run<B: AutodiffBackend>(backend: BackendName) -> Result<(), BenchError> {
    let mut input = io::stdin().lock();
    let work = match next(&mut input)? {
        None => return Ok(()),
        Some(Request::Prepare { work, .. }) => work,
        Some(Request::Steps(_)) => return Err(BenchError::Order),
    };
    let device = B::Device::default();
    compute::run::<B>(&work, &device, &mut |parameters, steps| {
        let device = B::InnerBackend::name(&device);
        let versions =
            format!("diffusion {} on Burn {BURN}, {} ({device})", env!("CARGO_PKG_VERSION"), backend.name());
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

//! The checkpoints of a run that are asked for.

use crate::error::CliError;
use crate::output::log;
use diffusion::train::{Checkpoint, Found, Weights, Which};
use diffusion_recipe::RunFolder;

/// The checkpoint that is asked for, of which only these weights are needed; all damage is named.
pub fn weights(run: &RunFolder, which: Which, weights: Weights) -> Result<Checkpoint, CliError> {
    let Found { checkpoint, passed_over, unneeded } = run.weights(which, weights)?;
    for error in passed_over {
        log(format_args!("warning: passed over a damaged checkpoint: {error}"));
    }
    for error in unneeded {
        log(format_args!("warning: {error}; it is not needed here, but training cannot go on from there"));
    }
    Ok(checkpoint)
}

/// The checkpoint that is asked for; damaged ones that would have come before it are named.
pub fn checkpoint(run: &RunFolder, which: Which) -> Result<Checkpoint, CliError> {
    let (checkpoint, damaged) = run.checkpoint(which)?;
    for error in damaged {
        log(format_args!("warning: passed over a damaged checkpoint: {error}"));
    }
    Ok(checkpoint)
}

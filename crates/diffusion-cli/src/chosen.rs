//! The checkpoints of a run that are asked for.

use crate::args::WeightsArgs;
use crate::error::CliError;
use crate::output::log;
use diffusion::data::identity;
use diffusion::train::{AverageFile, Checkpoint, Found, Weights, Which};
use diffusion_recipe::{RecipeError, Run, RunConfig, RunFolder};
use std::fs;

/// The weights of a run that are asked for.
pub enum Chosen {
    Checkpoint(Box<Checkpoint>, Weights),
    /// An average that was made after the training.
    Average(AverageFile),
}

impl Chosen {
    /// Finds them; all damage is named.
    pub fn find(run: &RunFolder, config: &RunConfig, args: &WeightsArgs) -> Result<Self, CliError> {
        let average = |path| AverageFile::open(path).map(Self::Average).map_err(RecipeError::from);
        if let Some(path) = &args.weights {
            return Ok(average(path.clone())?);
        }
        let of = match &args.ema {
            None if args.no_ema => Weights::Raw,
            None => Weights::Ema,
            Some(name) => {
                let width = name.parse::<f64>().ok();
                match tracked(name, width, config) {
                    Some(of) => of,
                    None => match width.map(|width| run.average(width, None)).filter(|path| path.is_file()) {
                        Some(path) => return Ok(average(path)?),
                        None => Weights::Named(name.clone()),
                    },
                }
            }
        };
        Ok(Self::Checkpoint(Box::new(weights(run, args.checkpoint, of.clone())?), of))
    }

    /// Begins `run` with them.
    pub fn load(&self, run: &mut dyn Run) -> Result<(), RecipeError> {
        match self {
            Self::Checkpoint(checkpoint, weights) => run.load(checkpoint, weights.clone()),
            Self::Average(average) => run.load_average(average),
        }
    }

    /// What tells them from others, wherever they are.
    pub fn identity(&self) -> Result<String, CliError> {
        Ok(match self {
            Self::Checkpoint(checkpoint, weights) => {
                let state = checkpoint.state();
                format!("step {}, {weights:?}: {:?}", state.step, state.files)
            }
            Self::Average(average) => {
                let bytes = fs::read(average.path()).map_err(RecipeError::io("read", average.path()))?;
                format!("step {}: {:016x}", average.step(), identity::hash(&bytes))
            }
        })
    }

    /// What they are called: `ema`, `raw`, the name of a further average, or its file.
    pub fn name(&self) -> String {
        match self {
            Self::Checkpoint(_, Weights::Ema) => "ema".to_string(),
            Self::Checkpoint(_, Weights::Raw) => "raw".to_string(),
            Self::Checkpoint(_, Weights::Named(name)) => name.clone(),
            Self::Average(average) => average.path().display().to_string(),
        }
    }

    /// The step of the training that they are of.
    pub fn step(&self) -> u64 {
        match self {
            Self::Checkpoint(checkpoint, _) => checkpoint.state().step,
            Self::Average(average) => average.step(),
        }
    }
}

/// The average of this name or width among those that are in the checkpoints of a run.
fn tracked(name: &str, width: Option<f64>, config: &RunConfig) -> Option<Weights> {
    let all = config.training.named_emas();
    if all.iter().any(|named| named.name == name) {
        return Some(Weights::Named(name.to_string()));
    }
    let width = width?;
    if config.training.ema.width() == Some(width) {
        return Some(Weights::Ema);
    }
    let found = all.into_iter().find(|named| named.ema.width() == Some(width));
    found.map(|named| Weights::Named(named.name))
}

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

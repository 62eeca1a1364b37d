//! What can be given to tasks beyond sampling from noise.

use super::location::LocationArgs;
use super::weights::WeightsArgs;
use clap::builder::PossibleValuesParser;
use diffusion::core::task::OdeSolver;
use std::path::PathBuf;

/// What samples are made of.
#[derive(Debug, clap::Args)]
pub struct TaskArgs {
    /// Begin with a picture, brought to the size and channels of the run's; of a run on latents with those in a safetensors
    /// file, as `encode` writes them. Repeat it for several, which take turns.
    #[arg(long, value_name = "FILE")]
    pub init: Vec<PathBuf>,
    /// How much of it is made new, from 0 to 1 of the steps [default: 0.8; with --inpaint 1, with --vary 0.6].
    #[arg(long, value_name = "S", requires = "init", conflicts_with = "invert")]
    pub strength: Option<f64>,
    /// Make only that part of it anew where this picture is white; the rest stays.
    #[arg(long, value_name = "MASK", requires = "init")]
    pub inpaint: Option<PathBuf>,
    /// Walk each part of the way so often, that what is made suits the rest better (RePaint).
    #[arg(long, value_name = "N", default_value_t = 1, requires = "inpaint")]
    pub repaint: usize,
    /// The steps of such a part.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "repaint")]
    pub jump: usize,
    /// Vary it: that part of the way up to --strength goes by fresh noise, after the rest was inverted; from 0, which leads
    /// back to the picture, to 1.
    #[arg(long, value_name = "FRESH", requires = "init", conflicts_with = "inpaint")]
    pub vary: Option<f64>,
    /// Turn it into noise by the model, and sample from there, which leads back to it; --out FILE.safetensors has the noise
    /// as `start`. The sampler is `heun` unless another is given.
    #[arg(long, requires = "init", conflicts_with_all = ["inpaint", "vary"])]
    pub invert: bool,
    /// With --invert, --vary and --interpolate, mend each step so often that the step down leads back.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub fixed_point: usize,
    /// Go from one end to the other, spherically in noise, in --count samples: between two seeds, or two files as of --init.
    /// The sampler is `heun` unless another is given.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "init")]
    pub interpolate: Option<Vec<String>>,
}

#[derive(Debug, clap::Args)]
pub struct LikelihoodArgs {
    /// The folder of a finished or interrupted run.
    pub run: PathBuf,
    /// Of how many examples, evenly spaced among those of validation, or of training where there are none.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub count: usize,
    /// Number of steps of the solver.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub steps: usize,
    /// The solver of the probability flow; `adaptive` chooses its steps.
    #[arg(long, value_parser = PossibleValuesParser::new(OdeSolver::NAMES), default_value = "rk4")]
    pub solver: String,
    /// Over how many random directions the trace of the flow's derivative is estimated.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub draws: usize,
    /// Compute the trace itself, by a gradient for each value of an example: for points and small images.
    #[arg(long, conflicts_with = "draws")]
    pub exact: bool,
    /// How many examples at once, for the sake of memory.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// The seed of the random directions [default: the run's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub location: LocationArgs,
    #[command(flatten)]
    pub weights: WeightsArgs,
}

//! What can be given to the command that draws pairs of noise and samples.

use super::weights::WeightsArgs;
use clap::builder::PossibleValuesParser;
use diffusion::core::AnySampler;
use diffusion_backends::BackendName;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct ReflowArgs {
    /// The folder of a run whose prediction is flow.
    pub run: PathBuf,
    /// Number of pairs.
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// The folder of pairs; what was stopped goes on there.
    #[arg(long, value_name = "PAIRS")]
    pub out: PathBuf,
    /// Number of sampling steps [default: the run's].
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// The sampler; one without fresh noise, e.g. heun [default: the run's].
    #[arg(long, value_parser = PossibleValuesParser::new(AnySampler::NAMES))]
    pub sampler: Option<String>,
    /// Strength of classifier-free guidance; 0 is off [default: the run's].
    #[arg(long, value_name = "S")]
    pub cfg_scale: Option<f64>,
    /// How many to draw at once, for the sake of memory: it changes no pair [default: as many as fit well].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// The seed of the noise: pair i depends on it and on i alone [default: the run's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Any setting of the run's [sampling] table; repeat it as often as needed.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Replace other pairs that are there already.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub weights: WeightsArgs,
}

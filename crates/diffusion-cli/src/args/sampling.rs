//! How samples are drawn, in words of the command line.

use super::guidance::GuidanceArgs;
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser};
use diffusion::core::AnySampler;
use diffusion::core::schedule::AnySpacing;

/// How samples are drawn from a run.
#[derive(Debug, clap::Args)]
pub struct SamplingArgs {
    /// How many to draw at once, for the sake of memory: it changes no sample [default: as many as fit well].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Number of sampling steps [default: the run's].
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// The sampler [default: the run's; in presets the nearest to the data in 20 evaluations, as `samplers` measures them:
    /// unipc for images, dpmpp-2m-sde for points]. Its settings are in sampling.sampler, e.g. --set sampling.sampler.order=3.
    #[arg(long, value_parser = PossibleValuesParser::new(AnySampler::NAMES))]
    pub sampler: Option<String>,
    /// How the noise levels lie between the largest and the smallest, e.g. karras [default: the run's, or trailing timesteps].
    #[arg(long, value_parser = PossibleValuesParser::new(AnySpacing::NAMES))]
    pub grid: Option<String>,
    /// Strength of classifier-free guidance; 0 is off [default: the run's].
    #[arg(long, value_name = "S")]
    pub cfg_scale: Option<f64>,
    /// The classes of the samples by their names or numbers, repeated as often as needed; a name comes before a number, and
    /// the longest name first where names hold commas [default: all classes in turn].
    #[arg(long, value_name = "cat,dog,2", value_parser = NonEmptyStringValueParser::new())]
    pub labels: Option<Vec<String>>,
    /// The seed of the noise: sample i depends on it and on i alone [default: the run's].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Any setting of the run's [sampling] table, e.g. sampling.sampler.mu=0.5; repeat it as often as needed.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub guidance: GuidanceArgs,
}

//! What can be given to `eval`.

use super::location::LocationArgs;
use super::names::of_names;
use super::sampling::SamplingArgs;
use super::weights::WeightsArgs;
use diffusion::eval::Metric;
use diffusion_recipe::FeatureKind;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The folder of a run, whose samples are drawn; or samples: a file that `sample` wrote (.safetensors), one with `arr_0`
    /// (.npz), or a folder of images.
    #[arg(value_name = "RUN|SAMPLES")]
    pub of: PathBuf,
    /// What they are compared with: a folder of images or of a published data set, a file of samples, or statistics (.npz
    /// with `mu` and `sigma`) [default: the examples that the run is trained on].
    #[arg(long, value_name = "DATA|STATS")]
    pub against: Option<PathBuf>,
    /// Number of samples [default: 1000 points or 2000 images of a run; all of a file or folder].
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// What is measured [default: of images fd,kid,precision-recall,density-coverage; of points
    /// sliced-wasserstein,wasserstein,energy,mmd; against statistics fd].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = of_names::<Metric, _>(Metric::NAMES))]
    pub metrics: Vec<Metric>,
    /// What of the examples is compared [default: the best that need no file].
    #[arg(long, value_parser = of_names::<FeatureKind, _>(FeatureKind::NAMES))]
    pub features: Option<FeatureKind>,
    /// The file with the published weights of the network that makes the features.
    #[arg(long, value_name = "FILE", requires = "features")]
    pub feature_weights: Option<PathBuf>,
    /// Write the mean and covariance of the data's features, for --against of other runs.
    #[arg(long, value_name = "FILE.npz")]
    pub save_stats: Option<PathBuf>,
    /// Write the values and every setting that they depend on.
    #[arg(long, value_name = "FILE.json")]
    pub json: Option<PathBuf>,
    /// The picture of the samples nearest to the training examples, where memorization is measured [default:
    /// nearest-seed-N.png in the run's folder].
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// Replace the files that are there already.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub location: LocationArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub weights: WeightsArgs,
}

//! What a run must know of its model's condition: which data suit it, and which samples are asked for.

use crate::config::{DataConfig, RunConfig};
use crate::error::CliError;
use diffusion::core::network::Condition;
use diffusion::data::{
    Channels, Cifar10, DatasaurusDozen, Dataset, ImageFolder, ImageFolderConfig, Label, Latents,
    LatentsConfig, MnistLike, Split, Swissroll, TreeDataset,
};
use diffusion::prelude::Labels;
use std::path::Path;

/// The most examples of a data set that is made on the spot.
const MAX_EXAMPLES: usize = 100_000_000;

/// A data set chosen at run time.
pub type BoxedData<L> = Box<dyn Dataset<Label = L>>;

/// A condition that the command line can handle.
pub trait RunCondition: Condition + Sync {
    /// The label of one example.
    type Label: Label<Condition = Self>;

    /// The examples that `config` names, with such labels.
    fn data(config: &RunConfig) -> Result<BoxedData<Self::Label>, CliError>;

    /// The conditions of the samples `first`, `first + 1`, … of `count`, and "no condition" for each.
    fn of_samples(
        labels: Option<&[usize]>,
        classes: Option<usize>,
        first: usize,
        count: usize,
    ) -> (Self, Self);

    /// The labels, if these are labels.
    fn labels(self) -> Option<Vec<usize>>;
}

impl RunCondition for () {
    type Label = ();

    fn data(config: &RunConfig) -> Result<BoxedData<()>, CliError> {
        Ok(match &config.data {
            DataConfig::Swissroll { tmin, tmax, n } => {
                if !(1..=MAX_EXAMPLES).contains(n) || !tmin.is_finite() || !tmax.is_finite() || *tmax == 0.0 {
                    let what = format!("a Swiss roll of {n} points from {tmin} over {tmax} is impossible");
                    return Err(CliError::invalid(
                        what,
                        "give 1 to 10⁸ points and finite angles, tmax not 0",
                    ));
                }
                Box::new(Swissroll::new(*tmin, *tmax, *n))
            }
            DataConfig::Datasaurus { path, name } => {
                Box::new(DatasaurusDozen::read(path, name).map_err(CliError::Table)?)
            }
            DataConfig::Tree { .. }
            | DataConfig::Mnist { .. }
            | DataConfig::Cifar { .. }
            | DataConfig::Images { .. }
            | DataConfig::Latents { .. } => Box::new(Labels::data(config)?.unlabelled()),
        })
    }

    fn of_samples(
        _labels: Option<&[usize]>,
        _classes: Option<usize>,
        _first: usize,
        _count: usize,
    ) -> ((), ()) {
        ((), ())
    }

    fn labels(self) -> Option<Vec<usize>> {
        None
    }
}

impl RunCondition for Labels {
    type Label = usize;

    fn data(config: &RunConfig) -> Result<BoxedData<usize>, CliError> {
        Ok(match config.data {
            DataConfig::Tree { branching_factor, depth, num_samples_per_path } => {
                let leaves = branching_factor.checked_pow(depth);
                let points = leaves.and_then(|leaves| leaves.checked_mul(num_samples_per_path));
                if !points.is_some_and(|points| (1..=MAX_EXAMPLES).contains(&points))
                    || !(1..=64).contains(&depth)
                {
                    let what = format!(
                        "a tree of {branching_factor} branches, depth {depth} and {num_samples_per_path} points a path \
                         is impossible"
                    );
                    return Err(CliError::invalid(
                        what,
                        "give a depth of 1 to 64, and 1 to 10⁸ points in all",
                    ));
                }
                Box::new(TreeDataset::new(branching_factor, depth, num_samples_per_path))
            }
            DataConfig::Mnist { ref path } => Box::new(MnistLike::from_folder(path, Split::Train)?),
            DataConfig::Cifar { ref path } => Box::new(Cifar10::from_folder(path, Split::Train)?),
            DataConfig::Images { ref path } => Box::new(images(path, config)?),
            DataConfig::Latents { ref path, scale, shift } => {
                // A network without classes does not mind any label.
                let classes = config.network.classes().unwrap_or(usize::MAX);
                let settings = LatentsConfig { classes, scale: scale as f32, shift: shift as f32 };
                Box::new(Latents::open(path, settings)?)
            }
            DataConfig::Swissroll { .. } | DataConfig::Datasaurus { .. } => {
                let what = "the network is conditioned on labels, and the data have none";
                return Err(CliError::invalid(
                    what,
                    "choose data with labels, tree or mnist say, or an unconditional network",
                ));
            }
        })
    }

    fn of_samples(
        labels: Option<&[usize]>,
        classes: Option<usize>,
        first: usize,
        count: usize,
    ) -> (Self, Self) {
        let classes = classes.unwrap_or_default();
        let label = |i: usize| match labels {
            Some(labels) => labels[i % labels.len()],
            None => i % classes,
        };
        (Labels((first..first + count).map(label).collect()), Labels(vec![classes; count]))
    }

    fn labels(self) -> Option<Vec<usize>> {
        Some(self.0)
    }
}

/// Finds out whether the data suit the network.
pub fn check_data<L: Label>(data: &dyn Dataset<Label = L>, config: &RunConfig) -> Result<(), CliError> {
    let (found, expected) = (data.shape(), config.network.input_shape());
    if found != expected {
        let what = format!("the data have examples of shape {found:?}, the network takes {expected:?}");
        return Err(CliError::invalid(
            what,
            "change the network's sizes in the configuration, or pass other data",
        ));
    }
    if config.flip
        && let Err(why) = data.can_mirror()
    {
        return Err(CliError::invalid(why, "set flip = false in the configuration"));
    }
    check_classes(
        config,
        match config.data {
            DataConfig::Tree { branching_factor, depth, .. } => branching_factor.pow(depth),
            DataConfig::Mnist { .. } => MnistLike::CLASSES,
            DataConfig::Cifar { .. } => Cifar10::CLASSES,
            // Found out where the data are read, or without labels.
            DataConfig::Images { .. } | DataConfig::Latents { .. } => 0,
            DataConfig::Swissroll { .. } | DataConfig::Datasaurus { .. } => 0,
        },
    )
}

fn check_classes(config: &RunConfig, needed: usize) -> Result<(), CliError> {
    match config.network.classes() {
        Some(classes) if classes < needed => {
            let what = format!("the data have {needed} classes, the network {classes}");
            Err(CliError::invalid(what, "set the network's num_classes to the data's"))
        }
        _ => Ok(()),
    }
}

/// The images of a folder, in the size and the channels that the network takes.
fn images(path: &Path, config: &RunConfig) -> Result<ImageFolder, CliError> {
    let shape = config.network.input_shape();
    let (channels, size) = match shape[..] {
        [1, size, _] => (Channels::Grey, size),
        [3, size, _] => (Channels::Rgb, size),
        _ => {
            let what =
                format!("images have 1 or 3 channels, and the network takes examples of shape {shape:?}");
            return Err(CliError::invalid(what, "choose a network of images"));
        }
    };
    let images = ImageFolder::open(path, ImageFolderConfig { size, channels })?;
    check_classes(config, images.num_classes())?;
    Ok(images)
}

//! What a run must know of its model's condition: which data suit it, and which samples are asked for.

use crate::config::{DataConfig, RunConfig};
use crate::error::CliError;
use diffusion::core::network::Condition;
use diffusion::data::{
    Channels, Cifar10, DataError, DatasaurusDozen, Dataset, ImageFolder, ImageFolderConfig, Label, Latents,
    LatentsConfig, MnistLike, Split, Swissroll, TreeDataset, held_out_split,
};
use diffusion::prelude::Labels;
use std::path::Path;
use std::sync::Arc;

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

    /// The examples that come with these data to judge by, if any do.
    fn test_data(config: &RunConfig) -> Result<Option<BoxedData<Self::Label>>, CliError>;

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

    fn test_data(config: &RunConfig) -> Result<Option<BoxedData<()>>, CliError> {
        let unlabelled = |data: BoxedData<usize>| Box::new(data.unlabelled()) as BoxedData<()>;
        Ok(Labels::test_data(config)?.map(unlabelled))
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

    fn test_data(config: &RunConfig) -> Result<Option<BoxedData<usize>>, CliError> {
        let boxed = match &config.data {
            DataConfig::Mnist { path } => {
                MnistLike::from_folder(path, Split::Test).map(|data| Box::new(data) as BoxedData<usize>)
            }
            DataConfig::Cifar { path } => {
                Cifar10::from_folder(path, Split::Test).map(|data| Box::new(data) as BoxedData<usize>)
            }
            _ => return Ok(None),
        };
        match boxed {
            Ok(data) => Ok(Some(data)),
            Err(DataError::NotInFolder { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

/// What a run is trained on, and what it is judged by.
pub struct Examples<L: Label> {
    pub training: Arc<BoxedData<L>>,
    /// Examples that training never sees, if there are any.
    pub held_out: Option<BoxedData<L>>,
}

/// The examples that `config` names: its data's own test set is held out, or some of the data are, if the run is to be
/// examined.
pub fn examples<C: RunCondition>(config: &RunConfig) -> Result<Examples<C::Label>, CliError> {
    let all = C::data(config)?;
    check_data(&*all, config)?;
    let Some(exam) = &config.held_out else {
        return Ok(Examples { training: Arc::new(all), held_out: None });
    };
    if let Some(test) = C::test_data(config)? {
        if test.shape() != all.shape() {
            let (found, expected) = (test.shape().to_vec(), all.shape().to_vec());
            let what = format!("the test set has examples of shape {found:?}, the training set {expected:?}");
            return Err(CliError::invalid(what, "pass a folder whose files belong together"));
        }
        let held_out = (!test.is_empty()).then_some(test);
        return Ok(Examples { training: Arc::new(all), held_out });
    }
    let held_out = exam.examples.min(all.len() / 10);
    let is_points = all.shape().len() == 1;
    if is_points || held_out == 0 {
        return Ok(Examples { training: Arc::new(all), held_out: None });
    }
    let (training, held_out) = held_out_split(Arc::new(all), held_out, config.training.seed);
    Ok(Examples { training: Arc::new(Box::new(training)), held_out: Some(Box::new(held_out)) })
}

/// Finds out whether the data suit the network.
fn check_data<L: Label>(data: &dyn Dataset<Label = L>, config: &RunConfig) -> Result<(), CliError> {
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

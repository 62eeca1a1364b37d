//! The list of all kinds of data sets, as a configuration names them, and how they are opened for training.

use std::path::{Path, PathBuf};

use diffusion_core::{counted, watch::Watch};
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    cifar::CifarConfig,
    codec::ScaledLatents,
    data_kind::{DataKind, ModelInput},
    datasaurus::DatasaurusConfig,
    dataset::Dataset,
    error::{DataError, EXAMPLES, Problem, TEXTS},
    image_folder::ImagesConfig,
    latent_shards::LatentShardsConfig,
    mnist::MnistConfig,
    pairs::PairsConfig,
    subset::ValidationSplit,
    swissroll::SwissrollConfig,
    tree::TreeConfig,
};

/// Makes an enum of the kinds, and hands the trait object of each out.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($config:ty),)*) => {
        /// Which data set: its kind and the kind's settings.
        ///
        /// In a configuration file, `kind` is the kind's name in kebab case, and its settings stand beside that.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum DataConfig {
            $($(#[$doc])* $kind($config),)*
        }

        impl DataConfig {
            fn kind(&self) -> &dyn DataKind {
                match self {
                    $(Self::$kind(config) => config,)*
                }
            }

            fn kind_mut(&mut self) -> &mut dyn DataKind {
                match self {
                    $(Self::$kind(config) => config,)*
                }
            }
        }
    };
}

kinds! {
    /// Points on a spiral.
    Swissroll(SwissrollConfig),
    /// Points on a tree, labeled by leaf.
    Tree(TreeConfig),
    /// A picture of the Datasaurus Dozen.
    Datasaurus(DatasaurusConfig),
    /// Gray images in IDX files: Fashion-MNIST, MNIST, EMNIST and the like.
    Mnist(MnistConfig),
    /// CIFAR-10 or CIFAR-100.
    Cifar(CifarConfig),
    /// A folder of images; a subfolder is a class.
    Images(ImagesConfig),
    /// Latents of images in safetensors shards.
    Latents(LatentShardsConfig),
    /// Samples of a trained flow with the noise that each came from.
    Pairs(PairsConfig),
}

/// What a model is trained on, and what its validation loss is computed on.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// All examples, in the order of the data set.
    pub all: AnyDataset,
    /// By what some are for validation, if any are.
    pub split: Option<ValidationSplit>,
    /// The examples to train on.
    pub training: AnyDataset,
    /// Examples of the same data set that training never sees, if there are any.
    pub validation: Option<AnyDataset>,
    /// The names of the classes in the order of their labels, where they are known; also for a network that is not told
    /// them.
    pub class_names: Vec<String>,
}

impl DataConfig {
    /// Whether the settings can be used. No file is looked at.
    ///
    /// # Errors
    /// A [`Problem::Invalid`] with the first setting that cannot.
    pub fn validate(&self) -> Result<(), DataError> {
        self.kind().validate()
    }

    /// The file or folder that the data set is read from, or `None` if it is computed.
    pub fn path(&self) -> Option<&Path> {
        self.kind().path().map(PathBuf::as_path)
    }

    /// Reads the data set from another file or folder; returns `false` if it is computed instead.
    pub fn set_path(&mut self, path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        self.kind_mut().path_mut().map(|place| *place = path.to_path_buf()).is_some()
    }

    /// Whether its files can hold values that are infinite or not a number, which only reading them all can tell.
    pub fn may_be_non_finite(&self) -> bool {
        self.kind().may_be_non_finite()
    }

    /// The codec of latents of images, which need a decoder to be seen; `None` for pixels and points.
    pub fn latents(&self) -> Option<ScaledLatents> {
        self.kind().latents()
    }

    /// Opens the data set for a network that takes `input`.
    ///
    /// The `validation` examples, at most a tenth, are split from the training data as of `seed`, also where there is a
    /// test set: whoever chooses by a validation loss must not choose by the test set. There are none if `validation` is
    /// zero, and none of points, which are all there is of their distribution.
    ///
    /// The labels are withheld from an unconditional network, and from one that is told texts. `watch` is told how far it is, and may stop it.
    ///
    /// # Errors
    /// If a setting or a file cannot be used, or if the examples do not suit the network in shape, labels, classes or texts; also
    /// if the classes have other names than those that the network was told.
    pub fn open(
        &self,
        input: &ModelInput,
        validation: usize,
        seed: u64,
        watch: &Watch,
    ) -> Result<TrainingData, DataError> {
        self.validate()?;
        let (all, class_names) = self.opened(input, false, watch)?;
        let validation = validation.min(all.len() / 10);
        let is_points = all.shape().len() == 1;
        let split = (!is_points && validation > 0).then(|| ValidationSplit::new(&all, validation, seed));
        self.split(all, split, class_names)
    }

    /// Opens the data set as [`open`](Self::open) does, for a run that began with `split`: an example that was trained on
    /// stays to be trained on, and one for validation for validation, whichever others have come or gone.
    ///
    /// Other names of as many classes as the network knows are no error: that run compares them with those it had.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if no example is left to train on.
    pub fn open_split(
        &self,
        input: &ModelInput,
        split: Option<ValidationSplit>,
        watch: &Watch,
    ) -> Result<TrainingData, DataError> {
        self.validate()?;
        let (all, class_names) = self.opened(input, true, watch)?;
        self.split(all, split, class_names)
    }

    /// All examples as the network takes them, and the names of the classes, also where it is not told them. Where
    /// `renamed`, so many classes as it knows may have other names.
    fn opened(
        &self,
        input: &ModelInput,
        renamed: bool,
        watch: &Watch,
    ) -> Result<(AnyDataset, Vec<String>), DataError> {
        let all = self.kind().open(input, watch)?;
        let class_names = all.class_names().unwrap_or_default().to_vec();
        Ok((self.suited(all, input, renamed)?, class_names))
    }

    fn split(
        &self,
        all: AnyDataset,
        split: Option<ValidationSplit>,
        class_names: Vec<String>,
    ) -> Result<TrainingData, DataError> {
        let Some(by) = split else {
            return Ok(TrainingData { training: all.clone(), all, split, validation: None, class_names });
        };
        let (training, validation) = all.clone().split(by);
        if training.is_empty() {
            let found = format!("holds {}, none of which is left to train on", counted(all.len(), "example"));
            let problem = Problem::format(found, "some to train on");
            return Err(match self.path() {
                Some(path) => problem.at(path),
                None => problem.into(),
            });
        }
        Ok(TrainingData {
            all,
            split,
            training,
            validation: Some(validation).filter(|part| !part.is_empty()),
            class_names,
        })
    }

    /// Opens the published test set, if the data set has one, for a figure that no choice depends on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_test(&self, input: &ModelInput, watch: &Watch) -> Result<Option<AnyDataset>, DataError> {
        self.validate()?;
        self.kind().open_test(input, watch).map(|test| self.suited(test?, input, false)).transpose()
    }

    /// The data set as the network takes it.
    fn suited(&self, data: AnyDataset, input: &ModelInput, renamed: bool) -> Result<AnyDataset, DataError> {
        let error = |problem: Problem| match self.path() {
            Some(path) => problem.at(path),
            None => problem.into(),
        };
        if data.shape() != input.shape {
            let expected = format!("{:?}, which the network takes", input.shape);
            let (part, found) = (EXAMPLES.to_owned(), data.shape().into());
            return Err(error(Problem::Shape { part, found, expected }));
        }
        let known = &input.class_names;
        let found = data.class_names().unwrap_or_default();
        let is_allowed = |num_classes| renamed && found.len() <= num_classes;
        // Files of latents do not name classes.
        let others = !known.is_empty() && self.latents().is_none() && found != known;
        if others && input.num_classes.is_some_and(|num_classes| !is_allowed(num_classes)) {
            let without = |all: &[String], others: &[String]| -> Vec<String> {
                all.iter().filter(|name| !others.contains(name)).cloned().collect()
            };
            let (appeared, vanished) = (without(found, known), without(known, found));
            return Err(error(Problem::OtherClasses { appeared, vanished }));
        }
        if let Some(text) = input.text {
            return match data.text_shape() {
                Some(found) if found == text => Ok(data),
                Some(found) => {
                    let expected = format!("{text:?}, the tokens and the width that the network takes");
                    Err(error(Problem::Shape { part: TEXTS.to_owned(), found: found.into(), expected }))
                }
                None => {
                    let reason = "the data have no texts, expected some for a network that is told them; choose latents \
                                  that were encoded with captions, or a network that is told none";
                    Err(Problem::invalid("kind", reason).into())
                }
            };
        }
        match (data.num_classes(), input.num_classes) {
            (_, None) => Ok(data.without_labels()),
            (None, Some(_)) => {
                let reason = "the data have no labels, expected some for a network that is conditioned on them; \
                              choose labeled data, e.g. tree or mnist, or an unconditional network";
                Err(Problem::invalid("kind", reason).into())
            }
            (Some(found), Some(expected)) if found > expected => {
                Err(error(Problem::Classes { found, expected }))
            }
            (Some(_), Some(_)) => Ok(data),
        }
    }
}

#[cfg(test)]
mod tests;

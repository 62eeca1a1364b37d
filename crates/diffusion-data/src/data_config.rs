//! The list of all kinds of data sets, as a configuration names them, and how they are opened for training.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    cifar10::CifarConfig,
    codec::ScaledLatents,
    data_kind::{DataKind, ModelInput},
    datasaurus::DatasaurusConfig,
    dataset::Dataset,
    error::{DataError, EXAMPLES, Problem},
    image_folder::ImagesConfig,
    latents::LatentShardsConfig,
    mnist::MnistConfig,
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
    /// Fashion-MNIST, MNIST or anything else in their format.
    Mnist(MnistConfig),
    /// CIFAR-10 in its binary version.
    Cifar(CifarConfig),
    /// A folder of PNG and JPEG images; a subfolder is a class.
    Images(ImagesConfig),
    /// Latents of images in safetensors shards.
    Latents(LatentShardsConfig),
}

/// What a model is trained on, and what its validation loss is computed on.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// The examples to train on.
    pub training: AnyDataset,
    /// Examples of the same data set that training never sees, if there are any.
    pub validation: Option<AnyDataset>,
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
    pub fn set_path(&mut self, path: PathBuf) -> bool {
        self.kind_mut().path_mut().map(|place| *place = path).is_some()
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
    /// The labels are withheld from an unconditional network.
    ///
    /// # Errors
    /// If a setting or a file cannot be used, or if the examples do not suit the network in shape, labels or classes.
    pub fn open(&self, input: &ModelInput, validation: usize, seed: u64) -> Result<TrainingData, DataError> {
        self.validate()?;
        let all = self.suited(self.kind().open(input)?, input)?;
        let validation = validation.min(all.len() / 10);
        let is_points = all.shape().len() == 1;
        if is_points || validation == 0 {
            return Ok(TrainingData { training: all, validation: None });
        }
        let (training, validation) = all.split(validation, seed);
        Ok(TrainingData { training, validation: Some(validation) })
    }

    /// Opens the published test set, if the data set has one, for a figure that no choice depends on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_test(&self, input: &ModelInput) -> Result<Option<AnyDataset>, DataError> {
        self.validate()?;
        self.kind().open_test(input).map(|test| self.suited(test?, input)).transpose()
    }

    /// The data set as the network takes it.
    fn suited(&self, data: AnyDataset, input: &ModelInput) -> Result<AnyDataset, DataError> {
        let error = |problem: Problem| match self.path() {
            Some(path) => problem.at(path),
            None => problem.into(),
        };
        if data.shape() != input.shape {
            let expected = format!("{:?}, which the network takes", input.shape);
            let (part, found) = (EXAMPLES.to_owned(), data.shape().into());
            return Err(error(Problem::Shape { part, found, expected }));
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

//! What each kind of data set can do that a configuration can name.

use std::path::PathBuf;

use diffusion_core::watch::Watch;

use crate::{any_dataset::AnyDataset, codec::ScaledLatents, error::DataError};

/// What a network takes, which decides how some data sets are read and which suit it at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInput {
    /// The shape of one example.
    pub shape: Vec<usize>,
    /// The number of classes that the network knows, or `None` if it is unconditional.
    pub num_classes: Option<usize>,
    /// The number of tokens and the width of the texts that the network is told, or `None` if it is told none. A network
    /// that is told texts is not told classes.
    pub text: Option<[usize; 2]>,
    /// The names of the classes that it was told so far, in the order of their labels; none where they are not known, or
    /// it was told none.
    pub class_names: Vec<String>,
}

/// A kind of data set with its settings: what an entry in the list of [`DataConfig`](crate::DataConfig) needs.
pub(crate) trait DataKind {
    /// The file or folder that it is read from, if there is one.
    fn path(&self) -> Option<&PathBuf> {
        None
    }

    /// The same, to choose another one.
    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        None
    }

    /// Whether its settings can be used. Its files are not looked at.
    fn validate(&self) -> Result<(), DataError> {
        Ok(())
    }

    /// All its training examples. Its settings have been checked. `watch` is told how far it is, and may stop it.
    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError>;

    /// Its test set, if data sets of this kind are published with one.
    fn open_test(&self, _: &ModelInput, _: &Watch) -> Option<Result<AnyDataset, DataError>> {
        None
    }

    /// Whether its files can hold values that are infinite or not a number, which only reading them all can tell.
    fn may_be_non_finite(&self) -> bool {
        false
    }

    /// How its values become what a network sees, where they are latents of images, which need a decoder to be seen.
    fn latents(&self) -> Option<ScaledLatents> {
        None
    }
}

/// The most examples of a data set that is computed.
pub(crate) const MAX_EXAMPLES: usize = 100_000_000;

//! Files of weights that others publish, and what can be wrong with them.

use diffusion_weights::WeightsError;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// A file of weights that somebody else publishes, and that is not part of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// What the file is called.
    pub file: &'static str,
    /// Its size in MiB, rounded.
    pub mib: usize,
    /// The first digits of its SHA-256, where they are published.
    pub sha256: Option<&'static str>,
    /// Where it is published.
    pub place: &'static str,
}

impl Published {
    /// Nothing, if there is a file at `path`.
    ///
    /// # Errors
    /// If there is none: which file belongs there.
    pub(super) fn expect_at(self, path: &Path) -> Result<(), ExtractError> {
        if path.exists() {
            return Ok(());
        }
        Err(ExtractError::Missing { path: path.to_path_buf(), published: self })
    }
}

impl Display for Published {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { file, mib, sha256, place } = self;
        write!(f, "{file} ({mib} MiB")?;
        if let Some(digits) = sha256 {
            write!(f, ", SHA-256 {digits}…")?;
        }
        write!(f, "), which is published {place}")
    }
}

/// Why a network that makes features cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// There is no file of weights.
    #[error("there are no weights at {}; expected {published}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// The file that belongs there.
        published: Published,
    },
    /// The weights are those of torchvision's network, whose features are not those of the Fréchet inception distance.
    #[error("the weights at {} are torchvision's, of which the distance would be another; expected {published}", path.display())]
    Torchvision {
        /// The file.
        path: PathBuf,
        /// The one that is needed.
        published: Published,
    },
    /// The variance of a batch norm is negative, so that its features are not numbers.
    #[error("value {index} of tensor `{name}` of {} is {value}, expected a variance", path.display())]
    Variance {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first such element.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// The weights cannot be read, or are not those of the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

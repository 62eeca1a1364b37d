//! Data sets and seeded batches for training generative models.
//!
//! Reading order: [`Dataset`], the data sets ([`Swissroll`], [`TreeDataset`], [`DatasaurusDozen`], [`MnistLike`],
//! [`Cifar10`], [`ImageFolder`], [`Latents`], [`Points`]), [`Subset`] with [`held_out_split`], [`DataSummary`],
//! [`Batches`] with [`Prefetch`], and [`pixels`] for the way between bytes and [−1, 1].
//!
//! ```
//! use diffusion_data::{Batches, Dataset, TreeDataset};
//!
//! let tree = TreeDataset::default();
//! assert_eq!((tree.len(), tree.shape(), tree.num_classes()), (1920, &[2][..], 64));
//!
//! let mut batches = Batches::new(tree, 128, 0).prefetch(2);
//! let (x0, labels) = batches.next().expect("without `epochs` the batches never end");
//! assert_eq!((x0.shape.as_slice(), labels.0.len()), (&[128, 2][..], 128));
//! ```
//!
//! Deliberately absent: downloading, and anything that knows what the examples are used for.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batches;
mod cifar10;
mod datasaurus;
mod dataset;
mod error;
mod idx;
mod image_file;
mod image_folder;
mod latents;
mod mnist;
mod parallel;
pub mod pixels;
mod points;
mod prefetch;
mod shard;
mod source;
mod subset;
mod summary;
mod swissroll;
mod tree;

pub use batches::{Batch, Batches, LastBatch};
pub use cifar10::Cifar10;
pub use datasaurus::{DatasaurusDozen, Delimiter};
pub use dataset::{Dataset, Label, Unlabelled};
pub use error::DataError;
pub use image_folder::{Channels, ImageFolder, ImageFolderConfig};
pub use latents::{Latents, LatentsConfig};
pub use mnist::{MnistLike, Split};
pub use points::Points;
pub use prefetch::Prefetch;
pub use subset::{Subset, held_out_split};
pub use summary::DataSummary;
pub use swissroll::Swissroll;
pub use tree::TreeDataset;

//! Data sets and seeded batches for training generative models.
//!
//! Reading order: [`Dataset`], the data sets ([`Swissroll`], [`TreeDataset`], [`DatasaurusDozen`], [`Latents`],
//! [`Points`], and [`Images`] as [`MnistLike`], [`Cifar10`] and [`ImageFolder`] read them), [`Subset`] with
//! [`validation_split`], [`DataSummary`], [`Batches`] with [`Prefetch`], and [`pixels`] for the way between bytes and
//! [−1, 1]. A program that chooses its data set while it runs begins with [`DataConfig`], which opens as
//! [`AnyDataset`].
//!
//! ```
//! use diffusion_data::{Batches, Dataset, TreeDataset};
//!
//! let tree = TreeDataset::default();
//! assert_eq!((tree.len(), tree.shape(), tree.num_classes()), (1920, &[2][..], 64));
//!
//! let mut batches = Batches::new(tree, 128, 0).prefetch(2);
//! let (x0, labels) = batches.next().expect("without `epochs` the batches never end")?;
//! assert_eq!((x0.shape.as_slice(), labels.0.len()), (&[128, 2][..], 128));
//! # Ok::<(), diffusion_data::DataError>(())
//! ```
//!
//! Deliberately absent: downloading, and anything that knows what the examples are used for.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod any_dataset;
mod batches;
mod captions;
mod cifar;
mod codec;
mod data_config;
mod data_kind;
mod datasaurus;
mod dataset;
mod error;
mod fingerprint;
pub mod identity;
mod idx;
mod idx_files;
mod image_cache;
mod image_config;
mod image_content;
mod image_end;
mod image_file;
mod image_folder;
mod images;
mod latent_shards;
mod latents;
mod left_out;
mod listing;
mod memory;
mod mnist;
mod open_files;
mod orientation;
mod pairs;
mod parallel;
pub mod pixels;
mod png;
mod points;
mod prefetch;
pub mod purpose;
mod read_image;
mod resample;
mod shard;
mod shard_name;
mod source;
mod split;
mod subset;
mod summary;
mod swissroll;
mod tar;
mod texts;
mod tree;

pub use any_dataset::{AnyDataset, AnyLabel};
pub use batches::{Batch, Batches, LastBatch};
pub use captions::{ImageCaptions, UntoldMetadata};
pub use cifar::{Cifar10, Cifar100, CifarConfig, CifarLabels};
pub use codec::{Codec, Pixels, ScaledLatents};
pub use data_config::{DataConfig, TrainingData};
pub use data_kind::ModelInput;
pub use datasaurus::{DatasaurusConfig, DatasaurusDozen, Delimiter};
pub use dataset::{Dataset, Gathered, Label, Unlabeled};
pub use error::{DataError, Problem};
pub use fingerprint::Fingerprint;
pub use image_config::{Channels, ImageFolderConfig};
pub use image_folder::{ImageFolder, ImagesConfig};
pub use images::Images;
pub use latent_shards::LatentShardsConfig;
pub use latents::{CaptionedLatents, Latents, LatentsConfig};
pub use left_out::{LeftOut, LeftOutKind};
pub use mnist::{MnistConfig, MnistLike};
pub use pairs::{Pairs, PairsConfig, PairsName};
pub use png::write_png;
pub use points::Points;
pub use prefetch::Prefetch;
pub use read_image::read_image;
pub use shard_name::ShardName;
pub use split::Split;
pub use subset::{Subset, ValidationSplit, validation_split};
pub use summary::{DataSummary, evenly_spaced};
pub use swissroll::{Swissroll, SwissrollConfig};
pub use tree::{TreeConfig, TreeDataset};

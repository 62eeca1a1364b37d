//! Low-rank changes of a network's weights (LoRA, Hu et al. 2021, arXiv:2106.09685): read from files, and trained.
//!
//! A [`LoraFile`] has a pair of matrices for each of some layers; [`apply`](LoraFile::apply) adds their products to the
//! weights. [`Lora`] is a network of which only such pairs are trained; what it [saves](Lora::save) is such a file.

mod config;
mod file;
mod frozen;
mod merge;
mod name;
mod pair;
mod settings;

pub use config::LoraConfig;
pub use file::LoraFile;
pub use frozen::Frozen;
pub use name::LoraPart;
pub use pair::{Lora, LoraPair};

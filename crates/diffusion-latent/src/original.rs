//! Checkpoints in one file, with the names of the code that Stable Diffusion was trained with (Rombach et al. 2022).
//!
//! [`unet_name`], [`autoencoder_name`] and [`text_name`] are what the tensors of diffusers' networks are called there;
//! [`Checkpoint`] opens the networks of such a file, whose sizes follow from the shapes of the tensors.

mod autoencoder;
mod checkpoint;
mod infer;
mod problems;
mod text;
mod unet;

pub use autoencoder::autoencoder_name;
pub use checkpoint::{Checkpoint, Family, Predicts};
pub use text::text_name;
pub use unet::unet_name;

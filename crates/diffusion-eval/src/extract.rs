//! Networks that make features of images, between which distances mean more than between pixels.

pub mod classifier;
pub mod dino;
pub mod inception;
pub mod published;
mod resize;

pub use classifier::Classifier;
pub use dino::{DINOV2_WEIGHTS, Dinov2, Dinov2Config};
pub use inception::{INCEPTION_WEIGHTS, InceptionV3};
pub use published::{ExtractError, Published};

use burn::tensor::{Tensor, backend::Backend};

/// A network that makes features of images.
pub trait FeatureExtractor<B: Backend> {
    /// The number of features per image.
    fn width(&self) -> usize;

    /// The features of each image.
    ///
    /// # Shapes
    /// - `images`: `[batch, channels, height, width]`, values in [−1, 1] (beyond: clamped by the caller), 1 or 3 channels
    /// - returns `[batch, width]`
    fn extract(&self, images: Tensor<B, 4>) -> Tensor<B, 2>;
}

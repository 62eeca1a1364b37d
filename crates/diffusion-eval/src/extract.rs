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
///
/// Features of your own, the mean of each channel:
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion_eval::FeatureExtractor;
///
/// struct MeanColor;
///
/// impl<B: Backend> FeatureExtractor<B> for MeanColor {
///     fn width(&self) -> usize {
///         3
///     }
///
///     fn extract(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
///         images.mean_dim(3).mean_dim(2).flatten(1, 3)
///     }
/// }
///
/// let images = Tensor::<Flex, 4>::zeros([5, 3, 32, 32], &Default::default());
/// assert_eq!(MeanColor.extract(images).dims(), [5, 3]);
/// ```
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

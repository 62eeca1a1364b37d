//! The sizes of a DINOv2.

use diffusion_core::Invalid;
use diffusion_core::invalid::{MAX_DEPTH, MAX_SIZE};

/// The sizes of a [`Dinov2`](super::Dinov2); by default those of ViT-L/14.
///
/// ViT-S/14 has 384 values per token in 6 heads and 12 blocks, ViT-B/14 768 in 12 and 12.
#[derive(Clone, Debug, PartialEq)]
pub struct Dinov2Config {
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Patches per row and column of the images that it was trained with.
    pub side: usize,
    /// The token dimension, and the number of features.
    pub dim: usize,
    /// The number of blocks.
    pub depth: usize,
    /// The number of heads of attention.
    pub num_heads: usize,
    /// What is added to the number of patches where the places of patches are resized, as the published code does: 0.1.
    /// Transformers adds nothing.
    pub interpolate_offset: f64,
}

impl Default for Dinov2Config {
    fn default() -> Self {
        Self { patch_size: 14, side: 37, dim: 1024, depth: 24, num_heads: 16, interpolate_offset: 0.1 }
    }
}

impl Dinov2Config {
    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a size is 0 or too large, the heads do not divide the token dimension, or the offset is negative or not finite.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("patch_size", self.patch_size, SIDE)?;
        Invalid::unless_positive("side", self.side, MAX_SIDE)?;
        Invalid::unless_positive("dim", self.dim, MAX_SIZE)?;
        Invalid::unless_positive("depth", self.depth, MAX_DEPTH)?;
        Invalid::unless_positive("num_heads", self.num_heads, MAX_SIZE)?;
        Invalid::unless(self.dim.is_multiple_of(self.num_heads), "num_heads", || {
            format!("is {}, expected a divisor of dim = {}", self.num_heads, self.dim)
        })?;
        let offset = self.interpolate_offset;
        Invalid::unless(offset.is_finite() && offset >= 0.0, "interpolate_offset", || {
            format!("is {offset}, expected a finite number of at least 0")
        })
    }
}

/// Height and width of the images that the network sees.
pub(super) const SIDE: usize = 224;

/// The most patches per row and column.
const MAX_SIDE: usize = 1000;

//! What image files of any size and color are made into.

use crate::error::{DataError, Problem};

/// What the files of an [`ImageFolder`](crate::ImageFolder) are made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFolderConfig {
    /// Height in pixels, 1 to 16384.
    ///
    /// Of each image the greatest rectangle in the middle that has these proportions is taken (where it cannot lie in
    /// the middle, half a pixel up or to the left) and resized with Lanczos' filter of three lobes, to the bytes of Pillow's
    /// `image.crop(middle).resize((width, height), Image.Resampling.LANCZOS)`. torchvision's `Resize` takes the bilinear
    /// filter unless it is told otherwise, which blurs more.
    pub height: usize,
    /// Width in pixels, 1 to 16384.
    pub width: usize,
    /// Gray or in color, whatever the files are.
    pub channels: Channels,
}

/// The channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One: luma of ITU-R BT.601, `0.299 R + 0.587 G + 0.114 B` of the values as they are in the file, rounded as
    /// Pillow's `convert("L")` does.
    Gray,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// How many they are.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

const MAX_SIZE: usize = 1 << 14;

impl ImageFolderConfig {
    /// Whether images of this size can be made.
    ///
    /// # Errors
    /// If height or width is not in 1 to 16384.
    pub fn validate(&self) -> Result<(), DataError> {
        for (setting, size) in [("height", self.height), ("width", self.width)] {
            if !(1..=MAX_SIZE).contains(&size) {
                return Err(Problem::invalid(setting, format!("{size}, expected 1 to {MAX_SIZE}")).into());
            }
        }
        Ok(())
    }

    /// Channels, height and width.
    pub(crate) fn shape(&self) -> [usize; 3] {
        [self.channels.count(), self.height, self.width]
    }
}

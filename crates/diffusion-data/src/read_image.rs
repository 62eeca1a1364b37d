//! One picture by itself.

use burn::tensor::TensorData;
use std::path::Path;

use crate::codec::{Codec, Pixels};
use crate::error::DataError;
use crate::image_config::ImageFolderConfig;
use crate::image_file;

/// Reads one picture as [`ImageFolder`](crate::ImageFolder) reads those of a folder.
///
/// ```
/// use burn::tensor::TensorData;
/// use diffusion_data::{Channels, ImageFolderConfig, read_image, write_png};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("gray.png");
/// write_png(&path, &TensorData::new(vec![-1.0f32, 1.0], [1, 1, 2]), &[])?;
/// let image = read_image(&path, ImageFolderConfig { height: 1, width: 2, channels: Channels::Rgb })?;
/// assert_eq!(image, TensorData::new(vec![-1.0f32, 1.0, -1.0, 1.0, -1.0, 1.0], [3, 1, 2]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Shapes
/// - returns `[channels, height, width]`, in [−1, 1]
///
/// # Errors
/// If the file cannot be read, or is no picture.
///
/// # Panics
/// If height or width is not in 1 to 16384.
pub fn read_image(path: impl AsRef<Path>, config: ImageFolderConfig) -> Result<TensorData, DataError> {
    if let Err(error) = config.validate() {
        panic!("{error}");
    }
    let shape = config.shape();
    let mut bytes = vec![0; shape.iter().product()];
    image_file::read(path.as_ref(), config, &mut bytes)?;
    let mut values = vec![0.0; bytes.len()];
    Pixels.encode(&bytes, &mut values);
    Ok(TensorData::new(values, shape))
}

//! What a folder of latents says of itself.

use crate::error::RecipeError;
use diffusion::weights::read_regular;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::Path;

/// What a folder of latents was made of; `encoded.toml` in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoded {
    /// How many images there are.
    pub count: usize,
    /// Height and width of the images.
    pub image_size: [usize; 2],
    /// Channels, height and width of the latents.
    pub latent_shape: [usize; 3],
    /// What a latent is multiplied by for a network, so that its values have a variance of about 1.
    pub scale: f64,
    /// What is added after that.
    pub shift: f64,
    /// Whether large images were encoded in tiles.
    pub in_tiles: bool,
    /// The names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    /// What tells the images from others: a hash of their paths, of the autoencoder's settings and of the captions that
    /// were encoded.
    pub fingerprint: String,
    /// How many images a file has, but for the last one.
    #[serde(default = "first_shard")]
    pub shard: NonZero<usize>,
    /// The encoded captions, where the files have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<EncodedTexts>,
}

/// The captions of a folder of latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodedTexts {
    /// How many tokens a caption has.
    pub tokens: usize,
    /// The width of a token.
    pub width: usize,
}

/// How many images a file had before that was written down.
fn first_shard() -> NonZero<usize> {
    const { NonZero::new(1024).unwrap() }
}

/// What the file of [`Encoded`] is called.
pub(crate) const ABOUT: &str = "encoded.toml";

impl Encoded {
    /// Reads that of a folder of latents, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or is something else.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>, RecipeError> {
        let path = folder.as_ref().join(ABOUT);
        let bytes = match read_regular(&path, 1 << 24) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RecipeError::io("read", &path)(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        toml::from_str(&text)
            .map(Some)
            .map_err(|error| RecipeError::NotAConfig { path, reason: error.to_string() })
    }
}

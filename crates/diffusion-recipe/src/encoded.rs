//! What a folder of latents says of itself.

use crate::error::RecipeError;
use diffusion::weights::{TensorFile, read_regular};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::{Path, PathBuf};

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
    /// What the fingerprint is of, each by itself, where that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<EncodedParts>,
    /// The encoded captions, where the files have some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<EncodedTexts>,
}

/// Hashes of what a folder of latents was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodedParts {
    /// Of the images' paths.
    pub images: String,
    /// Of the autoencoder's settings.
    pub model: String,
    /// Of the captions, where they were encoded.
    pub captions: String,
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

impl Encoded {
    /// In what the latents of `found` differ from these, the name of each.
    pub(crate) fn differences(&self, found: &Self) -> Vec<&'static str> {
        let is_other = |part: fn(&EncodedParts) -> &String| match (&self.parts, &found.parts) {
            (Some(here), Some(there)) => part(here) != part(there),
            _ => false,
        };
        let images = self.count != found.count || self.classes != found.classes;
        let model = self.scale != found.scale || self.shift != found.shift;
        let named = [
            ("size", self.image_size != found.image_size),
            ("images", images || is_other(|parts| &parts.images)),
            ("captions", self.text != found.text || is_other(|parts| &parts.captions)),
            ("model", model || is_other(|parts| &parts.model)),
            ("tiling", self.in_tiles != found.in_tiles),
        ];
        let mut named: Vec<_> =
            named.into_iter().filter(|(_, is_other)| *is_other).map(|(name, _)| name).collect();
        if named.is_empty() {
            // What is written of them does not tell which.
            named.extend(["images", "captions", "model"]);
        }
        named
    }
}

/// Whether all latents are there that [`encode`](crate::encode()) was to write into a folder; of one that it has not begun
/// nothing is known, nor of one with a file that is damaged, which the reader names.
///
/// # Errors
/// If there are fewer or more.
pub(crate) fn check_whole(folder: &Path) -> Result<(), RecipeError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let Some(Encoded { count: expected, .. }) = Encoded::read(folder)? else { return Ok(()) };
    let count =
        |path: &PathBuf| Some(*TensorFile::open_safetensors(path).ok()?.shape("latent_mean")?.first()?);
    match tensor_files(folder)?.iter().map(count).sum::<Option<usize>>() {
        Some(found) if found != expected => {
            Err(RecipeError::LatentsCount { path: folder.to_path_buf(), found, expected })
        }
        _ => Ok(()),
    }
}

/// The safetensors files in a folder, but for hidden ones.
pub(crate) fn tensor_files(folder: &Path) -> Result<Vec<PathBuf>, RecipeError> {
    let entries = fs::read_dir(folder).map_err(RecipeError::io("list", folder))?;
    let is_one = |path: &PathBuf| {
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"))
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_one).collect();
    paths.sort();
    Ok(paths)
}

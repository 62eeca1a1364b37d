//! A run for a folder of images: what must suit them follows from them.

use crate::config::RunConfig;
use crate::error::RecipeError;
use diffusion::core::watch::Watch;
use diffusion::core::{Invalid, named};
use diffusion::data::{Channels, DataError, Dataset, ImageFolder, ImageFolderConfig, Images};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::str::FromStr;

/// The images' height and width while their folder is looked at.
const LOOK: usize = 16;
/// How many images are looked at for color.
const LOOKED_AT: usize = 1_000;
/// How many of them at once.
const AT_ONCE: usize = 50;
/// The most patches of an image that a transformer gets: beyond it attention takes most of the time.
const MAX_PATCHES: usize = 256;
/// The height from which on a U-Net attends.
const ATTENTION: usize = 16;
/// The pixels of a batch; larger images make smaller batches.
pub(crate) const BATCH_PIXELS: usize = 64 * 32 * 32;

/// A height and a width in pixels; `64` is 64 × 64, `48x64` is 48 × 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

/// Which network for a folder of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageNetwork {
    /// A U-Net.
    #[default]
    Unet,
    /// A diffusion transformer.
    Dit,
}

named!(ImageNetwork { Unet = "unet", Dit = "dit" });

/// How large a network for a folder of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelSize {
    /// About a million parameters, for a CPU.
    #[default]
    Small,
    /// As in the literature, for a GPU.
    Base,
}

named!(ModelSize { Small = "small", Base = "base" });

impl RunConfig {
    /// A run for the images in `folder`, brought to `size`. Channels, classes, patches, levels, attention and batches
    /// follow from the images; everything else is that of a preset with such a network. `watch` is told how far it is, and
    /// may stop it.
    ///
    /// # Errors
    /// If the images cannot be read, or no such network takes images of this size.
    pub fn for_images(
        folder: impl AsRef<Path>,
        size: ImageSize,
        network: ImageNetwork,
        model: ModelSize,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        let folder = folder.as_ref();
        let config = ImageFolderConfig { height: LOOK, width: LOOK, channels: Channels::Rgb };
        // All of a few images are decoded, and of many a sample.
        let memory = (LOOKED_AT * 3 * LOOK * LOOK) as u64;
        let images = ImageFolder::open_within(folder, config, Some(memory), watch)?;
        let ImageSize { height, width } = size;
        if height != width {
            let reason =
                format!("found {height}x{width}, expected a square: the networks take no other images");
            return Err(Invalid::new("image_size", reason).into());
        }
        let preset = match (network, model) {
            (ImageNetwork::Unet, ModelSize::Small) => "fashion-unet-small",
            (ImageNetwork::Unet, ModelSize::Base) => "cifar-unet",
            (ImageNetwork::Dit, ModelSize::Small) => "fashion-dit-small",
            (ImageNetwork::Dit, ModelSize::Base) => "fashion-dit",
        };
        let channels = if is_gray(&images)? { 1 } else { 3 };
        let batch = (BATCH_PIXELS / (height * width).max(1)).clamp(4, 128).min(images.len());
        let settings =
            vec!["preset=images".to_string(), "data.kind=images".to_string(), path_setting(folder)];
        Self::of_shape(preset, settings, network, [channels, height, batch], images.num_classes())
    }

    /// The preset with these settings and a network for squares of `height`.
    pub(crate) fn of_shape(
        preset: &str,
        mut settings: Vec<String>,
        network: ImageNetwork,
        [channels, height, batch]: [usize; 3],
        classes: usize,
    ) -> Result<Self, RecipeError> {
        settings.extend([format!("batch_size={batch}"), format!("network.in_dim={height}")]);
        match network {
            ImageNetwork::Unet => settings.extend(unet(height, channels)),
            ImageNetwork::Dit => settings.extend(dit(height, channels)?),
        }
        let mut config = Self::preset(preset)?;
        if classes > 1 {
            settings.push(format!("network.labels.num_classes={classes}"));
        } else {
            config.network.forget_labels();
            config.sampling.set_cfg_scale(0.0);
        }
        config.set_all(settings.iter().map(String::as_str))?;
        config.validate()?;
        Ok(config)
    }
}

pub(crate) fn path_setting(folder: &Path) -> String {
    format!("data.path={}", toml::Value::from(folder.display().to_string()))
}

/// Halves the images down to 8 pixels or as often as possible, in up to four levels.
fn unet(side: usize, channels: usize) -> Vec<String> {
    let halvings = (0..4).take_while(|&n| side.is_multiple_of(2 << n) && side >> n > 8).count().min(3);
    let mults = &[1, 2, 2, 2][..=halvings];
    let attends: Vec<usize> = (0..=halvings).map(|n| side >> n).filter(|&side| side <= ATTENTION).collect();
    vec![
        format!("network.in_ch={channels}"),
        format!("network.out_ch={channels}"),
        format!("network.ch_mult={mults:?}"),
        format!("network.attn_resolutions={attends:?}"),
    ]
}

/// The smallest patches that are not too many.
fn dit(side: usize, channels: usize) -> Result<Vec<String>, RecipeError> {
    let fits = |patch: &usize| side.is_multiple_of(*patch) && (side / patch).pow(2) <= MAX_PATCHES;
    let patch = (2..=side).find(fits).ok_or_else(|| {
        let reason = format!("found {side}, expected a size that patches divide");
        RecipeError::from(Invalid::new("image_size", reason))
    })?;
    Ok(vec![format!("network.channels={channels}"), format!("network.patch_size={patch}")])
}

/// Whether all three channels are the same.
fn is_gray(images: &Images) -> Result<bool, DataError> {
    let every = images.len().div_ceil(LOOKED_AT);
    let looked_at: Vec<usize> = (0..images.len()).step_by(every).collect();
    for indices in looked_at.chunks(AT_ONCE) {
        let (pixels, _) = images.gather(indices)?;
        let pixels: Vec<f32> = pixels.iter::<f32>().collect();
        let is_gray = pixels.chunks_exact(3 * LOOK * LOOK).all(|pixels| {
            let (red, others) = pixels.split_at(LOOK * LOOK);
            others.chunks_exact(LOOK * LOOK).all(|channel| channel == red)
        });
        if !is_gray {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Text that is no size of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    fn of(found: &str) -> Self {
        Self(format!("found `{found}`, expected a number of pixels, e.g. 64, or 48x64"))
    }
}

impl Display for ParseError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ParseError {}

impl FromStr for ImageSize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        match (height.parse(), width.parse()) {
            (Ok(height), Ok(width)) if height > 0 && width > 0 => Ok(Self { height, width }),
            _ => Err(ParseError::of(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!("64".parse(), Ok(ImageSize { height: 64, width: 64 }));
        assert_eq!("48x64".parse(), Ok(ImageSize { height: 48, width: 64 }));
        for bad in ["", "0", "x", "64x", "64x0", "-1", "64X64"] {
            assert!(bad.parse::<ImageSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_and_patches_divide_the_image() {
        for side in 1..=300 {
            let levels = unet(side, 3)[2].matches(',').count();
            assert!(side.is_multiple_of(1 << levels), "{side}");
            let Ok(settings) = dit(side, 3) else { continue };
            let patch: usize = settings[1].rsplit_once('=').unwrap().1.parse().unwrap();
            assert!(side.is_multiple_of(patch) && (side / patch).pow(2) <= MAX_PATCHES, "{side}");
        }
        assert_eq!(unet(64, 3)[2..], ["network.ch_mult=[1, 2, 2, 2]", "network.attn_resolutions=[16, 8]"]);
        assert_eq!(unet(28, 1)[2..], ["network.ch_mult=[1, 2, 2]", "network.attn_resolutions=[14, 7]"]);
    }
}

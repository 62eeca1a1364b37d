//! Pictures of what a run makes: its samples, its losses.

use crate::error::CliError;
use crate::output::log;
use crate::pictures;
use burn::tensor::TensorData;
use diffusion::core::counted;
use diffusion_recipe::{RunConfig, Samples, StepMetrics, ValidationLosses};
use image::{DynamicImage, RgbImage};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, process};

/// The most points of the data that a picture shows, and the most samples: more are one cloud, and take long to draw.
pub const POINTS: usize = 100_000;

/// The most pixels of an animation across and down.
const FRAME: u32 = 900;

/// Writes `samples` as a picture, or where `path` ends in .safetensors as tensors. Latents, which need a decoder to be
/// seen, are written both ways.
pub fn samples(
    path: &Path,
    samples: &Samples,
    config: &RunConfig,
    behind: Option<TensorData>,
) -> Result<(), CliError> {
    let latents = config.data.latents();
    if is_safetensors(path) {
        return Ok(samples.write_tensors(path, latents)?);
    }
    if latents.is_some() {
        samples.write_tensors(path.with_extension("safetensors"), latents)?;
    }
    picture(path, samples, behind)
}

/// The endings of the files that [`samples`] of a run of `config` writes, that of the picture first.
pub fn endings(config: &RunConfig) -> &'static [&'static str] {
    if config.data.latents().is_some() { &["png", "safetensors"] } else { &["png"] }
}

/// Whether `path` is the name of a file of tensors.
pub fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Draws the picture of `samples`: points over the data, or a grid of images. Of latents, and of images with other channels
/// than gray or red, green and blue, it shows the first three, or the first, from −3 to 3 standard deviations. Where the
/// samples are too many it shows the first of them.
pub fn picture(path: &Path, samples: &Samples, behind: Option<TensorData>) -> Result<(), CliError> {
    match samples.shape[..] {
        [2] => {
            let points = |values: &[f32]| values.chunks_exact(2).map(|p| [p[0], p[1]]).collect::<Vec<_>>();
            let behind = behind.map(|data| data.iter::<f32>().collect::<Vec<_>>()).unwrap_or_default();
            let labels = samples.labels.as_deref();
            let shown = samples.count().min(POINTS);
            say_shown(path, shown, samples.count());
            let labels = labels.map(|labels| &labels[..shown]);
            Ok(pictures::scatter(path, &points(&behind), &points(&samples.values[..2 * shown]), labels)?)
        }
        [channels, height, width] => {
            let (values, shown) = shown_channels(samples, channels, height * width);
            let count = samples.count();
            let drawn = match heads(samples) {
                Some(names) => pictures::grid_under(path, &values, count, shown, height, width, &names)?,
                None => {
                    // Where there are no labels, how many stand side by side.
                    let columns = samples.period.filter(|_| samples.labels.is_none());
                    pictures::grid(path, &values, count, shown, height, width, columns)?
                }
            };
            say_shown(path, drawn, count);
            Ok(())
        }
        ref other => {
            let what = format!("samples of shape {other:?} have no picture");
            Err(CliError::usage(what, "let --out end in .safetensors"))
        }
    }
}

/// The picture of `samples`, as [`picture`] draws it, for an animation that will be `path`.
pub fn frame(path: &Path, samples: &Samples, behind: Option<TensorData>) -> Result<RgbImage, CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let place = path.with_file_name(format!(".{name}.{}-0.partial", process::id()));
    let drawn = picture(&place, samples, behind).and_then(|()| Ok(pictures::open(&place)?));
    // Where it was not drawn it is not there.
    let _ = fs::remove_file(&place);
    drawn
}

/// A frame of an animation, which is no larger than [`FRAME`].
pub fn shrunk(frame: RgbImage) -> RgbImage {
    let (width, height) = frame.dimensions();
    let scale = f64::from(FRAME) / f64::from(width.max(height).max(1));
    if scale >= 1.0 {
        return frame;
    }
    let [width, height] = [width, height].map(|side| ((f64::from(side) * scale) as u32).max(1));
    DynamicImage::ImageRgb8(frame).thumbnail_exact(width, height).into_rgb8()
}

/// The most columns that have names above them.
const NAMED: usize = 16;

/// The names of the classes above the columns of a picture of `samples`, one class each; nothing where there are no classes,
/// or too many for a table. Samples of one class stand in a square.
fn heads(samples: &Samples) -> Option<Vec<String>> {
    let (labels, period, count) = (samples.labels.as_ref()?, samples.period?, samples.count());
    let columns = if period == 1 { (count as f64).sqrt().ceil() as usize } else { period.min(count) };
    let is_table = (1..=NAMED).contains(&columns);
    let name = |label: &usize| {
        let name = samples.class_name(*label);
        if pictures::is_drawable(&name) { name } else { label.to_string() }
    };
    is_table.then(|| labels[..columns].iter().map(name).collect())
}

/// Says that a picture shows some of the samples only, where it does.
fn say_shown(path: &Path, shown: usize, all: usize) {
    if shown < all {
        log(format_args!("{} shows the first {shown} of {}", path.display(), counted(all, "sample")));
    }
}

/// The values of the channels that are shown, and their number.
fn shown_channels(samples: &Samples, channels: usize, pixels: usize) -> (Cow<'_, [f32]>, usize) {
    if matches!(channels, 1 | 3) && !samples.is_latent {
        return (Cow::Borrowed(&samples.values), channels);
    }
    let shown = if channels < 3 { 1 } else { 3 };
    let first = samples.values.chunks_exact(channels * pixels).flat_map(|x| &x[..shown * pixels]);
    (Cow::Owned(first.map(|x| x / 3.0).collect()), shown)
}

/// Draws the losses over σ.
pub fn validation(path: &Path, losses: &ValidationLosses, title: &str) -> Result<(), CliError> {
    let sigmas = losses.sigma_min.iter().zip(&losses.sigma_max).map(|(low, high)| (low * high).sqrt());
    let points = |bins: &[f64]| sigmas.clone().zip(bins.iter().copied()).collect::<Vec<_>>();
    let mut curves = vec![("training examples", points(&losses.training.bins))];
    curves.extend(losses.validation.iter().map(|losses| ("validation examples", points(&losses.bins))));
    let optimal = "optimal denoiser of the training examples";
    curves.extend(losses.optimal.iter().map(|losses| (optimal, points(&losses.bins))));
    Ok(pictures::curves(path, title, ["noise level σ", "loss"], &curves)?)
}

/// Draws what was measured of samples over the steps.
pub fn metrics(path: &Path, measured: &[StepMetrics], title: &str) -> Result<(), CliError> {
    let names: BTreeSet<&str> = measured.iter().flat_map(|at| at.values.keys().map(String::as_str)).collect();
    let points = |name: &str| {
        let point = |at: &StepMetrics| Some((at.step as f64, *at.values.get(name)?));
        measured.iter().filter_map(point).collect::<Vec<_>>()
    };
    let curves: Vec<_> = names.into_iter().map(|name| (name, points(name))).collect();
    Ok(pictures::curves_over_steps(path, title, "value", &curves)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where there are fewer samples than classes; a name that cannot be written is a number.
    #[test]
    fn columns_of_classes_have_names() {
        let of = |count: usize| Samples {
            values: vec![0.0; count],
            start: Vec::new(),
            shape: vec![1, 1, 1],
            is_latent: false,
            labels: Some((0..count).map(|i| i % 3).collect()),
            period: Some(3),
            class_names: ["cat", "猫", "dog"].map(String::from).to_vec(),
        };
        let names = |count| heads(&of(count)).unwrap_or_default();
        assert_eq!(names(2), ["cat", "1"]);
        assert_eq!(names(5), ["cat", "1", "dog"]);
        assert_eq!(heads(&Samples { period: Some(17), ..of(17) }), None);
    }

    /// Latents reach further than pixels, of as many channels too.
    #[test]
    fn latents_are_brought_to_the_range_of_pixels() {
        let of = |channels: usize, is_latent| {
            let values = vec![1.5; 2 * channels];
            let shape = vec![channels, 1, 2];
            let (start, labels, period, class_names) = (Vec::new(), None, None, Vec::new());
            let samples = Samples { values, start, shape, is_latent, labels, period, class_names };
            let (shown, channels) = shown_channels(&samples, channels, 2);
            (shown.into_owned(), channels)
        };
        assert_eq!(of(3, false), (vec![1.5; 6], 3));
        assert_eq!(of(3, true), (vec![0.5; 6], 3));
        assert_eq!(of(4, true), (vec![0.5; 6], 3));
        assert_eq!(of(1, true), (vec![0.5; 2], 1));
    }
}

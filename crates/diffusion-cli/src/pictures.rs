//! Pictures of a training run, as PNG files: scatter plots, grids of images and loss curves; and animations of pictures.

mod animation;
mod axis;
mod curve;
mod grid;
mod heads;
mod scatter;
#[cfg(test)]
mod tests;

pub use animation::{animation, is_animation};
pub use curve::{curve, curves, curves_over_steps, rates};
pub use grid::{grid, grid_under};
pub use heads::is_drawable;
pub use scatter::scatter;

use diffusion::weights::write_atomically;
use diffusion_recipe::mark_png;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::{error, fs, sync::OnceLock};

/// Why a picture could not be made; `path` is the picture that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Slices whose lengths do not belong together.
    #[error("cannot draw {path}: found {found} {what}, expected {expected}")]
    Length { path: PathBuf, what: &'static str, found: usize, expected: usize },
    /// Images that are neither gray nor in color.
    #[error("cannot draw {path}: found images of {found} channels, expected 1 or 3")]
    Channels { path: PathBuf, found: usize },
    /// The plotting library gave up.
    #[error("cannot draw {path}")]
    Draw { path: PathBuf, source: Box<dyn error::Error + Send + Sync> },
    /// The pixels did not become a file.
    #[error("cannot encode {path}")]
    Encode { path: PathBuf, source: image::ImageError },
    /// A picture that was drawn before cannot be read.
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: image::ImageError },
    /// The file system refused.
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
}

const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(170, 174, 180);
const MESH: RGBColor = RGBColor(232, 234, 237);
const ACCENT: RGBColor = RGBColor(20, 86, 170);
/// Marks what is not a number.
const LOUD: RGBColor = RGBColor(255, 0, 255);

/// Plots are drawn this much larger and averaged down, since the backend does not smooth all its edges.
const OVERSAMPLING: u32 = 3;

/// The length on the enlarged canvas of one given in pixels of the picture.
const fn pixels(length: i32) -> i32 {
    length * OVERSAMPLING as i32
}

/// The built-in font: Latin, Greek and Cyrillic letters.
const FONT: &[u8] = epaint_default_fonts::UBUNTU_LIGHT;

type DrawResult<T> = Result<T, Box<dyn error::Error + Send + Sync>>;
type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Saves what `draw` puts on a white canvas of `OVERSAMPLING` times the size.
fn plot(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Canvas) -> DrawResult<()>,
) -> Result<(), PictureError> {
    let drawn = canvas(size, draw).map_err(|source| PictureError::Draw { path: path.into(), source })?;
    save(path, &drawn)
}

/// What `draw` puts on a white canvas of `OVERSAMPLING` times the size, averaged down to the size.
fn canvas(size: (u32, u32), draw: impl FnOnce(&Canvas) -> DrawResult<()>) -> DrawResult<RgbImage> {
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || register_font("sans-serif", FontStyle::Normal, FONT).is_ok();
    if !IS_REGISTERED.get_or_init(register) {
        return Err("the built-in font cannot be read".into());
    }
    let (width, height) = (OVERSAMPLING * size.0, OVERSAMPLING * size.1);
    let mut picture = RgbImage::from_pixel(width, height, PAPER);
    draw(&BitMapBackend::with_buffer(&mut picture, (width, height)).into_drawing_area())?;
    Ok(DynamicImage::ImageRgb8(picture).thumbnail_exact(size.0, size.1).into_rgb8())
}

/// Writes beside the target and renames, so that nobody sees half a picture.
fn save(path: &Path, picture: &RgbImage) -> Result<(), PictureError> {
    let mut png = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut png, ImageFormat::Png);
    encoded.map_err(|source| PictureError::Encode { path: path.into(), source })?;
    let mut png = png.into_inner();
    mark_png(&mut png);
    write(path, &png)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PictureError> {
    let written = write_atomically(path, |file| file.write_all(bytes));
    written.map_err(|source| PictureError::Write { path: path.into(), source })
}

/// Reads a picture that was drawn before, whatever its name.
///
/// # Errors
/// If it is not there, or is no picture.
pub fn open(path: &Path) -> Result<RgbImage, PictureError> {
    let failed = |source| PictureError::Read { path: path.into(), source };
    let bytes = fs::read(path).map_err(|error| failed(error.into()))?;
    Ok(image::load_from_memory(&bytes).map_err(failed)?.into_rgb8())
}

fn check_length(path: &Path, what: &'static str, found: usize, expected: usize) -> Result<(), PictureError> {
    let mismatch = || PictureError::Length { path: path.into(), what, found, expected };
    if found == expected { Ok(()) } else { Err(mismatch()) }
}

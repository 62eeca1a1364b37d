//! Pictures in turn.

use super::{PictureError, write};
use diffusion_recipe::{mark_gif, mark_png};
use image::codecs::gif::{GifEncoder, Repeat};
use image::error::{EncodingError, ImageFormatHint};
use image::{Delay, DynamicImage, Frame, ImageError, RgbImage};
use png::{BitDepth, ColorType, Encoder};
use std::path::Path;

/// How long the last picture stands, in milliseconds.
const PAUSE: u16 = 2_000;

/// Whether `path` is the name of an animation.
pub fn is_animation(path: &Path) -> bool {
    is_apng(path) || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif"))
}

fn is_apng(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("apng"))
}

/// Writes `frames` as an animation that begins anew after a pause: a PNG where `path` ends in .apng, which keeps all colors,
/// and else a GIF, of at most 256 colors in each frame. Each frame but the last stands for so many milliseconds.
///
/// # Errors
/// If there are no frames, they differ in size, or the file cannot be written (its folder must exist).
pub fn animation(path: &Path, frames: &[RgbImage], milliseconds: u16) -> Result<(), PictureError> {
    let first = frames.first().map(RgbImage::dimensions);
    let alike = frames.iter().filter(|frame| Some(frame.dimensions()) == first).count();
    if alike < frames.len() || frames.is_empty() {
        let (what, expected) = ("frames of one size", frames.len().max(1));
        return Err(PictureError::Length { path: path.into(), what, found: alike, expected });
    }
    let last = frames.len() - 1;
    let frames = frames.iter().enumerate();
    let frames: Vec<(&RgbImage, u16)> =
        frames.map(|(i, frame)| (frame, if i == last { PAUSE } else { milliseconds })).collect();
    let encoded = if is_apng(path) { apng(&frames) } else { gif(&frames) };
    write(path, &encoded.map_err(|source| PictureError::Encode { path: path.into(), source })?)
}

fn gif(frames: &[(&RgbImage, u16)]) -> Result<Vec<u8>, ImageError> {
    let mut gif = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut gif, 10);
    encoder.set_repeat(Repeat::Infinite)?;
    for &(frame, milliseconds) in frames {
        let delay = Delay::from_numer_denom_ms(milliseconds.into(), 1);
        let pixels = DynamicImage::ImageRgb8(frame.clone()).into_rgba8();
        encoder.encode_frame(Frame::from_parts(pixels, 0, 0, delay))?;
    }
    drop(encoder);
    without_common_colors(&mut gif);
    mark_gif(&mut gif);
    Ok(gif)
}

/// Takes the table of colors of all frames out, which is there but empty: each frame has its own, and some readers mix them.
fn without_common_colors(gif: &mut Vec<u8>) {
    // Behind the signature, width and height: a bit says whether there is a table, the last three how long it is.
    let Some(flags) = gif.get_mut(10).filter(|flags| **flags & 0x80 != 0) else { return };
    let length = 3 * (2 << (*flags & 7));
    *flags &= 0x70;
    gif.drain(13..13 + length);
}

fn apng(frames: &[(&RgbImage, u16)]) -> Result<Vec<u8>, ImageError> {
    let mut png = Vec::new();
    let encode = |png: &mut Vec<u8>| -> Result<(), png::EncodingError> {
        let Some((first, _)) = frames.first() else { return Ok(()) };
        let is_gray = frames.iter().all(|(frame, _)| frame.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]));
        let mut encoder = Encoder::new(png, first.width(), first.height());
        encoder.set_color(if is_gray { ColorType::Grayscale } else { ColorType::Rgb });
        encoder.set_depth(BitDepth::Eight);
        encoder.set_animated(frames.len() as u32, 0)?;
        let mut writer = encoder.write_header()?;
        for (frame, milliseconds) in frames {
            writer.set_frame_delay(*milliseconds, 1_000)?;
            match is_gray {
                true => writer.write_image_data(&frame.iter().step_by(3).copied().collect::<Vec<u8>>())?,
                false => writer.write_image_data(frame)?,
            }
        }
        writer.finish()
    };
    let failed =
        |error| ImageError::Encoding(EncodingError::new(ImageFormatHint::Name("APNG".into()), error));
    encode(&mut png).map_err(failed)?;
    mark_png(&mut png);
    Ok(png)
}

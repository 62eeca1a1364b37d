//! Images side by side.

use super::heads::heads;
use super::{DrawResult, LOUD, PAPER, PictureError, check_length, save};
use image::{Rgb, RgbImage, imageops};
use std::path::Path;

/// Pixels between the images of a grid, and around it.
const GAP: usize = 2;

/// The most pixels of a grid, unless a single row has more.
const PIXELS: usize = 1 << 26;

/// Lays images out row by row on white, 2 pixels apart.
///
/// Values beyond [−1, 1] are clamped, and a pixel with a non-finite channel is magenta. Small images are
/// enlarged by the least whole factor that makes the picture 600 pixels wide, each pixel a sharp square. Where a picture of
/// all would have more than 2²⁶ pixels it shows the first ones; returns how many are shown.
///
/// # Shapes
/// - `images`: `[count, channels, height, width]` in one slice, values in [−1, 1], 1 or 3 channels
/// - `columns`: between 1 and `count`, else brought there; ⌈√count⌉ where `None`
///
/// # Errors
/// If `channels` is neither 1 nor 3, `images` is not of the length that the shape says, or the file cannot
/// be written (its folder must exist).
pub fn grid(
    path: &Path,
    images: &[f32],
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
    columns: Option<usize>,
) -> Result<usize, PictureError> {
    let laid = Laid::out(path, images, [count, channels, height, width], columns)?;
    save(path, &laid.picture).map(|()| laid.count)
}

/// Lays images out as [`grid`] does, in a column for each of `names`, which stand above them: upright where they are long,
/// and the longest without their ends.
///
/// # Errors
/// As [`grid`].
pub fn grid_under(
    path: &Path,
    images: &[f32],
    count: usize,
    channels: usize,
    height: usize,
    width: usize,
    names: &[String],
) -> Result<usize, PictureError> {
    let laid = Laid::out(path, images, [count, channels, height, width], Some(names.len()))?;
    let whole = laid.under(names).map_err(|source| PictureError::Draw { path: path.into(), source })?;
    save(path, &whole).map(|()| laid.count)
}

/// A grid.
struct Laid {
    picture: RgbImage,
    /// How many images it shows.
    count: usize,
    columns: usize,
    /// The distance between the left edges of two columns, in pixels.
    cell_width: usize,
}

impl Laid {
    fn out(
        path: &Path,
        images: &[f32],
        shape @ [count, channels, height, width]: [usize; 4],
        columns: Option<usize>,
    ) -> Result<Self, PictureError> {
        if channels != 1 && channels != 3 {
            return Err(PictureError::Channels { path: path.into(), found: channels });
        }
        check_length(path, "values", images.len(), shape.into_iter().fold(1, usize::saturating_mul))?;
        if images.is_empty() {
            let picture = RgbImage::from_pixel(600, 600, PAPER);
            return Ok(Self { picture, count: 0, columns: 0, cell_width: 0 });
        }
        let count = count.min((PIXELS / ((width + GAP) * (height + GAP))).max(1));
        let columns = columns.unwrap_or((count as f64).sqrt().ceil() as usize).clamp(1, count);
        let enlarged = (600_usize.saturating_sub((columns + 1) * GAP)).div_ceil(columns * width).max(1);
        let [cell_width, cell_height] = [width, height].map(|side| side * enlarged + GAP);
        let across = columns * cell_width;
        let count = count.min((PIXELS / (across * cell_height)).max(1) * columns);
        let down = count.div_ceil(columns) * cell_height;

        let mut picture = RgbImage::from_pixel((across + GAP) as u32, (down + GAP) as u32, PAPER);
        for (k, image) in images.chunks_exact(channels * height * width).take(count).enumerate() {
            let [left, top] = [GAP + k % columns * cell_width, GAP + k / columns * cell_height];
            for (row, column) in
                (0..height * enlarged).flat_map(|r| (0..width * enlarged).map(move |c| (r, c)))
            {
                let at = row / enlarged * width + column / enlarged;
                let channel = |c: usize| image[c % channels * height * width + at];
                picture.put_pixel((left + column) as u32, (top + row) as u32, pixel([0, 1, 2].map(channel)));
            }
        }
        Ok(Self { picture, count, columns, cell_width })
    }

    /// The picture with names above its columns.
    fn under(&self, names: &[String]) -> DrawResult<RgbImage> {
        let Self { picture, columns, cell_width, .. } = self;
        let heads = heads(&names[..names.len().min(*columns)], *cell_width, picture.width() as usize)?;
        let mut whole = RgbImage::from_pixel(picture.width(), heads.height() + picture.height(), PAPER);
        imageops::replace(&mut whole, &heads, 0, 0);
        imageops::replace(&mut whole, picture, 0, heads.height().into());
        Ok(whole)
    }
}

fn pixel(channels: [f32; 3]) -> Rgb<u8> {
    if channels.iter().all(|value| value.is_finite()) {
        Rgb(channels.map(|value| ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8))
    } else {
        Rgb([LOUD.0, LOUD.1, LOUD.2])
    }
}

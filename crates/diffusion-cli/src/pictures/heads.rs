//! Names above the columns of a grid.

use super::{Canvas, DrawResult, FONT, INK, OVERSAMPLING, canvas, pixels};
use ab_glyph::{Font, FontRef, GlyphId};
use image::RgbImage;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The heights of letters, in pixels: the largest with which all names fit above their columns.
const SIZES: [i32; 3] = [16, 14, 12];

/// The space around a name, in pixels.
const MARGIN: i32 = 4;

/// The most pixels that a name takes which stands upright.
const LONGEST: i32 = 140;

/// Whether the built-in font has all characters of a text. What it has not would look alike.
pub fn is_drawable(text: &str) -> bool {
    let has = |font: &FontRef<'_>, c: char| c.is_control() || font.glyph_id(c) != GlyphId(0);
    FontRef::try_from_slice(FONT).is_ok_and(|font| text.chars().all(|c| has(&font, c)))
}

/// A strip of `width` pixels with one name over the middle of each column, where the columns are `column` pixels apart from
/// the left edge on. Where the names are too long to lie side by side, they stand upright, and the longest are shortened.
///
/// # Errors
/// If the font cannot be read.
pub fn heads(names: &[String], column: usize, width: usize) -> DrawResult<RgbImage> {
    let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
    let (column, width) = (column as i32, width as u32);
    // Measured on a canvas of its own, for the size of the strip follows from the names.
    let mut layout = (SIZES[1], None);
    canvas((1, 1), |root| {
        let fits = |&size: &i32| {
            names.iter().all(|name| length(root, name, size).is_ok_and(|long| long <= column - MARGIN))
        };
        if let Some(size) = SIZES.into_iter().find(fits) {
            layout = (size, None);
            return Ok(());
        }
        let short = names.iter().map(|name| shortened(root, name, SIZES[1]));
        layout.1 = Some(short.collect::<DrawResult<Vec<_>>>()?);
        Ok(())
    })?;
    let (size, upright) = layout;
    let longest = upright.iter().flatten().map(|(_, long)| *long).max();
    let height = longest.unwrap_or(size) + 2 * MARGIN;

    canvas((width, height as u32), |root| {
        let middle = |k: usize| pixels(column) * k as i32 + pixels(column) / 2;
        let font = ("sans-serif", pixels(size)).into_font().color(&INK);
        for (k, name) in names.iter().enumerate() {
            let (name, font, y) = match &upright {
                None => (name, font.pos(Pos::new(HPos::Center, VPos::Center)), pixels(height) / 2),
                Some(short) => {
                    let up = font.transform(FontTransform::Rotate270);
                    (&short[k].0, up.pos(Pos::new(HPos::Left, VPos::Center)), pixels(height - MARGIN))
                }
            };
            root.draw_text(name, &font, (middle(k), y))?;
        }
        Ok(())
    })
}

/// The length of a text in pixels of the picture.
fn length(root: &Canvas, text: &str, size: i32) -> DrawResult<i32> {
    let (long, _) = root.estimate_text_size(text, &("sans-serif", pixels(size)).into_font().color(&INK))?;
    Ok(long.div_ceil(OVERSAMPLING) as i32)
}

/// The name, without its end where it is too long, and its length.
fn shortened(root: &Canvas, name: &str, size: i32) -> DrawResult<(String, i32)> {
    let (mut short, mut kept) = (name.to_owned(), name.chars().count());
    loop {
        let long = length(root, &short, size)?;
        if long <= LONGEST || kept <= 1 {
            return Ok((short, long));
        }
        kept -= 1;
        let beginning: String = name.chars().take(kept).collect();
        short = format!("{}…", beginning.trim_end());
    }
}

/// The name on one line.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

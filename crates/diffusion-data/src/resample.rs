//! Resizing with Lanczos' filter of three lobes, to the same bytes as Pillow's `resize(size, Image.Resampling.LANCZOS)`.
//!
//! Both directions are resampled one after the other, columns first, with weights of 22 binary places, and rounded to
//! bytes after each. When an image is reduced, the filter's window grows with the reduction, so that fine patterns do not
//! turn into coarse ones.

use std::f64::consts::PI;

/// The lobes of the filter on each side, in pixels of the smaller image.
const LOBES: f64 = 3.0;
/// The binary places of a weight: with 8 of a pixel and 2 for sums that overshoot they fill 32 bits.
const PLACES: u32 = 32 - 8 - 2;

/// An image of `N` bytes in each pixel, row after row.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, const N: usize> {
    /// The bytes of all rows.
    pub(crate) bytes: &'a [u8],
    /// The pixels of a row.
    pub(crate) width: usize,
}

/// A rectangle within an image, in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Rectangle {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The pixels of the rectangle `from` of an image, as `height` rows of `width` pixels. What is beyond the rectangle
/// has no influence. Pixels that stay as many in a direction stay as they are in it.
pub(crate) fn resize<const N: usize>(
    image: View<'_, N>,
    from: Rectangle,
    width: usize,
    height: usize,
) -> Vec<u8> {
    let columns = Windows::new(from.width, width);
    let rows = image.bytes.chunks_exact(image.width * N).skip(from.top).take(from.height);
    let mut narrow = Vec::with_capacity(from.height * width * N);
    for row in rows {
        let row = &row[from.left * N..(from.left + from.width) * N];
        match &columns {
            Some(columns) => columns.along::<N>(row, &mut narrow),
            None => narrow.extend_from_slice(row),
        }
    }
    match Windows::new(from.height, height) {
        Some(rows) => rows.across(&narrow, width * N),
        None => narrow,
    }
}

/// Which pixels make each of fewer or more, and with which weights.
struct Windows {
    /// For each new pixel the first of the old ones, and where its weights begin and end.
    windows: Vec<(usize, usize, usize)>,
    /// Of 2 to the power of `PLACES`.
    weights: Vec<i32>,
}

impl Windows {
    /// Those of `to` pixels made of `from`; none if they stay.
    fn new(from: usize, to: usize) -> Option<Self> {
        if from == to {
            return None;
        }
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let reach = LOBES * stretch;
        let (mut windows, mut weights) = (Vec::with_capacity(to), Vec::new());
        for pixel in 0..to {
            let center = (pixel as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(from);
            let values: Vec<f64> =
                (first..end).map(|old| lanczos((old as f64 - center + 0.5) / stretch)).collect();
            let sum: f64 = values.iter().sum();
            let start = weights.len();
            let fixed = |value: f64| (value / sum * f64::from(1 << PLACES)).round() as i32;
            weights.extend(values.into_iter().map(fixed));
            windows.push((first, start, weights.len()));
        }
        Some(Self { windows, weights })
    }

    /// Adds the new pixels of a row.
    fn along<const N: usize>(&self, row: &[u8], into: &mut Vec<u8>) {
        for &(first, start, end) in &self.windows {
            let mut sums = [HALF; N];
            let pixels = row[first * N..].chunks_exact(N);
            for (pixel, weight) in pixels.zip(&self.weights[start..end]) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(byte) * weight;
                }
            }
            into.extend(sums.map(to_byte));
        }
    }

    /// The new rows of rows of `length` bytes.
    fn across(&self, rows: &[u8], length: usize) -> Vec<u8> {
        let mut into = Vec::with_capacity(self.windows.len() * length);
        let mut sums = vec![0; length];
        for &(first, start, end) in &self.windows {
            sums.fill(HALF);
            let rows = rows[first * length..].chunks_exact(length);
            for (row, weight) in rows.zip(&self.weights[start..end]) {
                for (sum, &byte) in sums.iter_mut().zip(row) {
                    *sum += i32::from(byte) * weight;
                }
            }
            into.extend(sums.iter().map(|&sum| to_byte(sum)));
        }
        into
    }
}

/// A half, so that cutting rounds.
const HALF: i32 = 1 << (PLACES - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PLACES).clamp(0, 255) as u8
}

/// sinc(x) · sinc(x / 3) within three lobes.
fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if (-LOBES..LOBES).contains(&x) { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(width: usize, height: usize) -> Rectangle {
        Rectangle { left: 0, top: 0, width, height }
    }

    #[test]
    fn weights_sum_to_one() {
        for (from, to) in [(10, 3), (3, 10), (1000, 1), (1, 1000), (7, 6)] {
            let Windows { windows, weights } = Windows::new(from, to).unwrap();
            for (first, start, end) in windows {
                let sum: i32 = weights[start..end].iter().sum();
                assert!((sum - (1 << PLACES)).unsigned_abs() as usize <= end - start, "{sum}");
                assert!(first + (end - start) <= from && end > start);
            }
        }
    }

    #[test]
    fn one_color_stays() {
        let bytes = [10, 128, 250].repeat(35);
        for (width, height) in [(1, 1), (3, 9), (7, 5), (20, 2)] {
            let found = resize(View::<3> { bytes: &bytes, width: 7 }, whole(7, 5), width, height);
            assert_eq!(found, [10, 128, 250].repeat(width * height));
        }
    }

    #[test]
    fn what_is_beyond_the_rectangle_has_no_influence() {
        let bytes: Vec<u8> = (0..64).map(|i| if (2..6).contains(&(i % 8)) { 7 } else { 255 }).collect();
        let from = Rectangle { left: 2, top: 1, width: 4, height: 6 };
        assert_eq!(resize(View::<1> { bytes: &bytes, width: 8 }, from, 3, 3), [7; 9]);
    }
}

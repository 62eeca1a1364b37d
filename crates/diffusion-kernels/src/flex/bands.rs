//! Convolutions by Winograd's method of few images, whose rows and channels all threads share.
//!
//! Some rows of tiles at a time, a band, are transformed and multiplied, so that what is held besides the images does not
//! grow with them; kernels are transformed as they are needed.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::math::{simd, zeros};
use super::winograd::{LANES, POSITIONS, Winograd, transform_kernels, with_scratch};

/// Input channels of one product.
const INPUTS: usize = 64;
/// The most elements of a band's transformed tiles.
const BAND: usize = 1 << 23;

/// Some rows of tiles of one image.
#[derive(Clone, Debug, PartialEq)]
struct Strip {
    image: usize,
    rows: Range<usize>,
    /// The first tile's place in the band.
    start: usize,
}

/// What is computed at a time.
struct Band {
    strips: Vec<Strip>,
    /// Elements from one channel's tiles to the next's: all tiles, and what a whole vector writes beyond the last.
    stride: usize,
}

impl Winograd {
    /// The bands of all images, of at most `elements` transformed values and of a row at least; all but the last have as
    /// many rows.
    fn bands(self, elements: usize) -> Vec<Band> {
        let (all, of_image) = (self.batch * self.rows(), self.rows());
        let most = (elements / (POSITIONS * self.inputs * self.pitch())).max(1);
        let per_band = all.div_ceil(all.div_ceil(most).max(1)).max(1);
        let band = |first: usize| {
            let (mut row, last) = (first, (first + per_band).min(all));
            let (mut strips, mut start) = (Vec::new(), 0);
            while row < last {
                let image = row / of_image;
                let end = last.min((image + 1) * of_image);
                strips.push(Strip { image, rows: row - image * of_image..end - image * of_image, start });
                start += (end - row) * self.pitch();
                row = end;
            }
            let stride = (start + LANES - 1).next_multiple_of(LANES);
            // Rows of a matrix that are a power of two apart would share the same places of a cache.
            Band { strips, stride: if stride.is_multiple_of(256) { stride + LANES } else { stride } }
        };
        (0..all).step_by(per_band).map(band).collect()
    }

    /// The sizes of a strip alone.
    fn of_strip(self, strip: &Strip) -> Self {
        let rows = 2 * strip.rows.start..(2 * strip.rows.end).min(self.result[0]);
        Self { batch: 1, result: [rows.len(), self.result[1]], ..self }
    }

    /// Output channels of one task: as many as make an even number of tasks of the usual numbers of channels.
    fn outputs_per_task(self) -> usize {
        if self.outputs.is_multiple_of(40) { 40 } else { 32 }
    }

    /// The convolution, `[batch, outputs, result]`, by all threads together.
    pub fn forward_in_bands(self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        self.forward_in(self.bands(BAND), [x, weight, bias])
    }

    fn forward_in(self, bands: Vec<Band>, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let area = self.result[0] * self.result[1];
        let per_task = self.outputs_per_task();
        let mut out = zeros(self.batch * self.outputs * area);
        let widest = bands.iter().map(|band| band.stride).max().unwrap_or(0);
        let mut tiles = zeros(POSITIONS * self.inputs * widest);
        for band in bands {
            let tiles = &mut tiles[..POSITIONS * self.inputs * band.stride];
            self.transform_band(&band, x, tiles);
            // The planes of each task, image by image.
            let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
            tasks.resize_with(self.outputs.div_ceil(per_task), Vec::new);
            for (i, plane) in out.chunks_exact_mut(area).enumerate() {
                tasks[i % self.outputs / per_task].push(plane);
            }
            tasks.into_par_iter().enumerate().for_each(|(task, mut planes)| {
                let first = task * per_task;
                let outputs = first..(first + per_task).min(self.outputs);
                self.multiply(&band, tiles, weight, bias, outputs, &mut planes);
            });
        }
        out
    }

    /// The transformed tiles of a band: for each [`INPUTS`] channels, `[POSITIONS, channels, stride]`.
    fn transform_band(self, band: &Band, x: &[f32], tiles: &mut [f32]) {
        let [height, width] = self.image;
        tiles.par_chunks_mut(POSITIONS * INPUTS * band.stride).enumerate().for_each(|(part, out)| {
            let channels = out.len() / (POSITIONS * band.stride);
            for strip in &band.strips {
                let alone = self.of_strip(strip);
                let mut quarters = alone.quarters();
                // Rows of the padded image, and those of the image among them.
                let rows = 2 * strip.rows.start..2 * strip.rows.end + 2;
                let [first, last] =
                    [rows.start, rows.end].map(|y| y.saturating_sub(self.before[0]).min(height));
                let above = (first + self.before[0]).saturating_sub(rows.start);
                for channel in 0..channels {
                    let plane = strip.image * self.inputs + part * INPUTS + channel;
                    let image = &x[plane * height * width..][first * width..last * width];
                    simd(
                        #[inline(always)]
                        || {
                            alone.split(image, width, [above, self.before[1]], &mut quarters);
                            let start = channel * band.stride + strip.start;
                            alone.transform_image(&quarters, out, start, channels * band.stride);
                        },
                    );
                }
            }
        });
    }

    /// The results of a band in some output channels, whose planes in all images are `planes`.
    fn multiply(
        self,
        band: &Band,
        tiles: &[f32],
        weight: &[f32],
        bias: &[f32],
        outputs: Range<usize>,
        planes: &mut [&mut [f32]],
    ) {
        let (count, stride, inputs) = (outputs.len(), band.stride, self.inputs);
        let of_position = count * stride;
        with_scratch([POSITIONS * count * INPUTS, POSITIONS * of_position + LANES], |weights, products| {
            for (part, tiles) in tiles.chunks(POSITIONS * INPUTS * stride).enumerate() {
                let channels = tiles.len() / (POSITIONS * stride);
                for (i, output) in outputs.clone().enumerate() {
                    let kernels = &weight[(output * inputs + part * INPUTS) * 9..][..channels * 9];
                    simd(
                        #[inline(always)]
                        || transform_kernels(kernels, weights, i * channels, count * channels),
                    );
                }
                let weights = weights.chunks(count * channels).zip(tiles.chunks_exact(channels * stride));
                for ((weights, tiles), out) in weights.zip(products.chunks_mut(of_position)) {
                    let weights = Matrix::new(weights, count, channels, channels);
                    let tiles = Matrix::new(tiles, channels, stride, stride);
                    product(out, stride, part > 0, 1.0, weights, tiles, Threads::One);
                }
            }
            for strip in &band.strips {
                let alone = self.of_strip(strip);
                let mut quarters = alone.quarters();
                let first = 2 * strip.rows.start * self.result[1];
                for (i, output) in outputs.clone().enumerate() {
                    let plane = &mut planes[strip.image * count + i];
                    let out = &mut plane[first..][..alone.result[0] * alone.result[1]];
                    let start = i * stride + strip.start;
                    simd(
                        #[inline(always)]
                        || {
                            alone.transform_result(products, start, of_position, bias[output], &mut quarters);
                            alone.join(&quarters, out);
                        },
                    );
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_change_nothing() {
        let [image, result] = [[7, 9], [9, 8]];
        let sizes = Winograd { batch: 3, inputs: 66, outputs: 41, image, result, before: [2, 1] };
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + seed) % 1009) as f32 / 1009.0 - 0.5).collect()
        };
        let [x, weight, bias] =
            [(3 * 66 * 63, 1), (41 * 66 * 9, 2), (41, 3)].map(|(len, seed)| values(len, seed));
        let row = POSITIONS * sizes.inputs * sizes.pitch();
        let of = |rows: usize| {
            let bands = sizes.bands(rows * row);
            (bands.len(), sizes.forward_in(bands, [&x, &weight, &bias]))
        };
        let (count, whole) = of(100);
        assert_eq!((count, whole.len()), (1, 3 * 41 * 72));
        // Of 15 rows: one each; two, of which the last band has one; seven, which cross from image to image.
        for (rows, expected) in [(1, 15), (2, 8), (7, 3)] {
            let (count, found) = of(rows);
            assert_eq!(count, expected);
            let off = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{rows} rows: {off:e}");
        }
    }
}

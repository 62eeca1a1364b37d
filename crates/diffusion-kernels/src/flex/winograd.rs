//! Convolutions by a kernel of 3 × 3 with a stride of 1 in 16 multiplications for four results instead of 36: the minimal
//! filtering F(2 × 2, 3 × 3) of Winograd (Lavin & Gray 2016, arXiv:1509.09308, section 4.1).
//!
//! The image is cut into tiles of 4 × 4 that overlap by two. Tiles, kernels and gradients are transformed, each into 16
//! values; the values at one position of all tiles are a matrix, and the convolution's sums are products of such matrices.

use std::cell::Cell;

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::math::{simd, zeros};

/// Values of a transformed tile.
pub const POSITIONS: usize = 16;
/// Tiles that are transformed side by side.
pub const LANES: usize = 16;
/// The least number of tiles in one product: fewer leave SIMD lanes empty.
const TILES: usize = 192;
/// The least number of products, which several threads share. It takes precedence over `TILES`.
const PRODUCTS: usize = 4;
/// The gradient of the weights is the sum of at most this many parts, whatever the number of threads.
const SUMS: usize = 16;

type Lanes = [f32; LANES];

const ZERO: Lanes = [0.0; LANES];

/// The sizes of a convolution.
///
/// Each row of tiles is followed by one unused tile, so that everything a transformation reads lies at fixed distances.
#[derive(Clone, Copy)]
pub struct Winograd {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    /// Height and width of the image and of the result.
    pub image: [usize; 2],
    pub result: [usize; 2],
    /// Rows and columns of zeros at the top and left.
    pub before: [usize; 2],
}

impl Winograd {
    /// Rows of tiles.
    pub fn rows(self) -> usize {
        self.result[0].div_ceil(2)
    }

    /// Tiles from one row to the next.
    pub fn pitch(self) -> usize {
        self.result[1].div_ceil(2) + 1
    }

    /// Tiles of an image.
    fn tiles(self) -> usize {
        self.rows() * self.pitch()
    }

    /// Whether there are so few images that all threads share each.
    pub fn is_shared(self) -> bool {
        self.batch.div_ceil(self.at_once()) < PRODUCTS
    }

    /// The least number of elements that a thread holds besides the images.
    pub fn scratch(self) -> usize {
        POSITIONS * (self.inputs + self.outputs) * self.tiles()
    }

    /// Images of one product.
    fn at_once(self) -> usize {
        TILES.div_ceil(self.tiles()).min(self.batch.div_ceil(PRODUCTS)).max(1)
    }

    /// Elements from the matrix of one position to the next, of `channels` rows and the padding that a whole vector writes
    /// beyond the last tile.
    fn of_position(self, channels: usize, images: usize) -> usize {
        channels * images * self.tiles() + LANES
    }

    /// Elements of a plane that holds every second pixel of every second row of a padded image.
    fn of_quarter(self) -> usize {
        (self.rows() + 1) * self.pitch() + 1 + LANES
    }

    /// The four planes of every second pixel, of zeros.
    pub fn quarters(self) -> Quarters {
        std::array::from_fn(|_| vec![0.0; self.of_quarter()])
    }

    /// Splits an image, of the size of the input or smaller, into quarters after `before` rows and columns of zeros. What is
    /// around it stays.
    #[inline(always)]
    pub fn split(self, image: &[f32], width: usize, before: [usize; 2], quarters: &mut Quarters) {
        for (y, row) in image.chunks_exact(width).enumerate() {
            let y = y + before[0];
            let start = y / 2 * self.pitch();
            let (pairs, last) = row.as_chunks::<2>();
            // Where the first pixel goes, and the second.
            let [first, second] = [0, 1].map(|x| before[1] + x);
            let out = &mut quarters[y % 2 * 2 + first % 2][start + first / 2..];
            for (out, pair) in out.iter_mut().zip(pairs) {
                *out = pair[0];
            }
            if let [last] = last {
                out[pairs.len()] = *last;
            }
            let out = &mut quarters[y % 2 * 2 + second % 2][start + second / 2..];
            for (out, pair) in out.iter_mut().zip(pairs) {
                *out = pair[1];
            }
        }
    }

    /// Bᵀ·d·B of every tile, into the matrices of the positions, from `start` in each.
    #[inline(always)]
    pub fn transform_image(self, quarters: &Quarters, out: &mut [f32], start: usize, of_position: usize) {
        let pitch = self.pitch();
        for first in (0..self.tiles()).step_by(LANES) {
            let mut half = [[ZERO; 4]; 4];
            for (i, half) in half.iter_mut().enumerate() {
                let mut row = [ZERO; 4];
                for (j, x) in row.iter_mut().enumerate() {
                    *x = lanes(&quarters[i % 2 * 2 + j % 2][first + i / 2 * pitch + j / 2..]);
                }
                *half = before_product(&row);
            }
            for j in 0..4 {
                let column = before_product(&[half[0][j], half[1][j], half[2][j], half[3][j]]);
                for i in 0..4 {
                    put(&mut out[(4 * i + j) * of_position + start + first..], &column[i]);
                }
            }
        }
    }

    /// A·d·Aᵀ of every tile of a result's gradient.
    #[inline(always)]
    fn transform_gradient(self, quarters: &Quarters, out: &mut [f32], start: usize, of_position: usize) {
        for first in (0..self.tiles()).step_by(LANES) {
            let mut half = [[ZERO; 4]; 2];
            for (i, half) in half.iter_mut().enumerate() {
                *half = spread(&[lanes(&quarters[2 * i][first..]), lanes(&quarters[2 * i + 1][first..])]);
            }
            for j in 0..4 {
                let column = spread(&[half[0][j], half[1][j]]);
                for i in 0..4 {
                    put(&mut out[(4 * i + j) * of_position + start + first..], &column[i]);
                }
            }
        }
    }

    /// Aᵀ·m·A of every tile, with the bias, in the result's quarters.
    #[inline(always)]
    pub fn transform_result(
        self,
        products: &[f32],
        start: usize,
        of_position: usize,
        bias: f32,
        quarters: &mut Quarters,
    ) {
        for first in (0..self.tiles()).step_by(LANES) {
            let mut half = [[ZERO; 2]; 4];
            for (i, half) in half.iter_mut().enumerate() {
                let mut row = [ZERO; 4];
                for (j, x) in row.iter_mut().enumerate() {
                    *x = lanes(&products[(4 * i + j) * of_position + start + first..]);
                }
                *half = gathered(&row);
            }
            for j in 0..2 {
                let column = gathered(&[half[0][j], half[1][j], half[2][j], half[3][j]]);
                for i in 0..2 {
                    put(&mut quarters[2 * i + j][first..], &add(&column[i], &[bias; LANES]));
                }
            }
        }
    }

    /// Joins the quarters of a result.
    #[inline(always)]
    pub fn join(self, quarters: &Quarters, result: &mut [f32]) {
        for (y, row) in result.chunks_exact_mut(self.result[1]).enumerate() {
            let start = y / 2 * self.pitch();
            let (even, odd) = (&quarters[y % 2 * 2][start..], &quarters[y % 2 * 2 + 1][start..]);
            let (pairs, last) = row.as_chunks_mut::<2>();
            let whole = pairs.len();
            for ((pair, even), odd) in pairs.iter_mut().zip(even).zip(odd) {
                *pair = [*even, *odd];
            }
            if let [last] = last {
                *last = even[whole];
            }
        }
    }

    /// G·g·Gᵀ of every kernel, `[outputs, POSITIONS, inputs]`.
    fn transform_weights(self, weight: &[f32]) -> Vec<f32> {
        let inputs = self.inputs;
        let mut out = vec![0.0; self.outputs * POSITIONS * inputs];
        out.par_chunks_mut(POSITIONS * inputs).zip(weight.par_chunks(9 * inputs)).for_each(
            |(out, weight)| {
                simd(
                    #[inline(always)]
                    || transform_kernels(weight, out, 0, inputs),
                );
            },
        );
        out
    }

    /// Gᵀ·u·G, which takes the gradient of the transformed weights, the sum of `parts`, back to that of the weights.
    fn transform_back(self, parts: &[Vec<f32>]) -> Vec<f32> {
        let inputs = self.inputs;
        let of_output = POSITIONS * inputs;
        let mut out = vec![0.0; 9 * self.outputs * inputs];
        out.par_chunks_mut(9 * inputs).enumerate().for_each(|(output, out)| {
            let mut total = vec![0.0; of_output];
            for part in parts {
                for (total, x) in total.iter_mut().zip(&part[output * of_output..]) {
                    *total += x;
                }
            }
            for (input, kernel) in out.as_chunks_mut::<9>().0.iter_mut().enumerate() {
                let mut half = [[0.0; 3]; 4];
                for (i, half) in half.iter_mut().enumerate() {
                    let mut row = [0.0; 4];
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = total[(4 * i + j) * inputs + input];
                    }
                    *half = narrowed(row);
                }
                for j in 0..3 {
                    let column = narrowed([half[0][j], half[1][j], half[2][j], half[3][j]]);
                    for i in 0..3 {
                        kernel[3 * i + j] = column[i];
                    }
                }
            }
        });
        out
    }

    /// The images' transformed tiles, `[POSITIONS, inputs, images · tiles]`.
    fn transform_images(self, images: &[f32], quarters: &mut Quarters, out: &mut [f32]) {
        let area = self.image[0] * self.image[1];
        let count = images.len() / (self.inputs * area);
        let of_position = self.of_position(self.inputs, count);
        for channel in 0..self.inputs {
            for image in 0..count {
                let plane = &images[(image * self.inputs + channel) * area..][..area];
                let start = (channel * count + image) * self.tiles();
                simd(
                    #[inline(always)]
                    || {
                        self.split(plane, self.image[1], self.before, quarters);
                        self.transform_image(quarters, out, start, of_position);
                    },
                );
            }
        }
    }

    /// The convolution, `[batch, outputs, result]`.
    pub fn forward(self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let weights = self.transform_weights(weight);
        let area = self.result[0] * self.result[1];
        let at_once = self.at_once();
        let mut out = zeros(self.batch * self.outputs * area);
        let images = x.par_chunks(at_once * self.inputs * self.image[0] * self.image[1]);
        out.par_chunks_mut(at_once * self.outputs * area).zip(images).for_each(|(out, x)| {
            let count = out.len() / (self.outputs * area);
            let [of_tiles, of_products] = [self.inputs, self.outputs].map(|n| self.of_position(n, count));
            with_scratch([POSITIONS * of_tiles, POSITIONS * of_products], |tiles, products| {
                let mut quarters = self.quarters();
                self.transform_images(x, &mut quarters, tiles);
                let columns = count * self.tiles();
                let places = products.chunks_exact_mut(of_products).zip(tiles.chunks_exact(of_tiles));
                for (place, (out, tiles)) in places.enumerate() {
                    let weights = &weights[place * self.inputs..];
                    let weights = Matrix::new(weights, self.outputs, self.inputs, POSITIONS * self.inputs);
                    let tiles = Matrix::new(tiles, self.inputs, columns, columns);
                    product(out, columns, false, 1.0, weights, tiles, Threads::One);
                }
                for (index, out) in out.chunks_exact_mut(area).enumerate() {
                    let (image, channel) = (index / self.outputs, index % self.outputs);
                    let start = (channel * count + image) * self.tiles();
                    simd(
                        #[inline(always)]
                        || {
                            self.transform_result(products, start, of_products, bias[channel], &mut quarters);
                            self.join(&quarters, out);
                        },
                    );
                }
            });
        });
        out
    }

    /// The gradient of the weights, `[outputs, inputs, 3, 3]`.
    pub fn grad_weight(self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let at_once = self.at_once();
        let in_part = self.batch.div_ceil(SUMS).next_multiple_of(at_once).max(1);
        let of_image = self.inputs * self.image[0] * self.image[1];
        let of_result = self.outputs * self.result[0] * self.result[1];
        let parts = x.par_chunks(in_part * of_image).zip(gradient.par_chunks(in_part * of_result));
        let parts = parts.map(|(x, gradient)| {
            let mut total = vec![0.0; self.outputs * POSITIONS * self.inputs];
            for (x, gradient) in x.chunks(at_once * of_image).zip(gradient.chunks(at_once * of_result)) {
                self.add_grad_weight(x, gradient, &mut total);
            }
            total
        });
        self.transform_back(&parts.collect::<Vec<_>>())
    }

    /// Adds the gradient from some images to the gradient of the transformed weights.
    fn add_grad_weight(self, x: &[f32], gradient: &[f32], total: &mut [f32]) {
        let area = self.result[0] * self.result[1];
        let count = gradient.len() / (self.outputs * area);
        let [of_tiles, of_given] = [self.inputs, self.outputs].map(|n| self.of_position(n, count));
        with_scratch([POSITIONS * of_tiles, POSITIONS * of_given], |tiles, given| {
            self.transform_images(x, &mut self.quarters(), tiles);
            let mut quarters = self.quarters();
            for channel in 0..self.outputs {
                for image in 0..count {
                    let plane = &gradient[(image * self.outputs + channel) * area..][..area];
                    let start = (channel * count + image) * self.tiles();
                    simd(
                        #[inline(always)]
                        || {
                            self.split(plane, self.result[1], [0, 0], &mut quarters);
                            self.transform_gradient(&quarters, given, start, of_given);
                        },
                    );
                }
            }
            let columns = count * self.tiles();
            let places = given.chunks_exact(of_given).zip(tiles.chunks_exact(of_tiles));
            for (place, (given, tiles)) in places.enumerate() {
                let given = Matrix::new(given, self.outputs, columns, columns);
                let tiles = Matrix::new(tiles, self.inputs, columns, columns).transposed();
                let total = &mut total[place * self.inputs..];
                product(total, POSITIONS * self.inputs, true, 1.0, given, tiles, Threads::One);
            }
        });
    }
}

/// G·g·Gᵀ of 3 × 3 kernels, into the matrices of the positions, from `start` in each.
#[inline(always)]
pub fn transform_kernels(kernels: &[f32], out: &mut [f32], start: usize, of_position: usize) {
    let (kernels, _) = kernels.as_chunks::<9>();
    for (part, kernels) in kernels.chunks(LANES).enumerate() {
        // Side by side: one value of each kernel in a vector.
        let mut values = [ZERO; 9];
        for (lane, kernel) in kernels.iter().enumerate() {
            for (value, x) in values.iter_mut().zip(kernel) {
                value[lane] = *x;
            }
        }
        let mut half = [[ZERO; 4]; 3];
        for (i, half) in half.iter_mut().enumerate() {
            *half = widened(&[values[3 * i], values[3 * i + 1], values[3 * i + 2]]);
        }
        for j in 0..4 {
            let column = widened(&[half[0][j], half[1][j], half[2][j]]);
            for i in 0..4 {
                let out = &mut out[(4 * i + j) * of_position + start + part * LANES..];
                match out.first_chunk_mut() {
                    Some(out) if kernels.len() == LANES => *out = column[i],
                    _ => out[..kernels.len()].copy_from_slice(&column[i][..kernels.len()]),
                }
            }
        }
    }
}

/// Runs `work` with the thread's own scratch memory, which is not cleared in between.
pub fn with_scratch<R>(lengths: [usize; 2], work: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: Cell<[Vec<f32>; 2]> = const { Cell::new([Vec::new(), Vec::new()]) };
    }
    let mut scratch = SCRATCH.take();
    for (scratch, length) in scratch.iter_mut().zip(lengths) {
        scratch.resize(scratch.len().max(length), 0.0);
    }
    let [first, second] = &mut scratch;
    let result = work(&mut first[..lengths[0]], &mut second[..lengths[1]]);
    SCRATCH.set(scratch);
    result
}

/// Every second pixel of every second row, by the first row and the first pixel.
type Quarters = [Vec<f32>; 4];

#[inline(always)]
fn lanes(x: &[f32]) -> Lanes {
    *x.first_chunk().expect("planes end with a vector's width of padding")
}

#[inline(always)]
fn put(out: &mut [f32], x: &Lanes) {
    *out.first_chunk_mut().expect("planes end with a vector's width of padding") = *x;
}

#[inline(always)]
fn add(x: &Lanes, y: &Lanes) -> Lanes {
    let mut out = ZERO;
    for i in 0..LANES {
        out[i] = x[i] + y[i];
    }
    out
}

#[inline(always)]
fn subtract(x: &Lanes, y: &Lanes) -> Lanes {
    let mut out = ZERO;
    for i in 0..LANES {
        out[i] = x[i] - y[i];
    }
    out
}

/// Bᵀ times a column of a tile.
#[inline(always)]
fn before_product(x: &[Lanes; 4]) -> [Lanes; 4] {
    [subtract(&x[0], &x[2]), add(&x[1], &x[2]), subtract(&x[2], &x[1]), subtract(&x[1], &x[3])]
}

/// Aᵀ times a column of products.
#[inline(always)]
fn gathered(x: &[Lanes; 4]) -> [Lanes; 2] {
    [add(&add(&x[0], &x[1]), &x[2]), subtract(&subtract(&x[1], &x[2]), &x[3])]
}

/// A times a column of a gradient.
#[inline(always)]
fn spread(x: &[Lanes; 2]) -> [Lanes; 4] {
    [x[0], add(&x[0], &x[1]), subtract(&x[0], &x[1]), subtract(&ZERO, &x[1])]
}

/// G times a column of kernels.
#[inline(always)]
fn widened(x: &[Lanes; 3]) -> [Lanes; 4] {
    let mut out = [x[0], ZERO, ZERO, x[2]];
    for i in 0..LANES {
        let (ends, middle) = (0.5 * (x[0][i] + x[2][i]), 0.5 * x[1][i]);
        out[1][i] = ends + middle;
        out[2][i] = ends - middle;
    }
    out
}

/// Gᵀ times a column of a transformed kernel.
#[inline(always)]
fn narrowed(x: [f32; 4]) -> [f32; 3] {
    let (sum, difference) = (0.5 * (x[1] + x[2]), 0.5 * (x[1] - x[2]));
    [x[0] + sum, difference, sum + x[3]]
}

//! Convolutions.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::kernel::{Array, Kernel};
use super::math::{simd, sum, zeros};
use super::winograd::Winograd;
use crate::operation::Conv2d;

/// Elements of an unfolded part of an image: as many as fit into a core's own cache beside what else is used.
const PART: usize = 1 << 17;
/// The gradient of the weights is the sum of at most this many parts, whatever the number of threads.
const SUMS: usize = 16;

/// The least number of input and output channels for which a convolution is computed by Winograd's method.
const CHANNELS: usize = 16;

/// Output channels of one task of a pointwise convolution.
const OUTPUTS: usize = 64;

/// Elements that a thread may hold for that; larger images are unfolded in parts.
const SCRATCH: usize = 1 << 24;

/// The sizes of a call.
///
/// The kernel moves over a padded copy of each image. With a stride of 1, the results of a row are followed by
/// `kernel width - 1` unused places, so that all elements that one weight multiplies are contiguous in memory.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    inputs: usize,
    outputs: usize,
    /// Height and width of image, kernel, padded image and result.
    image: [usize; 2],
    kernel: [usize; 2],
    padded: [usize; 2],
    result: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    /// Places from one row of results to the next.
    width: usize,
}

impl Sizes {
    fn new(conv: &Conv2d, x: &Array, weight: &Array) -> Self {
        let (x, weight) = (x.shape(), weight.shape());
        let [top, left, bottom, right] = conv.padding;
        let padded = [x[2] + top + bottom, x[3] + left + right];
        let kernel = [weight[2], weight[3]];
        let result = [0, 1].map(|i| (padded[i] - kernel[i]) / conv.stride[i] + 1);
        Self {
            batch: x[0],
            inputs: x[1],
            outputs: weight[0],
            image: [x[2], x[3]],
            kernel,
            padded,
            result,
            stride: conv.stride,
            before: [top, left],
            width: if conv.stride == [1, 1] { padded[1] } else { result[1] },
        }
    }

    /// Weights per output channel.
    fn depth(self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Elements of an image, and of its result.
    fn of_image(self) -> usize {
        self.inputs * self.image[0] * self.image[1]
    }

    fn of_result(self) -> usize {
        self.outputs * self.result[0] * self.result[1]
    }

    /// Elements of a padded image, with the few that a kernel's last row may read beyond its end.
    fn of_padded(self) -> usize {
        self.inputs * self.padded[0] * self.padded[1] + self.kernel[1]
    }

    /// Whether the padded image needs no unfolding.
    fn is_pointwise(self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1]
    }

    /// The same in fewer multiplications, where there are enough channels that it pays.
    fn winograd(self) -> Option<Winograd> {
        let Self { batch, inputs, outputs, image, result, before, .. } = self;
        let winograd = Winograd { batch, inputs, outputs, image, result, before };
        // All threads are then at work, and few outputs are done with the tiles while they are at hand.
        let fewest = if winograd.is_shared() { inputs } else { inputs.min(outputs) };
        let pays = self.kernel == [3, 3] && self.stride == [1, 1] && fewest >= CHANNELS;
        pays.then_some(winograd)
    }

    /// The same for the gradient of the weights, for which whole images are held.
    fn winograd_of_weights(self) -> Option<Winograd> {
        let pays = self.outputs >= CHANNELS;
        self.winograd().filter(|winograd| pays && winograd.scratch() <= SCRATCH)
    }

    /// A product of the weights with each image, by all threads.
    fn pointwise(self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let pixels = self.image[0] * self.image[1];
        let mut out = zeros(self.batch * self.of_result());
        let images = out.par_chunks_mut(self.of_result().max(1)).zip(x.par_chunks(self.of_image().max(1)));
        images.for_each(|(out, x)| {
            let image = Matrix::new(x, self.inputs, pixels, pixels);
            out.par_chunks_mut((OUTPUTS * pixels).max(1)).enumerate().for_each(|(part, out)| {
                let first = part * OUTPUTS;
                for (out, bias) in out.chunks_exact_mut(pixels).zip(&bias[first..]) {
                    out.fill(*bias);
                }
                let weights = &weight[first * self.inputs..];
                let weights = Matrix::new(weights, out.len() / pixels, self.inputs, self.inputs);
                product(out, pixels, true, 1.0, weights, image, Threads::One);
            });
        });
        out
    }

    /// Rows of results that are computed at once.
    fn rows(self) -> usize {
        (PART / (self.depth() * self.width).max(1)).clamp(1, self.result[0])
    }

    fn parts(self) -> impl Iterator<Item = Range<usize>> {
        let (rows, all) = (self.rows(), self.result[0]);
        (0..all).step_by(rows).map(move |first| first..(first + rows).min(all))
    }

    /// Copies the image into its place in the padded image.
    fn pad(self, image: &[f32], out: &mut [f32]) {
        let [height, width] = self.image;
        for (plane, image) in image.chunks_exact(height * width).enumerate() {
            for (y, row) in image.chunks_exact(width).enumerate() {
                let start = (plane * self.padded[0] + y + self.before[0]) * self.padded[1] + self.before[1];
                out[start..start + width].copy_from_slice(row);
            }
        }
    }

    /// Copies the image out of the padded image.
    fn cut(self, padded: &[f32], out: &mut [f32]) {
        let [height, width] = self.image;
        for (plane, image) in out.chunks_exact_mut(height * width).enumerate() {
            for (y, row) in image.chunks_exact_mut(width).enumerate() {
                let start = (plane * self.padded[0] + y + self.before[0]) * self.padded[1] + self.before[1];
                row.copy_from_slice(&padded[start..start + width]);
            }
        }
    }

    /// For every weight, the index in the padded image of the first element that it multiplies for these rows of results.
    fn taps(self, first_row: usize) -> impl Iterator<Item = usize> {
        let [height, width] = self.kernel;
        let [rows, columns] = self.padded;
        (0..self.depth()).map(move |tap| {
            let (plane, y, x) = (tap / (height * width), tap / width % height, tap % width);
            (plane * rows + first_row * self.stride[0] + y) * columns + x
        })
    }

    /// The elements that each weight multiplies, `[depth, rows · width]` (im2col).
    fn unfold(self, padded: &[f32], rows: &Range<usize>, out: &mut [f32]) {
        let places = rows.len() * self.width;
        for (start, out) in self.taps(rows.start).zip(out.chunks_exact_mut(places)) {
            if self.stride == [1, 1] {
                out.copy_from_slice(&padded[start..start + places]);
                continue;
            }
            for (y, out) in out.chunks_exact_mut(self.width).enumerate() {
                let row = &padded[start + y * self.stride[0] * self.padded[1]..];
                out.iter_mut().enumerate().for_each(|(x, out)| *out = row[x * self.stride[1]]);
            }
        }
    }

    /// Adds the gradients of unfolded elements to the padded image (col2im).
    #[inline(always)]
    fn fold(self, columns: &[f32], rows: &Range<usize>, padded: &mut [f32]) {
        let places = rows.len() * self.width;
        for (start, columns) in self.taps(rows.start).zip(columns.chunks_exact(places)) {
            if self.stride == [1, 1] {
                for (x, g) in padded[start..start + places].iter_mut().zip(columns) {
                    *x += g;
                }
                continue;
            }
            for (y, columns) in columns.chunks_exact(self.width).enumerate() {
                let row = &mut padded[start + y * self.stride[0] * self.padded[1]..];
                columns.iter().enumerate().for_each(|(x, g)| row[x * self.stride[1]] += g);
            }
        }
    }

    /// Rows of results in the layout in which they are computed, with zeros in the unused places, `[outputs, rows · width]`.
    fn spread(self, result: &[f32], rows: &Range<usize>, out: &mut [f32]) {
        let [height, width] = self.result;
        for (plane, out) in out.chunks_exact_mut(rows.len() * self.width).enumerate() {
            for (y, out) in rows.clone().zip(out.chunks_exact_mut(self.width)) {
                let start = (plane * height + y) * width;
                out[..width].copy_from_slice(&result[start..start + width]);
                out[width..].fill(0.0);
            }
        }
    }

    /// Copies computed rows to their place in the result and adds the bias of each channel.
    fn gather(self, computed: &[f32], rows: &Range<usize>, bias: &[f32], result: &mut [f32]) {
        let [height, width] = self.result;
        for ((plane, computed), bias) in computed.chunks_exact(rows.len() * self.width).enumerate().zip(bias)
        {
            for (y, computed) in rows.clone().zip(computed.chunks_exact(self.width)) {
                let out = &mut result[(plane * height + y) * width..][..width];
                for (out, x) in out.iter_mut().zip(computed) {
                    *out = x + bias;
                }
            }
        }
    }

    fn scratch(self) -> Scratch {
        let places = self.rows() * self.width;
        Scratch {
            padded: vec![0.0; self.of_padded()],
            columns: if self.is_pointwise() { Vec::new() } else { vec![0.0; self.depth() * places] },
            rows: vec![0.0; self.outputs * places],
        }
    }

    /// The weights, a row for each output.
    fn weights(self, weight: &Array) -> Matrix<'_> {
        Matrix::new(weight.values(), self.outputs, self.depth(), self.depth())
    }

    /// The elements that the weights multiply in these rows: unfolded, or for a pointwise convolution the image as it is.
    fn unfolded<'a>(self, padded: &'a [f32], columns: &'a mut [f32], rows: &Range<usize>) -> Matrix<'a> {
        let places = rows.len() * self.width;
        if self.is_pointwise() {
            let plane = self.padded[0] * self.padded[1];
            return Matrix::new(&padded[rows.start * self.width..], self.inputs, places, plane);
        }
        let columns = &mut columns[..self.depth() * places];
        self.unfold(padded, rows, columns);
        Matrix::new(columns, self.depth(), places, places)
    }
}

/// A thread's scratch memory.
struct Scratch {
    padded: Vec<f32>,
    columns: Vec<f32>,
    rows: Vec<f32>,
}

impl Kernel<3> for Conv2d {
    type Saved = ();

    fn forward(&self, [x, weight, bias]: &[Array; 3]) -> (Array, ()) {
        let sizes = Sizes::new(self, x, weight);
        let [height, width] = sizes.result;
        let shape = [sizes.batch, sizes.outputs, height, width];
        let [values, weights, biases] = [x, weight, bias].map(Array::values);
        if let Some(winograd) = sizes.winograd() {
            let is_shared = winograd.is_shared() || winograd.scratch() > SCRATCH;
            let forward = if is_shared { Winograd::forward_in_bands } else { Winograd::forward };
            return (Array::new(forward(winograd, values, weights, biases), &shape), ());
        }
        if sizes.is_pointwise() && self.padding == [0; 4] {
            return (Array::new(sizes.pointwise(values, weights, biases), &shape), ());
        }
        let mut out = zeros(sizes.batch * sizes.of_result());
        out.par_chunks_mut(sizes.of_result()).zip(x.values().par_chunks(sizes.of_image())).for_each_init(
            || sizes.scratch(),
            |scratch, (out, x)| {
                sizes.pad(x, &mut scratch.padded);
                for rows in sizes.parts() {
                    let places = rows.len() * sizes.width;
                    let unfolded = sizes.unfolded(&scratch.padded, &mut scratch.columns, &rows);
                    let computed = &mut scratch.rows[..sizes.outputs * places];
                    product(computed, places, false, 1.0, sizes.weights(weight), unfolded, Threads::One);
                    sizes.gather(computed, &rows, bias.values(), out);
                }
            },
        );
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [x, weight, _]: &[Array; 3],
        (): &(),
        gradient: &Array,
        [wants_x, wants_weight, wants_bias]: [bool; 3],
    ) -> [Option<Array>; 3] {
        let sizes = Sizes::new(self, x, weight);
        let [top, left, bottom, right] = self.padding;
        let is_narrow = top.max(bottom) < sizes.kernel[0] && left.max(right) < sizes.kernel[1];
        let grad_x = || match self.stride {
            [1, 1] if is_narrow => self.grad_by_rotation(sizes, weight, gradient),
            _ => Array::new(grad_image(sizes, weight, gradient), &x.shape()),
        };
        let grad_weight = || match sizes.winograd_of_weights() {
            Some(winograd) => winograd.grad_weight(x.values(), gradient.values()),
            None => grad_weight(sizes, x, gradient),
        };
        [
            wants_x.then(grad_x),
            wants_weight.then(|| Array::new(grad_weight(), &weight.shape())),
            wants_bias.then(|| Array::new(grad_bias(sizes, gradient), &[sizes.outputs])),
        ]
    }
}

impl Conv2d {
    /// The gradient of the image: a convolution of the result's gradient with the kernel rotated by 180°. The padding
    /// must be narrower than the kernel.
    fn grad_by_rotation(&self, sizes: Sizes, weight: &Array, gradient: &Array) -> Array {
        let Sizes { inputs, outputs, kernel: [height, width], .. } = sizes;
        let area = height * width;
        let mut rotated = vec![0.0; weight.values().len()];
        for (output, of_output) in weight.values().chunks_exact(inputs * area).enumerate() {
            for (input, kernel) in of_output.chunks_exact(area).enumerate() {
                let place = &mut rotated[(input * outputs + output) * area..][..area];
                place.iter_mut().zip(kernel.iter().rev()).for_each(|(place, weight)| *place = *weight);
            }
        }
        let rotated = Array::new(rotated, &[inputs, outputs, height, width]);
        let [top, left, bottom, right] = self.padding;
        let padding = [height - 1 - top, width - 1 - left, height - 1 - bottom, width - 1 - right];
        let bias = Array::new(vec![0.0; inputs], &[inputs]);
        Self { padding, ..self.clone() }.forward(&[gradient.clone(), rotated, bias]).0
    }
}

/// The gradient of the image, for any stride and padding.
fn grad_image(sizes: Sizes, weight: &Array, gradient: &Array) -> Vec<f32> {
    let mut out = zeros(sizes.batch * sizes.of_image());
    out.par_chunks_mut(sizes.of_image()).zip(gradient.values().par_chunks(sizes.of_result())).for_each_init(
        || Scratch { columns: vec![0.0; sizes.depth() * sizes.rows() * sizes.width], ..sizes.scratch() },
        |scratch, (out, gradient)| {
            scratch.padded.fill(0.0);
            for rows in sizes.parts() {
                let places = rows.len() * sizes.width;
                let given = &mut scratch.rows[..sizes.outputs * places];
                sizes.spread(gradient, &rows, given);
                let given = Matrix::new(given, sizes.outputs, places, places);
                let columns = &mut scratch.columns[..sizes.depth() * places];
                let weights = sizes.weights(weight).transposed();
                product(columns, places, false, 1.0, weights, given, Threads::One);
                simd(
                    #[inline(always)]
                    || sizes.fold(columns, &rows, &mut scratch.padded),
                );
            }
            sizes.cut(&scratch.padded, out);
        },
    );
    out
}

fn grad_weight(sizes: Sizes, x: &Array, gradient: &Array) -> Vec<f32> {
    let per_part = sizes.batch.div_ceil(SUMS).max(1);
    let x = x.values().par_chunks(per_part * sizes.of_image());
    let parts = x.zip(gradient.values().par_chunks(per_part * sizes.of_result())).map(|(x, gradient)| {
        let mut scratch = sizes.scratch();
        let mut total = vec![0.0; sizes.outputs * sizes.depth()];
        for (x, gradient) in x.chunks_exact(sizes.of_image()).zip(gradient.chunks_exact(sizes.of_result())) {
            sizes.pad(x, &mut scratch.padded);
            for rows in sizes.parts() {
                let places = rows.len() * sizes.width;
                let given = &mut scratch.rows[..sizes.outputs * places];
                sizes.spread(gradient, &rows, given);
                let given = Matrix::new(given, sizes.outputs, places, places);
                let unfolded = sizes.unfolded(&scratch.padded, &mut scratch.columns, &rows);
                product(&mut total, sizes.depth(), true, 1.0, given, unfolded.transposed(), Threads::One);
            }
        }
        total
    });
    let mut parts = parts.collect::<Vec<_>>().into_iter();
    let mut total = parts.next().unwrap_or_else(|| vec![0.0; sizes.outputs * sizes.depth()]);
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, x)| *total += x);
    }
    total
}

fn grad_bias(sizes: Sizes, gradient: &Array) -> Vec<f32> {
    let pixels = sizes.result[0] * sizes.result[1];
    let planes: Vec<f32> =
        gradient.values().par_chunks(pixels).map(|plane| simd(|| sum(pixels, |i| plane[i]))).collect();
    let mut total = vec![0.0; sizes.outputs];
    for image in planes.chunks_exact(sizes.outputs) {
        total.iter_mut().zip(image).for_each(|(total, x)| *total += x);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_are_not_held_in_tiles() {
        let memory = |side| {
            let [x, weight] = [[1, 64, side, side], [64, 64, 3, 3]];
            let zeros = |shape: [usize; 4]| Array::new(vec![0.0; shape.iter().product()], &shape);
            let conv = Conv2d { stride: [1, 1], padding: [1; 4] };
            Sizes::new(&conv, &zeros(x), &zeros(weight))
                .winograd_of_weights()
                .map(|winograd| 4 * winograd.scratch())
        };
        assert!(memory(28).is_some_and(|bytes| bytes < 2 << 20));
        assert!(memory(128).is_some_and(|bytes| bytes <= 64 << 20));
        assert_eq!(memory(192), None);
    }
}

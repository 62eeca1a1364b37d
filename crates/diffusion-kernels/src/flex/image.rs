//! Operations on images between the layers: shifts, concatenation, transposition, upsampling.

use rayon::prelude::*;

use super::kernel::{Array, Kernel};
use super::math::{simd, sum, zeros};
use crate::operation::{JoinChannels, ShiftChannels, Transpose, Upsample};

impl Kernel<2> for ShiftChannels {
    type Saved = ();

    fn forward(&self, [x, shift]: &[Array; 2]) -> (Array, ()) {
        let shape = x.shape();
        let pixels = shape[2] * shape[3];
        let mut out = zeros(x.values().len());
        let planes = out.par_chunks_mut(pixels).zip(x.values().par_chunks(pixels)).zip(shift.values());
        planes.for_each(|((out, x), shift)| {
            simd(
                #[inline(always)]
                || {
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = x + shift;
                    }
                },
            );
        });
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [x, shift]: &[Array; 2],
        (): &(),
        gradient: &Array,
        [wants_x, wants_shift]: [bool; 2],
    ) -> [Option<Array>; 2] {
        let shape = x.shape();
        let pixels = shape[2] * shape[3];
        let sums = || {
            let planes = gradient.values().par_chunks(pixels);
            planes.map(|plane| simd(|| sum(pixels, |i| plane[i]))).collect()
        };
        [wants_x.then(|| gradient.clone()), wants_shift.then(|| Array::new(sums(), &shift.shape()))]
    }
}

/// Elements of an image.
fn of_image(x: &Array) -> usize {
    x.shape()[1..].iter().product()
}

impl Kernel<2> for JoinChannels {
    type Saved = ();

    fn forward(&self, [x, y]: &[Array; 2]) -> (Array, ()) {
        let mut shape = x.shape();
        let [first, second] = [x, y].map(of_image);
        let mut out = zeros(x.values().len() + y.values().len());
        let parts = x.values().par_chunks(first).zip(y.values().par_chunks(second));
        out.par_chunks_mut(first + second).zip(parts).for_each(|(out, (x, y))| {
            out[..first].copy_from_slice(x);
            out[first..].copy_from_slice(y);
        });
        shape[1] += y.shape()[1];
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [x, y]: &[Array; 2],
        (): &(),
        gradient: &Array,
        [wants_x, wants_y]: [bool; 2],
    ) -> [Option<Array>; 2] {
        let [first, second] = [x, y].map(of_image);
        let part = |of: &Array, start: usize, len: usize| {
            let mut out = zeros(of.values().len());
            let images = gradient.values().par_chunks(first + second);
            out.par_chunks_mut(len)
                .zip(images)
                .for_each(|(out, image)| out.copy_from_slice(&image[start..][..len]));
            Array::new(out, &of.shape())
        };
        [wants_x.then(|| part(x, 0, first)), wants_y.then(|| part(y, first, second))]
    }
}

/// Rows and columns of a block that is transposed at once, so that what is read by columns stays in a core's own cache.
const BLOCK: usize = 16;

fn transposed(x: &Array) -> Array {
    let mut shape = x.shape();
    let (rows, columns) = (shape[1], shape[2]);
    let mut out = zeros(x.values().len());
    // Every part is some columns of a matrix, which are rows of the result.
    let parts = out.par_chunks_mut(rows * columns).zip(x.values().par_chunks(rows * columns));
    parts.for_each(|(out, x)| {
        for (part, out) in out.chunks_mut(BLOCK * rows).enumerate() {
            for first in (0..rows).step_by(BLOCK) {
                let last = (first + BLOCK).min(rows);
                for (column, out) in out.chunks_exact_mut(rows).enumerate() {
                    for row in first..last {
                        out[row] = x[row * columns + part * BLOCK + column];
                    }
                }
            }
        }
    });
    shape.swap(1, 2);
    Array::new(out, &shape)
}

impl Kernel<1> for Transpose {
    type Saved = ();

    fn forward(&self, [x]: &[Array; 1]) -> (Array, ()) {
        (transposed(x), ())
    }

    fn backward(&self, _: &[Array; 1], (): &(), gradient: &Array, _: [bool; 1]) -> [Option<Array>; 1] {
        [Some(transposed(gradient))]
    }
}

impl Kernel<1> for Upsample {
    type Saved = ();

    fn forward(&self, [x]: &[Array; 1]) -> (Array, ()) {
        let shape = x.shape();
        let width = shape[3];
        let mut out = zeros(4 * x.values().len());
        let rows = out.par_chunks_mut(4 * shape[2] * width).zip(x.values().par_chunks(shape[2] * width));
        rows.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(4 * width).zip(x.chunks_exact(width)) {
                let (first, second) = out.split_at_mut(2 * width);
                for (pair, x) in first.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                    *pair = [*x; 2];
                }
                second.copy_from_slice(first);
            }
        });
        (Array::new(out, &[shape[0], shape[1], 2 * shape[2], 2 * width]), ())
    }

    fn backward(&self, [x]: &[Array; 1], (): &(), gradient: &Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let shape = x.shape();
        let (area, width) = (shape[2] * shape[3], shape[3]);
        let mut out = zeros(x.values().len());
        out.par_chunks_mut(area).zip(gradient.values().par_chunks(4 * area)).for_each(|(out, gradient)| {
            for (out, rows) in out.chunks_exact_mut(width).zip(gradient.chunks_exact(4 * width)) {
                let (first, second) = rows.split_at(2 * width);
                let pairs = first.as_chunks::<2>().0.iter().zip(second.as_chunks::<2>().0);
                for (out, (a, b)) in out.iter_mut().zip(pairs) {
                    *out = (a[0] + a[1]) + (b[0] + b[1]);
                }
            }
        });
        [Some(Array::new(out, &shape))]
    }
}

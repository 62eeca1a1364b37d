//! Linear layers.

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::kernel::{Array, Kernel};
use super::math::{simd, zeros};
use crate::operation::Linear;

/// The rows of one task: enough that scheduling it costs nothing.
fn rows_per_task(inputs: usize, outputs: usize) -> usize {
    ((1 << 22) / (inputs * outputs).max(1)).max(256)
}

/// The product of the rows of `x` with a matrix, plus `bias` in each row.
fn rows_times(x: &Array, matrix: Matrix<'_>, outputs: usize, bias: Option<&[f32]>) -> Array {
    let (rows, inputs) = x.rows();
    let per_task = rows_per_task(inputs, outputs);
    let mut out = zeros(rows * outputs);
    let part = |(out, x): (&mut [f32], &[f32])| {
        if let Some(bias) = bias {
            out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
        }
        let x = Matrix::new(x, out.len() / outputs, inputs, inputs);
        product(out, outputs, bias.is_some(), 1.0, x, matrix, Threads::One);
    };
    if rows <= per_task {
        part((&mut out, x.values()));
    } else {
        let parts = out.par_chunks_mut(per_task * outputs).zip(x.values().par_chunks(per_task * inputs));
        parts.for_each(part);
    }
    let mut shape = x.shape();
    *shape.last_mut().expect("rows have an axis") = outputs;
    Array::new(out, &shape)
}

/// The sum of all rows.
pub fn sum_of_rows(values: &[f32], columns: usize) -> Vec<f32> {
    const ROWS: usize = 256;
    let total = |values: &[f32]| {
        let mut total = vec![0.0; columns];
        simd(
            #[inline(always)]
            || {
                for row in values.chunks_exact(columns) {
                    for (total, x) in total.iter_mut().zip(row) {
                        *total += x;
                    }
                }
            },
        );
        total
    };
    if values.len() <= ROWS * columns {
        return total(values);
    }
    let parts: Vec<Vec<f32>> = values.par_chunks(ROWS * columns).map(total).collect();
    total(&parts.concat())
}

impl Linear {
    fn forward(x: &Array, weight: &Array, bias: Option<&Array>) -> Array {
        let (inputs, outputs) = weight.rows();
        let matrix = Matrix::new(weight.values(), inputs, outputs, outputs);
        rows_times(x, matrix, outputs, bias.map(Array::values))
    }

    fn backward(x: &Array, weight: &Array, gradient: &Array, wanted: [bool; 3]) -> [Option<Array>; 3] {
        let (inputs, outputs) = weight.rows();
        let (rows, _) = x.rows();
        let [wants_x, wants_weight, wants_bias] = wanted;
        let grad_x = wants_x.then(|| {
            let matrix = Matrix::new(weight.values(), inputs, outputs, outputs).transposed();
            rows_times(gradient, matrix, inputs, None)
        });
        let grad_weight = wants_weight.then(|| {
            let mut out = vec![0.0; inputs * outputs];
            let x = Matrix::new(x.values(), rows, inputs, inputs).transposed();
            let g = Matrix::new(gradient.values(), rows, outputs, outputs);
            let threads = if rows * inputs * outputs < 1 << 22 { Threads::One } else { Threads::All };
            product(&mut out, outputs, false, 1.0, x, g, threads);
            Array::new(out, &[inputs, outputs])
        });
        let grad_bias = wants_bias.then(|| Array::new(sum_of_rows(gradient.values(), outputs), &[outputs]));
        [grad_x, grad_weight, grad_bias]
    }
}

impl Kernel<3> for Linear {
    type Saved = ();

    fn forward(&self, [x, weight, bias]: &[Array; 3]) -> (Array, ()) {
        (Self::forward(x, weight, Some(bias)), ())
    }

    fn backward(
        &self,
        [x, weight, _]: &[Array; 3],
        (): &(),
        gradient: &Array,
        wanted: [bool; 3],
    ) -> [Option<Array>; 3] {
        Self::backward(x, weight, gradient, wanted)
    }
}

impl Kernel<2> for Linear {
    type Saved = ();

    fn forward(&self, [x, weight]: &[Array; 2]) -> (Array, ()) {
        (Self::forward(x, weight, None), ())
    }

    fn backward(
        &self,
        [x, weight]: &[Array; 2],
        (): &(),
        gradient: &Array,
        [wants_x, wants_weight]: [bool; 2],
    ) -> [Option<Array>; 2] {
        let [grad_x, grad_weight, _] = Self::backward(x, weight, gradient, [wants_x, wants_weight, false]);
        [grad_x, grad_weight]
    }
}

//! Gated linear units with GELU.

use rayon::prelude::*;

use super::activation::{gelu, gelu_derivative};
use super::kernel::{Array, Kernel};
use super::math::{simd, zeros};
use crate::operation::Geglu;

/// Elements of one task.
const TASK: usize = 1 << 14;

impl Kernel<1> for Geglu {
    type Saved = ();

    fn forward(&self, [x]: &[Array; 1]) -> (Array, ()) {
        let (rows, width) = x.rows();
        let dim = width / 2;
        let per_task = TASK.div_ceil(width.max(1));
        let mut out = zeros(rows * dim);
        let tasks = out.par_chunks_mut((per_task * dim).max(1));
        tasks.zip(x.values().par_chunks((per_task * width).max(1))).for_each(|(out, x)| {
            simd(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(width)) {
                        let (values, gates) = x.split_at(dim);
                        for ((out, value), gate) in out.iter_mut().zip(values).zip(gates) {
                            *out = value * gelu(*gate);
                        }
                    }
                },
            );
        });
        let mut shape = x.shape();
        *shape.last_mut().expect("rows have an axis") = dim;
        (Array::new(out, &shape), ())
    }

    fn backward(&self, [x]: &[Array; 1], (): &(), gradient: &Array, _: [bool; 1]) -> [Option<Array>; 1] {
        let (rows, width) = x.rows();
        let dim = width / 2;
        let per_task = TASK.div_ceil(width.max(1));
        let mut out = zeros(rows * width);
        let given = x.values().par_chunks((per_task * width).max(1));
        let given = given.zip(gradient.values().par_chunks((per_task * dim).max(1)));
        out.par_chunks_mut((per_task * width).max(1)).zip(given).for_each(|(out, (x, g))| {
            simd(
                #[inline(always)]
                || {
                    let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for ((out, x), g) in rows.zip(g.chunks_exact(dim)) {
                        let (values, gates) = x.split_at(dim);
                        let (out_values, out_gates) = out.split_at_mut(dim);
                        for i in 0..dim {
                            out_values[i] = g[i] * gelu(gates[i]);
                            out_gates[i] = g[i] * values[i] * gelu_derivative(gates[i]);
                        }
                    }
                },
            );
        });
        [Some(Array::new(out, &x.shape()))]
    }
}

//! Attention.

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::kernel::{Array, Kernel};
use super::math::{exp, max, simd, sum, zeros};
use crate::operation::Attention;

/// The sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    heads: usize,
    size: usize,
    scale: f32,
}

impl Sizes {
    fn new(qkv: &Array, heads: usize) -> Self {
        let shape = qkv.shape();
        let size = shape[2] / 3 / heads;
        Self { tokens: shape[1], heads, size, scale: 1.0 / (size as f32).sqrt() }
    }

    /// The token dimension of the output.
    fn dim(self) -> usize {
        self.heads * self.size
    }

    /// Queries, keys or values (0, 1, 2) of one head of an example.
    fn part(self, example: &[f32], which: usize, head: usize) -> Matrix<'_> {
        let start = which * self.dim() + head * self.size;
        Matrix::new(&example[start..], self.tokens, self.size, 3 * self.dim())
    }

    /// One head of the output of an example.
    fn output(self, example: &[f32], head: usize) -> Matrix<'_> {
        Matrix::new(&example[head * self.size..], self.tokens, self.size, self.dim())
    }

    /// A matrix over all pairs of tokens.
    fn pairs(self, values: &[f32]) -> Matrix<'_> {
        Matrix::new(values, self.tokens, self.tokens, self.tokens)
    }

    /// QKᵀ/√size.
    fn scores(self, out: &mut [f32], example: &[f32], head: usize) {
        let (q, k) = (self.part(example, 0, head), self.part(example, 1, head));
        product(out, self.tokens, false, self.scale, q, k.transposed(), Threads::One);
    }
}

impl Kernel<1> for Attention {
    /// For each row of scores its maximum and `Σ exp(score - maximum)`, `[batch, heads, tokens, 2]`.
    type Saved = Array;

    fn forward(&self, [qkv]: &[Array; 1]) -> (Array, Array) {
        let sizes = Sizes::new(qkv, self.heads);
        let Sizes { tokens, heads, .. } = sizes;
        let (batch, dim) = (qkv.shape()[0], sizes.dim());
        let mut out = zeros(batch * tokens * dim);
        let mut sums = vec![0.0; batch * heads * tokens * 2];
        let examples = out.par_chunks_mut(tokens * dim).zip(sums.par_chunks_mut(heads * tokens * 2));
        examples.zip(qkv.values().par_chunks(tokens * 3 * dim)).for_each_init(
            || vec![0.0; tokens * tokens],
            |scores, ((out, sums), qkv)| {
                for head in 0..heads {
                    sizes.scores(scores, qkv, head);
                    let sums = sums[head * tokens * 2..].chunks_exact_mut(2);
                    simd(
                        #[inline(always)]
                        || {
                            for (row, saved) in scores.chunks_exact_mut(tokens).zip(sums) {
                                let top = max(row);
                                for x in row.iter_mut() {
                                    *x = exp(*x - top);
                                }
                                let total = sum(tokens, |i| row[i]);
                                let factor = 1.0 / total;
                                for x in row {
                                    *x *= factor;
                                }
                                saved.copy_from_slice(&[top, total]);
                            }
                        },
                    );
                    let values = sizes.part(qkv, 2, head);
                    let out = &mut out[head * sizes.size..];
                    product(out, dim, false, 1.0, sizes.pairs(scores), values, Threads::One);
                }
            },
        );
        (Array::new(out, &[batch, tokens, dim]), Array::new(sums, &[batch, heads, tokens, 2]))
    }

    fn backward(
        &self,
        [qkv]: &[Array; 1],
        sums: &Array,
        gradient: &Array,
        _: [bool; 1],
    ) -> [Option<Array>; 1] {
        let sizes = Sizes::new(qkv, self.heads);
        let Sizes { tokens, heads, size, scale } = sizes;
        let dim = sizes.dim();
        let mut out = zeros(qkv.values().len());
        let examples = out.par_chunks_mut(tokens * 3 * dim).zip(qkv.values().par_chunks(tokens * 3 * dim));
        let given =
            gradient.values().par_chunks(tokens * dim).zip(sums.values().par_chunks(heads * tokens * 2));
        examples.zip(given).for_each_init(
            || (vec![0.0; tokens * tokens], vec![0.0; tokens * tokens]),
            |(weights, grads), ((out, qkv), (gradient, sums))| {
                for head in 0..heads {
                    let [q, k, v] = [0, 1, 2].map(|which| sizes.part(qkv, which, head));
                    let gradient = sizes.output(gradient, head);
                    sizes.scores(weights, qkv, head);
                    product(grads, tokens, false, 1.0, gradient, v.transposed(), Threads::One);
                    let sums = sums[head * tokens * 2..].chunks_exact(2);
                    simd(
                        #[inline(always)]
                        || {
                            let rows = weights.chunks_exact_mut(tokens).zip(grads.chunks_exact_mut(tokens));
                            for ((weights, grads), saved) in rows.zip(sums) {
                                let factor = 1.0 / saved[1];
                                for x in weights.iter_mut() {
                                    *x = exp(*x - saved[0]) * factor;
                                }
                                let mean = sum(tokens, |i| weights[i] * grads[i]);
                                for (grad, weight) in grads.iter_mut().zip(weights) {
                                    *grad = (*grad - mean) * *weight;
                                }
                            }
                        },
                    );
                    let (weights, grads) = (sizes.pairs(weights), sizes.pairs(grads));
                    let parts = [
                        (grads, k, scale),
                        (grads.transposed(), q, scale),
                        (weights.transposed(), gradient, 1.0),
                    ];
                    for (which, (a, b, factor)) in parts.into_iter().enumerate() {
                        let out = &mut out[which * dim + head * size..];
                        product(out, 3 * dim, false, factor, a, b, Threads::One);
                    }
                }
            },
        );
        [Some(Array::new(out, &qkv.shape()))]
    }
}

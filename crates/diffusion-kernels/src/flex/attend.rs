//! Attention of queries to keys that may be others, in tiles: what is held at a time does not grow with the number of
//! tokens (Rabe & Staats 2021, arXiv:2112.05682, section 2).

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Matrix, Threads, product};
use super::kernel::{Array, Kernel};
use super::math::{exp, max, simd, sum, zeros};
use crate::operation::Attend;

/// The most queries and keys of a tile, whose scores fit into a core's own cache.
const QUERIES: usize = 256;
const KEYS: usize = 256;
/// As many tasks as there should be, and the least number of queries of one.
const TASKS: usize = 8;
const LEAST: usize = 32;

/// The sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Values of a head.
    size: usize,
    causal: bool,
}

impl Sizes {
    fn new(attend: &Attend, q: &Array, k: &Array) -> Self {
        let (shape, heads) = (q.shape(), attend.heads);
        let (queries, size) = (shape[1], shape[2] / heads);
        Self { batch: shape[0], queries, keys: k.shape()[1], heads, size, causal: attend.causal }
    }

    /// Values of a token.
    fn dim(self) -> usize {
        self.heads * self.size
    }

    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Queries of a task.
    fn per_task(self) -> usize {
        (self.batch * self.queries).div_ceil(TASKS).next_multiple_of(8).clamp(LEAST, QUERIES)
    }

    /// One head of some of an example's tokens, of which there are `of_example`.
    fn part<'a>(
        self,
        x: &'a Array,
        example: usize,
        of_example: usize,
        head: usize,
        tokens: &Range<usize>,
    ) -> Matrix<'a> {
        let start = (example * of_example + tokens.start) * self.dim() + head * self.size;
        Matrix::new(&x.values()[start..], tokens.len(), self.size, self.dim())
    }

    /// The tiles' keys that at least one of the queries sees.
    fn key_tiles(self, queries: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let seen = if self.causal { queries.end.min(self.keys) } else { self.keys };
        (0..seen).step_by(KEYS).map(move |first| first..(first + KEYS).min(seen))
    }

    /// How many of a tile's keys a query sees.
    #[inline(always)]
    fn seen(self, query: usize, keys: &Range<usize>) -> usize {
        if self.causal { (query + 1).saturating_sub(keys.start).min(keys.len()) } else { keys.len() }
    }
}

/// What is known of a row of scores: its maximum, and `Σ exp(score - maximum)`.
type Row = [f32; 2];

impl Kernel<3> for Attend {
    /// The result, and for each of its heads' rows of scores what is known of it, `[batch, queries, heads]`.
    type Saved = (Array, Vec<Row>);

    fn forward(&self, [q, k, v]: &[Array; 3]) -> (Array, Self::Saved) {
        let sizes = Sizes::new(self, q, k);
        let Sizes { batch, queries, heads, size, .. } = sizes;
        let (dim, per_task) = (sizes.dim(), sizes.per_task());
        let mut out = zeros(batch * queries * dim);
        let mut rows = vec![[f32::NEG_INFINITY, 0.0]; batch * queries * heads];
        let of_example = |(example, (out, rows)): (usize, (&'_ mut [f32], &'_ mut [Row]))| {
            let parts = out.par_chunks_mut(per_task * dim).zip(rows.par_chunks_mut(per_task * heads));
            parts.enumerate().for_each_init(
                || vec![0.0; per_task * KEYS],
                |scores, (part, (out, rows))| {
                    let queries = part * per_task..part * per_task + out.len() / dim;
                    for head in 0..heads {
                        let q = sizes.part(q, example, sizes.queries, head, &queries);
                        let (out, rows) = (&mut out[head * size..], &mut rows[head..]);
                        for keys in sizes.key_tiles(&queries) {
                            let [k, v] = [k, v].map(|x| sizes.part(x, example, sizes.keys, head, &keys));
                            let scores = &mut scores[..queries.len() * keys.len()];
                            product(
                                scores,
                                keys.len(),
                                false,
                                sizes.scale(),
                                q,
                                k.transposed(),
                                Threads::One,
                            );
                            simd(
                                #[inline(always)]
                                || sizes.weigh(scores, &queries, &keys, rows, out),
                            );
                            let weights = Matrix::new(scores, queries.len(), keys.len(), keys.len());
                            product(out, dim, true, 1.0, weights, v, Threads::One);
                        }
                        for (out, row) in out.chunks_mut(dim).zip(rows.chunks(heads)) {
                            let factor = 1.0 / row[0][1];
                            out[..size].iter_mut().for_each(|x| *x *= factor);
                        }
                    }
                },
            );
        };
        out.par_chunks_mut((queries * dim).max(1))
            .zip(rows.par_chunks_mut((queries * heads).max(1)))
            .enumerate()
            .for_each(of_example);
        let out = Array::new(out, &[batch, queries, dim]);
        (out.clone(), (out, rows))
    }

    fn backward(
        &self,
        [q, k, v]: &[Array; 3],
        (out, rows): &Self::Saved,
        gradient: &Array,
        _: [bool; 3],
    ) -> [Option<Array>; 3] {
        let sizes = Sizes::new(self, q, k);
        let Sizes { batch, heads, size, .. } = sizes;
        let found: Vec<[Vec<f32>; 3]> = (0..batch * heads)
            .into_par_iter()
            .map(|i| sizes.gradients([q, k, v, out, gradient], rows, i / heads, i % heads))
            .collect();
        let joined = |which: usize, tokens: usize| {
            let mut out = zeros(batch * tokens * heads * size);
            out.par_chunks_mut((tokens * heads * size).max(1)).enumerate().for_each(|(example, out)| {
                for head in 0..heads {
                    let found = found[example * heads + head][which].chunks_exact(size);
                    for (out, found) in out.chunks_exact_mut(heads * size).zip(found) {
                        out[head * size..][..size].copy_from_slice(found);
                    }
                }
            });
            Some(Array::new(out, &[batch, tokens, heads * size]))
        };
        [joined(0, sizes.queries), joined(1, sizes.keys), joined(2, sizes.keys)]
    }
}

impl Sizes {
    /// Turns a tile's scores into weights below their row's maximum, and brings what was summed of the row before to that
    /// maximum.
    #[inline(always)]
    fn weigh(
        self,
        scores: &mut [f32],
        queries: &Range<usize>,
        keys: &Range<usize>,
        rows: &mut [Row],
        out: &mut [f32],
    ) {
        let known = rows.chunks_mut(self.heads).zip(out.chunks_mut(self.dim()));
        let tile = queries.clone().zip(scores.chunks_exact_mut(keys.len()));
        for ((query, scores), (row, out)) in tile.zip(known) {
            let (scores, unseen) = scores.split_at_mut(self.seen(query, keys));
            unseen.fill(0.0);
            let [before, total] = row[0];
            let here = max(scores);
            let top = if here > before { here } else { before };
            for x in scores.iter_mut() {
                *x = exp(*x - top);
            }
            let total_here = sum(scores.len(), |i| scores[i]);
            if top > before && keys.start > 0 {
                let factor = exp(before - top);
                row[0] = [top, total * factor + total_here];
                for x in &mut out[..self.size] {
                    *x *= factor;
                }
            } else {
                row[0] = [top, total + total_here];
            }
        }
    }

    /// The gradients of one head of an example's queries, keys and values, `[tokens, size]` each; the scores are computed
    /// once more.
    fn gradients(
        self,
        [q, k, v, out, gradient]: [&Array; 5],
        rows: &[Row],
        example: usize,
        head: usize,
    ) -> [Vec<f32>; 3] {
        let Self { queries, keys, heads, size, .. } = self;
        let scale = self.scale();
        let mut grads = [queries, keys, keys].map(|tokens| vec![0.0; tokens * size]);
        let [grad_q, grad_k, grad_v] = &mut grads;
        let [mut weights, mut pairs] = [0; 2].map(|_| vec![0.0; QUERIES.min(queries) * KEYS.min(keys)]);
        for first in (0..queries).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(self.queries);
            let [q, out, gradient] =
                [q, out, gradient].map(|x| (x, self.part(x, example, self.queries, head, &queries)));
            let along: Vec<f32> = queries
                .clone()
                .map(|query| {
                    let start = (example * self.queries + query) * self.dim() + head * size;
                    let [out, gradient] = [out.0, gradient.0].map(|x| &x.values()[start..][..size]);
                    sum(size, |i| out[i] * gradient[i])
                })
                .collect();
            let (q, gradient) = (q.1, gradient.1);
            let rows = rows[(example * self.queries + first) * heads + head..].iter().step_by(heads);
            for keys in self.key_tiles(&queries) {
                let [k, v] = [k, v].map(|x| self.part(x, example, self.keys, head, &keys));
                let (tall, wide) = (queries.len(), keys.len());
                let [weights, pairs] = [&mut weights, &mut pairs].map(|x| &mut x[..tall * wide]);
                product(weights, wide, false, scale, q, k.transposed(), Threads::One);
                product(pairs, wide, false, 1.0, gradient, v.transposed(), Threads::One);
                simd(
                    #[inline(always)]
                    || {
                        let tile = weights.chunks_exact_mut(wide).zip(pairs.chunks_exact_mut(wide));
                        let known = queries.clone().zip(rows.clone()).zip(&along);
                        for ((weights, pairs), ((query, row), along)) in tile.zip(known) {
                            let seen = self.seen(query, &keys);
                            let factor = 1.0 / row[1];
                            for x in &mut weights[..seen] {
                                *x = exp(*x - row[0]) * factor;
                            }
                            weights[seen..].fill(0.0);
                            for (pair, weight) in pairs.iter_mut().zip(weights) {
                                *pair = (*pair - along) * *weight;
                            }
                        }
                    },
                );
                let [weights, pairs] = [weights, pairs].map(|x| Matrix::new(x, tall, wide, wide));
                let (from_q, from_k) = (queries.start * size, keys.start * size);
                product(&mut grad_q[from_q..], size, true, scale, pairs, k, Threads::One);
                product(&mut grad_k[from_k..], size, true, scale, pairs.transposed(), q, Threads::One);
                product(&mut grad_v[from_k..], size, true, 1.0, weights.transposed(), gradient, Threads::One);
            }
        }
        grads
    }
}

//! Norms with their scales and shifts, and gated residuals.

use rayon::prelude::*;

use super::activation::{silu, silu_derivative};
use super::kernel::{Array, Kernel};
use super::math::{simd, sum, zeros};
use crate::operation::{Gated, GroupNorm, ModulatedLayerNorm};

/// The mean of `x`, and one over its standard deviation.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum(x.len(), |i| x[i]) / x.len() as f32;
    let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / x.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl Kernel<3> for ModulatedLayerNorm {
    type Saved = ();

    fn forward(&self, [x, scale, shift]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (tokens, dim) = (shape[1], shape[2]);
        let mut out = zeros(x.values().len());
        let vectors = scale.values().par_chunks(dim).zip(shift.values().par_chunks(dim));
        let examples = out.par_chunks_mut(tokens * dim).zip(x.values().par_chunks(tokens * dim));
        examples.zip(vectors).for_each(|((out, x), (scale, shift))| {
            simd(
                #[inline(always)]
                || {
                    for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                        let (mean, factor) = moments(x, self.epsilon);
                        for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                            *out = (x - mean) * factor * (1.0 + scale) + shift;
                        }
                    }
                },
            );
        });
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [x, scale, _]: &[Array; 3],
        (): &(),
        gradient: &Array,
        wanted: [bool; 3],
    ) -> [Option<Array>; 3] {
        let shape = x.shape();
        let (batch, tokens, dim) = (shape[0], shape[1], shape[2]);
        let mut grad_x = zeros(x.values().len());
        let (mut grad_scale, mut grad_shift) = (vec![0.0; batch * dim], vec![0.0; batch * dim]);
        let out = grad_x.par_chunks_mut(tokens * dim);
        let vectors = grad_scale.par_chunks_mut(dim).zip(grad_shift.par_chunks_mut(dim));
        let given = x.values().par_chunks(tokens * dim).zip(gradient.values().par_chunks(tokens * dim));
        out.zip(vectors).zip(given).zip(scale.values().par_chunks(dim)).for_each_init(
            || (vec![0.0; dim], vec![0.0; dim]),
            |(normal, grad), (((out, (grad_scale, grad_shift)), (x, gradient)), scale)| {
                simd(
                    #[inline(always)]
                    || {
                        for ((out, x), g) in
                            out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(gradient.chunks_exact(dim))
                        {
                            let (mean, factor) = moments(x, self.epsilon);
                            for i in 0..dim {
                                normal[i] = (x[i] - mean) * factor;
                                grad[i] = g[i] * (1.0 + scale[i]);
                                grad_scale[i] += g[i] * normal[i];
                                grad_shift[i] += g[i];
                            }
                            let mean = sum(dim, |i| grad[i]) / dim as f32;
                            let along = sum(dim, |i| grad[i] * normal[i]) / dim as f32;
                            for i in 0..dim {
                                out[i] = factor * (grad[i] - mean - normal[i] * along);
                            }
                        }
                    },
                );
            },
        );
        let [wants_x, wants_scale, wants_shift] = wanted;
        let vector = |values| Array::new(values, &[batch, dim]);
        [
            wants_x.then(|| Array::new(grad_x, &shape)),
            wants_scale.then(|| vector(grad_scale)),
            wants_shift.then(|| vector(grad_shift)),
        ]
    }
}

impl Kernel<3> for Gated {
    type Saved = ();

    fn forward(&self, [x, h, gate]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (tokens, dim) = (shape[1], shape[2]);
        let mut out = zeros(x.values().len());
        let given = x.values().par_chunks(tokens * dim).zip(h.values().par_chunks(tokens * dim));
        out.par_chunks_mut(tokens * dim).zip(given).zip(gate.values().par_chunks(dim)).for_each(
            |((out, (x, h)), gate)| {
                simd(
                    #[inline(always)]
                    || {
                        for ((out, x), h) in
                            out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(h.chunks_exact(dim))
                        {
                            for (((out, x), h), gate) in out.iter_mut().zip(x).zip(h).zip(gate) {
                                *out = x + h * gate;
                            }
                        }
                    },
                );
            },
        );
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [_, h, gate]: &[Array; 3],
        (): &(),
        gradient: &Array,
        [wants_x, wants_h, wants_gate]: [bool; 3],
    ) -> [Option<Array>; 3] {
        let shape = h.shape();
        let (batch, tokens, dim) = (shape[0], shape[1], shape[2]);
        let (mut grad, mut grad_gate) = (zeros(h.values().len()), vec![0.0; batch * dim]);
        let out = grad.par_chunks_mut(tokens * dim).zip(grad_gate.par_chunks_mut(dim));
        let given = h.values().par_chunks(tokens * dim).zip(gradient.values().par_chunks(tokens * dim));
        out.zip(given).zip(gate.values().par_chunks(dim)).for_each(|(((out, out_gate), (h, g)), gate)| {
            simd(
                #[inline(always)]
                || {
                    for ((out, h), g) in
                        out.chunks_exact_mut(dim).zip(h.chunks_exact(dim)).zip(g.chunks_exact(dim))
                    {
                        for i in 0..dim {
                            out[i] = g[i] * gate[i];
                            out_gate[i] += g[i] * h[i];
                        }
                    }
                },
            );
        });
        [
            wants_x.then(|| gradient.clone()),
            wants_h.then(|| Array::new(grad, &shape)),
            wants_gate.then(|| Array::new(grad_gate, &[batch, dim])),
        ]
    }
}

impl Kernel<3> for GroupNorm {
    type Saved = ();

    fn forward(&self, [x, gamma, beta]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (channels, pixels) = (shape[1], shape[2] * shape[3]);
        let group = channels / self.groups;
        let mut out = zeros(x.values().len());
        let groups = out.par_chunks_mut(group * pixels).zip(x.values().par_chunks(group * pixels));
        groups.enumerate().for_each(|(i, (out, x))| {
            let first = i % self.groups * group;
            simd(
                #[inline(always)]
                || {
                    let (mean, factor) = moments(x, self.epsilon);
                    for (c, (out, x)) in out.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels)).enumerate()
                    {
                        let scale = factor * gamma.values()[first + c];
                        let shift = beta.values()[first + c];
                        let place = out.iter_mut().zip(x);
                        if self.silu {
                            for (out, x) in place {
                                *out = silu((x - mean) * scale + shift);
                            }
                        } else {
                            for (out, x) in place {
                                *out = (x - mean) * scale + shift;
                            }
                        }
                    }
                },
            );
        });
        (Array::new(out, &shape), ())
    }

    fn backward(
        &self,
        [x, gamma, beta]: &[Array; 3],
        (): &(),
        gradient: &Array,
        [wants_x, wants_gamma, wants_beta]: [bool; 3],
    ) -> [Option<Array>; 3] {
        let shape = x.shape();
        let (channels, pixels) = (shape[1], shape[2] * shape[3]);
        let group = channels / self.groups;
        let size = group * pixels;
        let mut grad_x = zeros(x.values().len());
        // For every channel of every example: the gradients of scale and shift.
        let mut vectors = vec![[0.0; 2]; shape[0] * channels];
        let out = grad_x.par_chunks_mut(size).zip(vectors.par_chunks_mut(group));
        let given = x.values().par_chunks(size).zip(gradient.values().par_chunks(size));
        out.zip(given).enumerate().for_each_init(
            || vec![0.0; size],
            |grad, (i, ((out, vectors), (x, g)))| {
                let first = i % self.groups * group;
                let [gamma, beta] = [gamma, beta].map(|vector| &vector.values()[first..][..group]);
                simd(
                    #[inline(always)]
                    || {
                        let (mean, factor) = moments(x, self.epsilon);
                        let (mut total, mut along) = (0.0, 0.0);
                        for c in 0..group {
                            let place = c * pixels..(c + 1) * pixels;
                            let (x, g, grad) = (&x[place.clone()], &g[place.clone()], &mut grad[place]);
                            let (scale, shift) = (factor * gamma[c], beta[c]);
                            for i in 0..pixels {
                                grad[i] = if self.silu {
                                    g[i] * silu_derivative((x[i] - mean) * scale + shift)
                                } else {
                                    g[i]
                                };
                            }
                            let sum_of_grads = sum(pixels, |i| grad[i]);
                            let sum_along = sum(pixels, |i| grad[i] * (x[i] - mean)) * factor;
                            vectors[c] = [sum_along, sum_of_grads];
                            total += sum_of_grads * gamma[c];
                            along += sum_along * gamma[c];
                        }
                        let (total, along) = (total / size as f32, along / size as f32);
                        for (c, gamma) in gamma.iter().enumerate() {
                            let place = c * pixels..(c + 1) * pixels;
                            let (x, grad, out) = (&x[place.clone()], &grad[place.clone()], &mut out[place]);
                            for i in 0..pixels {
                                let normal = (x[i] - mean) * factor;
                                out[i] = factor * (grad[i] * gamma - total - normal * along);
                            }
                        }
                    },
                );
            },
        );
        let [grad_gamma, grad_beta] = sums_over_examples(&vectors, channels);
        let grad_x = wants_x.then(|| Array::new(grad_x, &shape));
        [grad_x, wants_gamma.then_some(grad_gamma), wants_beta.then_some(grad_beta)]
    }
}

/// For each channel the sums of both values over all examples, from `[examples, channels]`.
fn sums_over_examples(vectors: &[[f32; 2]], channels: usize) -> [Array; 2] {
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    for example in vectors.chunks_exact(channels) {
        for (c, values) in example.iter().enumerate() {
            sums[0][c] += values[0];
            sums[1][c] += values[1];
        }
    }
    sums.map(|values| Array::new(values, &[channels]))
}

//! Norms, and what scales and shifts behind them.

use super::activation::{silu, silu_slope};
use super::kernel::{Array, Kernel};
use super::math::{sum, wide, zeros};
use rayon::prelude::*;

/// `norm(x)·(1 + scale) + shift` with one scale and shift per example and number.
#[derive(Clone, Debug)]
pub struct ModulatedLayerNorm {
    pub epsilon: f32,
}

/// Mean, and one over the standard deviation, of `x`.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum(x.len(), |i| x[i]) / x.len() as f32;
    let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / x.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

impl Kernel<3> for ModulatedLayerNorm {
    type Kept = ();

    fn forward(&self, [x, scale, shift]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (tokens, dim) = (shape[1], shape[2]);
        let mut out = zeros(x.values().len());
        let vectors = scale.values().par_chunks(dim).zip(shift.values().par_chunks(dim));
        let examples = out.par_chunks_mut(tokens * dim).zip(x.values().par_chunks(tokens * dim));
        examples.zip(vectors).for_each(|((out, x), (scale, shift))| {
            wide(
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
        let mut for_x = zeros(x.values().len());
        let (mut for_scale, mut for_shift) = (vec![0.0; batch * dim], vec![0.0; batch * dim]);
        let out = for_x.par_chunks_mut(tokens * dim);
        let vectors = for_scale.par_chunks_mut(dim).zip(for_shift.par_chunks_mut(dim));
        let given = x.values().par_chunks(tokens * dim).zip(gradient.values().par_chunks(tokens * dim));
        out.zip(vectors).zip(given).zip(scale.values().par_chunks(dim)).for_each_init(
            || (vec![0.0; dim], vec![0.0; dim]),
            |(normal, slope), (((out, (for_scale, for_shift)), (x, gradient)), scale)| {
                wide(
                    #[inline(always)]
                    || {
                        for ((out, x), g) in
                            out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)).zip(gradient.chunks_exact(dim))
                        {
                            let (mean, factor) = moments(x, self.epsilon);
                            for i in 0..dim {
                                normal[i] = (x[i] - mean) * factor;
                                slope[i] = g[i] * (1.0 + scale[i]);
                                for_scale[i] += g[i] * normal[i];
                                for_shift[i] += g[i];
                            }
                            let mean = sum(dim, |i| slope[i]) / dim as f32;
                            let along = sum(dim, |i| slope[i] * normal[i]) / dim as f32;
                            for i in 0..dim {
                                out[i] = factor * (slope[i] - mean - normal[i] * along);
                            }
                        }
                    },
                );
            },
        );
        let [x, a, b] = wanted;
        let vector = |values| Array::new(values, &[batch, dim]);
        [x.then(|| Array::new(for_x, &shape)), a.then(|| vector(for_scale)), b.then(|| vector(for_shift))]
    }
}

/// `x + h·gate` with one gate per example and number.
#[derive(Clone, Debug)]
pub struct Gated;

impl Kernel<3> for Gated {
    type Kept = ();

    fn forward(&self, [x, h, gate]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (tokens, dim) = (shape[1], shape[2]);
        let mut out = zeros(x.values().len());
        let given = x.values().par_chunks(tokens * dim).zip(h.values().par_chunks(tokens * dim));
        out.par_chunks_mut(tokens * dim).zip(given).zip(gate.values().par_chunks(dim)).for_each(
            |((out, (x, h)), gate)| {
                wide(
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
        [for_x, for_h, for_gate]: [bool; 3],
    ) -> [Option<Array>; 3] {
        let shape = h.shape();
        let (batch, tokens, dim) = (shape[0], shape[1], shape[2]);
        let (mut slope, mut slope_gate) = (zeros(h.values().len()), vec![0.0; batch * dim]);
        let out = slope.par_chunks_mut(tokens * dim).zip(slope_gate.par_chunks_mut(dim));
        let given = h.values().par_chunks(tokens * dim).zip(gradient.values().par_chunks(tokens * dim));
        out.zip(given).zip(gate.values().par_chunks(dim)).for_each(|(((out, out_gate), (h, g)), gate)| {
            wide(
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
            for_x.then(|| gradient.clone()),
            for_h.then(|| Array::new(slope, &shape)),
            for_gate.then(|| Array::new(slope_gate, &[batch, dim])),
        ]
    }
}

/// Group norm, and SiLU behind it if asked for.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    pub groups: usize,
    pub epsilon: f32,
    pub silu: bool,
}

impl Kernel<3> for GroupNorm {
    type Kept = ();

    fn forward(&self, [x, gamma, beta]: &[Array; 3]) -> (Array, ()) {
        let shape = x.shape();
        let (channels, pixels) = (shape[1], shape[2] * shape[3]);
        let group = channels / self.groups;
        let mut out = zeros(x.values().len());
        let groups = out.par_chunks_mut(group * pixels).zip(x.values().par_chunks(group * pixels));
        groups.enumerate().for_each(|(i, (out, x))| {
            let first = i % self.groups * group;
            wide(
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
        wanted: [bool; 3],
    ) -> [Option<Array>; 3] {
        let shape = x.shape();
        let (channels, pixels) = (shape[1], shape[2] * shape[3]);
        let group = channels / self.groups;
        let size = group * pixels;
        let mut for_x = zeros(x.values().len());
        // For every channel of every example: the slopes of scale and shift.
        let mut vectors = vec![[0.0; 2]; shape[0] * channels];
        let out = for_x.par_chunks_mut(size).zip(vectors.par_chunks_mut(group));
        let given = x.values().par_chunks(size).zip(gradient.values().par_chunks(size));
        out.zip(given).enumerate().for_each_init(
            || vec![0.0; size],
            |slope, (i, ((out, vectors), (x, g)))| {
                let first = i % self.groups * group;
                let gamma = &gamma.values()[first..][..group];
                let beta = &beta.values()[first..][..group];
                wide(
                    #[inline(always)]
                    || {
                        let (mean, factor) = moments(x, self.epsilon);
                        let (mut total, mut along) = (0.0, 0.0);
                        for c in 0..group {
                            let place = c * pixels..(c + 1) * pixels;
                            let (x, g, slope) = (&x[place.clone()], &g[place.clone()], &mut slope[place]);
                            let (scale, shift) = (factor * gamma[c], beta[c]);
                            for i in 0..pixels {
                                slope[i] = if self.silu {
                                    g[i] * silu_slope((x[i] - mean) * scale + shift)
                                } else {
                                    g[i]
                                };
                            }
                            let sum_of_slopes = sum(pixels, |i| slope[i]);
                            let sum_along = sum(pixels, |i| slope[i] * (x[i] - mean)) * factor;
                            vectors[c] = [sum_along, sum_of_slopes];
                            total += sum_of_slopes * gamma[c];
                            along += sum_along * gamma[c];
                        }
                        let (total, along) = (total / size as f32, along / size as f32);
                        for (c, gamma) in gamma.iter().enumerate() {
                            let place = c * pixels..(c + 1) * pixels;
                            let (x, slope, out) = (&x[place.clone()], &slope[place.clone()], &mut out[place]);
                            for i in 0..pixels {
                                let normal = (x[i] - mean) * factor;
                                out[i] = factor * (slope[i] * gamma - total - normal * along);
                            }
                        }
                    },
                );
            },
        );
        let mut sums = [vec![0.0; channels], vec![0.0; channels]];
        for example in vectors.chunks_exact(channels) {
            for (c, slopes) in example.iter().enumerate() {
                sums[0][c] += slopes[0];
                sums[1][c] += slopes[1];
            }
        }
        let [x, a, b] = wanted;
        let [for_gamma, for_beta] = sums;
        [
            x.then(|| Array::new(for_x, &shape)),
            a.then(|| Array::new(for_gamma, &[channels])),
            b.then(|| Array::new(for_beta, &[channels])),
        ]
    }
}

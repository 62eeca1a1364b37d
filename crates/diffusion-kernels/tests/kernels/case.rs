//! Calls of the operations, and the same composed of Burn's own.

use burn::tensor::activation::{gelu, gelu_approximate, sigmoid, silu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::module::conv2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Bool, Tensor};
use diffusion_kernels::Activation::{Gelu, GeluTanh, QuickGelu, Silu};
use diffusion_kernels::{self as kernels, Activation};

use self::Case::{
    Activate, Attend, Attention, Conv, Gated, Geglu, GroupNorm, Join, LayerNorm, Linear, Shift, Transpose,
    Upsample,
};
use self::Layout::{Contiguous, Narrowed, Second, Transposed};
use crate::run::noise;

const EPSILON: f64 = 1e-5;

/// How the inputs lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    Contiguous,
    /// With the last two axes swapped, and the gradient of the result likewise.
    Transposed,
    /// As the middle of a larger tensor's last axis.
    Narrowed,
    /// As the second of two such tensors.
    Second,
}

/// A call of an operation: its shapes and options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    Activate(Activation, [usize; 2]),
    Linear { x: &'static [usize], outputs: usize, bias: bool },
    LayerNorm([usize; 3]),
    Gated([usize; 3]),
    Attention { batch: usize, tokens: usize, heads: usize, size: usize },
    Attend { batch: usize, tokens: [usize; 2], heads: usize, size: usize, causal: bool },
    Geglu([usize; 3]),
    GroupNorm { x: [usize; 4], groups: usize, silu: bool },
    Conv { x: [usize; 4], outputs: usize, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4] },
    Shift([usize; 4]),
    Join { x: [usize; 4], second: usize },
    Transpose([usize; 3]),
    Upsample([usize; 4]),
}

/// The inputs of a case, made from tensors of rank 1 in which the gradients are found.
pub struct Inputs<B: Backend> {
    pub leaves: Vec<Tensor<B, 1>>,
    pub shapes: Vec<Vec<usize>>,
    pub layout: Layout,
}

impl<B: Backend> Inputs<B> {
    pub fn get<const D: usize>(&self, index: usize) -> Tensor<B, D> {
        let leaf = self.leaves[index].clone();
        let mut shape: [usize; D] = self.shapes[index].clone().try_into().unwrap();
        let (first, last) = (shape[0], shape[D - 1]);
        match self.layout {
            Transposed if D > 1 => {
                shape.swap(D - 2, D - 1);
                leaf.reshape(shape).swap_dims(D - 2, D - 1)
            }
            Contiguous | Transposed => leaf.reshape(shape),
            Narrowed => {
                shape[D - 1] = 2 * last + 1;
                leaf.reshape(shape).narrow(D - 1, last / 2 + 1, last)
            }
            Second => {
                shape[0] = 2 * first;
                leaf.reshape(shape).narrow(0, first, first)
            }
        }
    }

    fn flat<const D: usize>(&self, out: Tensor<B, D>) -> Tensor<B, 1> {
        let out = if self.layout == Transposed && D > 1 { out.swap_dims(D - 2, D - 1) } else { out };
        out.reshape([-1])
    }

    /// A vector per example, broadcast over the tokens.
    fn vector(&self, index: usize) -> Tensor<B, 3> {
        self.get::<2>(index).unsqueeze_dim(1)
    }
}

impl Case {
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        match *self {
            Activate(_, shape) => vec![shape.to_vec()],
            Linear { x, outputs, bias } => {
                let mut shapes = vec![x.to_vec(), vec![x[x.len() - 1], outputs]];
                shapes.extend(bias.then(|| vec![outputs]));
                shapes
            }
            LayerNorm(x) => vec![x.to_vec(), vec![x[0], x[2]], vec![x[0], x[2]]],
            Gated(x) => vec![x.to_vec(), x.to_vec(), vec![x[0], x[2]]],
            Attention { batch, tokens, heads, size } => vec![vec![batch, tokens, 3 * heads * size]],
            Attend { batch, tokens: [queries, keys], heads, size, .. } => {
                [queries, keys, keys].map(|tokens| vec![batch, tokens, heads * size]).to_vec()
            }
            Geglu(x) => vec![x.to_vec()],
            GroupNorm { x, .. } => vec![x.to_vec(), vec![x[1]], vec![x[1]]],
            Conv { x, outputs, kernel, .. } => {
                vec![x.to_vec(), vec![outputs, x[1], kernel[0], kernel[1]], vec![outputs]]
            }
            Shift(x) => vec![x.to_vec(), x[..2].to_vec()],
            Join { x, second } => vec![x.to_vec(), vec![x[0], second, x[2], x[3]]],
            Transpose(x) => vec![x.to_vec()],
            Upsample(x) => vec![x.to_vec()],
        }
    }

    pub fn fused<B: Backend>(&self, i: &Inputs<B>) -> Option<Tensor<B, 1>> {
        Some(match *self {
            Activate(which, _) => i.flat(kernels::activation(which, &i.get::<2>(0))?),
            Linear { x, bias, .. } => {
                let bias = bias.then(|| i.get(2));
                if x.len() == 2 {
                    i.flat(kernels::linear(&i.get::<2>(0), &i.get(1), bias.as_ref())?)
                } else {
                    i.flat(kernels::linear(&i.get::<3>(0), &i.get(1), bias.as_ref())?)
                }
            }
            LayerNorm(_) => i.flat(kernels::modulated_layer_norm(&i.get(0), &i.get(1), &i.get(2), EPSILON)?),
            Gated(_) => i.flat(kernels::gated(&i.get(0), &i.get(1), &i.get(2))?),
            Attention { heads, .. } => i.flat(kernels::attention(&i.get(0), heads)?),
            Attend { heads, causal, .. } => {
                i.flat(kernels::attend(&i.get(0), &i.get(1), &i.get(2), heads, causal)?)
            }
            Geglu(_) => i.flat(kernels::geglu(&i.get::<3>(0))?),
            GroupNorm { groups, silu, .. } => {
                i.flat(kernels::group_norm(&i.get(0), &i.get(1), &i.get(2), groups, EPSILON, silu)?)
            }
            Conv { stride, padding, .. } => {
                i.flat(kernels::conv2d(&i.get(0), &i.get(1), &i.get(2), stride, padding)?)
            }
            Shift(_) => i.flat(kernels::shift_channels(&i.get(0), &i.get(1))?),
            Join { .. } => i.flat(kernels::join_channels(&i.get(0), &i.get(1))?),
            Transpose(_) => i.flat(kernels::transpose(&i.get(0))?),
            Upsample(_) => i.flat(kernels::upsample(&i.get(0))?),
        })
    }

    pub fn plain<B: Backend>(&self, i: &Inputs<B>) -> Tensor<B, 1> {
        match *self {
            Activate(Gelu, _) => i.flat(gelu(i.get::<2>(0))),
            Activate(GeluTanh, _) => i.flat(gelu_approximate(i.get::<2>(0))),
            Activate(QuickGelu, _) => {
                let x = i.get::<2>(0);
                i.flat(x.clone() * sigmoid(x * 1.702))
            }
            Activate(Silu, _) => i.flat(silu(i.get::<2>(0))),
            Linear { x, bias, .. } if x.len() == 2 => {
                let y = i.get::<2>(0).matmul(i.get(1));
                i.flat(if bias { y + i.get::<1>(2).unsqueeze() } else { y })
            }
            Linear { bias, .. } => {
                let y = i.get::<3>(0).matmul(i.get::<2>(1).unsqueeze());
                i.flat(if bias { y + i.get::<1>(2).unsqueeze() } else { y })
            }
            LayerNorm(_) => {
                let normal = normalize(i.get::<3>(0));
                i.flat(normal * (i.vector(1) + 1.0) + i.vector(2))
            }
            Gated(_) => i.flat(i.get::<3>(0) + i.get::<3>(1) * i.vector(2)),
            Attention { batch, tokens, heads, size } => {
                let qkv = i.get::<3>(0).reshape([batch, tokens, 3, heads, size]).permute([2, 0, 3, 1, 4]);
                let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().narrow(0, part, 1).squeeze_dim::<4>(0));
                let scores = q.matmul(k.swap_dims(2, 3)) / (size as f64).sqrt();
                let out = softmax(scores, 3).matmul(v).swap_dims(1, 2);
                i.flat(out.reshape([batch, tokens, heads * size]))
            }
            Attend { batch, tokens: [queries, keys], heads, size, causal } => {
                let [q, k, v] = [0, 1, 2].map(|which| {
                    let tokens = if which == 0 { queries } else { keys };
                    i.get::<3>(which).reshape([batch, tokens, heads, size]).swap_dims(1, 2)
                });
                let mut scores = q.matmul(k.swap_dims(2, 3)) / (size as f64).sqrt();
                if causal {
                    let unseen = Tensor::<B, 2, Bool>::tril_mask([queries, keys], 0, &scores.device());
                    scores = scores.mask_fill(unseen.unsqueeze(), f64::NEG_INFINITY);
                }
                let out = softmax(scores, 3).matmul(v).swap_dims(1, 2);
                i.flat(out.reshape([batch, queries, heads * size]))
            }
            Geglu([.., width]) => {
                let [values, gates] = [0, width / 2].map(|first| i.get::<3>(0).narrow(2, first, width / 2));
                i.flat(values * gelu(gates))
            }
            GroupNorm { x: [batch, channels, height, width], groups, silu: active } => {
                let normal =
                    normalize(i.get::<4>(0).reshape([batch, groups, channels / groups * height * width]));
                let [gamma, beta] = [1, 2].map(|v| i.get::<1>(v).reshape([1, channels, 1, 1]));
                let out = normal.reshape([batch, channels, height, width]) * gamma + beta;
                i.flat(if active { silu(out) } else { out })
            }
            Conv { stride, padding: [top, left, bottom, right], .. } => {
                let x = i.get::<4>(0).pad((left, right, top, bottom), PadMode::Constant(0.0));
                let options = ConvOptions::new(stride, [0, 0], [1, 1], 1);
                i.flat(conv2d(x, i.get(1), Some(i.get(2)), options))
            }
            Shift(_) => i.flat(i.get::<4>(0) + i.get::<2>(1).unsqueeze_dims(&[2, 3])),
            Join { .. } => i.flat(Tensor::cat(vec![i.get::<4>(0), i.get(1)], 1)),
            Transpose(_) => i.flat(i.get::<3>(0).swap_dims(1, 2)),
            Upsample([batch, channels, height, width]) => {
                let x = i.get::<4>(0).reshape([batch * channels, height, 1, width, 1]);
                i.flat(x.repeat(&[1, 1, 2, 1, 2]).reshape([batch, channels, 2 * height, 2 * width]))
            }
        }
    }

    /// The largest error allowed of results and of gradients, relative to the largest value. About a third of it occurs.
    pub fn tolerance(&self) -> [f64; 2] {
        match self {
            Activate(GeluTanh, _) => [2e-7, 6e-6],
            Activate(..) => [5e-7, 1.5e-6],
            Linear { .. } => [3e-7, 4e-6],
            LayerNorm(_) => [6e-7, 2e-6],
            Gated(_) => [1e-7, 1e-7],
            Attention { .. } => [1.2e-6, 1.5e-6],
            Attend { .. } => [1.2e-6, 3e-6],
            Geglu(_) => [5e-7, 1.5e-6],
            GroupNorm { .. } => [9e-7, 9e-7],
            Conv { .. } => [2.5e-6, 1e-5],
            Shift(_) => [0.0, 1e-6],
            Join { .. } | Transpose(_) => [0.0; 2],
            Upsample(_) => [0.0, 1e-7],
        }
    }

    /// The values of every input.
    pub fn values(&self, layout: Layout) -> Vec<Vec<f32>> {
        let spread = if matches!(self, Activate(..)) { 8.0 } else { 2.0 };
        let values = |(seed, shape): (usize, Vec<usize>)| {
            let last = shape[shape.len() - 1];
            let count: usize = shape.iter().product();
            let count = match layout {
                Contiguous | Transposed => count,
                Narrowed => count / last * (2 * last + 1),
                Second => 2 * count,
            };
            noise(seed as u64, count).iter().map(|x| spread * (x + 0.1)).collect()
        };
        self.shapes().into_iter().enumerate().map(values).collect()
    }
}

/// Mean 0 and variance 1 over the last axis.
fn normalize<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    let centered = x.clone() - x.mean_dim(2);
    let variance = (centered.clone() * centered.clone()).mean_dim(2);
    centered / (variance + EPSILON).sqrt()
}

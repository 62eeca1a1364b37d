//! How a network is told the noise level.

use super::{Init, gelu_tanh, linear, linear_params, silu};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::random::Stream;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// [sin s, cos s] with `s = scaling·ln σ`, or `scaling·σ` where `log` is false: as good as many frequencies.
///
/// # Shapes
/// - `sigma`: `[batch]`, positive if `log`
/// - returns `[batch, 2]`
pub fn sigma_embedding<B: Backend>(sigma: Tensor<B, 1>, scaling: f64, log: bool) -> Tensor<B, 2> {
    let sigma = if log { sigma.log() } else { sigma };
    let s = sigma.unsqueeze_dim::<2>(1) * scaling; // [batch, 1]
    Tensor::cat(sin_cos(s).into(), 1)
}

/// The sine and the cosine of angles up to some 10⁵, as good as f32 has the angle.
///
/// GPUs are exact only between −π and π: at angles around 1000, sines straight from an NVIDIA H200 through Vulkan are off
/// by more than 1e-4. Whole turns are taken off before, in two parts, so that nothing is lost.
///
/// # Shapes
/// - `angles`, both results: any, the same
pub fn sin_cos<B: Backend, const D: usize>(angles: Tensor<B, D>) -> [Tensor<B, D>; 2] {
    // The first part of 2π has so few bits that its product with a number of turns is exact.
    const FIRST: f64 = 6.28125;
    const REST: f64 = TAU - FIRST;
    let turns = (angles.clone() * (1.0 / TAU)).round();
    let angles = angles - turns.clone() * FIRST - turns * REST;
    [angles.clone().sin(), angles.cos()]
}

/// The sines and the cosines of `t·f` for each frequency f ≤ 1, to 10⁻⁶ for times up to some 10⁵.
///
/// An angle of 1000 that was rounded to f32 is off by 3e-5 before its sine is taken. Here a time and a frequency are split
/// into parts of few bits whose products are exact, and whole turns are taken off each product.
///
/// # Shapes
/// - `t`: `[batch]`
/// - both results: `[batch, frequencies]`
pub fn sinusoids<B: Backend>(t: Tensor<B, 1>, frequencies: &[f64]) -> [Tensor<B, 2>; 2] {
    let turns: Vec<f64> = frequencies.iter().map(|frequency| frequency / TAU).collect();
    let row = |part: &dyn Fn(f64) -> f64| {
        let values: Vec<f32> = turns.iter().map(|&turns| part(turns) as f32).collect();
        Tensor::<B, 2>::from_data(TensorData::new(values, [1, turns.len()]), &t.device())
    };
    // Multiples of 2⁻⁹, and of 2⁻¹⁶: times a whole number below 2¹⁷ they fit into the 24 bits of f32.
    let to_multiple = |turns: f64, of: f64| (turns * of).round() / of;
    let first = |turns: f64| to_multiple(turns, 512.0);
    let second = |turns: f64| to_multiple(turns - first(turns), 65536.0);
    let third = |turns: f64| turns - first(turns) - second(turns);

    let t = t.clone().unsqueeze_dim::<2>(1); // [batch, 1]
    let whole = t.clone().round();
    let fraction = |turns: Tensor<B, 2>| turns.clone() - turns.round();
    let turns = fraction(whole.clone() * row(&first))
        + fraction(whole.clone() * row(&second))
        + (whole.clone() * row(&third) + (t - whole) * row(&|turns| turns));
    let angles = fraction(turns) * TAU; // [batch, frequencies]
    [angles.clone().sin(), angles.cos()]
}

/// Frequencies that fall geometrically from 1 to almost 1/10000 (Vaswani et al. 2017, arXiv:1706.03762, §3.5).
fn timestep_frequencies(count: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| (-(10_000f64.ln()) * i as f64 / count as f64).exp())
}

/// Cosines, then sines, of `t` at `size`/2 frequencies that fall geometrically from 1 to almost 1/10000 (Vaswani et
/// al. 2017, arXiv:1706.03762, §3.5).
///
/// # Shapes
/// - `t`: `[batch]`
/// - returns `[batch, size]`
///
/// # Panics
/// If `size` is odd.
pub fn timestep_embedding<B: Backend>(t: Tensor<B, 1>, size: usize) -> Tensor<B, 2> {
    timestep_embedding_in(t, 1.0, size)
}

/// The same of `t / unit`, for a unit of at least 1.
fn timestep_embedding_in<B: Backend>(t: Tensor<B, 1>, unit: f64, size: usize) -> Tensor<B, 2> {
    assert!(
        size.is_multiple_of(2),
        "a timestep embedding of size {size} was asked for, expected an even number"
    );
    let frequencies: Vec<f64> = timestep_frequencies(size / 2).map(|frequency| frequency / unit).collect();
    let [sin, cos] = sinusoids(t, &frequencies);
    Tensor::cat(vec![cos, sin], 1)
}

/// The settings of a [`SigmaEmbedderSinCos`]; the defaults are smalldiffusion's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigmaEmbedderSinCosConfig {
    /// The factor on ln σ or σ.
    pub scaling_factor: f64,
    /// Whether ln σ is embedded rather than σ.
    pub log_scale: bool,
}

impl Default for SigmaEmbedderSinCosConfig {
    fn default() -> Self {
        Self { scaling_factor: 0.5, log_scale: true }
    }
}

impl SigmaEmbedderSinCosConfig {
    /// Whether there is such an embedder.
    ///
    /// # Errors
    /// If the scaling factor is 0 or not finite, in f32.
    pub fn validate(&self) -> Result<(), Invalid> {
        let factor = self.scaling_factor;
        Invalid::unless((factor as f32).is_normal(), "scaling_factor", || {
            format!("is {factor}, expected a finite number other than 0")
        })
    }

    /// The number of parameters of the embedder to vectors of `size` values.
    pub fn num_params(&self, size: usize) -> u128 {
        linear_params(2, size) + linear_params(size, size)
    }

    /// The embedder to vectors of `size` values.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        size: usize,
        weight: Init,
        bias: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> SigmaEmbedderSinCos<B> {
        expect_valid(self.validate());
        SigmaEmbedderSinCos {
            input: weight.linear(Some(bias), [2, size], stream, device),
            output: weight.linear(Some(bias), [size, size], stream, device),
            scaling_factor: self.scaling_factor,
            log_scale: self.log_scale,
        }
    }
}

/// [`sigma_embedding`] through a small network: linear, SiLU, linear.
#[derive(Module, Debug)]
pub struct SigmaEmbedderSinCos<B: Backend> {
    /// From the two values of the embedding.
    pub input: Linear<B>,
    /// To the output.
    pub output: Linear<B>,
    scaling_factor: f64,
    log_scale: bool,
}

impl<B: Backend> SigmaEmbedderSinCos<B> {
    /// The embedding.
    ///
    /// # Shapes
    /// - `sigma`: `[batch]`
    /// - returns `[batch, size]`
    pub fn forward(&self, sigma: Tensor<B, 1>) -> Tensor<B, 2> {
        let s = sigma_embedding(sigma, self.scaling_factor, self.log_scale);
        linear(&self.output, silu(linear(&self.input, s)))
    }
}

/// The widths of a [`TimestepEmbedder`]; the defaults are smalldiffusion's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimestepEmbedderConfig {
    /// Size of the sinusoidal embedding, even.
    pub frequencies: usize,
    /// Width of the first hidden layer.
    pub width: usize,
}

impl Default for TimestepEmbedderConfig {
    fn default() -> Self {
        Self { frequencies: 256, width: 1024 }
    }
}

impl TimestepEmbedderConfig {
    /// Whether there is such an embedder.
    ///
    /// # Errors
    /// If the number of frequencies is odd, or a size is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("frequencies", self.frequencies, MAX_SIZE)?;
        Invalid::unless(self.frequencies.is_multiple_of(2), "frequencies", || {
            format!("is {}, expected an even number", self.frequencies)
        })?;
        Invalid::unless_positive("width", self.width, MAX_SIZE)
    }

    /// The number of parameters of the embedder to vectors of `size` values.
    pub fn num_params(&self, size: usize) -> u128 {
        linear_params(self.frequencies, self.width)
            + linear_params(self.width, size)
            + linear_params(size, size)
    }

    /// The embedder to vectors of `size` values; `last` initializes its third layer, `weight` the others.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        size: usize,
        [weight, last]: [Init; 2],
        bias: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> TimestepEmbedder<B> {
        expect_valid(self.validate());
        TimestepEmbedder {
            input: weight.linear(Some(bias), [self.frequencies, self.width], stream, device),
            hidden: weight.linear(Some(bias), [self.width, size], stream, device),
            output: last.linear(Some(bias), [size, size], stream, device),
        }
    }
}

/// The sinusoidal embedding of 1000·σ through a network of three linear layers, for flow matching's evenly spaced
/// times.
#[derive(Module, Debug)]
pub struct TimestepEmbedder<B: Backend> {
    /// From the sinusoidal embedding.
    pub input: Linear<B>,
    /// The middle layer.
    pub hidden: Linear<B>,
    /// To the output.
    pub output: Linear<B>,
}

impl<B: Backend> TimestepEmbedder<B> {
    /// The embedding.
    ///
    /// # Shapes
    /// - `sigma`: `[batch]`, times in [0, 1]
    /// - returns `[batch, size]`
    pub fn forward(&self, sigma: Tensor<B, 1>) -> Tensor<B, 2> {
        // A product with a power of two is exact.
        let t = timestep_embedding_in(sigma * 1024.0, 1024.0 / 1000.0, self.input.weight.dims()[0]);
        let t = gelu_tanh(linear(&self.input, t));
        linear(&self.output, gelu_tanh(linear(&self.hidden, t)))
    }
}

/// Which [`SigmaEmbedder`] a network has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigmaEmbedding {
    /// [`SigmaEmbedderSinCos`], for diffusion.
    SinCos(SigmaEmbedderSinCosConfig),
    /// [`TimestepEmbedder`], for flow matching.
    Timestep,
}

impl Default for SigmaEmbedding {
    fn default() -> Self {
        Self::SinCos(SigmaEmbedderSinCosConfig::default())
    }
}

impl SigmaEmbedding {
    /// The embedder to vectors of `size` values; `last` initializes a [`TimestepEmbedder`]'s third layer, `weight` all
    /// others.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        size: usize,
        [weight, last]: [Init; 2],
        bias: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> SigmaEmbedder<B> {
        match self {
            Self::SinCos(config) => SigmaEmbedder::SinCos(config.init(size, weight, bias, stream, device)),
            Self::Timestep => SigmaEmbedder::Timestep(TimestepEmbedderConfig::default().init(
                size,
                [weight, last],
                bias,
                stream,
                device,
            )),
        }
    }

    /// Whether there is such an embedder.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::SinCos(config) => config.validate().map_err(|invalid| invalid.within("sin-cos")),
            Self::Timestep => TimestepEmbedderConfig::default().validate(),
        }
    }

    /// The number of parameters of the embedder to vectors of `size` values.
    pub fn num_params(&self, size: usize) -> u128 {
        match self {
            Self::SinCos(config) => config.num_params(size),
            Self::Timestep => TimestepEmbedderConfig::default().num_params(size),
        }
    }
}

/// Either way of embedding σ.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has one, and Burn derives no module for a boxed one")]
pub enum SigmaEmbedder<B: Backend> {
    /// For diffusion.
    SinCos(SigmaEmbedderSinCos<B>),
    /// For flow matching.
    Timestep(TimestepEmbedder<B>),
}

impl<B: Backend> SigmaEmbedder<B> {
    /// The embedding.
    ///
    /// # Shapes
    /// - `sigma`: `[batch]`
    /// - returns `[batch, size]`
    pub fn forward(&self, sigma: Tensor<B, 1>) -> Tensor<B, 2> {
        match self {
            Self::SinCos(embedder) => embedder.forward(sigma),
            Self::Timestep(embedder) => embedder.forward(sigma),
        }
    }
}

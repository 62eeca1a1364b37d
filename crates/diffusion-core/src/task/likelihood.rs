//! How likely data are under a model.

use super::inversion::{check, upward};
use super::ode::{Joint, OdeSolver, solve};
use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path as _;
use crate::random::Noise;
use crate::schedule::Sigmas;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, PI};

/// How the likelihood of data is computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LikelihoodConfig {
    /// The solver of the probability flow ODE; [`OdeSolver::Rk4`] by default, since errors of the flow count in full.
    pub solver: OdeSolver,
    /// How the divergence of its field is found.
    pub trace: Trace,
}

/// How the trace of the Jacobian ∂f/∂x is found, whose integral is the change of the log-density along the flow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trace {
    /// vᵀ(∂f/∂x)v, which has the trace as its mean over random signs v (Hutchinson 1990; Grathwohl et al. 2019,
    /// arXiv:1810.01367): one gradient for each v in an evaluation. A sample's v is the same all the way.
    Hutchinson {
        /// Over how many v the mean is taken.
        draws: usize,
    },
    /// The trace itself: one gradient for each value of an example in an evaluation, for a few values.
    Exact,
}

impl Default for Trace {
    fn default() -> Self {
        Self::Hutchinson { draws: 1 }
    }
}

impl Default for LikelihoodConfig {
    fn default() -> Self {
        Self { solver: OdeSolver::Rk4, trace: Trace::default() }
    }
}

impl LikelihoodConfig {
    /// Whether the settings can be used.
    ///
    /// # Errors
    /// If one is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.solver.validate().map_err(|error| error.within("solver"))?;
        match self.trace {
            Trace::Hutchinson { draws } => Invalid::unless_positive("trace.draws", draws, 1_000_000),
            Trace::Exact => Ok(()),
        }
    }
}

/// What bytes cost besides the density of their [dequantized](dequantized) values in [−1, 1], in bits per dimension: the
/// logarithm of 128 of them in a unit.
pub const PIXEL_OFFSET: f64 = 7.0;

/// The likelihoods of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Likelihood {
    /// The logarithm of the density at each sample, in nats.
    pub log_likelihood: Vec<f64>,
    /// How many values a sample has.
    pub values: usize,
}

impl Likelihood {
    /// The negative log-likelihood of each sample in bits per dimension, plus `offset`: [`PIXEL_OFFSET`] for bytes in
    /// [−1, 1], and 0 where the density itself is meant.
    pub fn bits_per_dim(&self, offset: f64) -> Vec<f64> {
        let bits = |nats: &f64| -nats / (self.values as f64 * LN_2) + offset;
        self.log_likelihood.iter().map(bits).collect()
    }
}

/// The likelihood of the data `x0`: the probability flow carries them up to noise, whose density is known, and the density
/// changes on the way by the divergence of the flow (Song et al. 2021, arXiv:2011.13456, eq. 39; Chen et al. 2018,
/// arXiv:1806.07366, theorem 1),
///
/// ```text
/// ln p(x₀) = ln N(x(σmax); 0, σmax²) + ∫ tr(∂f/∂x) dσ + n·ln α(σmin),  dx/dσ = f(x, σ),  x(σmin) = α(σmin)·x₀
/// ```
///
/// The levels are those of `sigmas` above 0, from the last to the first. What is found is the density of the model's
/// distribution at σmin, where on the variance-exploding path its data have noise of σmin; a first level that does not
/// drown the data makes it as wrong as N(0, σmax²) is there.
///
/// The denoiser is one on a backend that differentiates; its parameters should not (`no_grad`), and it must draw no
/// dropout. It is evaluated by itself: what guidance remembers is not kept. The random signs of sample i depend on the seed
/// of `noise` and on i alone.
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::tensor::{Tensor, TensorData};
/// use diffusion_core::network::ideal::IdealDenoiser;
/// use diffusion_core::task::{LikelihoodConfig, OdeSolver, Trace, likelihood};
/// use diffusion_core::{Noise, Sigmas};
///
/// let device = Default::default();
/// // One point, with the noise of σmin = 0.5 around it.
/// let data = TensorData::new(vec![0.0f32, 0.0], [1, 2]);
/// let model = IdealDenoiser::<Autodiff<Flex>, 2>::new(&data, &device);
/// let x0 = Tensor::<Flex, 2>::from_floats([[0.0, 0.0], [0.5, 0.0]], &device);
/// let config = LikelihoodConfig { solver: OdeSolver::Rk4, trace: Trace::Exact };
/// let found = likelihood(&model, &config, &Sigmas::karras(20, 0.5, 80.0, 7.0), x0, Noise::new(0));
/// let expected = -(2.0 * std::f64::consts::PI * 0.25).ln();
/// assert!((found.log_likelihood[0] - expected).abs() < 1e-3);
/// assert!((found.log_likelihood[1] - (expected - 0.5)).abs() < 1e-3);
/// ```
///
/// # Shapes
/// - `x0`: `[batch, …]`
///
/// # Panics
/// If the denoiser and the noise levels are on different paths, the denoiser cannot be evaluated at them, or
/// [`validate`](LikelihoodConfig::validate) is an error.
pub fn likelihood<B: AutodiffBackend, const D: usize, M: Denoiser<B, D> + ?Sized>(
    denoiser: &M,
    config: &LikelihoodConfig,
    sigmas: &Sigmas<M::Path>,
    x0: Tensor<B::InnerBackend, D>,
    noise: Noise,
) -> Likelihood {
    expect_valid(config.validate());
    check(denoiser, sigmas);
    let levels = upward(sigmas, false);
    let (low, high) = (levels[0], levels[levels.len() - 1]);
    let (dims, device) = (x0.dims(), x0.device());
    let (batch, values) = (dims[0], dims[1..].iter().product::<usize>());
    let probes: Vec<TensorData> = match config.trace {
        Trace::Hutchinson { draws } => (0..draws).map(|draw| noise.signs(draw, dims)).collect(),
        Trace::Exact => (0..values).map(|value| unit(value, dims)).collect(),
    };
    // The mean over random signs, and the sum over the axes.
    let weight = if matches!(config.trace, Trace::Exact) { 1.0 } else { 1.0 / probes.len() as f64 };
    let probes: Vec<Tensor<B::InnerBackend, D>> =
        probes.into_iter().map(|probe| Tensor::from_data(probe, &device)).collect();
    let slope = |x: Tensor<B::InnerBackend, D>, sigma: f64| {
        let (mut field, mut numbers) = (None, vec![0.0; batch]);
        for probe in &probes {
            let (velocity, products) = along(denoiser, x.clone(), sigma, probe.clone());
            numbers.iter_mut().zip(products).for_each(|(number, product)| *number += weight * product);
            field.get_or_insert(velocity);
        }
        Joint { x: field.unwrap_or(x), numbers }
    };
    let alpha = denoiser.path().alpha(low);
    let x = if alpha == 1.0 { x0 } else { x0 * alpha };
    let end = solve(&config.solver, &levels, Joint { x, numbers: vec![0.0; batch] }, slope);
    let squares = end.x.into_data().iter::<f64>().collect::<Vec<_>>();
    let squares =
        squares.chunks(values.max(1)).map(|row| row.iter().map(|x| (x / high).powi(2)).sum::<f64>());
    let constant = values as f64 * (alpha.ln() - 0.5 * (2.0 * PI * high * high).ln());
    let log_likelihood =
        squares.zip(end.numbers).map(|(squares, change)| constant - 0.5 * squares + change).collect();
    Likelihood { log_likelihood, values }
}

/// The field at `x`, and `probeᵀ(∂f/∂x)probe` of each sample.
fn along<B: AutodiffBackend, const D: usize, M: Denoiser<B, D> + ?Sized>(
    denoiser: &M,
    x: Tensor<B::InnerBackend, D>,
    sigma: f64,
    probe: Tensor<B::InnerBackend, D>,
) -> (Tensor<B::InnerBackend, D>, Vec<f64>) {
    let dims = x.dims();
    let x = Tensor::<B, D>::from_inner(x).require_grad();
    let velocity = denoiser.evaluate(x.clone(), sigma).velocity();
    let field = velocity.clone().inner();
    let size = velocity.shape().num_elements();
    let product = (velocity * Tensor::from_inner(probe.clone())).reshape([1, size]).sum_dim(1);
    let mut gradients = product.backward();
    let rows = match x.grad_remove(&mut gradients) {
        Some(gradient) => (gradient * probe).into_data().iter::<f64>().collect(),
        // The field does not depend on the state.
        None => vec![0.0; size],
    };
    let row = dims[1..].iter().product::<usize>().max(1);
    (field, rows.chunks(row).map(|row| row.iter().sum()).collect())
}

/// 1 at the place `value` of each sample, and 0 elsewhere.
fn unit<const D: usize>(value: usize, dims: [usize; D]) -> TensorData {
    let size: usize = dims[1..].iter().product();
    let values: Vec<f32> = (0..dims[0] * size).map(|i| f32::from(i % size == value)).collect();
    TensorData::new(values, dims)
}

/// Pixels `byte/127.5 − 1` as values of a density: `(byte + u)/128 − 1` with u uniform in [0, 1) (Theis et al. 2016,
/// arXiv:1511.01844, §3.1), by the streams of `noise`. Their density costs [`PIXEL_OFFSET`] less than the bytes.
///
/// # Shapes
/// - `x0`, returns: `[batch, …]`
pub fn dequantized<B: Backend, const D: usize>(x0: Tensor<B, D>, noise: Noise) -> Tensor<B, D> {
    let uniform = Tensor::from_data(noise.uniform(x0.dims()), &x0.device());
    (x0 + 1.0) * (127.5 / 128.0) + uniform / 128.0 - 1.0
}

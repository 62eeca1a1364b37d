//! Muon as an optimizer of Burn's.
//!
//! Burn 0.21 has one, which differs: it takes a linear layer's weight, `[in, out]` here, for one of PyTorch's,
//! `[out, in]`, so that the original scale grows with the wrong side; it takes no convolutions; and its norm is a sum over
//! a whole tensor, whose bits differ from run to run on GPUs.

use crate::optimizer_config::{MuonConfig, MuonScale};
use crate::sum::sum;
use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, backend::Backend};

/// Coefficients of the quintic Newton–Schulz iteration, which let small singular values grow fastest.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
/// The smallest norm that a gradient is divided by.
const EPSILON: f64 = 1e-7;

impl MuonConfig {
    /// The optimizer, for a loop of your own and a module whose parameters are all matrices or convolutions;
    /// [`train`](crate::train) makes it itself, and AdamW for the other parameters.
    pub fn init<B: AutodiffBackend, M: AutodiffModule<B>>(&self) -> OptimizerAdaptor<Muon, M, B> {
        OptimizerAdaptor::from(Muon { config: self.clone() })
    }
}

/// Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>); [`MuonConfig::init`] makes it. A step goes
/// along the mean gradient with all its singular values brought near 1. The step is of the length
/// [`MuonScale`](crate::MuonScale) times the learning rate; the weights decay as by AdamW.
///
/// A parameter of two axes is taken for a linear layer's weight, `[in, out]`; one of more for a convolution's,
/// `[out, in, …]`, all but the first being one.
#[derive(Clone)]
pub struct Muon {
    config: MuonConfig,
}

/// What Muon remembers of a parameter.
#[derive(Record, Clone)]
pub struct MuonState<B: Backend, const D: usize> {
    /// The mean gradient, `μ·mean + (1 − μ)·gradient` from 0 on.
    pub momentum: Tensor<B, D>,
    /// The number of updates.
    pub time: usize,
}

impl<B: Backend> SimpleOptimizer<B> for Muon {
    type State<const D: usize> = MuonState<B, D>;

    /// # Panics
    /// If the parameter has less than two axes.
    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let shape = tensor.shape();
        assert!(D > 1, "a step of Muon for a tensor of the shape {shape:?}, expected two axes or more");
        let MuonConfig { momentum: mu, nesterov, weight_decay, iterations, scale, .. } = self.config;
        let (mean, time) = match state {
            Some(MuonState { momentum, time }) => (momentum * mu + gradient.clone() * (1.0 - mu), time + 1),
            None => (gradient.clone() * (1.0 - mu), 1),
        };
        let ahead = if nesterov { gradient * (1.0 - mu) + mean.clone() * mu } else { mean.clone() };
        let rows = shape[0];
        let columns = shape.num_elements() / rows.max(1);
        let update = orthogonal(ahead.reshape([rows, columns]), iterations).reshape(shape);
        let [out, inner] = if D == 2 { [columns, rows] } else { [rows, columns] };
        let length = lr * scale.of(out, inner);
        let tensor = tensor * (1.0 - lr * weight_decay) - update * length;
        (tensor, Some(MuonState { momentum: mean, time }))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

impl MuonScale {
    /// The length of a step for a matrix that maps `inner` values to `out`.
    fn of(self, out: usize, inner: usize) -> f64 {
        let (out, inner) = (out as f64, inner as f64);
        match self {
            Self::MatchAdamw => 0.2 * out.max(inner).sqrt(),
            Self::Original => (out / inner).max(1.0).sqrt(),
        }
    }
}

/// The matrix with its singular values near 1, by the Newton–Schulz iteration X ← aX + (bA + cA²)X with A = XXᵀ.
fn orthogonal<B: Backend>(x: Tensor<B, 2>, iterations: usize) -> Tensor<B, 2> {
    let [rows, columns] = x.dims();
    // The smaller of the two products.
    let x = if rows > columns { x.transpose() } else { x };
    let norm = sum(x.clone() * x.clone()).sqrt().clamp_min(EPSILON);
    let mut x = x / norm.reshape([1, 1]);
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..iterations {
        let gram = x.clone().matmul(x.clone().transpose());
        let update = gram.clone() * b + gram.clone().matmul(gram) * c;
        x = x.clone() * a + update.matmul(x);
    }
    if rows > columns { x.transpose() } else { x }
}

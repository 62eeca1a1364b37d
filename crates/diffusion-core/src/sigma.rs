//! A noise level for a whole batch, or one per example: host values that become a tensor only where they must.

use crate::invalid::Number;
use crate::parameterization::Scalings;
use crate::precision::{MAX_SIGMA, MIN_SIGMA, is_level};
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Noise levels σ of a batch, in the data's own units; σ = 0 is data.
///
/// Functions take `impl Into<Sigma>`: pass one `f64`, or a list with one number per example.
#[derive(Clone, Debug, PartialEq)]
pub enum Sigma {
    /// The same level for every example.
    All(f64),
    /// One level per example.
    Each(Vec<f64>),
}

impl Sigma {
    /// `f` of every level; the coefficients of a formula have the shape that σ has.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::All(sigma) => Self::All(f(*sigma)),
            Self::Each(sigmas) => Self::Each(sigmas.iter().copied().map(f).collect()),
        }
    }

    /// The levels, one for all or one for each.
    pub(crate) fn levels(&self) -> &[f64] {
        match self {
            Self::All(sigma) => std::slice::from_ref(sigma),
            Self::Each(sigmas) => sigmas,
        }
    }

    /// The levels as a tensor.
    ///
    /// # Shapes
    /// - returns `[batch]`
    pub fn tensor<B: Backend>(&self, batch: usize, device: &B::Device) -> Tensor<B, 1> {
        match self {
            Self::All(sigma) => Tensor::full([batch], *sigma, device),
            Self::Each(sigmas) => {
                let values: Vec<f32> = sigmas.iter().map(|&s| s as f32).collect();
                Tensor::from_data(TensorData::new(values, [sigmas.len()]), device)
            }
        }
    }

    /// Panics unless f32 holds every level and its square, and there is one for each of `batch` examples.
    pub(crate) fn check(&self, batch: usize) {
        let positive = |s: f64| {
            // A sampler with churn goes up by less than a half; there is room for that.
            assert!(
                is_level(s) || is_level(s / 2.0),
                "noise level σ is {}, expected {} to {}, whose squares f32 holds",
                Number(s),
                Number(MIN_SIGMA),
                Number(MAX_SIGMA)
            )
        };
        match self {
            Self::All(sigma) => positive(*sigma),
            Self::Each(sigmas) => {
                assert_eq!(sigmas.len(), batch, "noise levels and examples differ in number");
                sigmas.iter().copied().for_each(positive);
            }
        }
    }

    /// `x` times the levels, example by example; nothing is computed for a factor of 1.
    pub(crate) fn times<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Self::All(1.0) => x,
            Self::All(factor) => x * *factor,
            Self::Each(factors) if factors.iter().all(|&f| f == 1.0) => x,
            Self::Each(factors) => {
                let mut shape = [1; D];
                shape[0] = factors.len();
                let factors = self.tensor(factors.len(), &x.device()).reshape(shape); // [batch, 1, …]
                x * factors
            }
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::All(factor) => *factor == 0.0,
            Self::Each(factors) => factors.iter().all(|&f| f == 0.0),
        }
    }
}

impl From<f64> for Sigma {
    fn from(sigma: f64) -> Self {
        Self::All(sigma)
    }
}

impl From<Vec<f64>> for Sigma {
    fn from(sigmas: Vec<f64>) -> Self {
        Self::Each(sigmas)
    }
}

impl From<&[f64]> for Sigma {
    fn from(sigmas: &[f64]) -> Self {
        Self::Each(sigmas.to_vec())
    }
}

impl From<&Vec<f64>> for Sigma {
    fn from(sigmas: &Vec<f64>) -> Self {
        Self::Each(sigmas.clone())
    }
}

impl<const N: usize> From<[f64; N]> for Sigma {
    fn from(sigmas: [f64; N]) -> Self {
        Self::Each(sigmas.to_vec())
    }
}

impl From<&Sigma> for Sigma {
    fn from(sigma: &Sigma) -> Self {
        sigma.clone()
    }
}

/// `a·x + b·y` with factors per example; terms whose factor is 0 cost nothing.
pub(crate) fn mix<B: Backend, const D: usize>(
    (a, x): (Sigma, Tensor<B, D>),
    (b, y): (Sigma, Tensor<B, D>),
) -> Tensor<B, D> {
    match (a.is_zero(), b.is_zero()) {
        (true, _) => b.times(y),
        (_, true) => a.times(x),
        _ => a.times(x) + b.times(y),
    }
}

/// The sum of tensors, each times its weight; a weight of 0 costs nothing, and nothing is computed for one of 1.
///
/// # Panics
/// If there is no term.
pub(crate) fn sum<B: Backend, const D: usize>(
    terms: impl IntoIterator<Item = (f64, Tensor<B, D>)>,
) -> Tensor<B, D> {
    let (mut total, mut left_out) = (None, None);
    for (weight, tensor) in terms {
        if weight == 0.0 {
            left_out = Some(tensor);
            continue;
        }
        let term = if weight == 1.0 { tensor } else { tensor * weight };
        total = Some(match total {
            None => term,
            Some(total) => total + term,
        });
    }
    total.or_else(|| left_out.map(|tensor| tensor.zeros_like())).expect("a sum has terms")
}

/// `scalings(σ)` of the noisy input and the network's output.
pub(crate) fn combine<B: Backend, const D: usize>(
    sigma: &Sigma,
    scalings: impl Fn(f64) -> Scalings,
    x: Tensor<B, D>,
    output: Tensor<B, D>,
) -> Tensor<B, D> {
    mix((sigma.map(|s| scalings(s).skip), x), (sigma.map(|s| scalings(s).out), output))
}

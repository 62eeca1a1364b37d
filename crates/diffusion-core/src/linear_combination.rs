//! A linear combination of tensors, not yet computed: its coefficients are f64 on the host.

use crate::denoiser::{Denoiser, DenoiserOutput};
use crate::parameterization::Scalings;
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use std::sync::Arc;

/// A sum of tensors, each times a number, of which no product or sum is computed before [`tensor`](Self::tensor).
///
/// A sampler writes its step in these. What it adds up are the noisy input, the outputs of the network and noise, however
/// many estimates are made of them on the way; a tensor that occurs several times has one coefficient. At high noise levels
/// the terms of a step are large and nearly cancel: in f64 that costs nothing, in f32 it costs digits.
///
/// Heun's method:
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, TensorData};
/// use diffusion_core::LinearCombination;
/// use diffusion_core::network::ideal::IdealDenoiser;
///
/// let device = Default::default();
/// let model = IdealDenoiser::<Flex, 2>::new(&TensorData::new(vec![0.5f32, -0.5], [1, 2]), &device);
/// let (from, to) = (700.0, 1.0);
/// let x = LinearCombination::of(Tensor::<Flex, 2>::from_floats([[700.5, -700.5]], &device));
/// let here = x.evaluate(&model, from).velocity;
/// let euler = x.clone().plus(to - from, &here);
/// let there = euler.evaluate(&model, to).velocity;
/// let half = 0.5 * (to - from);
/// let end = x.plus(half, &here).plus(half, &there).tensor();
/// // The noise is 1 and −1 in units of σ.
/// assert!((end - Tensor::from_floats([[1.5, -1.5]], &device)).abs().max().into_scalar() < 1e-6);
/// ```
#[derive(Clone, Debug)]
pub struct LinearCombination<B: Backend, const D: usize> {
    terms: Vec<(f64, Arc<Tensor<B, D>>)>,
}

/// What follows from a denoiser's output at one point.
#[derive(Clone, Debug)]
pub struct Estimates<B: Backend, const D: usize> {
    /// The estimate D of x₀.
    pub denoised: LinearCombination<B, D>,
    /// The estimate of dx/dσ.
    pub velocity: LinearCombination<B, D>,
}

impl<B: Backend, const D: usize> LinearCombination<B, D> {
    /// The tensor itself.
    pub fn of(tensor: Tensor<B, D>) -> Self {
        Self { terms: vec![(1.0, Arc::new(tensor))] }
    }

    /// This times `factor`.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        self.terms.iter_mut().for_each(|(weight, _)| *weight *= factor);
        self
    }

    /// This plus `weight` times `other`.
    #[must_use]
    pub fn plus(mut self, weight: f64, other: &Self) -> Self {
        for (coefficient, tensor) in &other.terms {
            match self.terms.iter_mut().find(|(_, known)| Arc::ptr_eq(known, tensor)) {
                Some((sum, _)) => *sum += weight * coefficient,
                None => self.terms.push((weight * coefficient, tensor.clone())),
            }
        }
        self
    }

    /// What `denoiser` finds at this point.
    ///
    /// # Panics
    /// As [`Denoiser::evaluate`].
    pub fn evaluate<M: Denoiser<B, D> + ?Sized>(&self, denoiser: &M, sigma: f64) -> Estimates<B, D> {
        let DenoiserOutput { output, denoised, velocity, .. } = denoiser.evaluate(self.tensor(), sigma);
        let output = Self::of(output);
        let estimate = |Scalings { skip, out }| self.clone().times(skip).plus(out, &output);
        Estimates { denoised: estimate(denoised), velocity: estimate(velocity) }
    }

    /// The sum; terms with a coefficient of 0 cost nothing.
    ///
    /// # Shapes
    /// - returns that of the tensors
    pub fn tensor(&self) -> Tensor<B, D> {
        sum(self.terms.iter().map(|(weight, tensor)| (*weight, Tensor::clone(tensor))))
    }
}

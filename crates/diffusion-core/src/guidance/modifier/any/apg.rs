//! Adaptive projected guidance.

use crate::guidance::estimate::GuidedEstimate;
use crate::guidance::modifier::Modifier;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use crate::precision::{check_factor, check_level};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// Adaptive projected guidance (Sadat et al. 2024, arXiv:2410.02416): the difference Δ between the two estimates
/// of x₀ goes through a momentum, is shortened to at most r, and loses of its part along the first estimate all but η.
///
/// Norms and projections are those of each example by itself. Without momentum and r, and with η = 1, it changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apg {
    /// η: how much of the part along the first estimate is kept; 0 by default, as in the paper.
    #[serde(default)]
    pub eta: f64,
    /// β: `Δ ← Δ + β·(Δ of the evaluation before)`, between −1 and 1; none by default. The paper takes −0.75 to −0.5.
    #[serde(default)]
    pub momentum: f64,
    /// r: the greatest norm of Δ, over all values of an example; none by default. The paper takes 2.5 to 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_threshold: Option<f64>,
}

impl Apg {
    /// Whether there is such guidance.
    ///
    /// # Errors
    /// The first parameter that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("eta", self.eta)?;
        let beta = self.momentum;
        Invalid::unless(beta.abs() < 1.0, "momentum", || {
            format!("is {beta:?}, expected more than -1 and less than 1")
        })?;
        self.norm_threshold.map_or(Ok(()), |most| check_level("norm_threshold", most))
    }
}

/// The sum of differences so far, weighted by powers of β; nothing before the first.
///
/// It goes on at each evaluation that is guided, and waits where none is.
#[derive(Clone, Debug)]
pub struct Momentum<B: Backend, const D: usize>(Option<Tensor<B, D>>);

impl Modifier for Apg {
    type State<B: Backend, const D: usize> = Momentum<B, D>;

    fn start<B: Backend, const D: usize>(&self) -> Momentum<B, D> {
        Momentum(None)
    }

    fn modify<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        _at: &GuidancePoint,
        Momentum(before): &mut Momentum<B, D>,
    ) -> GuidedEstimate<B, D> {
        if *self == (Self { eta: 1.0, momentum: 0.0, norm_threshold: None }) {
            return estimate;
        }
        let mut difference = estimate.difference();
        if self.momentum != 0.0 {
            if let Some(before) = before.take() {
                difference = difference + before * self.momentum;
            }
            *before = Some(difference.clone());
        }
        let shape = difference.dims();
        let rows = [shape[0], shape[1..].iter().product()];
        let mut difference: Tensor<B, 2> = difference.reshape(rows);
        if let Some(most) = self.norm_threshold {
            let norm = dot(difference.clone(), difference.clone()).sqrt();
            difference = difference * (norm.full_like(most) / norm).clamp_max(1.0);
        }
        if self.eta != 1.0 {
            let along = estimate.unguided().reshape(rows);
            let square = dot(along.clone(), along.clone());
            // An estimate of nothing but zeros has no direction.
            let is_zero = square.clone().equal_elem(0.0);
            let share = dot(difference.clone(), along.clone()) / square.mask_fill(is_zero, 1.0); // [batch, 1]
            difference = difference - along * (share * (1.0 - self.eta));
        }
        estimate.with_difference(difference.reshape(shape))
    }
}

/// The inner products of rows.
///
/// # Shapes
/// - `a`, `b`: `[batch, n]`
/// - returns `[batch, 1]`
fn dot<B: Backend>(a: Tensor<B, 2>, b: Tensor<B, 2>) -> Tensor<B, 2> {
    (a * b).sum_dim(1)
}

//! GeoDiff's sigmoid variances.

use super::sequence::{linspace, sigmoid};
use super::{Levels, Schedule, check_betas};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;

/// β a sigmoid from `beta_start` to `beta_end` (GeoDiff, Xu et al. 2022, arXiv:2203.02923).
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmoid(Levels<VarianceExploding>);

impl Sigmoid {
    /// The schedule of `n` levels; the parameters are those of [`Sigmoid`].
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the parameters.
    pub fn new(n: usize, beta_start: f64, beta_end: f64) -> Self {
        Self(expect_valid(Self::table(n, beta_start, beta_end)))
    }

    /// Whether these parameters give an increasing list of finite noise levels.
    ///
    /// # Errors
    /// If they do not; the error says which one and why.
    pub fn validate(n: usize, beta_start: f64, beta_end: f64) -> Result<(), Invalid> {
        Self::table(n, beta_start, beta_end).map(drop)
    }

    fn table(n: usize, beta_start: f64, beta_end: f64) -> Result<Levels<VarianceExploding>, Invalid> {
        check_betas(n, beta_start, beta_end)?;
        let betas = linspace(-6.0, 6.0, n).into_iter();
        let betas = betas.map(|t| sigmoid(t) * (beta_end - beta_start) + beta_start);
        Levels::from_betas(betas, "beta_start", "beta_end")
    }
}

impl Default for Sigmoid {
    fn default() -> Self {
        Self::new(1000, 1e-4, 0.02)
    }
}

impl Schedule for Sigmoid {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

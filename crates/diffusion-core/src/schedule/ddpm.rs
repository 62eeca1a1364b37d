//! DDPM's linear variances.

use super::sequence::linspace;
use super::{Levels, Schedule, check_betas};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;

/// β linear from `beta_start` to `beta_end` (Ho et al. 2020, arXiv:2006.11239, §4).
#[derive(Clone, Debug, PartialEq)]
pub struct Ddpm(Levels<VarianceExploding>);

impl Ddpm {
    /// The schedule of `n` levels; the parameters are those of [`Ddpm`].
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
        Levels::from_betas(linspace(beta_start, beta_end, n), "beta_start", "beta_end")
    }
}

impl Default for Ddpm {
    fn default() -> Self {
        Self::new(1000, 1e-4, 0.02)
    }
}

impl Schedule for Ddpm {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

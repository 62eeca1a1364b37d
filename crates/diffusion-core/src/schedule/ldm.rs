//! Latent diffusion's variances.

use super::sequence::linspace;
use super::{Levels, Schedule, check_betas};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;

/// √β linear from √`beta_start` to √`beta_end`, as in most latent diffusion models (Rombach et al. 2022,
/// arXiv:2112.10752), e.g. Stable Diffusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Ldm(Levels<VarianceExploding>);

impl Ldm {
    /// The schedule of `n` levels; the parameters are those of [`Ldm`].
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
        let roots = linspace(beta_start.sqrt(), beta_end.sqrt(), n).into_iter();
        Levels::from_betas(roots.map(|root| root * root), "beta_start", "beta_end")
    }
}

impl Default for Ldm {
    fn default() -> Self {
        Self::new(1000, 0.00085, 0.012)
    }
}

impl Schedule for Ldm {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

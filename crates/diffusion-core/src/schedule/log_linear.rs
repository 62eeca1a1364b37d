//! Noise levels evenly spaced in ln σ.

use super::sequence::linspace;
use super::{Levels, Schedule, check_count, check_ends};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;
use crate::precision::{MAX_SIGMA, MIN_SIGMA};

/// σ evenly spaced in ln σ between `sigma_min` and `sigma_max`; simple, and good for many models.
///
/// smalldiffusion gives `n` no default; here it is 100.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLinear(Levels<VarianceExploding>);

impl LogLinear {
    /// The schedule of `n` levels; the parameters are those of [`LogLinear`].
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the parameters.
    pub fn new(n: usize, sigma_min: f64, sigma_max: f64) -> Self {
        Self(expect_valid(Self::table(n, sigma_min, sigma_max)))
    }

    /// Whether these parameters give an increasing list of finite noise levels.
    ///
    /// # Errors
    /// If they do not; the error says which one and why.
    pub fn validate(n: usize, sigma_min: f64, sigma_max: f64) -> Result<(), Invalid> {
        Self::table(n, sigma_min, sigma_max).map(drop)
    }

    fn table(n: usize, sigma_min: f64, sigma_max: f64) -> Result<Levels<VarianceExploding>, Invalid> {
        check_count(n)?;
        check_ends(n, [("sigma_min", sigma_min), ("sigma_max", sigma_max)])?;
        let (low, high) = (sigma_min.ln(), sigma_max.ln());
        // The logarithm and back may leave the range by a rounding.
        let levels = linspace(low, high, n).into_iter().map(|level| level.exp().clamp(MIN_SIGMA, MAX_SIGMA));
        Levels::between(levels.collect(), "sigma_min", "sigma_max")
    }
}

impl Default for LogLinear {
    fn default() -> Self {
        Self::new(100, 0.02, 10.0)
    }
}

impl Schedule for LogLinear {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

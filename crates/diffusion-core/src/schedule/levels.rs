//! A schedule from a list of noise levels.

use super::{Schedule, check_levels};
use crate::invalid::{Invalid, expect_valid};
use crate::path::{Path, VarianceExploding};

/// A schedule from the user's own list of noise levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels<P> {
    levels: Vec<f64>,
    path: P,
}

impl<P: Path + Default> Levels<P> {
    /// The schedule of `levels`, which must increase.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    pub fn new(levels: Vec<f64>) -> Self {
        Self::on(P::default(), levels)
    }
}

impl<P: Path> Levels<P> {
    /// The schedule of `levels`, which must increase, on `path`.
    ///
    /// # Panics
    /// If the list is empty, or a level is not larger than the one before, is larger than the path allows, or is one
    /// whose square f32 does not hold: one below 1e-15 or above 1e15.
    pub fn on(path: P, levels: Vec<f64>) -> Self {
        expect_valid(Self::validate(&path, &levels));
        Self { levels, path }
    }

    /// Whether `levels` make a schedule on `path`.
    ///
    /// # Errors
    /// Where [`on`](Self::on) would panic.
    pub fn validate(path: &P, levels: &[f64]) -> Result<(), Invalid> {
        check_levels(path, levels, "levels", "levels")
    }
}

impl<P: Path + Default> Levels<P> {
    /// The schedule of levels that follow from settings, of which `low` is to blame where one is too small and `high`
    /// where one is too large.
    pub(super) fn between(levels: Vec<f64>, low: &str, high: &str) -> Result<Self, Invalid> {
        let path = P::default();
        check_levels(&path, &levels, low, high)?;
        Ok(Self { levels, path })
    }
}

impl Levels<VarianceExploding> {
    /// The levels σ = √(1/∏(1−β) − 1) of a discrete diffusion with variances β (Ho et al. 2020, §2); an error names the
    /// setting `low` where a level is too small and `high` where one is too large.
    ///
    /// # Errors
    /// Where [`on`](Self::on) would panic.
    pub fn from_betas(betas: impl IntoIterator<Item = f64>, low: &str, high: &str) -> Result<Self, Invalid> {
        let log_alpha_bar = betas.into_iter().scan(0.0, |sum, beta| {
            *sum += f64::ln_1p(-beta);
            Some(*sum)
        });
        Self::between(log_alpha_bar.map(|l| (-l).exp_m1().sqrt()).collect(), low, high)
    }
}

impl<P: Path> Schedule for Levels<P> {
    type Path = P;

    fn path(&self) -> P {
        self.path.clone()
    }

    fn levels(&self) -> &[f64] {
        &self.levels
    }
}

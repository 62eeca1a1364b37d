//! A schedule from a list of noise levels.

use super::{Schedule, is_f32};
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
    /// If the list is empty, or a level is not positive, outside f32's range, larger than the path allows or not larger
    /// than the one before.
    pub fn on(path: P, levels: Vec<f64>) -> Self {
        expect_valid(Self::validate(&path, &levels));
        Self { levels, path }
    }

    /// Whether `levels` make a schedule on `path`.
    ///
    /// # Errors
    /// Where [`on`](Self::on) would panic.
    pub fn validate(path: &P, levels: &[f64]) -> Result<(), Invalid> {
        Invalid::unless(!levels.is_empty(), "levels", || "are 0 noise levels, expected at least 1".into())?;
        let mut before = 0.0;
        for (i, &level) in levels.iter().enumerate() {
            Invalid::unless(is_f32(level) && level > before && level <= path.max_sigma(), "levels", || {
                let most = path.max_sigma();
                format!(
                    "noise level {i} is {level}, expected a finite number above {before} and up to {most}"
                )
            })?;
            before = level;
        }
        Ok(())
    }
}

impl Levels<VarianceExploding> {
    /// The levels σ = √(1/∏(1−β) − 1) of a discrete diffusion with variances β (Ho et al. 2020, §2).
    pub(super) fn from_betas(betas: impl Iterator<Item = f64>) -> Self {
        let log_alpha_bar = betas.scan(0.0, |sum, beta| {
            *sum += f64::ln_1p(-beta);
            Some(*sum)
        });
        Self::new(log_alpha_bar.map(|l| (-l).exp_m1().sqrt()).collect())
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

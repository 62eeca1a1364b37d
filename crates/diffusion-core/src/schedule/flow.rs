//! Flow matching with evenly spaced times.

use super::sequence::linspace;
use super::{Levels, Schedule, Sigmas, check_count, check_ends};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Straight;

/// Flow matching with times σ drawn uniformly from a table between `t_min` and `t_max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow(Levels<Straight>);

impl Flow {
    /// `n` times evenly spaced from `t_min` to `t_max`.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the parameters.
    pub fn new(n: usize, t_min: f64, t_max: f64) -> Self {
        Self(expect_valid(Self::table(n, t_min, t_max)))
    }

    /// Whether these are times: 0 < `t_min` < `t_max` ≤ 1, and at least 2 of them.
    ///
    /// # Errors
    /// If they are not; the error says which one and why.
    pub fn validate(n: usize, t_min: f64, t_max: f64) -> Result<(), Invalid> {
        Self::table(n, t_min, t_max).map(drop)
    }

    fn table(n: usize, t_min: f64, t_max: f64) -> Result<Levels<Straight>, Invalid> {
        check_count(n)?;
        check_ends(n, [("t_min", t_min), ("t_max", t_max)])?;
        Invalid::unless(t_max <= 1.0, "t_max", || format!("is {t_max}, expected at most 1"))?;
        Levels::between(linspace(t_min, t_max, n), "t_min", "t_max")
    }

    /// The smallest and the largest time.
    pub(super) fn range(&self) -> (f64, f64) {
        let levels = self.levels();
        (levels[0], levels[levels.len() - 1])
    }
}

impl Default for Flow {
    /// 1000 times from 0.001 to 1, as in smalldiffusion.
    fn default() -> Self {
        Self::new(1000, 0.001, 1.0)
    }
}

impl Schedule for Flow {
    type Path = Straight;

    fn path(&self) -> Straight {
        Straight
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    /// `steps` times evenly spaced from `t_max` to `t_min`, and then 0.
    ///
    /// # Panics
    /// If `steps` is 0.
    fn sigmas(&self, steps: usize) -> Sigmas<Straight> {
        assert!(steps > 0, "sampling in 0 steps was asked for, expected at least 1");
        let (t_min, t_max) = self.range();
        Sigmas::new(linspace(t_max, t_min, steps).into_iter().chain([0.0]).collect())
    }
}

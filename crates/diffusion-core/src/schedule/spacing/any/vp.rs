//! Levels of the variance-preserving process at evenly spaced times.

use crate::invalid::Invalid;
use crate::precision::check_level;
use crate::schedule::sequence::linspace;
use crate::schedule::spacing::Spacing;
use serde::{Deserialize, Serialize};

/// `σ(t) = √(exp(β_d·t²/2 + β_min·t) − 1)` at times from 1 to ε, evenly spaced (Song et al. 2021, arXiv:2011.13456; Karras et al.
/// 2022, arXiv:2206.00364, Table 1, column VP).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vp {
    /// β_d, 19.9 in the paper.
    pub beta_d: f64,
    /// β_min, 0.1 in the paper.
    pub beta_min: f64,
    /// ε, the last time, 1e-3 in the paper.
    pub t_min: f64,
}

impl Default for Vp {
    fn default() -> Self {
        Self { beta_d: 19.9, beta_min: 0.1, t_min: 1e-3 }
    }
}

impl Vp {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// Unless both β are positive, the last time is in (0, 1), and f32 holds the levels.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (setting, found) in [("beta_d", self.beta_d), ("beta_min", self.beta_min)] {
            Invalid::unless(found > 0.0, setting, || format!("is {found}, expected a positive number"))?;
        }
        Invalid::unless(self.t_min > 0.0 && self.t_min < 1.0, "t_min", || {
            format!("is {}, expected a number between 0 and 1", self.t_min)
        })?;
        check_level("beta_d", self.level(1.0))?;
        check_level("t_min", self.level(self.t_min))
    }

    fn level(&self, t: f64) -> f64 {
        (self.beta_d * t * t / 2.0 + self.beta_min * t).exp_m1().sqrt()
    }
}

impl Spacing for Vp {
    fn levels(&self, _table: &[f64], steps: usize) -> Vec<f64> {
        linspace(1.0, self.t_min, steps).into_iter().map(|t| self.level(t)).collect()
    }
}

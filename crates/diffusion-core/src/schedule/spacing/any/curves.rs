//! Levels along a curve between the largest and the smallest: evenly spaced in a power or the logarithm of σ.

use crate::invalid::Invalid;
use crate::precision::check_level;
use crate::schedule::sequence::{karras, poly_exponential};
use crate::schedule::spacing::Spacing;
use serde::{Deserialize, Serialize};

/// Levels evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, eq. 5).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Karras {
    /// ρ: the larger, the more levels are small; 7 in the paper.
    pub rho: f64,
    /// The smallest level; that of training where it is not given. The paper has 0.002.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_min: Option<f64>,
    /// The largest level; that of training where it is not given. The paper has 80.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_max: Option<f64>,
}

/// Levels evenly spaced in ln σ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exponential {
    /// The smallest level; that of training where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_min: Option<f64>,
    /// The largest level; that of training where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_max: Option<f64>,
}

/// Levels whose logarithm is a polynomial: `ln σ = ln σmin + r^ρ·(ln σmax − ln σmin)` with r from 1 to 0, as in
/// k-diffusion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolyExponential {
    /// ρ: the larger, the more levels are small; with 1 this is [`Exponential`].
    pub rho: f64,
    /// The smallest level; that of training where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_min: Option<f64>,
    /// The largest level; that of training where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_max: Option<f64>,
}

impl Default for Karras {
    fn default() -> Self {
        Self { rho: 7.0, sigma_min: None, sigma_max: None }
    }
}

impl Default for PolyExponential {
    fn default() -> Self {
        Self { rho: 1.0, sigma_min: None, sigma_max: None }
    }
}

/// The ends of a curve over the levels of training.
fn ends(table: &[f64], sigma_min: Option<f64>, sigma_max: Option<f64>) -> [f64; 2] {
    [sigma_min.unwrap_or(table[0]), sigma_max.unwrap_or(table[table.len() - 1])]
}

fn check_ends(sigma_min: Option<f64>, sigma_max: Option<f64>) -> Result<(), Invalid> {
    for (setting, level) in [("sigma_min", sigma_min), ("sigma_max", sigma_max)] {
        level.map_or(Ok(()), |level| check_level(setting, level))?;
    }
    let (Some(min), Some(max)) = (sigma_min, sigma_max) else { return Ok(()) };
    Invalid::unless(min <= max, "sigma_min", || {
        format!("is {min}, expected at most sigma_max, which is {max}")
    })
}

fn check_rho(rho: f64) -> Result<(), Invalid> {
    Invalid::unless(rho > 0.0 && rho.is_finite(), "rho", || {
        format!("is {rho}, expected a positive number, e.g. 7")
    })
}

impl Karras {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// If ρ is not positive, or an end is none of a grid.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_rho(self.rho)?;
        check_ends(self.sigma_min, self.sigma_max)
    }
}

impl Exponential {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// If an end is none of a grid.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_ends(self.sigma_min, self.sigma_max)
    }
}

impl PolyExponential {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// If ρ is not positive, or an end is none of a grid.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_rho(self.rho)?;
        check_ends(self.sigma_min, self.sigma_max)
    }
}

impl Spacing for Karras {
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
        karras(steps, ends(table, self.sigma_min, self.sigma_max), self.rho)
    }
}

impl Spacing for Exponential {
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
        poly_exponential(steps, ends(table, self.sigma_min, self.sigma_max), 1.0)
    }
}

impl Spacing for PolyExponential {
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
        poly_exponential(steps, ends(table, self.sigma_min, self.sigma_max), self.rho)
    }
}

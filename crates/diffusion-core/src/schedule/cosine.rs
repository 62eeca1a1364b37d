//! Nichol and Dhariwal's cosine schedule.

use super::{Levels, Schedule, check_count};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;
use std::f64::consts::PI;

/// ᾱ(t) = cos²((t + 0.008)/1.008·π/2) with β at most `max_beta` (Nichol & Dhariwal 2021, arXiv:2102.09672,
/// eq. 17).
///
/// smalldiffusion's version takes two βs as well and ignores them; this one has no such arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Cosine(Levels<VarianceExploding>);

impl Cosine {
    /// The schedule of `n` levels; the parameters are those of [`Cosine`].
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the parameters.
    pub fn new(n: usize, max_beta: f64) -> Self {
        Self(expect_valid(Self::table(n, max_beta)))
    }

    /// Whether these parameters give an increasing list of finite noise levels.
    ///
    /// # Errors
    /// If they do not; the error says which one and why.
    pub fn validate(n: usize, max_beta: f64) -> Result<(), Invalid> {
        Self::table(n, max_beta).map(drop)
    }

    fn table(n: usize, max_beta: f64) -> Result<Levels<VarianceExploding>, Invalid> {
        check_count(n)?;
        Invalid::unless(max_beta > 0.0 && max_beta < 1.0, "max_beta", || {
            format!("is {max_beta:?}, expected a number above 0 and below 1")
        })?;
        let alpha_bar = |i: usize| ((i as f64 / n as f64 + 0.008) / 1.008 * PI / 2.0).cos().powi(2);
        let betas = (0..n).map(|i| (1.0 - alpha_bar(i + 1) / alpha_bar(i)).min(max_beta));
        Levels::from_betas(betas, "max_beta", "max_beta")
    }
}

impl Default for Cosine {
    fn default() -> Self {
        Self::new(1000, 0.999)
    }
}

impl Schedule for Cosine {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

//! Timesteps at the quantiles of a beta distribution.

use crate::invalid::Invalid;
use crate::schedule::spacing::{Spacing, level_at};
use serde::{Deserialize, Serialize};
use special::Beta as _;

/// Timesteps at the quantiles of the distribution Beta(α, β), which lie closer at both ends than in the middle (Lee et al. 2024,
/// arXiv:2407.12173).
///
/// The quantiles are places among the noise levels of training; diffusers takes σ itself at them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BetaQuantiles {
    /// α, 0.6 in the paper.
    pub alpha: f64,
    /// β, 0.6 in the paper.
    pub beta: f64,
}

impl Default for BetaQuantiles {
    fn default() -> Self {
        Self { alpha: 0.6, beta: 0.6 }
    }
}

impl BetaQuantiles {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// Unless α and β are from 0.01 to 100.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (setting, found) in [("alpha", self.alpha), ("beta", self.beta)] {
            Invalid::unless((0.01..=100.0).contains(&found), setting, || {
                format!("is {found}, expected 0.01 to 100, e.g. 0.6")
            })?;
        }
        Ok(())
    }

    /// The place in [0, 1] below which a share of `share` lies.
    fn quantile(&self, share: f64) -> f64 {
        let ln_beta = self.alpha.ln_beta(self.beta);
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if middle.inc_beta(self.alpha, self.beta, ln_beta) < share { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}

impl Spacing for BetaQuantiles {
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
        let last = (table.len() - 1) as f64;
        let at = |i: usize| if i == 0 { 1.0 } else { self.quantile(1.0 - i as f64 / steps as f64) };
        (0..steps).map(|i| level_at(table, last * at(i))).collect()
    }
}

//! Levels of training at evenly spaced timesteps.

use crate::invalid::{Invalid, MAX_SIZE};
use crate::schedule::spacing::Spacing;
use crate::schedule::trailing;
use serde::{Deserialize, Serialize};

/// The levels of training at evenly spaced timesteps, which are their places in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timesteps {
    /// How they are spaced.
    pub spacing: TimestepSpacing,
    /// What is added to leading timesteps; 1 in Stable Diffusion.
    pub offset: usize,
}

/// Which timesteps of N a run of S steps visits (Lin et al. 2023, arXiv:2305.08891, Table 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestepSpacing {
    /// ⌊N/S⌋·(S − 1, …, 1, 0): never the last one, so that a run begins with less noise than training had.
    Leading,
    /// round(N − i·N/S) − 1: always the last one.
    #[default]
    Trailing,
    /// From N − 1 to 0 in equal parts, rounded.
    Linspace,
}

impl TimestepSpacing {
    /// The timesteps of `steps` steps among `n`, decreasing.
    ///
    /// # Panics
    /// If `steps` is 0.
    pub fn timesteps(self, n: usize, steps: usize) -> Vec<usize> {
        let last = n - 1;
        match self {
            Self::Leading => (0..steps).rev().map(|i| n / steps * i).collect(),
            Self::Trailing => trailing(n, steps)[..steps].to_vec(),
            Self::Linspace => (0..steps)
                .map(|i| match steps {
                    1 => last,
                    _ => (last as f64 * ((steps - 1 - i) as f64 / (steps - 1) as f64)).round_ties_even()
                        as usize,
                })
                .collect(),
        }
    }
}

impl Timesteps {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// If the offset is no timestep.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless(self.offset <= MAX_SIZE, "offset", || {
            format!("is {}, expected at most {MAX_SIZE}", self.offset)
        })
    }
}

impl Spacing for Timesteps {
    fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
        let offset = if self.spacing == TimestepSpacing::Leading { self.offset } else { 0 };
        let at = |timestep: usize| table[timestep.saturating_add(offset).min(table.len() - 1)];
        self.spacing.timesteps(table.len(), steps).into_iter().map(at).collect()
    }
}

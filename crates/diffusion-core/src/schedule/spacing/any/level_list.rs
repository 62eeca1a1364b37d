//! Levels of the user's own.

use crate::invalid::Invalid;
use crate::schedule::sequence::linspace;
use crate::schedule::spacing::{Spacing, level_at};
use serde::{Deserialize, Serialize};

/// A list of noise levels, decreasing; for another number of steps it is interpolated evenly, linear in ln σ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelList {
    /// The levels at which the steps begin, without the 0 at the end.
    pub levels: Vec<f64>,
}

impl LevelList {
    /// Whether there is such a spacing.
    ///
    /// # Errors
    /// If there is no level, or one is not positive or not below the one before.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless(!self.levels.is_empty(), "levels", || {
            "are 0 noise levels, expected at least 1".into()
        })?;
        let mut before = f64::INFINITY;
        for (i, &level) in self.levels.iter().enumerate() {
            Invalid::unless(level > 0.0 && level < before, "levels", || {
                format!(
                    "have {level} as number {i}, expected a positive number below {before}, the one before it"
                )
            })?;
            before = level;
        }
        Ok(())
    }
}

impl Spacing for LevelList {
    fn levels(&self, _table: &[f64], steps: usize) -> Vec<f64> {
        if steps == self.levels.len() {
            return self.levels.clone();
        }
        let last = (self.levels.len() - 1) as f64;
        linspace(0.0, last, steps).into_iter().map(|place| level_at(&self.levels, place)).collect()
    }
}

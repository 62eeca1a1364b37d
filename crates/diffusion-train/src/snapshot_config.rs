//! When snapshots are made, and of what.

use crate::ema::config::check_width;
use diffusion_core::Invalid;
use serde::{Deserialize, Serialize};

/// That averages are kept in the course of a training, from which those of other widths can be had when it has ended
/// (Karras et al. 2024, arXiv:2312.02696, §3.2); see [`Snapshot`](crate::Snapshot).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotConfig {
    /// Steps from one to the next; there is one after the last step too.
    pub every: u64,
    /// The widths of the power-function averages that are kept, two or more; 0.05 and 0.1 by default, as in the paper.
    #[serde(default = "widths")]
    pub widths: Vec<f64>,
    /// How their values are stored.
    #[serde(default)]
    pub precision: SnapshotPrecision,
}

fn widths() -> Vec<f64> {
    vec![0.05, 0.1]
}

/// How the values of snapshots are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotPrecision {
    /// As the weights are, 4 bytes each.
    #[default]
    F32,
    /// In half of the room, with an error of up to 5e-4 of each value.
    F16,
}

impl SnapshotConfig {
    /// Snapshots of the paper's two averages after every so many steps.
    pub fn new(every: u64) -> Self {
        Self { every, widths: widths(), precision: SnapshotPrecision::default() }
    }

    /// Whether there is one after the step `step` of `steps`.
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        step.is_multiple_of(self.every) || step == steps
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless there is at least one step between two of them, and two different widths or more.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless(self.every > 0, "every", || "is 0, expected at least 1".into())?;
        for &width in &self.widths {
            check_width(width).map_err(|invalid| Invalid::new("widths", invalid.reason))?;
        }
        let differ = self.widths.iter().enumerate().all(|(i, width)| !self.widths[..i].contains(width));
        let reason = || format!("is {:?}, expected two different ones or more", self.widths);
        Invalid::unless(differ && self.widths.len() > 1, "widths", reason)
    }
}

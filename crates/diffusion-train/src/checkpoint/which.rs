//! Which checkpoint, and which of its weights.

use super::names::{EMA, RAW};

/// Which of a checkpoint's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Their exponential moving average (EMA), for sampling.
    #[default]
    Ema,
    /// Those that the optimizer works on.
    Raw,
}

impl Weights {
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Ema => EMA,
            Self::Raw => RAW,
        }
    }
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// The one with the most steps.
    #[default]
    Latest,
    /// The one with the lowest validation loss.
    Best,
    /// The one of this step.
    Step(u64),
}

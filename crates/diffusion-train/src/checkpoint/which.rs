//! Which checkpoint, and which of its weights.

use super::names::{EMA, RAW, file_of};
use std::borrow::Cow;

/// Which of a checkpoint's weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Their exponential moving average (EMA), for sampling.
    #[default]
    Ema,
    /// Those that the optimizer works on.
    Raw,
    /// A further average, by its name ([`TrainConfig::emas`](crate::TrainConfig::emas)).
    Named(String),
}

impl Weights {
    pub(super) fn file(&self) -> Cow<'static, str> {
        match self {
            Self::Ema => EMA.into(),
            Self::Raw => RAW.into(),
            Self::Named(name) => file_of(name).into(),
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

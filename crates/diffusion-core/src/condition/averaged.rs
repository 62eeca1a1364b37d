//! What a network is told that gives mean velocities.

use super::{Condition, ConditionFor, Labels, Tokens, Unconditional};
use crate::sigma::Sigma;

/// A condition, and the length of the way over which each example asks for the mean velocity: a network that was trained for
/// it (MeanFlow, Geng et al. 2025, arXiv:2505.13447) gives the mean of dx/dσ on the way of the flow from σ down to σ − `over`,
/// and dx/dσ at σ itself where that is 0.
///
/// ```
/// use diffusion_core::{Averaged, Condition, Labels, Sigma};
///
/// let half = Averaged { over: Sigma::Each(vec![0.5, 0.0]), condition: Labels(vec![3, 7]) };
/// half.check(2);
/// let whole = Averaged { over: Sigma::Each(vec![1.0]), condition: Labels(vec![1]) };
/// let expected = Averaged { over: Sigma::Each(vec![0.5, 0.0, 1.0]), condition: Labels(vec![3, 7, 1]) };
/// assert_eq!(half.join(whole), expected);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged<C> {
    /// The length of the way, in units of σ; at least 0, and at most σ.
    pub over: Sigma,
    /// What the network is told beside that.
    pub condition: C,
}

impl<C> Averaged<C> {
    /// The condition, which asks for the velocity where it is.
    pub fn at_once(condition: C) -> Self {
        Self { over: Sigma::All(0.0), condition }
    }
}

impl<C: Condition> Condition for Averaged<C> {
    /// # Panics
    /// If one has a length for all examples, and the other has not the same.
    fn join(self, other: Self) -> Self {
        let over = match (self.over, other.over) {
            (Sigma::Each(one), Sigma::Each(other)) => Sigma::Each([one, other].concat()),
            (one, other) if one == other => one,
            (one, other) => {
                panic!("the lengths {one:?} and {other:?} cannot be joined, expected one for each")
            }
        };
        Self { over, condition: self.condition.join(other.condition) }
    }

    fn check(&self, batch: usize) {
        if let Sigma::Each(over) = &self.over {
            assert_eq!(over.len(), batch, "lengths and examples differ in number");
        }
        self.condition.check(batch);
    }

    fn classes(&self) -> Option<&[usize]> {
        self.condition.classes()
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        let over = match &self.over {
            Sigma::Each(over) => Sigma::Each(rows.iter().map(|&row| over[row]).collect()),
            all => all.clone(),
        };
        Some(Self { over, condition: self.condition.rows(rows)? })
    }
}

impl<C: Unconditional> Unconditional for Averaged<C> {
    const NONE: Self = Self { over: Sigma::All(0.0), condition: C::NONE };
}

/// Each condition of a data set, for a network that is also asked for mean velocities.
macro_rules! conditions_for_averaged {
    ($($condition:ty),*) => {$(
        impl ConditionFor<Averaged<$condition>> for $condition {
            fn into_condition(self) -> Averaged<$condition> {
                Averaged::at_once(self)
            }
        }
    )*};
}

conditions_for_averaged!((), Labels, Tokens);

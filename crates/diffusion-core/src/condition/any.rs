//! A condition whose kind is known only while the program runs.

use super::{Averaged, Condition, ConditionFor, Labels, Tokens};
use std::error::Error;
use std::fmt;

/// A condition whose kind is chosen while the program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnyCondition {
    /// Nothing.
    #[default]
    None,
    /// One label per example.
    Labels(Labels),
    /// A sequence of vectors per example.
    Tokens(Tokens),
    /// Any of these, with a way over which the mean velocity is asked for.
    Averaged(Box<Averaged<AnyCondition>>),
}

impl AnyCondition {
    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "no condition",
            Self::Labels(_) => "labels",
            Self::Tokens(_) => "tokens",
            Self::Averaged(_) => "lengths of ways",
        }
    }

    /// The labels, if these are labels.
    pub fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Labels(labels) => Some(labels),
            Self::Averaged(averaged) => averaged.condition.labels(),
            Self::None | Self::Tokens(_) => None,
        }
    }

    /// The tokens, if these are tokens.
    pub fn tokens(&self) -> Option<&Tokens> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Averaged(averaged) => averaged.condition.tokens(),
            Self::None | Self::Labels(_) => None,
        }
    }
}

impl Condition for AnyCondition {
    /// # Panics
    /// If the two are of different kinds.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, Self::None) => Self::None,
            (Self::Labels(one), Self::Labels(other)) => Self::Labels(one.join(other)),
            (Self::Tokens(one), Self::Tokens(other)) => Self::Tokens(one.join(other)),
            (Self::Averaged(one), Self::Averaged(other)) => Self::Averaged(Box::new(one.join(*other))),
            (one, other) => panic!("{} and {} cannot be joined, expected one kind", one.kind(), other.kind()),
        }
    }

    fn check(&self, batch: usize) {
        match self {
            Self::None => {}
            Self::Labels(labels) => labels.check(batch),
            Self::Tokens(tokens) => tokens.check(batch),
            Self::Averaged(averaged) => averaged.check(batch),
        }
    }

    fn classes(&self) -> Option<&[usize]> {
        self.labels()?.classes()
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        Some(match self {
            Self::None => Self::None,
            Self::Labels(labels) => labels.rows(rows)?.into(),
            Self::Tokens(tokens) => tokens.rows(rows)?.into(),
            Self::Averaged(averaged) => Self::Averaged(Box::new(averaged.rows(rows)?)),
        })
    }
}

impl From<()> for AnyCondition {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl From<Labels> for AnyCondition {
    fn from(labels: Labels) -> Self {
        Self::Labels(labels)
    }
}

impl<C: Into<AnyCondition>> From<Averaged<C>> for AnyCondition {
    fn from(Averaged { over, condition }: Averaged<C>) -> Self {
        Self::Averaged(Box::new(Averaged { over, condition: condition.into() }))
    }
}

impl From<Tokens> for AnyCondition {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

/// A condition of another kind than the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind {
    /// The kind that was found, as [`AnyCondition::kind`] names it.
    pub found: &'static str,
    /// The kind that was expected.
    pub expected: &'static str,
}

impl fmt::Display for WrongKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, expected {}", self.found, self.expected)
    }
}

impl Error for WrongKind {}

/// The way back from [`AnyCondition`], which fails on one of another kind.
macro_rules! conditions_of_any {
    ($($condition:ty, $pattern:pat => $found:expr, $expected:literal;)*) => {$(
        impl TryFrom<AnyCondition> for $condition {
            type Error = WrongKind;

            fn try_from(condition: AnyCondition) -> Result<Self, WrongKind> {
                match condition {
                    $pattern => Ok($found),
                    other => Err(WrongKind { found: other.kind(), expected: $expected }),
                }
            }
        }
    )*};
}

conditions_of_any! {
    (), AnyCondition::None => (), "no condition";
    Labels, AnyCondition::Labels(labels) => labels, "labels";
    Tokens, AnyCondition::Tokens(tokens) => tokens, "tokens";
}

/// Each condition that [`AnyCondition`] holds, for a network that has it.
macro_rules! conditions_for_any {
    ($($condition:ty),*) => {$(
        impl ConditionFor<AnyCondition> for $condition {
            fn into_condition(self) -> AnyCondition {
                self.into()
            }
        }
    )*};
}

conditions_for_any!((), Labels, Tokens);

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    #[test]
    fn conditions_join_one_after_the_other() {
        let labels = |labels: &[usize]| AnyCondition::from(Labels(labels.to_vec()));
        assert_eq!(labels(&[1, 2]).join(labels(&[3])), labels(&[1, 2, 3]));
        let tokens = Tokens::new(vec![1.0, 2.0], [1, 2, 1]).join(Tokens::new(vec![3.0, 4.0], [1, 2, 1]));
        assert_eq!((tokens.shape(), tokens.values()), ([2, 2, 1], &[1.0, 2.0, 3.0, 4.0][..]));
        tokens.check(2);
        let tensor = tokens.tensor::<Flex>(&Default::default());
        assert_eq!(tensor.into_data(), TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2, 1]));
    }

    #[test]
    fn a_condition_of_any_kind_is_only_its_own() {
        let (labels, tokens) = (Labels(vec![1]), Tokens::new(vec![1.0], [1, 1, 1]));
        let wrong = |found, expected| WrongKind { found, expected };
        assert_eq!(Labels::try_from(AnyCondition::from(labels.clone())), Ok(labels.clone()));
        assert_eq!(Tokens::try_from(AnyCondition::from(tokens.clone())), Ok(tokens.clone()));
        assert_eq!(<()>::try_from(AnyCondition::None), Ok(()));
        let found = Labels::try_from(AnyCondition::from(tokens.clone()));
        assert_eq!(found, Err(wrong("tokens", "labels")));
        assert_eq!(Tokens::try_from(AnyCondition::None), Err(wrong("no condition", "tokens")));
        assert_eq!(<()>::try_from(AnyCondition::from(labels.clone())), Err(wrong("labels", "no condition")));
        assert_eq!(AnyCondition::from(tokens.clone()).tokens(), Some(&tokens));
        assert_eq!(AnyCondition::from(labels.clone()).tokens(), None);
        assert_eq!(AnyCondition::from(labels).classes(), Some(&[1][..]));
        assert_eq!(AnyCondition::from(tokens).classes(), None);
    }

    #[test]
    #[should_panic(expected = "labels and no condition cannot be joined, expected one kind")]
    fn kinds_do_not_mix() {
        let _ = AnyCondition::from(Labels(vec![1])).join(().into());
    }

    #[test]
    #[should_panic(expected = "tokens and examples differ in number")]
    fn tokens_of_another_batch_are_refused() {
        AnyCondition::from(Tokens::new(vec![1.0], [1, 1, 1])).check(2);
    }
}

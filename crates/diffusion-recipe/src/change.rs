//! One thing in which a run is otherwise than it was.

use std::fmt::{self, Display, Formatter};

/// One thing in which a run is otherwise than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path of the setting, or of what identifies the data, e.g. `training.lr` or `data.examples`.
    pub path: String,
    /// What it was and what it is, as the rest of a sentence, e.g. `0.001 -> 0.01`.
    pub what: String,
    /// Whether the steps that follow depend on it; how many they are, their validation and samples do not matter.
    pub decides: bool,
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.what)
    }
}

//! What can be wrong with a file of weights.

use crate::Dtype;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

/// How many tensors an error message lists before it only counts the rest.
const LISTED: usize = 1000;

/// How many keys an error message lists.
const KEYS: usize = 20;

/// How many characters of what is wrong with a file an error message has at most.
const REASON: usize = 500;

/// What can go wrong with tensors in a file, or with a state dict.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is readable, and something else than a state dict.
    #[error("{} is not a state dict: {reason}", path.display())]
    NotAStateDict {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// PyTorch would run code on reading the file. Nothing was run.
    #[error("{} would run `{global}`: not a state dict; refused", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The function or class, as `module.name`.
        global: String,
    },
    /// The file is cut off or damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// The file is as it was written, in a way that is not read here.
    #[error("{} cannot be read: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not read, and what to do.
        reason: String,
    },
    /// Several state dicts in the file are of the module's names and shapes.
    #[error("{} holds several state dicts that fit: {}", Origin(path.as_deref()), Keys(fitting))]
    Several {
        /// The file, if the tensors came from one.
        path: Option<PathBuf>,
        /// The path of keys to each, and how many tensors it has.
        fitting: Vec<(String, usize)>,
    },
    /// There are no tensors under the path of keys that was asked for.
    #[error("{} has no tensors under the key `{key}`; it has {}", Origin(path.as_deref()), Keys(found))]
    NoKey {
        /// The file, if the tensors came from one.
        path: Option<PathBuf>,
        /// What was asked for.
        key: String,
        /// The keys that there are, and how many tensors are under each.
        found: Vec<(String, usize)>,
    },
    /// No tensor has a name of the module's, and there are objects, one of which may be the model.
    #[error(
        "{} has no tensors of the network's names: it has {}, and objects of {}, of which nothing was run",
        Origin(path.as_deref()),
        Keys(found),
        objects.join(", ")
    )]
    NoneFits {
        /// The file, if the tensors came from one.
        path: Option<PathBuf>,
        /// The keys that there are, and how many tensors are under each.
        found: Vec<(String, usize)>,
        /// Some of the classes and functions that Python would run.
        objects: Vec<String>,
    },
    /// The tensors are not those of the module.
    #[error("{} does not fit the network{}: {}", Origin(path.as_deref()), Compared(key, others), List(problems))]
    Tensors {
        /// The file, if the state dict came from one.
        path: Option<PathBuf>,
        /// The path of keys to the tensors that were compared, which come closest; empty if they stand there by
        /// themselves.
        key: String,
        /// The paths to others that could have been meant, and how many tensors of the module's names each has.
        others: Vec<(String, usize)>,
        /// Everything that does not fit.
        problems: Vec<TensorProblem>,
    },
}

/// One tensor that does not fit the network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorProblem {
    /// The module has it, the state dict does not.
    #[error("tensor `{name}` of shape {shape:?} is missing")]
    Missing {
        /// Its name in the state dict.
        name: String,
        /// The shape that the module needs.
        shape: Vec<usize>,
    },
    /// The module has it, and something else stands in its place.
    #[error("`{name}` is {found}, expected a tensor")]
    NotATensor {
        /// Its name in the state dict.
        name: String,
        /// What it is.
        found: String,
    },
    /// The state dict has it, the module does not.
    #[error("tensor `{name}` of shape {shape:?} is not in the network")]
    Extra {
        /// Its name in the state dict.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Its shape is another one.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name in the state dict.
        name: String,
        /// The shape in the state dict.
        found: Vec<usize>,
        /// The shape that the module needs.
        expected: Vec<usize>,
    },
    /// Its elements are not floating-point.
    #[error("tensor `{name}` is {}, expected one of type {expected}", Kind(found))]
    Dtype {
        /// Its name in the state dict.
        name: String,
        /// The type in the state dict.
        found: Dtype,
        /// The types that would have been accepted.
        expected: &'static str,
    },
    /// One of its elements is infinite or NaN, or too large for f32.
    #[error("tensor `{name}` holds {value} at index {index}, expected finite values in the range of f32")]
    NotFinite {
        /// Its name in the state dict.
        name: String,
        /// The first such element.
        value: f32,
        /// Where it is, in the state dict's order.
        index: usize,
    },
    /// The module computes this tensor, and the state dict's is another one.
    #[error(
        "tensor `{name}` differs by up to {difference} from the one that the network computes, expected at most {allowed}"
    )]
    Buffer {
        /// Its name in the state dict.
        name: String,
        /// The largest difference.
        difference: f32,
        /// The largest difference that would have been accepted.
        allowed: f32,
    },
}

impl TensorProblem {
    /// The tensor's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name, .. }
            | Self::NotATensor { name, .. }
            | Self::Extra { name, .. }
            | Self::Shape { name, .. }
            | Self::Dtype { name, .. }
            | Self::NotFinite { name, .. }
            | Self::Buffer { name, .. } => name,
        }
    }

    /// The same of the tensor's name elsewhere.
    #[must_use]
    pub fn renamed(mut self, rename: impl FnOnce(&str) -> String) -> Self {
        match &mut self {
            Self::Missing { name, .. }
            | Self::NotATensor { name, .. }
            | Self::Extra { name, .. }
            | Self::Shape { name, .. }
            | Self::Dtype { name, .. }
            | Self::NotFinite { name, .. }
            | Self::Buffer { name, .. } => *name = rename(name),
        }
        self
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
    let path = path.to_path_buf();
    move |source| WeightsError::Io { action, path, source }
}

/// What is wrong with a file, said where its name does not matter.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(io::Error),
    NotAStateDict(String),
    Refused(String),
    Malformed(String),
    Unsupported(String),
}

impl Fault {
    /// The error about the file `path`.
    pub(crate) fn at(self, path: &Path) -> WeightsError {
        let path = path.to_path_buf();
        match self {
            Self::Read(source) => WeightsError::Io { action: "read", path, source },
            Self::NotAStateDict(reason) => WeightsError::NotAStateDict { path, reason: plain(&reason) },
            Self::Refused(global) => WeightsError::Refused { path, global },
            Self::Malformed(reason) => WeightsError::Malformed { path, reason: plain(&reason) },
            Self::Unsupported(reason) => WeightsError::Unsupported { path, reason: plain(&reason) },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// `Err(Malformed)` with a formatted reason.
pub(crate) fn malformed<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(reason.into()))
}

/// `Err(Unsupported)` with a formatted reason.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}

/// A number of things, e.g. "1 byte".
pub(crate) fn count(number: impl Display, thing: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A reason that may quote a file: without control characters, and not too long.
fn plain(reason: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = reason.chars().take(REASON).map(plain).collect();
    if reason.chars().nth(REASON).is_some() {
        shown.push('…');
    }
    shown
}

/// A name from a file as it can be shown: without control characters, and not too long.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name.escape_debug().take(200).collect();
    if name.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

/// The largest part of a file that is read as a whole: a header, an archive's directory, a pickle without its
/// tensors' values. 30,000 tensors fit.
pub(crate) const MAX_HEADER: u64 = 8 << 20;

struct Origin<'a>(Option<&'a Path>);

impl Display for Origin<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("the state dict"),
        }
    }
}

struct Keys<'a>(&'a [(String, usize)]);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, (key, count)) in self.0.iter().take(KEYS).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}`{}` ({})", shown(key), self::count(count, "tensor"))?;
        }
        match self.0.len().saturating_sub(KEYS) {
            0 if self.0.is_empty() => f.write_str("none"),
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Which tensors of a file were compared, where that is not plain.
struct Compared<'a>(&'a str, &'a [(String, usize)]);

impl Display for Compared<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(key, others) = self;
        match (if key.is_empty() { "." } else { key }, others) {
            (".", []) => Ok(()),
            (key, []) => write!(f, ", compared with its `{}`", shown(key)),
            (key, others) => {
                write!(f, ", compared with its `{}` rather than {}", shown(key), Keys(others))
            }
        }
    }
}

/// A type of elements, or what stands in the place of a tensor that has one.
struct Kind<'a>(&'a Dtype);

impl Display for Kind<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Dtype::Other(kind) if kind.starts_with("a ") => f.write_str(kind),
            dtype => write!(f, "of type {dtype}"),
        }
    }
}

struct List<'a>(&'a [TensorProblem]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(LISTED).enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundreds_of_problems_stay_readable() {
        let problem = |i| TensorProblem::Missing { name: format!("blocks.{i}"), shape: vec![2, 3] };
        let error = |n| WeightsError::Tensors {
            path: None,
            key: String::new(),
            others: Vec::new(),
            problems: (0..n).map(problem).collect(),
        };
        let text = error(1500).to_string();
        assert!(
            text.starts_with("the state dict does not fit the network: tensor `blocks.0` of shape [2, 3]")
        );
        assert!(text.contains("`blocks.999`") && !text.contains("`blocks.1000`"), "{text}");
        assert!(text.ends_with("; and 500 more"), "{text}");
        assert!(!error(1000).to_string().contains("more"));
    }
}

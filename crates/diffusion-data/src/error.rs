//! What can be wrong with the files or the settings of a data set: where, what was found, and what was expected.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    io,
    path::{Path, PathBuf},
};

use diffusion_core::{counted, watch::Stopped};
use diffusion_weights::{FileKind, WeightsError};

/// A data set that could not be opened.
///
/// The message is one sentence that also tells the cause, so that it needs no chain of sources to be understood; that of
/// [`Problem::Files`] has a line for each of them. What it quotes of a file is shortened, and shown without control
/// characters, as are names: files may come from anywhere.
#[derive(Debug)]
pub struct DataError {
    /// The file or folder, where there is one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub problem: Problem,
    hint: Option<&'static str>,
}

/// What is wrong with a file, a folder, or the data set that was made of them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The system cannot open or read it, or it is not the text that it should be.
    Io(io::Error),

    /// It begins as a file of some format does, but cannot be decoded.
    Decode {
        /// The format, with its article, e.g. `an image`.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },

    /// It lacks something.
    Missing {
        /// What was looked for.
        wanted: String,
        /// What is there instead, if that is worth telling: some names in alphabetical order.
        found: Vec<String>,
    },

    /// Its content is not what it should be.
    Format {
        /// What it has instead, as the rest of a sentence about it, e.g. `has 2 columns in line 4`.
        found: String,
        /// What was expected there.
        expected: String,
    },

    /// It is a folder, and several files in it cannot be read.
    Files {
        /// Why not, of each of the first ones.
        broken: Vec<DataError>,
        /// How many they are.
        count: u64,
    },

    /// It ends too early.
    Truncated {
        /// Its length in bytes, decompressed.
        found: u64,
        /// The length that its header promises, or the length of the header itself where that is cut.
        expected: u128,
    },

    /// It goes on after its end.
    TrailingBytes {
        /// The length that its header promises, in bytes, decompressed.
        expected: u128,
    },

    /// It is valid, but holds no value.
    Empty {
        /// What it holds, e.g. `0 images of 28 × 28 pixels`.
        found: String,
    },

    /// It takes more memory than it may, or than there is.
    TooLarge {
        /// What takes how much, as the rest of a sentence, e.g. `is longer than 3073 bytes`.
        found: String,
        /// The greatest number of bytes that is allowed, if that is what it exceeds; the memory that is free, if not.
        limit: Option<u64>,
    },

    /// A part of it has another shape than expected.
    Shape {
        /// The part, e.g. the name of a tensor.
        part: String,
        /// Its shape.
        found: Box<[usize]>,
        /// The shape that was expected, and why.
        expected: String,
    },

    /// A label names no class.
    Label {
        /// The example in this file, counted from 0.
        index: usize,
        /// Its label, wide enough for whatever integers a file may hold.
        found: i128,
        /// The number of classes.
        classes: usize,
    },

    /// It has other classes than those that a run began with.
    OtherClasses {
        /// The names of those that are new.
        appeared: Vec<String>,
        /// The names of those that are gone.
        vanished: Vec<String>,
    },

    /// A value is infinite or not a number.
    NonFinite {
        /// The example in this file, counted from 0.
        index: usize,
        /// The value's position in the example, in row-major order.
        position: usize,
        /// The value.
        found: f32,
    },

    /// It has more classes than the network.
    Classes {
        /// The number of its classes.
        found: usize,
        /// The number of the network's.
        expected: usize,
    },

    /// Who asked for it asked to stop.
    Stopped,

    /// A setting has a value that cannot be used.
    Invalid {
        /// The setting's name.
        setting: String,
        /// What was found there, and what was expected.
        reason: String,
    },
}

impl Problem {
    /// The same problem, as one of the file or folder at `path`.
    pub fn at(self, path: impl AsRef<Path>) -> DataError {
        let path = path.as_ref();
        DataError { path: Some(path.to_owned()), problem: self, hint: None }
    }

    /// The content is not as expected.
    pub(crate) fn format(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Format { found: found.into(), expected: expected.into() }
    }

    /// Another library cannot decode it. What that says may quote the file or end its line.
    pub(crate) fn decode(format: &'static str, source: impl Display) -> Self {
        Self::Decode { format, reason: plain(&shorten_to(500, source.to_string().trim_end())) }
    }

    /// Something is not there, and what is instead is not worth telling.
    pub(crate) fn missing(wanted: impl Into<String>) -> Self {
        Self::Missing { wanted: wanted.into(), found: Vec::new() }
    }

    /// A setting cannot be used.
    pub(crate) fn invalid(setting: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { setting: setting.to_owned(), reason: reason.into() }
    }
}

impl From<Problem> for DataError {
    /// A problem that is not one of a file.
    fn from(problem: Problem) -> Self {
        Self { path: None, problem, hint: None }
    }
}

impl From<Stopped> for DataError {
    fn from(_: Stopped) -> Self {
        Problem::Stopped.into()
    }
}

impl From<WeightsError> for DataError {
    fn from(error: WeightsError) -> Self {
        match error {
            WeightsError::Io { path, source, .. } => Problem::Io(source).at(&path),
            WeightsError::Malformed { path, reason } | WeightsError::NotAStateDict { path, reason } => {
                Problem::decode("a tensor file", reason).at(&path)
            }
            other => Problem::decode("a tensor file", other).into(),
        }
    }
}

impl DataError {
    /// The system's error about a file or folder, as an argument of `map_err`.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Problem::Io(source).at(path)
    }

    /// The file at `path` is of another kind than `expected`.
    pub(crate) fn of_kind(kind: &FileKind, expected: &str, path: &Path) -> Self {
        Self { hint: kind.cure(), ..Problem::format(kind.found(), expected).at(path) }
    }

    /// The same error, with what can be done about it.
    pub(crate) fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// What can be done about it, where that is not what the message says.
    pub fn hint(&self) -> Option<&str> {
        match &self.problem {
            _ if self.hint.is_some() => self.hint,
            Problem::Shape { part, .. } if part == EXAMPLES || part == TEXTS => {
                Some("change the network's sizes in the configuration, or choose other data")
            }
            Problem::NonFinite { .. } => Some("make the file anew, or take the example out of it"),
            Problem::Classes { .. } => Some("set the network's num_classes to the data's"),
            Problem::OtherClasses { .. } => Some(
                "bring the folders back, or begin a new run; with --set classes=[] the names are not compared, and labels may \
                 mean other classes",
            ),
            Problem::Files { broken, .. } => Some(match common_hint(broken) {
                Some(hint) => hint,
                None => "repair, convert or remove these files",
            }),
            _ => None,
        }
    }
}

/// How many names an error lists.
const NAMED: usize = 20;

/// The part of a data set whose shape the network decides.
pub(crate) const EXAMPLES: &str = "examples";
/// The part of it whose shape the network decides that is told texts.
pub(crate) const TEXTS: &str = "encoded texts";

impl Display for DataError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let place = match &self.path {
            Some(path) => plain(&path.display().to_string()),
            None => "the data set".to_owned(),
        };
        match &self.problem {
            Problem::Io(source) => write!(f, "cannot read {place}: {source}"),
            Problem::Decode { format, reason } => write!(f, "cannot decode {place} as {format}: {reason}"),
            Problem::Missing { wanted, found } if found.is_empty() => {
                write!(f, "found no {wanted} in {place}")
            }
            Problem::Missing { wanted, found } => {
                write!(f, "found no {wanted} in {place}, which has [{}]", found.join(", "))
            }
            Problem::Format { found, expected } => write!(f, "{place} {found}, expected {expected}"),
            Problem::Files { broken, count } => {
                write!(f, "{} in {place} cannot be read", counted(*count, "file"))?;
                write_files(f, broken)?;
                match count.saturating_sub(broken.len() as u64) {
                    0 => Ok(()),
                    more => write!(f, "\n  and {more} more"),
                }
            }
            Problem::Truncated { found, expected } => {
                write!(f, "{place} ends after {}, expected {expected}", counted(*found, "byte"))
            }
            Problem::TrailingBytes { expected } => {
                write!(f, "{place} goes on after {}, expected its end there", counted(*expected, "byte"))
            }
            Problem::Empty { found } => write!(f, "{place} holds {found}, expected at least one of each"),
            Problem::TooLarge { found, limit: Some(limit) } => {
                write!(f, "{place} {found}, expected at most {}", counted(*limit, "byte"))
            }
            Problem::TooLarge { found, limit: None } => {
                write!(f, "{place} {found}, expected so much memory to be free")
            }
            Problem::Shape { part, found, expected } => {
                write!(f, "{place} has {part} of shape {found:?}, expected {expected}")
            }
            Problem::Label { index, found, classes } => {
                let low = if *found < 0 { "of at least 0 and " } else { "" };
                write!(
                    f,
                    "{place} gives example {index} the label {found}, expected a label {low}below {classes}"
                )
            }
            Problem::NonFinite { index, position, found } => {
                write!(
                    f,
                    "{place} has {found} at value {position} of example {index}, expected a finite number"
                )
            }
            Problem::Classes { found, expected } => {
                write!(
                    f,
                    "{place} has {}, expected at most the network's {expected}",
                    counted(*found, "class")
                )
            }
            Problem::Stopped => write!(f, "reading {place} was stopped"),
            Problem::OtherClasses { appeared, vanished } => {
                let listed =
                    |names: &[String]| first_names(names.iter().map(String::as_str), NAMED).join(", ");
                write!(f, "{place} has other classes than the run began with")?;
                match (appeared.is_empty(), vanished.is_empty()) {
                    (true, true) => write!(f, ": the same names in another order"),
                    (false, true) => write!(f, ": [{}] appeared", listed(appeared)),
                    (true, false) => write!(f, ": [{}] vanished", listed(vanished)),
                    (false, false) => {
                        write!(f, ": [{}] appeared and [{}] vanished", listed(appeared), listed(vanished))
                    }
                }
            }
            Problem::Invalid { setting, reason } => write!(f, "{setting}: {reason}"),
        }
    }
}

impl std::error::Error for DataError {}

/// A line for each of several files: why it cannot be read, and what helps where that is not the same for all. What was
/// expected of several is said once, behind them.
fn write_files(f: &mut Formatter<'_>, broken: &[DataError]) -> fmt::Result {
    let mut expectations = BTreeMap::new();
    for error in broken {
        if let Problem::Format { expected, .. } = &error.problem {
            *expectations.entry(expected).or_insert(0) += 1;
        }
    }
    let has_common_hint = common_hint(broken).is_some();
    for error in broken {
        match (&error.path, &error.problem) {
            (Some(path), Problem::Format { found, expected }) if expectations[expected] > 1 => {
                write!(f, "\n  {} {found}", plain(&path.display().to_string()))?;
            }
            _ => write!(f, "\n  {error}")?,
        }
        if let Some(hint) = error.hint().filter(|_| !has_common_hint) {
            write!(f, "; {hint}")?;
        }
    }
    let mut several = expectations.iter().filter(|(_, times)| **times > 1);
    several.try_for_each(|(expected, _)| write!(f, "\n  each was expected to be {expected}"))
}

/// What helps all of these files, if that is known and the same.
fn common_hint(broken: &[DataError]) -> Option<&str> {
    let first = broken.first()?.hint()?;
    broken.iter().all(|error| error.hint() == Some(first)).then_some(first)
}

/// The first `n` of some names from a file, in alphabetical order, and an ellipsis if they are more.
pub(crate) fn first_names<'a>(names: impl Iterator<Item = &'a str>, n: usize) -> Vec<String> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let rest = (names.len() > n).then(|| "…".to_owned());
    names.into_iter().take(n).map(|name| plain(&shorten(name))).chain(rest).collect()
}

/// Enough of a text for an error message, however long the line of a hostile file may be.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(60, text)
}

/// A name from a file as it can be shown on a terminal.
pub(crate) fn shown(name: &str) -> String {
    plain(&shorten(name))
}

fn shorten_to(length: usize, text: &str) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without the characters that do something to a terminal instead of being shown there.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_place_and_both_values() {
        let path = Path::new("data/labels");
        let label = Problem::Label { index: 3, found: -1, classes: 10 }.at(path);
        let expected =
            "data/labels gives example 3 the label -1, expected a label of at least 0 and below 10";
        assert_eq!(label.to_string(), expected);
        let cut = Problem::Truncated { found: 3, expected: 8 }.at(path);
        assert_eq!(cut.to_string(), "data/labels ends after 3 bytes, expected 8");
        let shape = Problem::Shape { part: EXAMPLES.into(), found: [2].into(), expected: "[3]".into() };
        let shape = DataError::from(shape);
        assert_eq!(shape.to_string(), "the data set has examples of shape [2], expected [3]");
        let large = Problem::TooLarge { found: "is longer than 9 bytes".into(), limit: Some(9) }.at(path);
        assert_eq!(large.to_string(), "data/labels is longer than 9 bytes, expected at most 9 bytes");
        let missing = Problem::Missing { wanted: "dino".into(), found: vec!["star".into()] };
        assert_eq!(missing.at(path).to_string(), "found no dino in data/labels, which has [star]");
        assert_eq!(DataError::from(Problem::invalid("n", "0 points")).to_string(), "n: 0 points");
    }

    #[test]
    fn what_another_library_says_is_one_short_line() {
        assert_eq!(
            Problem::missing("image").at(Path::new("a\u{1b}[31m\n")).to_string(),
            "found no image in a\u{fffd}[31m\u{fffd}"
        );
        let reason = format!("\u{1b}[31m{}\n", "é".repeat(1000));
        let error = Problem::decode("an image", reason).at(Path::new("a.png")).to_string();
        assert!(error.starts_with("cannot decode a.png as an image: \u{fffd}[31m"), "{error}");
        assert!(error.ends_with("é…") && error.chars().count() < 600, "{error}");
    }

    #[test]
    fn only_some_problems_have_a_hint() {
        assert!(DataError::from(Problem::Classes { found: 10, expected: 5 }).hint().is_some());
        let error = DataError::from(Problem::TrailingBytes { expected: 5 });
        assert_eq!(error.hint(), None);
        assert_eq!(error.with_hint("buy it").hint(), Some("buy it"));
    }
}

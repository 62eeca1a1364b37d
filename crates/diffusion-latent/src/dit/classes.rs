//! What classes are called.

use crate::error::LatentError;
use crate::folder::Folder;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How many names are named that are near to an unknown one.
const NEAR: usize = 3;

/// How much of an unknown name is compared.
const LONGEST: usize = 100;

/// The names of classes, of which one may have several.
///
/// ```
/// use diffusion_latent::dit::ClassNames;
///
/// let names = ClassNames::new([(0, "tench, Tinca tinca"), (1, "goldfish")]);
/// assert_eq!((names.label("Tinca tinca"), names.label("goldfish"), names.label("cat")), (Some(0), Some(1), None));
/// assert_eq!(names.name(0), Some("tench, Tinca tinca"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassNames {
    names: BTreeMap<usize, String>,
    labels: BTreeMap<String, usize>,
}

impl ClassNames {
    /// The names of classes; commas stand between several of one. Of classes with the same name, the last has it.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = (usize, N)>) -> Self {
        let names: BTreeMap<_, String> =
            names.into_iter().map(|(label, name)| (label, name.into())).collect();
        let each = |(&label, names): (&usize, &String)| {
            names.split(',').map(|name| (name.trim().to_string(), label)).collect::<Vec<_>>()
        };
        let labels = names.iter().flat_map(each).collect();
        Self { names, labels }
    }

    /// The names in a folder's `model_index.json`, none if it has none.
    ///
    /// # Errors
    /// If `id2label` is there and is not an object of texts by whole numbers.
    pub fn of(folder: &Folder) -> Result<Self, LatentError> {
        let Some((index, found)) = folder.index().and_then(|index| Some((index, index.get("id2label")?)))
        else {
            return Ok(Self::default());
        };
        let named = |(label, name): (&String, &serde_json::Value)| {
            Some((label.parse::<usize>().ok()?, name.as_str()?.to_string()))
        };
        let names = found.as_object().and_then(|names| names.iter().map(named).collect::<Option<Vec<_>>>());
        names.map(Self::new).ok_or_else(|| index.unsupported("id2label", "names by numbers of classes"))
    }

    /// The label of the class of this name.
    pub fn label(&self, name: &str) -> Option<usize> {
        self.labels.get(name.trim()).copied()
    }

    /// The label of one of `classes` classes by one of its names, by all of them as they were given, or by its number; a
    /// name comes before a number.
    ///
    /// # Errors
    /// If there is no such class: what was found and what was expected, with the names that are near.
    pub fn find(&self, text: &str, classes: usize) -> Result<usize, String> {
        let text = text.trim();
        let by_all = || self.names.iter().find(|(_, names)| names.as_str() == text).map(|(&label, _)| label);
        let by_number = || text.parse().ok();
        let found = self.label(text).or_else(by_all).or_else(by_number).filter(|&label| label < classes);
        found.ok_or_else(|| {
            let last = classes.saturating_sub(1);
            let near: Vec<String> = self.near(text).map(|name| format!("`{name}`")).collect();
            let names = match (self.labels.is_empty(), near.is_empty()) {
                (true, _) => String::new(),
                (false, true) => ", or by its name".to_string(),
                (false, false) => format!(", or by its name, as {}", near.join(", ")),
            };
            format!("is `{text}`, expected a class by its number, 0 to {last}{names}")
        })
    }

    /// The names that are near to a text: those with most of its words, or words like them, and of these those of the fewest
    /// changes.
    fn near(&self, text: &str) -> impl Iterator<Item = &str> {
        let text: String = text.to_lowercase().chars().take(LONGEST).collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let distance = |name: &str| {
            let name = name.to_lowercase();
            let is_among = |word: &str| words.iter().any(|other| is_like(word, other));
            let shared = name.split([' ', '-']).filter(|word| is_among(word)).count();
            (shared > 0 || is_like(&text, &name)).then(|| (Reverse(shared), changes(&text, &name)))
        };
        let near = |name| Some((distance(name)?, name));
        let mut names: Vec<_> = self.labels.keys().filter_map(|name| near(name.as_str())).collect();
        names.sort();
        names.into_iter().take(NEAR).map(|(_, name)| name)
    }

    /// All names of a class, with commas between them.
    pub fn name(&self, label: usize) -> Option<&str> {
        self.names.get(&label).map(String::as_str)
    }

    /// Each name with its label, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.labels.iter().map(|(name, &label)| (name.as_str(), label))
    }
}

/// Whether two texts differ in at most a third of their characters.
fn is_like(text: &str, other: &str) -> bool {
    3 * changes(text, other) <= text.chars().count().max(other.chars().count())
}

/// How many characters have to be added, left out or replaced to make one text of another (Levenshtein 1966).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut above = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = above + usize::from(a != *b);
            above = row[j + 1];
            row[j + 1] = replaced.min(above + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

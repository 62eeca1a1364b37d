//! What classes are called.

use crate::error::LatentError;
use crate::folder::Folder;
use std::collections::BTreeMap;

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

    /// All names of a class, with commas between them.
    pub fn name(&self, label: usize) -> Option<&str> {
        self.names.get(&label).map(String::as_str)
    }

    /// Each name with its label, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.labels.iter().map(|(name, &label)| (name.as_str(), label))
    }
}

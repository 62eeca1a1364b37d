//! The index of a model in several files: which of them has which tensor.

use super::part::{Part, open, read};
use super::view::View;
use crate::error::{Fault, MAX_HEADER, WeightsError, malformed, shown};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Formatter};
use std::path::Path;

/// Files, and each tensor with the number of its file.
type Opened = (Vec<Part>, BTreeMap<String, (usize, View)>);

/// Opens the files that the index `path` names; tensors in them that it does not name are left out.
pub(super) fn open_all(path: &Path) -> Result<Opened, WeightsError> {
    let map = read_index(path)?;
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, file) in &map {
        names.entry(file).or_default().push(tensor);
    }
    let (mut parts, mut tensors) = (Vec::new(), BTreeMap::new());
    for (file, of_file) in names {
        let shard = path.with_file_name(file);
        let source = open(&shard)?;
        let mut found = read(&source).map_err(|fault| fault.at(&shard))?;
        for name in of_file {
            let Some(view) = found.tensors.remove(name) else {
                let reason = format!("it has no tensor `{}`, which its index says it has", shown(name));
                return Err(Fault::Malformed(reason).at(&shard));
            };
            tensors.insert(name.to_string(), (parts.len(), view));
        }
        parts.push(Part { path: shard, source });
    }
    Ok((parts, tensors))
}

/// The file of each tensor.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let source = open(path)?;
    let read = || {
        if source.len() > MAX_HEADER {
            return malformed(format!("it has {} bytes, expected at most {MAX_HEADER}", source.len()));
        }
        let text = source.head(MAX_HEADER as usize)?;
        let Index { weight_map: Files(map) } = serde_json::from_slice(&text)
            .map_err(|error| Fault::Malformed(format!("it cannot be understood as an index: {error}")))?;
        // Only plain names: a file elsewhere is none of the model's.
        match map
            .values()
            .find(|file| file.contains(['/', '\\', ':']) || file.starts_with('.') || file.is_empty())
        {
            Some(file) => malformed(format!("it names the file `{}`, expected one beside it", shown(file))),
            None => Ok(map),
        }
    };
    read().map_err(|fault| fault.at(path))
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: Files,
}

/// A map in which no name stands twice.
struct Files(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Files;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files, A::Error> {
                let mut files = BTreeMap::new();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    match files.entry(tensor) {
                        Entry::Vacant(place) => drop(place.insert(file)),
                        Entry::Occupied(place) => {
                            let name = shown(place.key());
                            return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
                        }
                    }
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

//! Reading the settings of a part as diffusers writes them.
//!
//! A key that is missing or null has the default of diffusers' class, not one of ours; unknown keys are passed over; a
//! key that is known and has a value that is not supported is an error.

use crate::error::LatentError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The settings in a JSON file.
#[derive(Clone, Debug)]
pub struct Settings {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no JSON object.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LatentError> {
        let path = path.as_ref().to_path_buf();
        let bytes = match diffusion_weights::read_regular(&path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(source) => return Err(LatentError::Io { path, source }),
        };
        match serde_json::from_slice(&without_python_numbers(bytes)) {
            Ok(values) => Ok(Self { path, values }),
            Err(error) => Err(LatentError::Malformed { path, reason: format!("no JSON object: {error}") }),
        }
    }

    /// Settings that no file states; `path` is what errors name.
    pub(crate) fn of(path: &Path, values: Map<String, Value>) -> Self {
        Self { path: path.to_path_buf(), values }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A value, if there is one that is not null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A value that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Refuses a key whose value is not one of `supported`, each a piece of JSON; one that is missing or null passes.
    ///
    /// # Errors
    /// Names the key, its value and the file.
    pub fn expect(&self, key: &str, supported: &[&str]) -> Result<(), LatentError> {
        let Some(found) = self.get(key) else { return Ok(()) };
        let is_supported =
            |text: &&str| serde_json::from_str::<Value>(text).is_ok_and(|value| same(&value, found));
        match supported.iter().any(is_supported) {
            true => Ok(()),
            false => Err(self.unsupported(key, supported.join(" or "))),
        }
    }

    /// The error that `key` has not a value that is `expected`.
    pub fn unsupported(&self, key: &str, expected: impl Into<String>) -> LatentError {
        let found = self.values.get(key).map_or("missing".to_string(), Value::to_string);
        LatentError::Setting {
            path: self.path.clone(),
            key: key.to_string(),
            found,
            expected: expected.into(),
        }
    }

    /// The settings as a structure, whose `Default` is that of diffusers' class.
    ///
    /// # Errors
    /// If a value is of another type than the structure's.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, LatentError> {
        let values = self.values.iter().filter(|(_, value)| !value.is_null());
        let values: Map<_, _> = values.map(|(key, value)| (key.clone(), value.clone())).collect();
        serde_json::from_value(Value::Object(values))
            .map_err(|error| LatentError::Malformed { path: self.path.clone(), reason: error.to_string() })
    }
}

/// Python writes numbers that JSON has not, as diffusers does `"lambda_min_clipped": -Infinity`: they become null, which
/// stands for the default.
fn without_python_numbers(text: Vec<u8>) -> Vec<u8> {
    const NUMBERS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let (mut kept, mut rest, mut in_text) = (Vec::with_capacity(text.len()), &text[..], false);
    while let Some((&byte, after)) = rest.split_first() {
        let number = NUMBERS.iter().find(|number| !in_text && rest.starts_with(number));
        if let Some(number) = number {
            kept.extend(b"null");
            rest = &rest[number.len()..];
            continue;
        }
        // A backslash takes the byte behind it along, so that a quotation mark there ends nothing.
        let taken = if in_text && byte == b'\\' { rest.len().min(2) } else { 1 };
        in_text ^= byte == b'"';
        kept.extend(&rest[..taken]);
        rest = if taken == 2 { &after[1..] } else { after };
    }
    kept
}

/// The largest file of settings that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Whether two values are equal, 1 and 1.0 being the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// One value for all levels of a network, or one for each.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same for all.
    All(usize),
    /// From the level with the largest images to that with the smallest.
    Each(Vec<usize>),
}

impl PerLevel {
    /// The value of a level.
    ///
    /// # Panics
    /// If there are values of each level, and none of this one.
    pub fn at(&self, level: usize) -> usize {
        match self {
            Self::All(value) => *value,
            Self::Each(values) => values[level],
        }
    }

    /// Whether there is a value of each of `levels` levels, all of them positive.
    pub fn is_for(&self, levels: usize) -> bool {
        match self {
            Self::All(value) => *value > 0,
            Self::Each(values) => values.len() == levels && values.iter().all(|&value| value > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_python_are_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let text = r#"{"low": -Infinity, "high": [Infinity, NaN], "text": "a \\\" NaN", "end\\": "Infinity", "x": NaN}"#;
        std::fs::write(&path, text).unwrap();
        let settings = Settings::read(&path).unwrap();
        assert_eq!((settings.get("low"), settings.get("x")), (None, None));
        assert_eq!(settings.get("high").unwrap().to_string(), "[null,null]");
        assert_eq!((settings.text("text"), settings.text("end\\")), (Some("a \\\" NaN"), Some("Infinity")));
    }
}

//! A tokenizer's files.

use crate::config::Settings;
use crate::error::LatentError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What is in a tokenizer's folder, in either way of storing.
pub(super) struct Stored {
    /// The ids of all tokens.
    pub(super) vocabulary: HashMap<String, usize>,
    /// Pairs that become one token, in the order of their rank.
    pub(super) merges: Vec<[String; 2]>,
    /// The file that has the pairs.
    pub(super) merges_file: PathBuf,
    /// Tokens that are cut out before words are.
    pub(super) added: Vec<Added>,
    settings: Settings,
    /// Start, end, unknown and pad, each with the file that says so.
    special: [(String, PathBuf); 4],
}

/// A token that is found wherever it stands.
#[derive(Clone, Debug)]
pub(super) struct Added {
    /// Its text.
    pub(super) content: String,
    /// Its id.
    pub(super) id: usize,
    /// Whether it is looked for in normalized text.
    pub(super) is_normalized: bool,
}

/// Start, end, unknown and pad, with the values of `CLIPTokenizer`.
const SPECIAL: [(&str, &str); 4] = [
    ("bos_token", "<|startoftext|>"),
    ("eos_token", "<|endoftext|>"),
    ("unk_token", "<|endoftext|>"),
    ("pad_token", "<|endoftext|>"),
];

/// The length where a folder does not say it.
const LENGTH: usize = 77;
/// A length that no text encoder has.
const MAX_LENGTH: usize = 1 << 16;
/// The largest list of pairs that is read.
const MAX_BYTES: u64 = 64 << 20;

impl Stored {
    /// Reads a folder.
    pub(super) fn read(folder: &Path) -> Result<Self, LatentError> {
        let file = |name: &str| folder.join(name);
        let read = |path: PathBuf| if path.exists() { Settings::read(path).map(Some) } else { Ok(None) };
        let stated = read(file("tokenizer_config.json"))?;
        let map = read(file("special_tokens_map.json"))?;
        let mut added = Vec::new();
        let (vocabulary, merges, merges_file) = if file("vocab.json").exists() {
            let merges = file("merges.txt");
            (Settings::read(file("vocab.json"))?.parse()?, lines(&merges)?, merges)
        } else if file("tokenizer.json").exists() {
            let path = file("tokenizer.json");
            let (vocabulary, merges, others) = joined(&Settings::read(&path)?)?;
            added = others;
            (vocabulary, merges, path)
        } else {
            let part = "`vocab.json` with `merges.txt`, or `tokenizer.json`".to_string();
            return Err(LatentError::NoPart { folder: folder.to_path_buf(), part, found: Vec::new() });
        };
        // What no file says is told of the file that is there.
        let settings = stated.unwrap_or_else(|| Settings::of(&merges_file, Map::new()));
        added.splice(0..0, listed(&settings)?);
        let sources: Vec<&Settings> = map.iter().chain([&settings]).collect();
        let mut special = SPECIAL.map(|(_, content)| (content.to_string(), settings.path().to_path_buf()));
        for ((key, _), special) in SPECIAL.iter().zip(&mut special) {
            let mut is_normalized = false;
            if let Some((source, value)) = sources.iter().find_map(|source| Some((source, source.get(key)?)))
            {
                is_normalized = value.get("normalized").and_then(Value::as_bool).unwrap_or(false);
                let content = value.get("content").unwrap_or(value).as_str();
                let content = content.ok_or_else(|| source.unsupported(key, "a token"))?.to_string();
                *special = (content, source.path().to_path_buf());
            }
            if let Some(&id) = vocabulary.get(&special.0) {
                added.push(Added { content: special.0.clone(), id, is_normalized });
            }
        }
        // A token's mere name says nothing of how it is looked for: its own settings, elsewhere, come first.
        added.sort_by_key(|added| !added.is_normalized);
        let mut seen: Vec<String> = vec![String::new()];
        added.retain(|added| {
            !seen.contains(&added.content) && {
                seen.push(added.content.clone());
                true
            }
        });
        Ok(Self { vocabulary, merges, merges_file, added, settings, special })
    }

    /// The ids of start, end, unknown and pad.
    pub(super) fn special_ids(&self) -> Result<[usize; 4], LatentError> {
        let mut ids = [0; 4];
        for ((token, path), id) in self.special.iter().zip(&mut ids) {
            let added = self.added.iter().find(|added| added.content == *token).map(|added| added.id);
            *id = added.or(self.vocabulary.get(token).copied()).ok_or_else(|| LatentError::Malformed {
                path: path.clone(),
                reason: format!("the token `{token}` is not in the vocabulary"),
            })?;
        }
        Ok(ids)
    }

    /// The number of ids of a text.
    pub(super) fn length(&self) -> Result<usize, LatentError> {
        let Some(value) = self.settings.get("model_max_length") else { return Ok(LENGTH) };
        // Which may be 1e30, for "none".
        match value.as_f64() {
            Some(length) if length >= 2.0 => Ok(length.min(MAX_LENGTH as f64) as usize),
            _ => Err(self.settings.unsupported("model_max_length", "2 or more")),
        }
    }
}

/// The pairs in a `merges.txt`, one a line, behind its version.
fn lines(path: &Path) -> Result<Vec<[String; 2]>, LatentError> {
    let malformed = |reason| LatentError::Malformed { path: path.to_path_buf(), reason };
    let bytes = diffusion_weights::read_regular(path, MAX_BYTES)
        .map_err(|source| LatentError::Io { path: path.to_path_buf(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| malformed(format!("no text: {error}")))?;
    let pairs =
        text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    let pair = |(at, line): (usize, &str)| {
        pair(line).ok_or_else(|| malformed(format!("line {} is no pair of tokens: {line:?}", at + 1)))
    };
    pairs.map(pair).collect()
}

/// The two tokens in `a b`.
fn pair(text: &str) -> Option<[String; 2]> {
    let (first, second) = text.split_once(' ')?;
    let is_pair = !first.is_empty() && !second.is_empty() && !second.contains(' ');
    is_pair.then(|| [first.to_string(), second.to_string()])
}

/// An added token in either list.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    id: usize,
    content: String,
    #[serde(default)]
    normalized: bool,
}

impl From<Listed> for Added {
    fn from(Listed { id, content, normalized }: Listed) -> Self {
        Self { content, id, is_normalized: normalized }
    }
}

/// The added tokens of a `tokenizer_config.json`, by their id.
fn listed(settings: &Settings) -> Result<Vec<Added>, LatentError> {
    let Some(tokens) = settings.get("added_tokens_decoder") else { return Ok(Vec::new()) };
    let wrong = || settings.unsupported("added_tokens_decoder", "tokens by their ids");
    let tokens: HashMap<usize, Listed> = of_value(tokens).ok_or_else(wrong)?;
    Ok(tokens.into_iter().map(|(id, token)| Listed { id, ..token }.into()).collect())
}

/// Vocabulary, pairs and added tokens in a `tokenizer.json`.
#[expect(clippy::type_complexity)]
fn joined(
    settings: &Settings,
) -> Result<(HashMap<String, usize>, Vec<[String; 2]>, Vec<Added>), LatentError> {
    #[derive(Deserialize)]
    struct Model {
        #[serde(default)]
        end_of_word_suffix: Option<String>,
        vocab: HashMap<String, usize>,
        merges: Vec<Pair>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Pair {
        Apart([String; 2]),
        Line(String),
    }
    #[derive(Deserialize)]
    struct Whole {
        model: Model,
        #[serde(default)]
        added_tokens: Vec<Listed>,
    }
    let Whole { model, added_tokens } = settings.parse()?;
    let malformed = |reason| LatentError::Malformed { path: settings.path().to_path_buf(), reason };
    if model.end_of_word_suffix.as_deref() != Some("</w>") {
        return Err(malformed("not of CLIP: tokens that end a word do not end in </w>".to_string()));
    }
    let pairs = model.merges.into_iter().map(|found| match found {
        Pair::Apart(pair) => Ok(pair),
        Pair::Line(line) => pair(&line).ok_or_else(|| malformed(format!("no pair of tokens: {line:?}"))),
    });
    Ok((model.vocab, pairs.collect::<Result<_, _>>()?, added_tokens.into_iter().map(Added::from).collect()))
}

/// A value as a structure, if it is one.
fn of_value<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

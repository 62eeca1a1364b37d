//! The tokenizer of CLIP (Radford et al. 2021, arXiv:2103.00020): from prompts to the numbers of their tokens.
//!
//! A byte-level pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of text in lower case. Equal to the fast tokenizer
//! of transformers, id by id.

mod pairs;
mod stored;

use crate::error::LatentError;
use pairs::Pairs;
use regex::Regex;
use std::path::Path;
use stored::{Added, Stored};
use unicode_normalization::UnicodeNormalization;

/// Turns prompts into the ids of their tokens, all of one length.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pairs: Pairs,
    added: Vec<Added>,
    start: usize,
    end: usize,
    pad: usize,
    length: usize,
    words: Regex,
}

/// What became of prompts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Per prompt, as many ids as the tokenizer's [`length`](Tokenizer::length).
    pub ids: Vec<Vec<usize>>,
    /// Per prompt, its end that did not fit, if there is one: in lower case, and words apart.
    pub cut: Vec<Option<String>>,
}

impl Tokenizer {
    /// Opens a tokenizer's folder, which has `vocab.json` and `merges.txt`, or `tokenizer.json`; and perhaps settings in
    /// `tokenizer_config.json` and `special_tokens_map.json`, of which the latter has precedence. What neither says is as
    /// in transformers' `CLIPTokenizer`: prompts have 77 ids, and `<|endoftext|>` fills them up.
    ///
    /// # Errors
    /// If the tokens are missing, or a file is not what it should be; names the file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LatentError> {
        let stored = Stored::read(folder.as_ref())?;
        let [start, end, unknown, pad] = stored.special_ids()?;
        let words = Regex::new(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+");
        Ok(Self {
            length: stored.length()?,
            words: words.expect("the expression is valid"),
            added: stored.added.iter().map(normalized_content).collect(),
            pairs: Pairs::new(stored.vocabulary, &stored.merges, unknown)
                .map_err(|reason| LatentError::Malformed { path: stored.merges_file, reason })?,
            start,
            end,
            pad,
        })
    }

    /// The same with another number of ids per prompt.
    ///
    /// # Panics
    /// If it is below 2, which start and end need.
    #[must_use]
    pub fn with_length(self, length: usize) -> Self {
        assert!(length >= 2, "{length} tokens have no room for start and end");
        Self { length, ..self }
    }

    /// The same, which fills prompts up with another id. As in transformers its token is found in prompts wherever it
    /// stands, and the one that it takes the place of no longer is.
    #[must_use]
    pub fn with_pad(mut self, pad: usize) -> Self {
        let (before, ends) = (self.pad, [self.start, self.end]);
        if before != pad && !ends.contains(&before) {
            self.added.retain(|added| added.id != before);
        }
        if !self.added.iter().any(|added| added.id == pad)
            && let Some(content) = self.pairs.token(pad)
        {
            self.added.push(Added { content: content.to_string(), id: pad, is_normalized: false });
        }
        Self { pad, ..self }
    }

    /// The number of ids per prompt, start and end included.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The id that prompts begin with.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The id that prompts end with.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The id that short prompts are filled up with.
    pub fn pad(&self) -> usize {
        self.pad
    }

    /// The largest id.
    pub fn max_id(&self) -> usize {
        let added = self.added.iter().map(|added| added.id).max().unwrap_or(0);
        added.max(self.pairs.max_id())
    }

    /// The ids of prompts: start, words, end, and what fills them up. What does not fit is cut, and told.
    pub fn encode(&self, prompts: &[&str]) -> Encoded {
        let (ids, cut) = prompts.iter().map(|prompt| self.encode_one(prompt)).unzip();
        Encoded { ids, cut }
    }

    fn encode_one(&self, prompt: &str) -> (Vec<usize>, Option<String>) {
        let mut ids = vec![self.start];
        ids.extend(self.ids(prompt));
        let cut = (ids.len() > self.length - 1).then(|| self.text(&ids.split_off(self.length - 1)));
        ids.push(self.end);
        ids.resize(self.length, self.pad);
        (ids, cut)
    }

    /// The ids of a text, without start and end.
    fn ids(&self, text: &str) -> Vec<usize> {
        let mut ids = Vec::new();
        for piece in split(text, &self.added, false) {
            match piece {
                Piece::Added(id) => ids.push(id),
                Piece::Text(text) => self.push_normalized(&normalized(text), &mut ids),
            }
        }
        ids
    }

    fn push_normalized(&self, text: &str, ids: &mut Vec<usize>) {
        for piece in split(text, &self.added, true) {
            match piece {
                Piece::Added(id) => ids.push(id),
                Piece::Text(text) => {
                    self.words.find_iter(text).for_each(|word| self.pairs.push_word(word.as_str(), ids));
                }
            }
        }
    }

    /// The text of ids.
    fn text(&self, ids: &[usize]) -> String {
        let added = |id| self.added.iter().find(|added| added.id == id).map(|added| added.content.as_str());
        self.pairs.text(ids, added)
    }
}

/// Composed, and each character by itself in lower case: a sigma that ends a word becomes none of its own. White space is
/// part of no word, so that runs of it need not become one.
fn normalized(text: &str) -> String {
    text.nfc().flat_map(char::to_lowercase).collect()
}

/// An added token that is looked for in normalized text is normalized itself.
fn normalized_content(added: &Added) -> Added {
    let content = if added.is_normalized { normalized(&added.content) } else { added.content.clone() };
    Added { content, ..*added }
}

/// A part of a text.
enum Piece<'a> {
    /// An added token.
    Added(usize),
    /// What lies between.
    Text(&'a str),
}

/// Cuts out the added tokens that are looked for in such text, earlier ones first, and longer ones first.
fn split<'a>(text: &'a str, added: &[Added], is_normalized: bool) -> Vec<Piece<'a>> {
    let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = text[at..].chars().next() {
        let here = |added: &&Added| {
            added.is_normalized == is_normalized && text[at..].starts_with(added.content.as_str())
        };
        match added.iter().filter(here).max_by_key(|added| added.content.len()) {
            Some(found) => {
                pieces.extend([Piece::Text(&text[begin..at]), Piece::Added(found.id)]);
                at += found.content.len();
                begin = at;
            }
            None => at += next.len_utf8(),
        }
    }
    pieces.push(Piece::Text(&text[begin..]));
    pieces
}

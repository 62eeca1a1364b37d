//! Byte-level pair encoding of single words.

use std::collections::HashMap;

/// What ends the last token of a word.
const WORD_END: &str = "</w>";

/// The vocabulary, and which pairs of tokens become one.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// Per pair of ids, its rank and the id of both together; pairs of low rank are joined first.
    merges: HashMap<[usize; 2], (usize, usize)>,
    /// The ids of the 256 bytes inside a word, and at its end.
    bytes: [Vec<usize>; 2],
    /// The tokens by their id, each with its characters for bytes.
    tokens: HashMap<usize, String>,
}

impl Pairs {
    /// Of a vocabulary and pairs in the order of their rank. Bytes that have no token are `unknown`.
    ///
    /// # Errors
    /// If a token of a pair, or both together, are not in the vocabulary.
    pub(super) fn new(
        vocabulary: HashMap<String, usize>,
        pairs: &[[String; 2]],
        unknown: usize,
    ) -> Result<Self, String> {
        let id = |token: &str| {
            let id = vocabulary.get(token).copied();
            id.ok_or_else(|| format!("`{token}` of a pair is not in the vocabulary"))
        };
        let mut merges = HashMap::with_capacity(pairs.len());
        for (rank, [first, second]) in pairs.iter().enumerate() {
            let joined = id(&format!("{first}{second}"))?;
            merges.insert([id(first)?, id(second)?], (rank, joined));
        }
        let bytes = ["", WORD_END].map(|ending| {
            let of_byte = |byte| vocabulary.get(&format!("{}{ending}", character(byte))).copied();
            (0..=u8::MAX).map(|byte| of_byte(byte).unwrap_or(unknown)).collect()
        });
        Ok(Self { merges, bytes, tokens: vocabulary.into_iter().map(|(token, id)| (id, token)).collect() })
    }

    /// The largest id.
    pub(super) fn max_id(&self) -> usize {
        self.tokens.keys().copied().max().unwrap_or(0)
    }

    /// The token of an id, with its characters for bytes.
    pub(super) fn token(&self, id: usize) -> Option<&str> {
        self.tokens.get(&id).map(String::as_str)
    }

    /// Appends the ids of a word.
    pub(super) fn push_word(&self, word: &str, ids: &mut Vec<usize>) {
        let Some((&last, inner)) = word.as_bytes().split_last() else { return };
        let inner = inner.iter().map(|&byte| self.bytes[0][usize::from(byte)]);
        let mut parts: Vec<usize> = inner.chain([self.bytes[1][usize::from(last)]]).collect();
        let merge = |parts: &[usize], at: usize| {
            parts.get(at..at + 2).and_then(|pair| self.merges.get(pair)).copied().unwrap_or(NONE)
        };
        // What each part would become with the next one.
        let mut next: Vec<_> = (0..parts.len()).map(|at| merge(&parts, at)).collect();
        while let Some((at, &(rank, joined))) = next.iter().enumerate().min_by_key(|(_, (rank, _))| *rank)
            && rank != NONE.0
        {
            parts[at] = joined;
            parts.remove(at + 1);
            next.remove(at + 1);
            next[at] = merge(&parts, at);
            if let Some(before) = at.checked_sub(1) {
                next[before] = merge(&parts, before);
            }
        }
        ids.append(&mut parts);
    }

    /// The text of ids, words apart; of ids that have no token here, what `other` says.
    pub(super) fn text<'a>(&'a self, ids: &[usize], other: impl Fn(usize) -> Option<&'a str>) -> String {
        let byte: HashMap<char, u8> = (0..=u8::MAX).map(|byte| (character(byte), byte)).collect();
        let mut bytes = Vec::new();
        for &id in ids {
            let token = other(id).or(self.tokens.get(&id).map(String::as_str)).unwrap_or_default();
            let inner = token.strip_suffix(WORD_END);
            bytes.extend(inner.unwrap_or(token).chars().filter_map(|character| byte.get(&character)));
            if inner.is_some() || other(id).is_some() {
                bytes.push(b' ');
            }
        }
        String::from_utf8_lossy(&bytes).trim().to_string()
    }
}

/// A pair that does not become one token.
const NONE: (usize, usize) = (usize::MAX, 0);

/// The character that stands for a byte (Radford et al. 2019, GPT-2): itself if it can be seen, else the next of those
/// from 256 on.
fn character(byte: u8) -> char {
    let is_seen = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..);
    if is_seen(byte) {
        return char::from(byte);
    }
    let unseen = (0..byte).filter(|&byte| !is_seen(byte)).count() as u32;
    char::from_u32(256 + unseen).unwrap_or(char::REPLACEMENT_CHARACTER)
}

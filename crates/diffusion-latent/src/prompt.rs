//! From prompts to what networks are conditioned on.

use crate::condition::{TextCondition, to_host};
use crate::error::LatentError;
use crate::folder::Folder;
use crate::lora::{LoraFile, LoraPart};
use crate::text::{CLASSES, TextEncoder};
use crate::tokens::{Encoded, Tokenizer};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::Tokens;
use std::path::{Path, PathBuf};

/// The text encoders of a pipeline with their tokenizers: one, or two that read the same text.
#[derive(Clone, Debug)]
pub struct PromptEncoder<B: Backend> {
    /// In the order in which their vectors are joined.
    encoders: Vec<(Tokenizer, TextEncoder<B>)>,
    /// Whether a vector of the whole text belongs to it, and states are from before the last layer.
    is_pooled: bool,
    /// The number of tokens of a prompt.
    length: usize,
}

/// Prompts as a network sees them, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedText {
    /// A vector per token, of all encoders one behind the other: `[batch, tokens, width]`.
    pub tokens: Tokens,
    /// A vector of the whole text, `[batch, 1, width]`, in Stable Diffusion XL.
    pub pooled: Option<Tokens>,
    /// Per prompt, its end that did not fit and was left out, if there is one.
    pub cut: Vec<Option<String>>,
}

impl From<EncodedText> for TextCondition {
    fn from(EncodedText { tokens, pooled, .. }: EncodedText) -> Self {
        Self { pooled, ..tokens.into() }
    }
}

impl EncodedText {
    /// Zeros of the same shapes: what Stable Diffusion XL has for no prompt.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let zeros = |tokens: &Tokens| Tokens::new(vec![0.0; tokens.values().len()], tokens.shape());
        Self {
            tokens: zeros(&self.tokens),
            pooled: self.pooled.as_ref().map(zeros),
            cut: vec![None; self.cut.len()],
        }
    }
}

impl<B: Backend> PromptEncoder<B> {
    /// Opens the text encoders of a pipeline: `text_encoder` with `tokenizer`, and `text_encoder_2` with `tokenizer_2`, of
    /// which at least one is there.
    ///
    /// # Errors
    /// If there is none; if one cannot be opened; if a tokenizer has more tokens than its encoder.
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?, device)
    }

    /// As [`open`](Self::open), of a folder that is open.
    ///
    /// # Errors
    /// As there.
    pub fn of(folder: &Folder, device: &B::Device) -> Result<Self, LatentError> {
        Self::find(folder, device)?.ok_or_else(|| folder.none("text_encoder", CLASSES))
    }

    /// As [`of`](Self::of), of a folder that may have no text encoder, e.g. that of an autoencoder alone.
    ///
    /// # Errors
    /// If one cannot be opened, or a tokenizer has more tokens than its encoder.
    pub fn find(folder: &Folder, device: &B::Device) -> Result<Option<Self>, LatentError> {
        let (mut encoders, mut is_pooled) = (Vec::new(), false);
        for (part, tokenizer, is_second) in
            [("text_encoder", "tokenizer", false), ("text_encoder_2", "tokenizer_2", true)]
        {
            let Some(part) = folder.find(part, CLASSES)? else { continue };
            let path = folder.path().join(tokenizer);
            let tokenizer = Tokenizer::open(&path)?;
            encoders.push(((path, tokenizer), TextEncoder::of_part(&part, device)?));
            is_pooled |= is_second;
        }
        if encoders.is_empty() {
            return Ok(None);
        }
        Self::joined(encoders, is_pooled).map(Some)
    }

    /// The text encoders with their tokenizers and where these are from; `is_pooled` says whether the network is told a
    /// vector of the whole text.
    pub(crate) fn joined(
        encoders: Vec<((PathBuf, Tokenizer), TextEncoder<B>)>,
        is_pooled: bool,
    ) -> Result<Self, LatentError> {
        let mut length = usize::MAX;
        for ((path, tokenizer), encoder) in &encoders {
            let (max_id, rows) = (tokenizer.max_id(), encoder.config.vocab_size);
            if max_id >= rows {
                let reason = format!("token {max_id}, expected less than the {rows} of the text encoder");
                return Err(LatentError::Malformed { path: path.clone(), reason });
            }
            length = length.min(tokenizer.length()).min(encoder.config.max_position_embeddings);
        }
        let at_length =
            |((_, tokenizer), encoder): ((_, Tokenizer), _)| (tokenizer.with_length(length), encoder);
        Ok(Self { encoders: encoders.into_iter().map(at_length).collect(), is_pooled, length })
    }

    /// The same with `weight` times the changes that a file of LoRA has for the text encoders.
    ///
    /// # Errors
    /// If a tensor for one of them has no place in it, or another shape.
    pub fn with_lora(self, file: &LoraFile, weight: f64) -> Result<Self, LatentError> {
        let parts = [LoraPart::TextEncoder, LoraPart::TextEncoder2];
        let changed = self.encoders.into_iter().zip(parts).map(|((tokenizer, encoder), part)| {
            let encoder = match file.parts().contains(&part) {
                true => file.apply(part, encoder, weight)?,
                false => encoder,
            };
            Ok((tokenizer, encoder))
        });
        Ok(Self { encoders: changed.collect::<Result<_, LatentError>>()?, ..self })
    }

    /// The number of tokens of a prompt, start and end included.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether there are two encoders, which may read [different texts](Self::encode_pair).
    pub fn is_pair(&self) -> bool {
        self.encoders.len() == 2
    }

    /// Per prompt, its end that does not fit and is left out, if there is one, without encoding them.
    pub fn cut(&self, prompts: &[&str]) -> Vec<Option<String>> {
        let none = vec![None; prompts.len()];
        self.encoders.iter().fold(none, |cut, (tokenizer, _)| join_cut(cut, tokenizer.encode(prompts).cut))
    }

    /// Prompts as the network sees them: the last states of the encoder in Stable Diffusion 1 and 2; the last but one of
    /// all encoders, with the vector of the whole text, in Stable Diffusion XL.
    ///
    /// # Panics
    /// If there are no prompts.
    pub fn encode(&self, prompts: &[&str]) -> EncodedText {
        self.encode_pair(prompts, prompts)
    }

    /// As [`encode`](Self::encode), with other prompts for the second of two encoders.
    ///
    /// # Panics
    /// If there are no prompts, or not as many for both.
    pub fn encode_pair(&self, prompts: &[&str], second: &[&str]) -> EncodedText {
        assert!(!prompts.is_empty(), "there are no prompts");
        assert_eq!(prompts.len(), second.len(), "the prompts of both encoders differ in number");
        let (mut states, mut pooled, mut cut) = (Vec::new(), None, vec![None; prompts.len()]);
        for ((tokenizer, encoder), prompts) in self.encoders.iter().zip([prompts, second]) {
            let Encoded { ids, cut: found } = tokenizer.encode(prompts);
            let found_states = encoder.forward(&ids);
            states.push(if self.is_pooled { found_states.penultimate } else { found_states.last });
            pooled = self.is_pooled.then_some(found_states.pooled);
            cut = join_cut(cut, found);
        }
        let pooled = pooled.map(|pooled| to_host(pooled.unsqueeze_dim(1)));
        EncodedText { tokens: to_host(Tensor::cat(states, 2)), pooled, cut }
    }
}

/// What one of two encoders leaves out of each prompt, the first before the second.
fn join_cut(first: Vec<Option<String>>, second: Vec<Option<String>>) -> Vec<Option<String>> {
    first.into_iter().zip(second).map(|(first, second)| first.or(second)).collect()
}

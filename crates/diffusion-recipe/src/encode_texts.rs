//! The captions of images as a text encoder sees them, and how a shard of latents holds them.

use crate::encoded::EncodedTexts;
use crate::error::RecipeError;
use burn::tensor::backend::Backend;
use diffusion::core::{counted, watch::Watch};
use diffusion::data::{ImageCaptions, UntoldMetadata};
use diffusion::latent::{EncodedText, Folder, PromptEncoder};
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::path::PathBuf;

/// What who encodes images should know of their captions; a sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptionNote {
    /// There are captions, and the model has no text encoder for them.
    NoTextEncoder,
    /// Some images have none, where others have one.
    Without {
        /// How many.
        count: usize,
        /// Of how many images.
        of: usize,
    },
    /// Some captions have more tokens than the encoder takes.
    Cut {
        /// Of how many images.
        count: usize,
        /// How many tokens it takes, start and end included.
        tokens: usize,
    },
    /// Metadata have no caption in any line.
    Untold {
        /// The file.
        path: PathBuf,
        /// The keys in it.
        keys: Vec<String>,
    },
}

impl CaptionNote {
    /// Whether something is lost that was hardly meant to be.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::NoTextEncoder)
    }
}

impl Display for CaptionNote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTextEncoder => f.write_str(
                "the images have captions, which are left out: the model's folder has no text encoder",
            ),
            Self::Without { count, of } => {
                write!(f, "{count} of {of} images without a caption get the empty text")
            }
            Self::Cut { count, tokens } => {
                let images = counted(*count, "image");
                write!(f, "the captions of {images} have more than {tokens} tokens, and lose their ends")
            }
            Self::Untold { path, keys } => {
                let (path, keys) = (path.display(), keys.join(", "));
                write!(f, "{path} has no captions, which stand under text or caption: its keys are [{keys}]")
            }
        }
    }
}

/// The captions of all images, and what encodes them.
pub(crate) struct Captions<B: Backend> {
    encoder: PromptEncoder<B>,
    texts: Vec<String>,
    pub(crate) shape: EncodedTexts,
}

/// The captions of the images of a shard.
pub(crate) struct ShardTexts<'a> {
    /// Each different one once.
    pub(crate) texts: Vec<&'a str>,
    /// For each image the place of its caption there.
    pub(crate) rows: Vec<usize>,
}

/// How many texts are encoded at once.
const AT_ONCE: usize = 16;
/// How many texts are cut into tokens at once.
const TOKENIZED: usize = 256;

impl<B: Backend> Captions<B> {
    /// The captions of images with the text encoder of `folder`, if there are both; `tell` is told of what is not.
    pub(crate) fn open(
        captions: ImageCaptions,
        folder: &Folder,
        device: &B::Device,
        watch: &Watch,
        tell: &mut dyn FnMut(CaptionNote),
    ) -> Result<Option<Self>, RecipeError> {
        let ImageCaptions { texts: captions, untold } = captions;
        for UntoldMetadata { path, keys } in untold {
            tell(CaptionNote::Untold { path, keys });
        }
        let (of, count) = (captions.len(), captions.iter().filter(|caption| caption.is_none()).count());
        if count == of {
            return Ok(None);
        }
        watch.report("reading the text encoder", 0, None)?;
        let Some(encoder) = PromptEncoder::<B>::find(folder, device)? else {
            tell(CaptionNote::NoTextEncoder);
            return Ok(None);
        };
        if count > 0 {
            tell(CaptionNote::Without { count, of });
        }
        let texts: Vec<String> = captions.into_iter().map(Option::unwrap_or_default).collect();
        let mut cut = 0;
        for (number, texts) in texts.chunks(TOKENIZED).enumerate() {
            watch.report("looking at captions", (number * TOKENIZED) as u64, Some(of as u64))?;
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            cut += encoder.cut(&texts).iter().flatten().count();
        }
        if cut > 0 {
            tell(CaptionNote::Cut { count: cut, tokens: encoder.length() });
        }
        let [_, tokens, width] = encoder.encode(&[""]).tokens.shape();
        Ok(Some(Self { encoder, texts, shape: EncodedTexts { tokens, width } }))
    }

    /// The captions of all images, one after the other, so that no others give the same bytes.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.texts.iter().flat_map(|text| (text.len() as u64).to_le_bytes().into_iter().chain(text.bytes()))
    }

    /// Those of some of the images.
    pub(crate) fn of(&self, range: Range<usize>) -> ShardTexts<'_> {
        let (mut texts, mut places) = (Vec::new(), HashMap::new());
        let rows = self.texts[range].iter().map(|text| {
            *places.entry(text.as_str()).or_insert_with(|| {
                texts.push(text.as_str());
                texts.len() - 1
            })
        });
        let rows = rows.collect();
        ShardTexts { texts, rows }
    }

    /// The tokens of some captions, one behind the other, and their pooled vectors where the model has such.
    pub(crate) fn encode(
        &self,
        texts: &[&str],
        watch: &Watch,
    ) -> Result<(Vec<f32>, Option<Vec<f32>>), RecipeError> {
        let (mut all, mut all_pooled) = (Vec::new(), None);
        for texts in texts.chunks(AT_ONCE) {
            watch.check()?;
            let EncodedText { tokens, pooled, .. } = self.encoder.encode(texts);
            all.extend_from_slice(tokens.values());
            if let Some(pooled) = pooled {
                all_pooled.get_or_insert_with(Vec::new).extend_from_slice(pooled.values());
            }
        }
        Ok((all, all_pooled))
    }
}

//! What a folder has to have.

use crate::autoencoder;
use crate::dit::{self, ClassNames};
use crate::error::LatentError;
use crate::folder::Folder;
use crate::schedule::LatentSchedule;
use crate::text;
use crate::tokens::Tokenizer;
use crate::unet;

/// Whether the network of a folder is a diffusion transformer, not a U-Net.
pub(super) fn has_transformer(folder: &Folder) -> Result<bool, LatentError> {
    let has_transformer = folder.find("transformer", dit::CLASSES)?.is_some();
    Ok(has_transformer && folder.find("unet", unet::CLASSES)?.is_none())
}

/// Finds out whether a folder has the parts of a pipeline, without reading their weights.
///
/// # Errors
/// If a part is missing, or its settings or the list of its tensors cannot be read.
pub fn check_parts(folder: &Folder) -> Result<(), LatentError> {
    if has_transformer(folder)? {
        let network = folder.part("transformer", dit::CLASSES)?;
        LatentSchedule::open(folder.path())?;
        ClassNames::of(folder)?;
        folder.part("vae", autoencoder::CLASSES)?.weights()?;
        network.weights()?;
        return Ok(());
    }
    let network = folder.part("unet", unet::CLASSES)?;
    LatentSchedule::open_for_text(folder.path())?;
    let mut encoders = 0;
    for (part, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
        if let Some(part) = folder.find(part, text::CLASSES)? {
            Tokenizer::open(folder.path().join(tokenizer))?;
            part.weights()?;
            encoders += 1;
        }
    }
    if encoders == 0 {
        return Err(folder.none("text_encoder", text::CLASSES));
    }
    folder.part("vae", autoencoder::CLASSES)?.weights()?;
    network.weights()?;
    Ok(())
}

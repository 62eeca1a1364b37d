//! Latents of images, as a configuration names them.

use std::path::PathBuf;

use diffusion_core::watch::Watch;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    codec::ScaledLatents,
    data_kind::{DataKind, ModelInput},
    dataset::Dataset,
    error::DataError,
    latents::{CaptionedLatents, Latents, LatentsConfig, Told},
};

/// Latents of images in safetensors shards, as a configuration names them; the network sees them times `scale` plus
/// `shift`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentShardsConfig {
    /// A shard, or the folder that holds all shards.
    pub path: PathBuf,
    /// What a latent is multiplied by, so that its values have a variance of about 1.
    pub scale: f64,
    /// What is added after that.
    pub shift: f64,
}

impl LatentShardsConfig {
    fn with_classes(&self, classes: usize) -> LatentsConfig {
        LatentsConfig { classes, scale: self.scale as f32, shift: self.shift as f32 }
    }
}

impl DataKind for LatentShardsConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn validate(&self) -> Result<(), DataError> {
        self.with_classes(1).validate()
    }

    /// Shards do not tell how many classes there are, and for a network without classes no label is looked at; nor are
    /// texts for a network without texts.
    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let open = |classes, told| Latents::open_watched(&self.path, self.with_classes(classes), told, watch);
        match (input.text, input.num_classes) {
            (Some(_), _) => Ok(match CaptionedLatents::of(open(1, Told::Texts)?) {
                Ok(latents) => {
                    let shape = latents.text_shape();
                    AnyDataset::captioned(latents, shape)
                }
                Err(latents) => AnyDataset::unlabeled(latents.unlabeled()),
            }),
            (None, Some(classes)) => Ok(AnyDataset::labeled(open(classes, Told::Labels)?, classes)),
            (None, None) => Ok(AnyDataset::unlabeled(open(1, Told::Nothing)?.unlabeled())),
        }
    }

    fn may_be_non_finite(&self) -> bool {
        true
    }

    fn latents(&self) -> Option<ScaledLatents> {
        Some(ScaledLatents { scale: self.scale, shift: self.shift })
    }
}

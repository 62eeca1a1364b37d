//! A pretrained model of whichever kind.

use super::StableDiffusion;
use super::parts::has_transformer;
use super::transformer::DiffusionTransformer;
use crate::autoencoder::Autoencoder;
use crate::error::LatentError;
use crate::folder::Folder;
use crate::generate::{Prepared, Request};
use crate::lora::LoraFile;
use crate::pipeline::Reading;
use crate::schedule::LatentSchedule;
use burn::tensor::backend::Backend;
use diffusion_core::invalid::Invalid;
use std::path::Path;

/// A pretrained model of whichever kind a folder has.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a program has one of them")]
pub enum AnyPipeline<B: Backend> {
    /// From texts to pictures.
    StableDiffusion(StableDiffusion<B>),
    /// From classes to pictures.
    DiffusionTransformer(DiffusionTransformer<B>),
}

/// Does the same with a pipeline of either kind.
macro_rules! either {
    ($self:expr, $pipe:ident => $result:expr) => {
        match $self {
            Self::StableDiffusion($pipe) => $result,
            Self::DiffusionTransformer($pipe) => $result,
        }
    };
}

impl<B: Backend> AnyPipeline<B> {
    /// Opens a folder as diffusers saves it.
    ///
    /// # Errors
    /// If it has neither a U-Net nor a transformer that is supported; as [`StableDiffusion::open`] and
    /// [`DiffusionTransformer::open`].
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?, device, &mut |_| {})
    }

    /// As [`open`](Self::open), of a folder that is open; `reading` is told which part is being read.
    ///
    /// # Errors
    /// As there.
    pub fn of(folder: &Folder, device: &B::Device, reading: Reading<'_>) -> Result<Self, LatentError> {
        match has_transformer(folder)? {
            true => Ok(Self::DiffusionTransformer(DiffusionTransformer::of(folder, device, reading)?)),
            false => Ok(Self::StableDiffusion(StableDiffusion::of(folder, device, reading)?)),
        }
    }

    /// The same with `weight` times the changes of a file of LoRA.
    ///
    /// # Errors
    /// If a tensor has no place, or another shape, or is for a part that there is not.
    pub fn with_lora(self, file: &LoraFile, weight: f64) -> Result<Self, LatentError> {
        Ok(match self {
            Self::StableDiffusion(pipe) => Self::StableDiffusion(pipe.with_lora(file, weight)?),
            Self::DiffusionTransformer(pipe) => Self::DiffusionTransformer(pipe.with_lora(file, weight)?),
        })
    }

    /// Encodes what is asked for, once for as many pictures as are [drawn](Prepared::draw).
    ///
    /// # Errors
    /// If a value of the request cannot be used.
    pub fn prepare(&self, request: &Request, device: &B::Device) -> Result<Prepared<'_, B>, Invalid> {
        either!(self, pipe => pipe.prepare(request, device))
    }

    /// Finds out whether there can be pictures of `height` by `width` pixels.
    ///
    /// # Errors
    /// If there cannot.
    pub fn check_size(&self, height: usize, width: usize) -> Result<(), Invalid> {
        either!(self, pipe => pipe.at(height, width).map(drop))
    }

    /// The height and width of the pictures that it was trained with, in pixels.
    pub fn native_size(&self) -> [usize; 2] {
        either!(self, pipe => pipe.native_size())
    }

    /// The strength of guidance where none is asked for, as other programs count it: 7.5 by texts, and 4 by classes.
    pub fn guidance(&self) -> f64 {
        match self {
            Self::StableDiffusion(_) => 7.5,
            Self::DiffusionTransformer(_) => 4.0,
        }
    }

    /// What the class of a label is called, where it draws classes that have names.
    pub fn class_name(&self, label: usize) -> Option<&str> {
        match self {
            Self::StableDiffusion(_) => None,
            Self::DiffusionTransformer(pipe) => pipe.names().name(label),
        }
    }

    /// Whether it draws classes that have names.
    pub fn has_class_names(&self) -> bool {
        matches!(self, Self::DiffusionTransformer(pipe) if pipe.names().iter().next().is_some())
    }

    /// The noise levels, and how its own scheduler samples.
    pub fn schedule(&self) -> &LatentSchedule {
        either!(self, pipe => pipe.schedule())
    }

    /// The way between pictures and latents.
    pub fn autoencoder(&self) -> &Autoencoder<B> {
        either!(self, pipe => pipe.autoencoder())
    }

    /// Whether it is one for painting into pictures, which sees them.
    pub fn sees_pictures(&self) -> bool {
        matches!(self, Self::StableDiffusion(pipe) if pipe.sees_pictures())
    }
}

//! Diffusion transformers: a folder from a class to a picture.

use super::latent_size;
use crate::autoencoder::Autoencoder;
use crate::dit::{self, ClassNames, DiTTransformer2DModel, SizedDit};
use crate::error::LatentError;
use crate::folder::Folder;
use crate::lora::{LoraFile, LoraPart};
use crate::pipeline::Reading;
use crate::schedule::LatentSchedule;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::{AnyPrediction, Diffusion};
use std::path::Path;

/// The diffusion model of [`DiffusionTransformer`]: any sampler, guidance and objective of diffusion-core takes it.
pub type DiffusionTransformerModel<B> = Diffusion<B, SizedDit<B>, AnyPrediction>;

/// A pretrained diffusion transformer that draws classes: DiT (Peebles & Xie 2023, arXiv:2212.09748), as diffusers'
/// `DiTPipeline` has it.
///
/// ```no_run
/// use burn::backend::Flex;
/// use diffusion_core::{Labels, Noise};
/// use diffusion_latent::DiffusionTransformer;
///
/// let (device, noise) = (Default::default(), Noise::new(0));
/// let pipe = DiffusionTransformer::<Flex>::open("DiT-XL-2-256", &device)?;
/// let model = pipe.at(256, 256)?;
/// let plan = pipe.schedule().like_diffusers(50)?;
/// let x = plan.from_noise(model.rand_input(1, noise, &device));
/// let latents = plan.run(&model.given(Labels(vec![pipe.label("golden retriever")?])).guided(3.0), x, noise);
/// let picture = pipe.decode(latents); // [1, 3, 256, 256]
/// # let _: burn::tensor::Tensor<Flex, 4> = picture;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// `guided(3.0)` is diffusers' `guidance_scale=4.0`.
#[derive(Clone, Debug)]
pub struct DiffusionTransformer<B: Backend> {
    network: SizedDit<B>,
    autoencoder: Autoencoder<B>,
    classes: ClassNames,
    schedule: LatentSchedule,
}

impl<B: Backend> DiffusionTransformer<B> {
    /// Opens a folder as diffusers saves it: `transformer`, `vae` and `scheduler`.
    ///
    /// # Errors
    /// If a part is missing, not supported, or has other weights than its settings say.
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?, device, &mut |_| {})
    }

    /// As [`open`](Self::open), of a folder that is open; `reading` is told which part is being read.
    ///
    /// # Errors
    /// As there.
    pub fn of(folder: &Folder, device: &B::Device, reading: Reading<'_>) -> Result<Self, LatentError> {
        // What is small and may be wrong comes first.
        let part = folder.part("transformer", dit::CLASSES)?;
        let (schedule, classes) = (LatentSchedule::open(folder.path())?, ClassNames::of(folder)?);
        reading("the autoencoder");
        let autoencoder = Autoencoder::of(folder, device)?;
        reading("the transformer");
        let transformer = DiTTransformer2DModel::of(&part, device)?;
        let channels = autoencoder.config.latent_channels;
        if transformer.config.in_channels != channels {
            let expected = format!("{channels}, the channels of the autoencoder's latents");
            return Err(part.settings().unsupported("in_channels", expected));
        }
        let side = transformer.config.sample_size;
        let network = SizedDit::new(transformer, [side; 2], schedule.timesteps().clone());
        Ok(Self { network, autoencoder, classes, schedule })
    }

    /// The same with `weight` times the changes of a file of LoRA in its transformer.
    ///
    /// # Errors
    /// If a tensor has no place, or another shape, or is for a part that there is not.
    pub fn with_lora(self, file: &LoraFile, weight: f64) -> Result<Self, LatentError> {
        file.only(&[LoraPart::Transformer])?;
        let network = self
            .network
            .map_transformer(|transformer| file.apply(LoraPart::Transformer, transformer, weight))?;
        Ok(Self { network, ..self })
    }

    /// The diffusion model of pictures of `height` by `width` pixels; all sizes share their weights.
    ///
    /// # Errors
    /// If one of them is no multiple of the pixels of a patch, or zero.
    pub fn at(&self, height: usize, width: usize) -> Result<DiffusionTransformerModel<B>, Invalid> {
        let patch = self.network.transformer.config.patch_size;
        let size = latent_size([height, width], self.autoencoder.config.factor(), patch)?;
        Ok(Diffusion::new(self.network.at(size), self.schedule.prediction()))
    }

    /// The height and width of the pictures that it was trained with, in pixels.
    pub fn native_size(&self) -> [usize; 2] {
        self.network.size().map(|side| side * self.autoencoder.config.factor())
    }

    /// The label of a class by one of its names, by all of them as the folder has them, or by its number; a name comes
    /// before a number.
    ///
    /// # Errors
    /// If there is no such class: a sentence that says which are near.
    pub fn label(&self, class: &str) -> Result<usize, String> {
        self.classes.find(class, self.classes())
    }

    /// The number of classes, which as a label stands for none.
    pub fn classes(&self) -> usize {
        self.network.classes()
    }

    /// What the classes are called.
    pub fn names(&self) -> &ClassNames {
        &self.classes
    }

    /// The noise levels, and how the folder's own scheduler samples.
    pub fn schedule(&self) -> &LatentSchedule {
        &self.schedule
    }

    /// The way between pictures and latents.
    pub fn autoencoder(&self) -> &Autoencoder<B> {
        &self.autoencoder
    }

    /// The pictures of latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, channels, height, width]`
    /// - returns `[batch, 3, height · factor, width · factor]`, mostly in [−1, 1]
    pub fn decode(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        self.autoencoder.decode(latents)
    }
}

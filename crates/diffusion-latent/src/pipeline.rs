//! Stable Diffusion: a folder from prompt to picture.

mod any;
mod one_file;
mod parts;
mod transformer;

pub use any::AnyPipeline;
pub use parts::check_parts;
pub use transformer::{DiffusionTransformer, DiffusionTransformerModel};

use crate::autoencoder::Autoencoder;
use crate::condition::TextCondition;
use crate::error::LatentError;
use crate::folder::Folder;
use crate::lora::{LoraFile, LoraPart};
use crate::prompt::{EncodedText, PromptEncoder};
use crate::schedule::LatentSchedule;
use crate::unet::{self, SizedUnet, UNet2DConditionModel};
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::{AnyPrediction, Diffusion, Tokens};
use std::path::Path;

/// The diffusion model of [`StableDiffusion`]: any sampler, guidance and objective of diffusion-core takes it.
pub type StableDiffusionModel<B> = Diffusion<B, SizedUnet<B>, AnyPrediction>;

/// A pretrained model from text to picture: Stable Diffusion 1, 2 and XL, and what has been trained from them.
///
/// ```no_run
/// use burn::backend::Flex;
/// use diffusion_core::Noise;
/// use diffusion_latent::{StableDiffusion, TextCondition};
///
/// let (device, noise) = (Default::default(), Noise::new(0));
/// let pipe = StableDiffusion::<Flex>::open("stable-diffusion-v1-5", &device)?;
/// let model = pipe.at(512, 512)?;
/// let prompt = TextCondition::from(pipe.text(&["an astronaut riding a horse on mars"]));
/// let plan = pipe.schedule().like_diffusers(50)?;
/// let x = plan.from_noise(model.rand_input(1, noise, &device));
/// let latents = plan.run(&model.given(prompt).guided(6.5), x, noise);
/// let picture = pipe.decode(latents); // [1, 3, 512, 512]
/// # let _: burn::tensor::Tensor<Flex, 4> = picture;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// `guided(6.5)` is diffusers' `guidance_scale=7.5`; `write_png` of diffusion-data writes the picture.
#[derive(Clone, Debug)]
pub struct StableDiffusion<B: Backend> {
    network: SizedUnet<B>,
    autoencoder: Autoencoder<B>,
    prompts: PromptEncoder<B>,
    schedule: LatentSchedule,
}

/// A part of a folder that is being read.
pub type Reading<'a> = &'a mut dyn FnMut(&str);

impl<B: Backend> StableDiffusion<B> {
    /// Opens a folder as diffusers saves it.
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
        let part = folder.part("unet", unet::CLASSES)?;
        let schedule = LatentSchedule::open_for_text(folder.path())?;
        reading("the text encoder");
        let prompts = PromptEncoder::of(folder, device)?;
        reading("the autoencoder");
        let autoencoder = Autoencoder::of(folder, device)?;
        reading("the U-Net");
        let unet = UNet2DConditionModel::of(&part, device)?;
        let empty = prompts.encode(&[""]);
        if let Some((key, expected)) = misfit(&unet, &empty, autoencoder.config.latent_channels) {
            return Err(part.settings().unsupported(key, expected));
        }
        let force = folder.index().and_then(|index| index.get("force_zeros_for_empty_prompt")?.as_bool());
        let empty = if force == Some(true) { empty.zeros_like() } else { empty };
        Ok(Self::new(unet, autoencoder, prompts, schedule, empty))
    }

    /// The pipeline of these parts, which is told `empty` where there is no text.
    fn new(
        unet: UNet2DConditionModel<B>,
        autoencoder: Autoencoder<B>,
        prompts: PromptEncoder<B>,
        schedule: LatentSchedule,
        empty: EncodedText,
    ) -> Self {
        let (side, factor) = (unet.config.sample_size, autoencoder.config.factor());
        let network = SizedUnet::new(unet, [side; 2], factor, schedule.timesteps().clone(), empty.into());
        Self { network, autoencoder, prompts, schedule }
    }

    /// The same with `weight` times the changes of a file of LoRA in its U-Net and text encoders; those of a file that does
    /// not say which part it changes go into the U-Net.
    ///
    /// # Errors
    /// If a tensor has no place, or another shape, or is for a part that there is not.
    pub fn with_lora(self, file: &LoraFile, weight: f64) -> Result<Self, LatentError> {
        let parts = [LoraPart::Unet, LoraPart::TextEncoder, LoraPart::TextEncoder2];
        file.only(if self.prompts.is_pair() { &parts } else { &parts[..2] })?;
        let prompts = self.prompts.with_lora(file, weight)?;
        let parts = file.parts();
        let network = match parts.is_empty() || parts.contains(&LoraPart::Unet) {
            true => self.network.map_unet(|unet| file.apply_to_unet(unet, weight))?,
            false => self.network,
        };
        // No prompt is encoded by the text encoders, too, unless it is zeros.
        let zeros = network.empty().tokens.values().iter().all(|&value| value == 0.0);
        let network = if zeros { network } else { network.with_empty(prompts.encode(&[""]).into()) };
        Ok(Self { network, prompts, ..self })
    }

    /// The diffusion model of pictures of `height` by `width` pixels; all sizes share their weights.
    ///
    /// # Errors
    /// If one of them is no multiple of the autoencoder's factor, or zero.
    pub fn at(&self, height: usize, width: usize) -> Result<StableDiffusionModel<B>, Invalid> {
        let size = latent_size([height, width], self.autoencoder.config.factor(), 1)?;
        Ok(Diffusion::new(self.network.at(size), self.schedule.prediction()))
    }

    /// The height and width of the pictures that it was trained with, in pixels.
    pub fn native_size(&self) -> [usize; 2] {
        self.network.size().map(|side| side * self.autoencoder.config.factor())
    }

    /// Prompts as the model is told them; `into()` makes a [`TextCondition`] of them.
    ///
    /// # Panics
    /// If there are none.
    pub fn text(&self, prompts: &[&str]) -> EncodedText {
        self.prompts.encode(prompts)
    }

    /// The encoders of the text.
    pub fn prompts(&self) -> &PromptEncoder<B> {
        &self.prompts
    }

    /// What the model is told where there is no negative prompt, of one example.
    pub fn empty(&self) -> &TextCondition {
        self.network.empty()
    }

    /// The noise levels, and how the folder's own scheduler samples.
    pub fn schedule(&self) -> &LatentSchedule {
        &self.schedule
    }

    /// The way between pictures and latents.
    pub fn autoencoder(&self) -> &Autoencoder<B> {
        &self.autoencoder
    }

    /// Whether the U-Net is one for painting into pictures, which sees them: of nine channels.
    pub fn sees_pictures(&self) -> bool {
        let config = &self.network.unet.config;
        config.in_channels > config.out_channels
    }

    /// The pictures of latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, channels, height, width]`
    /// - returns `[batch, 3, height · factor, width · factor]`, mostly in [−1, 1]
    pub fn decode(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        self.autoencoder.decode(latents)
    }

    /// The latents of pictures.
    ///
    /// # Shapes
    /// - `pictures`: `[batch, 3, height, width]`, in [−1, 1]
    /// - returns `[batch, channels, height / factor, width / factor]`
    pub fn encode(&self, pictures: Tensor<B, 4>) -> Tensor<B, 4> {
        self.autoencoder.encode(pictures)
    }
}

impl TextCondition {
    /// The same for a network that paints into pictures.
    ///
    /// # Shapes
    /// - `mask`: `[batch, 1, height, width]`, of latents, 1 where it is to be painted
    /// - `latents`: `[batch, channels, height, width]`, of the pictures [without that
    ///   part](crate::inpaint::without_painted)
    ///
    /// # Panics
    /// If the two differ in batch, height or width.
    #[must_use]
    pub fn painting<B: Backend>(self, mask: Tensor<B, 4>, latents: Tensor<B, 4>) -> Self {
        let seen = Tensor::cat(vec![mask, latents], 1);
        let [batch, channels, height, width] = seen.dims();
        let values = seen.into_data().iter::<f32>().collect();
        Self { painted: Some(Tokens::new(values, [batch, channels, height * width])), ..self }
    }
}

/// The height and width of the latents of pictures of `[height, width]` pixels, of which `factor` are a latent's and
/// `patch` latents a patch's.
fn latent_size([height, width]: [usize; 2], factor: usize, patch: usize) -> Result<[usize; 2], Invalid> {
    let pixels = factor * patch;
    let is_divided = [height, width].iter().all(|&side| side > 0 && side.is_multiple_of(pixels));
    Invalid::unless(is_divided, "size", || {
        format!("is {height}x{width}, expected multiples of {pixels} pixels")
    })?;
    Ok([height / factor, width / factor])
}

/// Finds out whether the U-Net takes what the text encoders give, and makes latents of as many `channels` as the decoder has;
/// returns the setting that does not fit, and what was expected of it.
fn misfit<B: Backend>(
    unet: &UNet2DConditionModel<B>,
    text: &EncodedText,
    channels: usize,
) -> Option<(&'static str, String)> {
    let config = &unet.config;
    if config.out_channels != channels {
        return Some(("out_channels", format!("{channels}, the channels of the autoencoder's latents")));
    }
    if ![channels, 2 * channels + 1].contains(&config.in_channels) {
        let expected = format!("{channels}, or {} of a model that paints into pictures", 2 * channels + 1);
        return Some(("in_channels", expected));
    }
    let width = text.tokens.shape()[2];
    if (0..config.levels()).any(|level| config.cross_attention_dim.at(level) != width) {
        let expected = format!("{width}, the values of a token of the text encoders");
        return Some(("cross_attention_dim", expected));
    }
    let pooled = text.pooled.as_ref().map(|pooled| pooled.shape()[2]);
    if config.pooled_dim().is_some() && config.pooled_dim() != pooled {
        let expected = format!("such as leaves room for a pooled text of {} values", pooled.unwrap_or(0));
        return Some(("projection_class_embeddings_input_dim", expected));
    }
    None
}

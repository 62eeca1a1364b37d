//! The autoencoder of latent diffusion (Rombach et al. 2022, arXiv:2112.10752), as diffusers' `AutoencoderKL`.

mod config;
mod half;
mod tiles;

pub use config::AutoencoderConfig;
pub use half::{Decoder, DecoderBlock, Encoder, EncoderBlock, MiddleBlock, PixelAttention};

use crate::error::LatentError;
use crate::folder::Folder;
use crate::layer::Build;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::layer::{Window, conv2d};
use std::path::Path;

/// The classes of diffusers that an [`Autoencoder`] stands for.
pub const CLASSES: &[&str] = &["AutoencoderKL"];

impl AutoencoderConfig {
    /// The network, its weights drawn from `seed` as PyTorch does.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> Autoencoder<B> {
        self.build(&mut Build::random(seed, device))
    }

    pub(crate) fn build<B: Backend>(&self, build: &mut Build<'_, B>) -> Autoencoder<B> {
        let latent = self.latent_channels;
        Autoencoder {
            encoder: Encoder::new(build, self),
            decoder: Decoder::new(build, self),
            quant_conv: self.use_quant_conv.then(|| build.conv2d([2 * latent; 2], Window::pointwise())),
            post_quant_conv: self.use_post_quant_conv.then(|| build.conv2d([latent; 2], Window::pointwise())),
            config: self.clone(),
        }
    }
}

/// Turns images into latents, which are `factor` times smaller along each axis, and back.
///
/// Latents here are in the model's own scale, in which diffusion networks see them: of a variance of about 1.
#[derive(Module, Debug)]
pub struct Autoencoder<B: Backend> {
    /// From images to moments.
    pub encoder: Encoder<B>,
    /// From latents to images.
    pub decoder: Decoder<B>,
    /// Behind the encoder.
    pub quant_conv: Option<Conv2d<B>>,
    /// Before the decoder.
    pub post_quant_conv: Option<Conv2d<B>>,
    /// The sizes.
    #[module(skip)]
    pub config: AutoencoderConfig,
}

/// The Gaussian that the encoder finds for each image, unscaled, as smalldiffusion's `imagenet-dit` stores it.
#[derive(Clone, Debug)]
pub struct Moments<B: Backend> {
    /// Its mean, `[batch, latent_channels, height, width]`.
    pub mean: Tensor<B, 4>,
    /// The logarithm of its variance, at least −30 and at most 20, of the same shape.
    pub logvar: Tensor<B, 4>,
}

impl<B: Backend> Moments<B> {
    /// The two halves of the encoder's channels.
    fn of(joined: Tensor<B, 4>) -> Self {
        let channels = joined.dims()[1] / 2;
        let [mean, logvar] = [0, 1].map(|half| joined.clone().narrow(1, half * channels, channels));
        Self { mean, logvar: logvar.clamp(-30.0, 20.0) }
    }
}

impl<B: Backend> Autoencoder<B> {
    /// Opens the autoencoder of a folder: the part `vae` of a pipeline, or the folder itself.
    ///
    /// # Errors
    /// If there is none; if its settings are not supported; if the weights do not fit, with all that does not.
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?, device)
    }

    /// As [`open`](Self::open), of a folder that is open.
    ///
    /// # Errors
    /// As there.
    pub fn of(folder: &Folder, device: &B::Device) -> Result<Self, LatentError> {
        let part = folder.part("vae", CLASSES)?;
        let config = AutoencoderConfig::from_settings(part.settings())?;
        part.load(config.build(&mut Build::to_load(device)), |name| Some(renamed(name)))
    }

    /// The moments of images.
    ///
    /// # Shapes
    /// - `images`: `[batch, in_channels, height, width]`, in [−1, 1]; height and width are halved at each level but the
    ///   last, rounded down
    pub fn encode_moments(&self, images: Tensor<B, 4>) -> Moments<B> {
        Moments::of(self.joined_moments(images))
    }

    /// Mean and logarithm of the variance, one behind the other.
    fn joined_moments(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        let moments = self.encoder.forward(images);
        match &self.quant_conv {
            Some(conv) => conv2d(conv, moments),
            None => moments,
        }
    }

    /// The latents of images: the scaled mean of what the encoder finds, without a draw.
    ///
    /// # Shapes
    /// - `images`: `[batch, in_channels, height, width]`, in [−1, 1]
    /// - returns `[batch, latent_channels, height / factor, width / factor]`
    pub fn encode(&self, images: Tensor<B, 4>) -> Tensor<B, 4> {
        self.scale(self.encode_moments(images).mean)
    }

    /// The images of latents. Nothing is clamped.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latent_channels, height, width]`
    /// - returns `[batch, out_channels, height · factor, width · factor]`, mostly in [−1, 1]
    pub fn decode(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        self.decode_unscaled(self.unscale(latents))
    }

    /// As [`decode`](Self::decode), of latents as the encoder's mean has them.
    ///
    /// # Shapes
    /// - as there
    pub fn decode_unscaled(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let latents = match &self.post_quant_conv {
            Some(conv) => conv2d(conv, latents),
            None => latents,
        };
        self.decoder.forward(latents)
    }

    /// From the encoder's mean to the model's scale: `(mean − shift_factor)·scaling_factor`.
    ///
    /// # Shapes
    /// - `mean`, returns: any, the same
    pub fn scale<const D: usize>(&self, mean: Tensor<B, D>) -> Tensor<B, D> {
        (mean - self.config.shift_factor) * self.config.scaling_factor
    }

    /// The inverse of [`scale`](Self::scale).
    ///
    /// # Shapes
    /// - `latents`, returns: any, the same
    pub fn unscale<const D: usize>(&self, latents: Tensor<B, D>) -> Tensor<B, D> {
        latents / self.config.scaling_factor + self.config.shift_factor
    }
}

/// Today's name of a tensor: files of before diffusers 0.18 call the layers of attention otherwise.
fn renamed(name: &str) -> String {
    let old = [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];
    let of_attention = |(old, new): &(&str, &str)| {
        let (place, kind) = name.rsplit_once('.')?;
        let place = place.strip_suffix(&format!(".{old}"))?;
        place.ends_with("attentions.0").then(|| format!("{place}.{new}.{kind}"))
    };
    old.iter().find_map(of_attention).unwrap_or_else(|| name.to_string())
}

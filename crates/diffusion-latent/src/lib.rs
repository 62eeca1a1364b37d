//! Latent diffusion: pretrained models as diffusers stores them, and what they are made of.
//!
//! A [`Folder`] holds parts, each with a `config.json` and weights. [`Autoencoder`] turns images into latents and back;
//! [`PromptEncoder`] turns prompts into what a network is told; [`UNet2DConditionModel`] is the network of Stable Diffusion,
//! [`DiTTransformer2DModel`] that of diffusion transformers. [`LoraFile`] has changes of their weights, and
//! [`Checkpoint`](original::Checkpoint) is a pipeline in one file.
//!
//! All of it is made of the parts of `diffusion-core`: a pretrained network is a
//! [`Network`](diffusion_core::Network) with a condition, sampled and guided as any other. Numbers equal those of
//! diffusers 0.32.1; names of fields are those of its state dicts.
//!
//! Deliberately absent: the loop of training, data sets, pictures in files, downloading.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod any_text;
pub mod autoencoder;
pub mod condition;
pub mod config;
pub mod dit;
pub mod error;
pub mod folder;
pub mod generate;
pub mod inpaint;
pub mod layer;
pub mod lora;
pub mod original;
pub mod pipeline;
pub mod preview;
pub mod prompt;
pub mod schedule;
pub mod text;
pub mod tokens;
pub mod unet;

pub use any_text::AnyText;
pub use autoencoder::{Autoencoder, AutoencoderConfig, Moments};
pub use condition::TextCondition;
pub use dit::{ClassNames, DiTTransformer2DModel, DitTransformerConfig, SizedDit};
pub use error::{LatentError, LoraProblem};
pub use folder::{Folder, Part};
pub use generate::{GenerateError, Prepared, Request};
pub use inpaint::{Known, repaint};
pub use lora::{Lora, LoraConfig, LoraFile, LoraPart};
pub use pipeline::{
    AnyPipeline, DiffusionTransformer, DiffusionTransformerModel, StableDiffusion, StableDiffusionModel,
    check_parts,
};
pub use preview::Preview;
pub use prompt::{EncodedText, PromptEncoder};
pub use schedule::{LatentSchedule, Plan, SchedulerConfig, Timesteps};
pub use text::{TextActivation, TextEncoder, TextEncoderConfig, TextStates};
pub use tokens::{Encoded, Tokenizer};
pub use unet::{SizedUnet, UNet2DConditionModel, UnetConfig};

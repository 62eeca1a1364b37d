//! Latent diffusion with networks of the sizes of Stable Diffusion 1.5.

use crate::error::BenchError;
use crate::serve::{Serve, finish};
use crate::work::Piece;
use burn::backend::Flex;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Bytes, Tensor, TensorData, f16};
use diffusion::core::Noise;
use diffusion::latent::autoencoder::{Autoencoder, AutoencoderConfig};
use diffusion::latent::config::Settings;
use diffusion::latent::folder::names;
use diffusion::latent::text::{TextEncoder, TextEncoderConfig};
use diffusion::latent::unet::{UNet2DConditionModel, UnetConfig};
use diffusion::weights::state_dict;
use safetensors::{Dtype, View, serialize_to_file};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

/// The settings of the U-Net, as diffusers writes them.
const UNET: &str = r#"{
  "_class_name": "UNet2DConditionModel",
  "_diffusers_version": "0.32.1",
  "act_fn": "silu",
  "attention_head_dim": 8,
  "block_out_channels": [320, 640, 1280, 1280],
  "cross_attention_dim": 768,
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  "downsample_padding": 1,
  "flip_sin_to_cos": true,
  "freq_shift": 0,
  "in_channels": 4,
  "layers_per_block": 2,
  "norm_eps": 1e-05,
  "norm_num_groups": 32,
  "out_channels": 4,
  "sample_size": 64,
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
}
"#;

/// The settings of the autoencoder.
const VAE: &str = r#"{
  "_class_name": "AutoencoderKL",
  "_diffusers_version": "0.32.1",
  "act_fn": "silu",
  "block_out_channels": [128, 256, 512, 512],
  "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
  "in_channels": 3,
  "latent_channels": 4,
  "layers_per_block": 2,
  "norm_num_groups": 32,
  "out_channels": 3,
  "sample_size": 512,
  "scaling_factor": 0.18215,
  "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
}
"#;

/// The settings of the text encoder, as transformers writes them.
const TEXT: &str = r#"{
  "architectures": ["CLIPTextModel"],
  "bos_token_id": 0,
  "eos_token_id": 2,
  "hidden_act": "quick_gelu",
  "hidden_size": 768,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-05,
  "max_position_embeddings": 77,
  "model_type": "clip_text_model",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 1,
  "projection_dim": 768,
  "vocab_size": 49408
}
"#;

/// The tokens that begin and end a text.
const ENDS: [usize; 2] = [49406, 49407];

/// The tokens of a text of so many words, as many as the text encoder takes.
fn tokens(words: usize) -> Vec<usize> {
    let mut tokens = vec![ENDS[1]; 77];
    tokens[0] = ENDS[0];
    tokens[1..=words].copy_from_slice(&(320..320 + words).collect::<Vec<_>>());
    tokens
}

/// All networks of a folder.
struct Networks<B: Backend>(UNet2DConditionModel<B>, Autoencoder<B>, TextEncoder<B>);

impl<B: Backend> Networks<B> {
    fn open(folder: &Path, device: &B::Device) -> Result<Self, BenchError> {
        Ok(Self(
            UNet2DConditionModel::open(folder, device)?,
            Autoencoder::open(folder, device)?,
            TextEncoder::open(folder, "text_encoder", device)?,
        ))
    }

    fn num_params(&self) -> usize {
        self.0.num_params() + self.1.num_params() + self.2.num_params()
    }
}

/// Prepares a piece and hands its steps to `serve`.
pub fn run<B: Backend>(
    folder: &Path,
    piece: Piece,
    size: usize,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError> {
    let noise = |seed, shape| Noise::new(seed).initial::<B, 4>(shape, device);
    match piece {
        Piece::Open => {
            let mut held = Some(Networks::<B>::open(folder, device)?);
            let parameters = held.as_ref().map_or(0, Networks::num_params);
            steps::<B>(parameters, device, serve, &mut || {
                drop(held.take());
                held = Some(Networks::open(folder, device)?);
                Ok(())
            })
        }
        Piece::Text => {
            let text = TextEncoder::<B>::open(folder, "text_encoder", device)?;
            let ids = [tokens(12), tokens(0)];
            steps::<B>(text.num_params(), device, serve, &mut || {
                std::hint::black_box(text.forward(&ids));
                Ok(())
            })
        }
        Piece::Guided => {
            let unet = UNet2DConditionModel::<B>::open(folder, device)?;
            let x = noise(1, [2, unet.config.in_channels, size, size]);
            let text = noise(2, [2, 1, 77, 768]).squeeze_dim::<3>(1);
            let t = Tensor::<B, 1>::from_data([500.0, 500.0], device);
            steps::<B>(unet.num_params(), device, serve, &mut || {
                std::hint::black_box(unet.forward(x.clone(), t.clone(), text.clone(), None));
                Ok(())
            })
        }
        Piece::Decode => {
            let vae = Autoencoder::<B>::open(folder, device)?;
            let x = noise(1, [1, vae.config.latent_channels, size, size]);
            steps::<B>(vae.num_params(), device, serve, &mut || {
                std::hint::black_box(vae.decode_unscaled(x.clone()));
                Ok(())
            })
        }
    }
}

fn steps<B: Backend>(
    parameters: usize,
    device: &B::Device,
    serve: &mut Serve<'_>,
    step: &mut dyn FnMut() -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    serve(parameters, &mut |count| {
        let begun = Instant::now();
        for _ in 0..count {
            step()?;
            finish::<B>(device)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// Writes a folder with all three networks, of random weights of 16 bits.
pub fn write_folder(folder: &Path) -> Result<(), BenchError> {
    let device = Default::default();
    let write = |path: &Path, text: &str| fs::write(path, text).map_err(io_error(path));
    let part = |name: &str, settings: &str| -> Result<(std::path::PathBuf, Settings), BenchError> {
        let part = folder.join(name);
        fs::create_dir_all(&part).map_err(io_error(&part))?;
        let config = part.join("config.json");
        write(&config, settings)?;
        Ok((part, Settings::read(config)?))
    };
    let (path, settings) = part("unet", UNET)?;
    write_weights(&UnetConfig::from_settings(&settings)?.init::<Flex>(0, &device), &path.join(DIFFUSERS))?;
    let (path, settings) = part("vae", VAE)?;
    write_weights(
        &AutoencoderConfig::from_settings(&settings)?.init::<Flex>(1, &device),
        &path.join(DIFFUSERS),
    )?;
    let (path, settings) = part("text_encoder", TEXT)?;
    let text = TextEncoderConfig::from_settings(&settings)?.init::<Flex>(false, 2, &device);
    write_weights(&text, &path.join(TRANSFORMERS))?;
    let index = r#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.32.1"}"#;
    write(&folder.join("model_index.json"), index)
}

/// What files of weights are called.
const DIFFUSERS: &str = "diffusion_pytorch_model.safetensors";
const TRANSFORMERS: &str = "model.safetensors";

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BenchError {
    let path = path.to_path_buf();
    |source| BenchError::Write { path, source }
}

/// A tensor of 16 bits that is written.
struct Half {
    shape: Vec<usize>,
    bytes: Bytes,
}

impl View for Half {
    fn dtype(&self) -> Dtype {
        Dtype::F16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn write_weights<M: Module<Flex>>(module: &M, path: &Path) -> Result<(), BenchError> {
    let halves = state_dict(module, &names(), &[]).into_iter().map(|(name, tensor): (String, TensorData)| {
        let mut shape = tensor.shape.to_vec();
        // Kernels of one pixel in diffusers.
        if name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight") {
            shape.extend([1, 1]);
        }
        (name, Half { shape, bytes: tensor.convert::<f16>().bytes })
    });
    // Without it transformers does not open the file.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let written = serialize_to_file(halves.collect::<Vec<_>>(), Some(metadata), path);
    written.map_err(|error| BenchError::Write { path: path.into(), source: io::Error::other(error) })
}

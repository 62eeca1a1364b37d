//! Folders as they are published: several files of weights, in half precision or in parts, and settings of 2022.

use crate::support::folders::{Folder, Latent, write};
use crate::support::formula::hashed;
use burn::backend::Flex;
use burn::tensor::{bf16, f16};
use diffusion::latent::{Autoencoder, LatentError, StableDiffusion, TextEncoder};
use diffusion_tests::assert_close;
use safetensors::{Dtype, tensor::TensorView};
use std::fs;

const VAE: &str = "vae/diffusion_pytorch_model";
const TEXT: &str = "text_encoder/model";

/// Of the largest number.
const SAME: f64 = 1e-6;

/// A file with one tensor of one value.
fn one(value: f32) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    let view = TensorView::new(Dtype::F32, vec![1], &bytes).unwrap();
    safetensors::serialize([("x", view)], None).unwrap()
}

/// An index that says that the tensor is in `file`.
fn index(file: &str) -> Vec<u8> {
    format!(r#"{{"metadata": {{}}, "weight_map": {{"x": "{file}"}}}}"#).into_bytes()
}

/// The place in `files` of the one whose tensor is taken for the autoencoder, if one is. An index is one of the file behind it.
fn taken(files: &[&str], variant: Option<&str>) -> Option<usize> {
    let folder = Folder::new("sd1");
    fs::remove_file(folder.join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    for (i, file) in files.iter().enumerate() {
        let content = match file.contains(".index.") {
            true => index(files[i + 1]),
            false => one(i as f32),
        };
        write(&folder.join("vae").join(file), &content);
    }
    let opened = diffusion::latent::Folder::open(folder.path()).unwrap();
    let opened = if let Some(variant) = variant { opened.with_variant(variant) } else { opened };
    match opened.part("vae", &["AutoencoderKL"]).unwrap().weights() {
        Ok(weights) => Some(weights.read("x").unwrap()[0] as usize),
        Err(LatentError::NoWeights { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn of_several_files_of_weights_one_is_taken() {
    let (plain, pickle) = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin");
    let half = "diffusion_pytorch_model.fp16.safetensors";
    let half_pickle = "diffusion_pytorch_model.fp16.bin";
    let parts = "diffusion_pytorch_model.safetensors.index.json";
    let part = "diffusion_pytorch_model-00001-of-00001.safetensors";
    let half_parts = "diffusion_pytorch_model.safetensors.index.fp16.json";
    let half_part = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors";
    let pickled_parts = "diffusion_pytorch_model.bin.index.json";
    let pickled_part = "diffusion_pytorch_model-00001-of-00001.bin";
    for (files, variant, expected) in [
        (&[half, plain][..], None, Some(1)),
        (&[half, plain], Some("fp16"), Some(0)),
        (&[half, plain], Some("bf16"), Some(1)),
        (&[half], None, Some(0)),
        (&[half_pickle], None, Some(0)),
        (&[pickle, half], None, Some(0)),
        (&[pickle, plain], None, Some(1)),
        (&[half_pickle, half, plain], Some("fp16"), Some(1)),
        (&[half, parts, part], None, Some(2)),
        (&[half_parts, half_part], None, Some(1)),
        (&[half_parts, half_part, plain], None, Some(2)),
        (&[half_parts, half_part, plain], Some("fp16"), Some(1)),
        (&[pickled_parts, pickled_part], None, Some(1)),
        // A part without its index, and what an average was made of.
        (&[part], None, None),
        (&["diffusion_pytorch_model.non_ema.safetensors"], None, None),
        (&["diffusion_pytorch_model.non_ema.safetensors", pickle], None, Some(1)),
    ] {
        assert_eq!(taken(files, variant), expected, "{files:?}, {variant:?}");
    }
}

/// The tensors of the file `stem` as a file of `dtype`, whose values `encode` makes.
fn in_half(folder: &Folder, stem: &str, variant: &str, dtype: Dtype, encode: fn(f32) -> [u8; 2]) {
    let latent = Latent::read();
    let plain = format!("{stem}.safetensors");
    let tensors: Vec<_> = latent
        .parameters("sd1", &plain)
        .iter()
        .map(|(name, shape)| {
            let bytes: Vec<u8> = hashed(name, shape).into_iter().flat_map(encode).collect();
            (name.clone(), shape.clone(), bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs::remove_file(folder.join(&plain)).unwrap();
    write(
        &folder.join(&format!("{stem}{variant}.safetensors")),
        &safetensors::serialize(views, None).unwrap(),
    );
}

/// Weights of 16 bits become f32, and nothing is computed in fewer.
#[test]
fn weights_of_half_precision_become_f32() {
    let f16_bytes = |value: f32| f16::from_f32(value).to_le_bytes();
    let bf16_bytes = |value: f32| bf16::from_f32(value).to_le_bytes();
    for (variant, dtype, encode, round) in [
        (
            ".fp16",
            Dtype::F16,
            f16_bytes as fn(f32) -> [u8; 2],
            (|x| f16::from_f32(x).to_f32()) as fn(f32) -> f32,
        ),
        ("", Dtype::BF16, bf16_bytes, |x| bf16::from_f32(x).to_f32()),
    ] {
        let (folder, device) = (Folder::new("sd1"), Default::default());
        in_half(&folder, VAE, variant, dtype, encode);
        in_half(&folder, TEXT, variant, dtype, encode);
        let autoencoder = Autoencoder::<Flex>::open(folder.path(), &device).unwrap();
        let text = TextEncoder::<Flex>::open(folder.path(), "text_encoder", &device).unwrap();
        let fc1 = "text_model.encoder.layers.0.mlp.fc1.bias";
        for (name, found) in [
            ("decoder.conv_in.bias", autoencoder.decoder.conv_in.bias.as_ref().unwrap().val()),
            (fc1, text.text_model.encoder.layers[0].mlp.fc1.bias.as_ref().unwrap().val()),
        ] {
            let expected: Vec<f32> = hashed(name, &found.dims()).into_iter().map(round).collect();
            let found = found.into_data();
            assert_eq!(found.dtype, burn::tensor::DType::F32);
            assert_close(name, found, expected[..].into(), SAME);
        }
    }
}

/// Before diffusers 0.9, U-Nets for latents of 64 said 32.
#[test]
fn sizes_of_2022_are_doubled() {
    for (version, size, expected) in [
        ("0.2.2", 32, 128),
        ("0.8.1", 32, 128),
        ("0.9.0", 32, 64),
        ("0.32.1", 32, 64),
        ("1.8.0", 32, 64),
        ("0.6.0", 96, 192),
    ] {
        let folder = Folder::new("sd1");
        folder.edit("unet/config.json", |text| {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value["_diffusers_version"] = version.into();
            value["sample_size"] = size.into();
            value.to_string()
        });
        let pipe = StableDiffusion::<Flex>::open(folder.path(), &Default::default()).unwrap();
        // In pixels, two of which are one of the latents along each axis.
        assert_eq!(pipe.native_size(), [expected; 2], "{version}, {size}");
    }
}

//! One-file checkpoints, against the names that diffusers' converter gives their tensors.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, write_tensors};
use crate::support::hashed::hashed;
use crate::support::one_file::open_clip;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::latent::config::{PerLevel, Settings};
use diffusion::latent::original::{Checkpoint, Family};
use diffusion::latent::{AutoencoderConfig, LatentError, TextEncoderConfig, UnetConfig};
use diffusion::weights::{TensorProblem, WeightsError};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::collections::BTreeSet;

backend_tests!(one_file_has_all_parts);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

const FILE: &str = "v1.safetensors";

/// The folder of Stable Diffusion 1 with the same tensors in one file, their names behind `start`, after `change`.
fn in_one_file(
    start: &str,
    change: impl FnOnce(&mut Vec<(String, Vec<usize>, Vec<f32>)>),
) -> (Folder, Checkpoint) {
    let (folder, latent) = (Folder::new("sd1"), Latent::read());
    let mut tensors = Vec::new();
    for (part, file) in [
        ("unet", "unet/diffusion_pytorch_model.safetensors"),
        ("vae", "vae/diffusion_pytorch_model.safetensors"),
        ("text_encoder", "text_encoder/model.safetensors"),
    ] {
        let parameters = latent.parameters("sd1", file);
        assert_eq!(latent.original[part].len(), parameters.len());
        for (original, name) in &latent.original[part] {
            let mut shape = parameters[name].clone();
            // The original has kernels of one pixel.
            if part == "vae" && original.contains(".attn_1.") && shape.len() == 2 {
                shape.extend([1, 1]);
            }
            let values = hashed(name, &parameters[name]);
            tensors.push((format!("{start}{original}"), shape, values));
        }
    }
    // What training leaves beside.
    for name in ["betas", "model_ema.decay", "model_ema.diffusion_modelout2bias"] {
        tensors.push((format!("{start}{name}"), vec![4], vec![0.5; 4]));
    }
    change(&mut tensors);
    write_tensors(&folder.join(FILE), tensors);
    let checkpoint = Checkpoint::open(folder.join(FILE)).unwrap();
    (folder, checkpoint)
}

fn settings(folder: &Folder, part: &str) -> Settings {
    Settings::read(folder.join(part).join("config.json")).unwrap()
}

fn one_file_has_all_parts<B: TestBackend>(device: &B::Device) {
    for start in ["", "state_dict."] {
        let (folder, checkpoint) = in_one_file(start, |_| {});
        let fixture = Fixture::open("latent");
        answers::<B>(&folder, &checkpoint, &fixture, device);
    }
}

fn answers<B: Backend>(folder: &Folder, checkpoint: &Checkpoint, fixture: &Fixture, device: &B::Device) {
    let config = UnetConfig::from_settings(&settings(folder, "unet")).unwrap();
    let unet = checkpoint.unet_of::<B>(&config, device).unwrap();
    let input = |name: &str| fixture.tensor(&format!("unet.in.{name}"), device);
    let context: Tensor<B, 3> = fixture.tensor("unet.in.context", device);
    let t: Tensor<B, 1> = fixture.tensor("unet.in.t", device);
    let found = unet.forward(input("x"), t, context, None);
    assert_close("unet", found.into_data(), fixture.data("sd1.unet.out.x"), TOLERANCE);

    let config = AutoencoderConfig::from_settings(&settings(folder, "vae")).unwrap();
    let vae = checkpoint.autoencoder_of::<B>(&config, device).unwrap();
    let found = vae.encode_moments(fixture.tensor("vae.in.image", device)).mean;
    assert_close("vae", found.into_data(), fixture.data("vae.out.mean"), TOLERANCE);
    let found = vae.decode_unscaled(fixture.tensor("vae.in.z", device));
    assert_close("vae", found.into_data(), fixture.data("vae.out.decoded"), TOLERANCE);

    let config = TextEncoderConfig::from_settings(&settings(folder, "text_encoder")).unwrap();
    let text = checkpoint.text_encoder_of::<B>(&config, device).unwrap();
    let found = text.forward(&ids(fixture)).last;
    assert_close("text", found.into_data(), fixture.data("sd1.text.out.last"), TOLERANCE);
}

fn ids(fixture: &Fixture) -> Vec<Vec<usize>> {
    let ids = fixture.numbers("sd1.text.in.ids");
    ids.chunks(16).map(|ids| ids.iter().map(|&id| id as usize).collect()).collect()
}

#[test]
fn sizes_follow_from_shapes() {
    let (folder, checkpoint) = in_one_file("", |_| {});
    let expected = UnetConfig::from_settings(&settings(&folder, "unet")).unwrap();
    let found = checkpoint.unet_config().unwrap();
    assert_eq!(
        (found.norm_num_groups, found.sample_size, &found.attention_head_dim),
        (32, 64, &PerLevel::All(8))
    );
    let found = UnetConfig {
        norm_num_groups: expected.norm_num_groups,
        sample_size: expected.sample_size,
        attention_head_dim: expected.attention_head_dim.clone(),
        // No file of settings says what is not used.
        addition_time_embed_dim: expected.addition_time_embed_dim,
        projection_class_embeddings_input_dim: expected.projection_class_embeddings_input_dim,
        ..found
    };
    assert_eq!(found, expected);
    let expected = AutoencoderConfig::from_settings(&settings(&folder, "vae")).unwrap();
    let found = checkpoint.autoencoder_config().unwrap();
    assert_eq!((found.norm_num_groups, found.sample_size, found.scaling_factor), (32, 512, 0.18215));
    assert_eq!(AutoencoderConfig { norm_num_groups: 8, sample_size: 32, ..found }, expected);
    assert_eq!(checkpoint.family().unwrap(), Family::StableDiffusion1);
    let expected = TextEncoderConfig::from_settings(&settings(&folder, "text_encoder")).unwrap();
    let found = checkpoint.text_encoder_config().unwrap();
    assert_eq!(TextEncoderConfig { num_attention_heads: 4, ..found }, expected);
}

#[test]
fn the_text_encoder_has_the_names_of_transformers() {
    let latent = Latent::read();
    let expected: BTreeSet<_> = latent.original["text_encoder"].values().map(String::as_str).collect();
    for is_short in [false, true] {
        let (_folder, checkpoint) = in_one_file("state_dict.", |tensors| {
            let whole = "cond_stage_model.transformer.text_model.";
            let short = |name: &str| name.replace(whole, "cond_stage_model.transformer.");
            tensors.iter_mut().filter(|_| is_short).for_each(|(name, _, _)| *name = short(name));
        });
        let file = checkpoint.text_tensors().unwrap();
        assert_eq!(file.names().collect::<BTreeSet<_>>(), expected);
        let name = "text_model.encoder.layers.1.mlp.fc1.weight";
        assert_eq!(file.read(name).unwrap(), hashed(name, &[64, 32]));
    }
}

/// OpenCLIP packs queries, keys and values, in this order.
#[test]
fn the_text_encoder_of_open_clip_is_unpacked() {
    let layer = "cond_stage_model.model.transformer.resblocks.3";
    let numbers = |from: i16, count: i16| (from..from + count).map(f32::from).collect::<Vec<_>>();
    let (_folder, checkpoint) = in_one_file("", |tensors| {
        tensors.retain(|(name, _, _)| !name.starts_with("cond_stage_model."));
        tensors.push((format!("{layer}.attn.in_proj_weight"), vec![6, 2], numbers(0, 12)));
        tensors.push((format!("{layer}.attn.in_proj_bias"), vec![6], numbers(0, 6)));
        for name in ["ln_1.bias", "mlp.c_fc.weight", "mlp.c_proj.weight", "attn.out_proj.weight"] {
            tensors.push((format!("{layer}.{name}"), vec![1], vec![1.0]));
        }
        for name in ["positional_embedding", "token_embedding.weight", "ln_final.weight", "logit_scale"] {
            tensors.push((format!("cond_stage_model.model.{name}"), vec![1], vec![1.0]));
        }
    });
    let file = checkpoint.text_tensors().unwrap();
    let layer = "text_model.encoder.layers.3";
    for (i, name) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        let weight = format!("{layer}.self_attn.{name}.weight");
        assert_eq!(file.shape(&weight), Some(&[2, 2][..]));
        assert_eq!(file.read(&weight).unwrap(), numbers(4 * i as i16, 4));
        assert_eq!(file.read(&format!("{layer}.self_attn.{name}.bias")).unwrap(), numbers(2 * i as i16, 2));
    }
    let others: Vec<_> =
        file.names().filter(|name| !name.contains("_proj.bias") && !name.contains("self_attn.")).collect();
    let expected = [
        "text_model.embeddings.position_embedding.weight",
        "text_model.embeddings.token_embedding.weight",
        "text_model.encoder.layers.3.layer_norm1.bias",
        "text_model.encoder.layers.3.mlp.fc1.weight",
        "text_model.encoder.layers.3.mlp.fc2.weight",
        "text_model.final_layer_norm.weight",
    ];
    assert_eq!(others, expected);
}

/// The text encoder as OpenCLIP has it, packed and with a layer more, gives what the one of the folder does.
#[cfg(feature = "flex")]
#[test]
fn the_last_layer_of_open_clip_is_left_out() {
    use burn::backend::Flex;
    let (folder, checkpoint) = in_one_file("", |tensors| {
        let layer =
            |name: &str| name.contains(".layers.1.").then(|| name.replace(".layers.1.", ".layers.2."));
        let last: Vec<_> = tensors
            .iter()
            .filter_map(|(name, shape, values)| Some((layer(name)?, shape.clone(), values.clone())))
            .collect();
        tensors.extend(last);
        let begin = "cond_stage_model.transformer.";
        let (text, others) = std::mem::take(tensors)
            .into_iter()
            .partition::<Vec<_>, _>(|(name, _, _)| name.starts_with(begin));
        let text: Vec<_> = text
            .into_iter()
            .map(|(name, shape, values)| (name.replacen(begin, "", 1), shape, values))
            .collect();
        *tensors = others;
        tensors.extend(open_clip("cond_stage_model.model.", &text));
    });
    let device = Default::default();
    let found = checkpoint.text_encoder_config().unwrap();
    let gelu = diffusion::latent::TextActivation::Gelu;
    assert_eq!((found.num_hidden_layers, found.hidden_act), (2, gelu));
    let config = TextEncoderConfig::from_settings(&settings(&folder, "text_encoder")).unwrap();
    let text = checkpoint.text_encoder_of::<Flex>(&config, &device).unwrap();
    let fixture = Fixture::open("latent");
    let found = text.forward(&ids(&fixture)).last;
    assert_close("text", found.into_data(), fixture.data("sd1.text.out.last"), TOLERANCE);
}

#[cfg(feature = "flex")]
#[test]
fn all_that_does_not_fit_is_in_one_error() {
    use burn::backend::Flex;
    let unet = "model.diffusion_model";
    let (folder, checkpoint) = in_one_file("", |tensors| {
        tensors.retain(|(name, _, _)| *name != format!("{unet}.out.2.bias"));
        tensors.push((format!("{unet}.input_blocks.1.9.weight"), vec![2], vec![1.0; 2]));
    });
    let config = UnetConfig::from_settings(&settings(&folder, "unet")).unwrap();
    let error = checkpoint.unet_of::<Flex>(&config, &Default::default()).unwrap_err();
    let LatentError::Weights(WeightsError::Tensors { problems, .. }) = error else { panic!("{error}") };
    let found: Vec<_> = problems.iter().map(TensorProblem::name).collect();
    assert_eq!(found, [format!("{unet}.out.2.bias"), format!("{unet}.input_blocks.1.9.weight")]);

    let other = folder.join("unet/diffusion_pytorch_model.safetensors");
    let error = Checkpoint::open(other).unwrap_err();
    assert!(matches!(error, LatentError::NoPart { .. }), "{error}");
}

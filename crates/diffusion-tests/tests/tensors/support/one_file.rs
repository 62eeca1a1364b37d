//! Stable Diffusion in one file, and the folder with the same networks: those of the folders of `latent.json` with the
//! numbers of groups and heads that one-file checkpoints have.

use super::folders::{Folder, Latent, write_tensors};
use super::formula::hashed;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A tensor with its name, its shape and its values.
pub type Stored = (String, Vec<usize>, Vec<f32>);

/// What the file in the folder is called.
pub const FILE: &str = "whole.safetensors";

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const TEXT: &str = "text_encoder/model.safetensors";

/// The folder `sd1` or `sd2`, with the same networks in one file.
pub fn with_one_file(name: &str) -> (Folder, PathBuf) {
    let (folder, latent) = (Folder::new(name), Latent::read());
    let is_first = name == "sd1";
    // Eight heads, or 64 values per head.
    let (heads, side) = if is_first { (json!(8), 64) } else { (json!([1, 1]), 96) };
    let unet = [("norm_num_groups", json!(32)), ("attention_head_dim", heads), ("sample_size", json!(side))];
    set(&folder, "unet/config.json", &unet);
    set(&folder, "vae/config.json", &[("norm_num_groups", json!(32))]);
    set(&folder, "text_encoder/config.json", &[("num_attention_heads", json!(1))]);
    if is_first {
        let scheduler = [("_class_name", json!("PNDMScheduler")), ("skip_prk_steps", json!(true))];
        set(&folder, "scheduler/scheduler_config.json", &scheduler);
    }
    let mut tensors = Vec::new();
    for (part, file) in [("unet", UNET), ("vae", VAE), ("text_encoder", TEXT)] {
        let parameters = latent.parameters(name, file);
        if part == "text_encoder" && !is_first {
            let mut text: Vec<Stored> = parameters.iter().map(|(name, shape)| stored(name, shape)).collect();
            // OpenCLIP has a layer more, which is not looked at.
            let last: Vec<Stored> = text.iter().filter_map(|tensor| of_next_layer(tensor, 2)).collect();
            text.extend(last);
            tensors.extend(open_clip("cond_stage_model.model.", &text));
            continue;
        }
        for (original, name) in &latent.original[part] {
            let (_, shape, values) = stored(name, &parameters[name]);
            tensors.push((original.clone(), shape, values));
        }
    }
    let file = folder.join(FILE);
    write_tensors(&file, tensors);
    (folder, file)
}

/// Changes settings in a file.
pub fn set(folder: &Folder, file: &str, settings: &[(&str, Value)]) {
    folder.edit(file, |text| {
        let mut values: Value = serde_json::from_str(&text).unwrap();
        settings.iter().for_each(|(key, value)| values[*key] = value.clone());
        values.to_string()
    });
}

/// A tensor with the values that the folders have.
pub fn stored(name: &str, shape: &[usize]) -> Stored {
    (name.to_string(), shape.to_vec(), hashed(name, shape))
}

/// The tensor as one of the layer behind `layer`, if it is of that.
fn of_next_layer((name, shape, values): &Stored, layer: usize) -> Option<Stored> {
    let name = name
        .contains(&format!(".layers.{layer}."))
        .then(|| name.replace(&format!(".layers.{layer}."), &format!(".layers.{}.", layer + 1)))?;
    Some((name, shape.clone(), values.clone()))
}

/// A text encoder of transformers as OpenCLIP has it: under other names, and with queries, keys and values in one.
pub fn open_clip(start: &str, tensors: &[Stored]) -> Vec<Stored> {
    let part = |name: &str| {
        let name = format!("text_model.{name}");
        tensors.iter().find(|(found, _, _)| *found == name).unwrap().clone()
    };
    let mut found = Vec::new();
    let mut put = |to: String, from: &[String]| {
        let parts: Vec<_> = from.iter().map(|name| part(name)).collect();
        let mut shape = parts[0].1.clone();
        shape[0] *= parts.len();
        let values = parts.into_iter().flat_map(|(_, _, values)| values).collect();
        found.push((format!("{start}{to}"), shape, values));
    };
    put("token_embedding.weight".into(), &["embeddings.token_embedding.weight".into()]);
    put("positional_embedding".into(), &["embeddings.position_embedding.weight".into()]);
    let is_norm = |tensor: &&Stored| tensor.0.ends_with("layer_norm1.bias");
    let layers = tensors.iter().filter(is_norm).count();
    for kind in ["weight", "bias"] {
        put(format!("ln_final.{kind}"), &[format!("final_layer_norm.{kind}")]);
        for i in 0..layers {
            let (to, from) = (format!("transformer.resblocks.{i}"), format!("encoder.layers.{i}"));
            for (to_end, from_end) in [
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
                ("attn.out_proj", "self_attn.out_proj"),
            ] {
                put(format!("{to}.{to_end}.{kind}"), &[format!("{from}.{from_end}.{kind}")]);
            }
            let packed = ["q", "k", "v"].map(|which| format!("{from}.self_attn.{which}_proj.{kind}"));
            put(format!("{to}.attn.in_proj_{kind}"), &packed);
        }
    }
    found
}

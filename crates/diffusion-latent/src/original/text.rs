//! Names of OpenCLIP's text encoders, which Stable Diffusion 2 and the second encoder of SDXL have in one-file checkpoints.

use diffusion_weights::TensorFile;

/// What the tensor `name` of OpenCLIP is called in transformers; `None` for what text encoders have not. A packed tensor of
/// queries, keys and values has a name that `unpacked` divides.
pub fn text_name(name: &str) -> Option<String> {
    let steps: Vec<&str> = name.split('.').collect();
    let below = |place: &str, rest: &[&str]| {
        rest.iter().fold(format!("text_model.{place}"), |name, step| format!("{name}.{step}"))
    };
    Some(match steps[..] {
        ["token_embedding", "weight"] => below("embeddings.token_embedding.weight", &[]),
        ["positional_embedding"] => below("embeddings.position_embedding.weight", &[]),
        ["ln_final", ref rest @ ..] => below("final_layer_norm", rest),
        ["transformer", "resblocks", layer, ref rest @ ..] => {
            let place = |name: &str| format!("encoder.layers.{layer}.{name}");
            match *rest {
                ["ln_1", ref rest @ ..] => below(&place("layer_norm1"), rest),
                ["ln_2", ref rest @ ..] => below(&place("layer_norm2"), rest),
                ["mlp", "c_fc", ref rest @ ..] => below(&place("mlp.fc1"), rest),
                ["mlp", "c_proj", ref rest @ ..] => below(&place("mlp.fc2"), rest),
                ["attn", "out_proj", ref rest @ ..] => below(&place("self_attn.out_proj"), rest),
                ["attn", "in_proj_weight"] => below(&place("self_attn.in_proj.weight"), &[]),
                ["attn", "in_proj_bias"] => below(&place("self_attn.in_proj.bias"), &[]),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// What the tensor `name` of transformers is called in OpenCLIP, where [`text_name`] has it from; that of queries, keys and
/// values is the packed one.
pub(super) fn open_clip_name(name: &str) -> Option<String> {
    let name = name.strip_prefix("text_model.").unwrap_or(name);
    let plain = match name {
        "embeddings.token_embedding.weight" => "token_embedding.weight",
        "embeddings.position_embedding.weight" => "positional_embedding",
        "text_projection.weight" => "text_projection",
        _ => "",
    };
    if !plain.is_empty() {
        return Some(plain.to_string());
    }
    if let Some(rest) = name.strip_prefix("final_layer_norm.") {
        return Some(format!("ln_final.{rest}"));
    }
    let (layer, rest) = name.strip_prefix("encoder.layers.")?.split_once('.')?;
    let (place, end) = rest.rsplit_once('.')?;
    let place = match place {
        "layer_norm1" => format!("ln_1.{end}"),
        "layer_norm2" => format!("ln_2.{end}"),
        "mlp.fc1" => format!("mlp.c_fc.{end}"),
        "mlp.fc2" => format!("mlp.c_proj.{end}"),
        "self_attn.out_proj" => format!("attn.out_proj.{end}"),
        "self_attn.q_proj" | "self_attn.k_proj" | "self_attn.v_proj" => format!("attn.in_proj_{end}"),
        _ => return None,
    };
    Some(format!("transformer.resblocks.{layer}.{place}"))
}

/// The file with queries, keys and values each by itself, where they are packed.
pub(super) fn unpacked(file: TensorFile) -> TensorFile {
    let packed: Vec<String> =
        file.names().filter(|name| name.contains(".self_attn.in_proj.")).map(str::to_string).collect();
    packed.iter().fold(file, |file, name| {
        let into = ["q_proj", "k_proj", "v_proj"].map(|layer| name.replace("in_proj", layer));
        file.divided(name, &into)
    })
}

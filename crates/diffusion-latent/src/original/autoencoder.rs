//! Names of an autoencoder.

use crate::autoencoder::AutoencoderConfig;

/// What the tensor `name` of diffusers' autoencoder is called in one-file checkpoints, behind `first_stage_model.`, if it is
/// one of a network of this kind. The levels of the decoder are counted from the largest images there.
pub fn autoencoder_name(config: &AutoencoderConfig, name: &str) -> Option<String> {
    let steps: Vec<&str> = name.split('.').collect();
    let (place, rest): (String, &[&str]) = match steps[..] {
        [conv @ ("quant_conv" | "post_quant_conv"), ref rest @ ..] => (conv.into(), rest),
        [half @ ("encoder" | "decoder"), conv @ ("conv_in" | "conv_out"), ref rest @ ..] => {
            (format!("{half}.{conv}"), rest)
        }
        [half @ ("encoder" | "decoder"), "conv_norm_out", ref rest @ ..] => {
            (format!("{half}.norm_out"), rest)
        }
        [half @ ("encoder" | "decoder"), "mid_block", "resnets", i, ref rest @ ..] => {
            (format!("{half}.mid.block_{}", i.parse::<usize>().ok()? + 1), rest)
        }
        [half @ ("encoder" | "decoder"), "mid_block", "attentions", "0", layer, ref rest @ ..] => {
            (format!("{half}.mid.attn_1.{}", attention(layer)?), rest.strip_prefix(&["0"]).unwrap_or(rest))
        }
        ["encoder", "down_blocks", level, "resnets", i, ref rest @ ..] => {
            (format!("encoder.down.{level}.block.{i}"), rest)
        }
        ["encoder", "down_blocks", level, "downsamplers", "0", ref rest @ ..] => {
            (format!("encoder.down.{level}.downsample"), rest)
        }
        ["decoder", "up_blocks", level, "resnets", i, ref rest @ ..] => {
            (format!("decoder.up.{}.block.{i}", from_largest(config, level)?), rest)
        }
        ["decoder", "up_blocks", level, "upsamplers", "0", ref rest @ ..] => {
            (format!("decoder.up.{}.upsample", from_largest(config, level)?), rest)
        }
        _ => return None,
    };
    let step =
        |step: &&str| if *step == "conv_shortcut" { "nin_shortcut".to_string() } else { step.to_string() };
    Some(rest.iter().map(step).fold(place, |name, step| format!("{name}.{step}")))
}

fn from_largest(config: &AutoencoderConfig, level: &str) -> Option<usize> {
    config.block_out_channels.len().checked_sub(1 + level.parse::<usize>().ok()?)
}

fn attention(layer: &str) -> Option<&'static str> {
    Some(match layer {
        "group_norm" => "norm",
        "to_q" => "q",
        "to_k" => "k",
        "to_v" => "v",
        "to_out" => "proj_out",
        _ => return None,
    })
}

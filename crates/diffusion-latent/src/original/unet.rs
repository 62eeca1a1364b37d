//! Names of a U-Net.

use crate::unet::UnetConfig;

/// What the tensor `name` of diffusers' U-Net is called in one-file checkpoints, behind `model.diffusion_model.`, if it is
/// one of a network of this kind. Levels are one list of blocks there.
///
/// ```
/// use diffusion_latent::UnetConfig;
/// use diffusion_latent::original::unet_name;
///
/// let name = unet_name(&UnetConfig::default(), "down_blocks.1.resnets.0.conv1.weight");
/// assert_eq!(name.as_deref(), Some("input_blocks.4.0.in_layers.2.weight"));
/// ```
pub fn unet_name(config: &UnetConfig, name: &str) -> Option<String> {
    let steps: Vec<&str> = name.split('.').collect();
    let place = |place: String, rest: &[&str]| joined(place, rest);
    let going_down = Levels::down(config);
    let going_up = Levels::up(config);
    Some(match steps[..] {
        ["conv_in", ref rest @ ..] => place("input_blocks.0.0".into(), rest),
        ["time_embedding", layer, ref rest @ ..] => place(format!("time_embed.{}", second(layer)?), rest),
        ["add_embedding", layer, ref rest @ ..] => place(format!("label_emb.0.{}", second(layer)?), rest),
        ["conv_norm_out", ref rest @ ..] => place("out.0".into(), rest),
        ["conv_out", ref rest @ ..] => place("out.2".into(), rest),
        ["down_blocks", level, "resnets", i, ref rest @ ..] => {
            place(format!("input_blocks.{}.0", 1 + going_down.block(level, i)?), &resnet(rest)?)
        }
        ["down_blocks", level, "attentions", i, ref rest @ ..] => {
            place(format!("input_blocks.{}.1", 1 + going_down.block(level, i)?), rest)
        }
        ["down_blocks", level, "downsamplers", "0", "conv", ref rest @ ..] => {
            place(format!("input_blocks.{}.0.op", 1 + going_down.last(level)?), rest)
        }
        ["mid_block", "resnets", i, ref rest @ ..] => {
            place(format!("middle_block.{}", 2 * i.parse::<usize>().ok()?), &resnet(rest)?)
        }
        ["mid_block", "attentions", "0", ref rest @ ..] => place("middle_block.1".into(), rest),
        ["up_blocks", level, "resnets", i, ref rest @ ..] => {
            place(format!("output_blocks.{}.0", going_up.block(level, i)?), &resnet(rest)?)
        }
        ["up_blocks", level, "attentions", i, ref rest @ ..] => {
            place(format!("output_blocks.{}.1", going_up.block(level, i)?), rest)
        }
        ["up_blocks", level, "upsamplers", "0", "conv", ref rest @ ..] => {
            // Behind attention, if the level has it.
            let kind = config.up_block_types.get(level.parse::<usize>().ok()?)?;
            let part = 1 + usize::from(kind.has_attention());
            place(format!("output_blocks.{}.{part}.conv", going_up.last(level)?), rest)
        }
        _ => return None,
    })
}

/// How many blocks each level has in the list of all.
struct Levels(Vec<usize>);

impl Levels {
    /// Residual blocks, and one that halves the size, also counted at the last level, which has none.
    fn down(config: &UnetConfig) -> Self {
        Self((0..config.levels()).map(|level| config.layers_per_block.at(level) + 1).collect())
    }

    /// One more residual block than going down; enlarging is a part of the last.
    fn up(config: &UnetConfig) -> Self {
        let Self(mut blocks) = Self::down(config);
        blocks.reverse();
        Self(blocks)
    }

    /// The place of block `i` of a level.
    fn block(&self, level: &str, i: &str) -> Option<usize> {
        let (level, i): (usize, usize) = (level.parse().ok()?, i.parse().ok()?);
        (i < *self.0.get(level)?).then(|| self.0[..level].iter().sum::<usize>() + i)
    }

    /// The place of the last block of a level.
    fn last(&self, level: &str) -> Option<usize> {
        let level: usize = level.parse().ok()?;
        Some(self.0.get(..=level)?.iter().sum::<usize>() - 1)
    }
}

/// The place of one of two layers with an activation between them.
fn second(layer: &str) -> Option<&'static str> {
    match layer {
        "linear_1" => Some("0"),
        "linear_2" => Some("2"),
        _ => None,
    }
}

/// The steps below a residual block.
fn resnet<'a>(steps: &[&'a str]) -> Option<Vec<&'a str>> {
    let (first, rest) = steps.split_first()?;
    let place: &[&str] = match *first {
        "norm1" => &["in_layers", "0"],
        "conv1" => &["in_layers", "2"],
        "time_emb_proj" => &["emb_layers", "1"],
        "norm2" => &["out_layers", "0"],
        "conv2" => &["out_layers", "3"],
        "conv_shortcut" => &["skip_connection"],
        _ => return None,
    };
    Some([place, rest].concat())
}

/// `place` and the steps below it, with dots between.
fn joined(place: String, rest: &[&str]) -> String {
    rest.iter().fold(place, |name, step| format!("{name}.{step}"))
}

//! Names of tensors in files of LoRA: those of kohya's scripts, of PEFT, and of diffusers before it had PEFT.

/// The part of a pipeline that a layer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoraPart {
    /// The U-Net.
    Unet,
    /// The diffusion transformer.
    Transformer,
    /// The text encoder, or the first of two.
    TextEncoder,
    /// The second text encoder.
    TextEncoder2,
}

impl LoraPart {
    /// What its folder is called in a pipeline, and its tensors begin with in PEFT's files.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Transformer => "transformer",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
        }
    }
}

/// What kohya's names of a part begin with.
const KOHYA: [(&str, LoraPart); 4] = [
    ("lora_unet_", LoraPart::Unet),
    ("lora_te1_", LoraPart::TextEncoder),
    ("lora_te2_", LoraPart::TextEncoder2),
    ("lora_te_", LoraPart::TextEncoder),
];

/// What PEFT's names of a part begin with.
const PEFT: [LoraPart; 4] =
    [LoraPart::Unet, LoraPart::Transformer, LoraPart::TextEncoder2, LoraPart::TextEncoder];

/// Which tensor of a layer one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// From the layer's inputs to a few values.
    Down,
    /// From these to the layer's outputs.
    Up,
    /// What the product is multiplied by, times the rank.
    Alpha,
}

/// How names end.
const ENDS: [(&str, Piece); 12] = [
    (".lora_down.weight", Piece::Down),
    (".lora_up.weight", Piece::Up),
    (".lora_A.weight", Piece::Down),
    (".lora_B.weight", Piece::Up),
    (".lora_A.default.weight", Piece::Down),
    (".lora_B.default.weight", Piece::Up),
    (".lora.down.weight", Piece::Down),
    (".lora.up.weight", Piece::Up),
    (".lora_linear_layer.down.weight", Piece::Down),
    (".lora_linear_layer.up.weight", Piece::Up),
    (".lora.alpha", Piece::Alpha),
    (".alpha", Piece::Alpha),
];

/// What names of other adapters contain, and what these are called.
const KINDS: [(&str, &str); 12] = [
    ("lora_mid.", "LoCon with a Tucker core"),
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".oft_", "OFT"),
    ("lora_embedding_", "LoRA of a table of vectors"),
    (".on_input", "IA³"),
    (".ia3_", "IA³"),
    (".diff", "whole differences"),
    (".w_norm", "differences of norms"),
    (".b_norm", "differences of norms"),
];

/// A layer that a file names: dots and underscores are one, for kohya's names have no dots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layer {
    /// The part, if the file says it.
    pub part: Option<LoraPart>,
    /// Its flattened name.
    pub name: String,
}

/// What a tensor is by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One of LoRA.
    Piece(Layer, Piece),
    /// One of another kind of adapter.
    Other(&'static str),
    /// Something else.
    Unknown,
}

impl Found {
    pub(super) fn by_name(name: &str) -> Self {
        if let Some((_, kind)) = KINDS.iter().find(|(mark, _)| name.contains(mark)) {
            return Self::Other(kind);
        }
        let name = name.strip_prefix("base_model.model.").unwrap_or(name);
        let (part, rest) = part_of(name);
        let ended = |(end, piece): &(&str, Piece)| Some((rest.strip_suffix(end)?.to_string(), *piece));
        match ENDS.iter().find_map(ended).or_else(|| of_processor(rest)) {
            Some((layer, piece)) => Self::Piece(Layer { part, name: flattened(&layer) }, piece),
            None => Self::Unknown,
        }
    }
}

fn part_of(name: &str) -> (Option<LoraPart>, &str) {
    let kohya = KOHYA.iter().find_map(|(start, part)| Some((Some(*part), name.strip_prefix(start)?)));
    let peft = || {
        PEFT.iter().find_map(|part| Some((Some(*part), name.strip_prefix(part.folder())?.strip_prefix('.')?)))
    };
    kohya.or_else(peft).unwrap_or((None, name))
}

/// The names of diffusers before 0.17: `attn1.processor.to_q_lora.down.weight`.
fn of_processor(name: &str) -> Option<(String, Piece)> {
    let (attention, rest) = name.split_once(".processor.")?;
    let (layer, piece) = rest.split_once("_lora.")?;
    let piece = match piece {
        "down.weight" => Piece::Down,
        "up.weight" => Piece::Up,
        _ => return None,
    };
    let layer = if layer == "to_out" { "to_out.0" } else { layer };
    Some((format!("{attention}.{layer}"), piece))
}

/// A layer's name without dots, and without what only some libraries begin the names of text encoders with.
pub(super) fn flattened(name: &str) -> String {
    let flat = name.replace('.', "_");
    flat.strip_prefix("text_model_").map(str::to_string).unwrap_or(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_dialects_name_the_same_layers() {
        let unet = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0";
        let text = "encoder_layers_0_self_attn_q_proj";
        for (name, part, layer, piece) in [
            (format!("lora_unet_{unet}.lora_down.weight"), Some(LoraPart::Unet), unet, Piece::Down),
            (format!("lora_unet_{unet}.alpha"), Some(LoraPart::Unet), unet, Piece::Alpha),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_B.weight".into(),
                Some(LoraPart::Unet),
                unet,
                Piece::Up,
            ),
            (
                "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.default.weight"
                    .into(),
                None,
                unet,
                Piece::Down,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight".into(),
                Some(LoraPart::Unet),
                unet,
                Piece::Up,
            ),
            (format!("lora_te_text_model_{text}.lora_up.weight"), Some(LoraPart::TextEncoder), text, Piece::Up),
            (format!("lora_te1_text_model_{text}.lora_up.weight"), Some(LoraPart::TextEncoder), text, Piece::Up),
            (format!("lora_te2_text_model_{text}.alpha"), Some(LoraPart::TextEncoder2), text, Piece::Alpha),
            (
                "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight".into(),
                Some(LoraPart::TextEncoder2),
                text,
                Piece::Down,
            ),
            (
                "text_encoder.encoder.layers.0.self_attn.q_proj.lora.down.weight".into(),
                Some(LoraPart::TextEncoder),
                text,
                Piece::Down,
            ),
        ] {
            let layer = Layer { part, name: layer.to_string() };
            assert_eq!(Found::by_name(&name), Found::Piece(layer, piece), "{name}");
        }
    }

    #[test]
    fn other_adapters_are_called_by_their_names() {
        for (end, kind) in [
            ("lora_mid.weight", "LoCon with a Tucker core"),
            ("dora_scale", "DoRA"),
            ("lora_magnitude_vector.weight", "DoRA"),
            ("hada_w1_a", "LoHa"),
            ("lokr_w1", "LoKr"),
            ("oft_blocks", "OFT"),
            ("diff_b", "whole differences"),
        ] {
            assert_eq!(Found::by_name(&format!("lora_unet_mid_block.{end}")), Found::Other(kind));
        }
        assert_eq!(Found::by_name("unet.conv_in.weight"), Found::Unknown);
    }
}

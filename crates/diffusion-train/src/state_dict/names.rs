//! The reference's name of a parameter, from the path of fields that leads to it here.

/// Where a walk through a module is, in the reference's words.
///
/// Burn tells a visitor each field that it enters and the type that holds it; each such pair is translated by itself,
/// so that networks made of this library's layers in any order get the names that PyTorch's would have.
#[derive(Default)]
pub(super) struct Place {
    name: String,
    /// The pairs entered so far, each with the length of the name before it.
    entered: Vec<(String, String, usize)>,
}

impl Place {
    /// One level down, into `field` of a `container` as Burn writes it: "Struct:Linear", "Enum:SigmaEmbedder", "Vec".
    pub(super) fn enter(&mut self, field: &str, container: &str) {
        let length = self.name.len();
        let step = self.translate(field, container);
        if !step.is_empty() {
            if length > 0 {
                self.name.push('.');
            }
            self.name.push_str(&step);
        }
        self.entered.push((container.to_string(), field.to_string(), length));
    }

    /// One level up.
    pub(super) fn leave(&mut self) {
        if let Some((_, _, length)) = self.entered.pop() {
            self.name.truncate(length);
        }
    }

    /// The reference's name of this place.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the reference has the transpose of what is here: PyTorch's linear layers have `[out, in]`.
    pub(super) fn is_transposed(&self) -> bool {
        self.innermost() == Some(("Struct:Linear", "weight"))
    }

    fn innermost(&self) -> Option<(&str, &str)> {
        self.entered.last().map(|(container, field, _)| (container.as_str(), field.as_str()))
    }

    fn translate(&self, field: &str, container: &str) -> String {
        if container.starts_with("Enum:") {
            return String::new();
        }
        match (self.innermost(), field.parse::<usize>()) {
            // PyTorch counts the activations between these layers, too.
            (Some(("Struct:TimeInputMlp" | "Struct:ConditionalMlp", "net")), Ok(layer)) => {
                (2 * layer).to_string()
            }
            _ => reference_name(container, field).to_string(),
        }
    }
}

/// The reference's name of one field; its own where it is not in the table, and none where the reference has no such
/// level.
fn reference_name<'a>(container: &str, field: &'a str) -> &'a str {
    match (container.strip_prefix("Struct:").unwrap_or(container), field) {
        ("GroupNorm" | "LayerNorm", "gamma") => "weight",
        ("GroupNorm" | "LayerNorm", "beta") => "bias",
        ("CondSequential", "modules") => "",
        ("SigmaEmbedderSinCos", "input") => "mlp.0",
        ("SigmaEmbedderSinCos", "output") => "mlp.2",
        ("TimestepEmbedder", "input") => "mlp.0",
        ("TimestepEmbedder", "hidden") => "mlp.2",
        ("TimestepEmbedder", "output") => "mlp.4",
        ("CondEmbedderLabel", "output") => "mlp.1",
        ("Modulation", "proj") => "proj.1",
        ("DitBlock", "mlp_in") => "mlp.0",
        ("DitBlock", "mlp_out") => "mlp.2",
        ("ResnetBlock", "norm1") => "layer1.0",
        ("ResnetBlock", "conv1") => "layer1.2",
        ("ResnetBlock", "temb_proj") => "temb_proj.1",
        ("ResnetBlock", "norm2") => "layer2.0",
        ("ResnetBlock", "conv2") => "layer2.3",
        ("UnetBlock", "resnet") => "0",
        ("UnetBlock", "attn") => "1",
        ("UnetMiddle", "first") => "0",
        ("UnetMiddle", "attn") => "1",
        ("UnetMiddle", "second") => "2",
        ("Downsample" | "Upsample", "conv") => "1",
        ("Unet", "out_norm") => "out_layer.0",
        ("Unet", "out_conv") => "out_layer.2",
        (_, field) => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &[(&str, &str)]) -> String {
        let mut place = Place::default();
        path.iter().for_each(|(container, field)| place.enter(field, container));
        place.name().to_string()
    }

    /// The names are those that Python prints for `Unet(8, 1, 1, ch=32, ch_mult=(1, 2), attn_resolutions=(4,))`.
    #[test]
    fn a_unets_fields_have_the_references_names() {
        let block = [("Struct:Unet", "ups"), ("Vec", "1"), ("Struct:UnetUp", "blocks"), ("Vec", "0")];
        let resnet = [&block[..], &[("Struct:UnetBlock", "resnet")]].concat();
        let attention = [&block[..], &[("Struct:UnetBlock", "attn")]].concat();
        let norm = |field| ("Struct:GroupNorm", field);
        for (path, tail, expected) in [
            (
                &resnet,
                &[("Struct:ResnetBlock", "norm1"), norm("gamma")][..],
                "ups.1.blocks.0.0.layer1.0.weight",
            ),
            (
                &resnet,
                &[("Struct:ResnetBlock", "conv1"), ("Struct:Conv2d", "bias")],
                "ups.1.blocks.0.0.layer1.2.bias",
            ),
            (&resnet, &[("Struct:ResnetBlock", "temb_proj")], "ups.1.blocks.0.0.temb_proj.1"),
            (&resnet, &[("Struct:ResnetBlock", "norm2"), norm("beta")], "ups.1.blocks.0.0.layer2.0.bias"),
            (&resnet, &[("Struct:ResnetBlock", "conv2")], "ups.1.blocks.0.0.layer2.3"),
            (&resnet, &[("Struct:ResnetBlock", "shortcut")], "ups.1.blocks.0.0.shortcut"),
            (&attention, &[("Struct:AttnBlock", "norm"), norm("gamma")], "ups.1.blocks.0.1.norm.weight"),
            (
                &attention,
                &[("Struct:AttnBlock", "attn"), ("Struct:Attention", "proj")],
                "ups.1.blocks.0.1.attn.proj",
            ),
            (&attention, &[("Struct:AttnBlock", "proj_out")], "ups.1.blocks.0.1.proj_out"),
        ] {
            assert_eq!(name(&[path, tail].concat()), expected);
        }
        for (path, expected) in [
            (&[("Struct:Unet", "mid"), ("Struct:UnetMiddle", "first")][..], "mid.0"),
            (&[("Struct:Unet", "mid"), ("Struct:UnetMiddle", "attn")], "mid.1"),
            (&[("Struct:Unet", "mid"), ("Struct:UnetMiddle", "second")], "mid.2"),
            (&[("Struct:UnetDown", "downsample"), ("Struct:Downsample", "conv")], "downsample.1"),
            (&[("Struct:UnetUp", "upsample"), ("Struct:Upsample", "conv")], "upsample.1"),
            (&[("Struct:Unet", "conv_in"), ("Struct:Conv2d", "weight")], "conv_in.weight"),
            (&[("Struct:Unet", "out_norm"), norm("gamma")], "out_layer.0.weight"),
            (&[("Struct:Unet", "out_conv"), ("Struct:Conv2d", "weight")], "out_layer.2.weight"),
        ] {
            assert_eq!(name(path), expected);
        }
    }

    #[test]
    fn an_unknown_network_keeps_its_own_names() {
        let path = [("Struct:Mine", "stem"), ("Vec", "1"), ("Tuple", "0"), ("Struct:LayerNorm", "beta")];
        assert_eq!(name(&path), "stem.1.0.bias");
        assert_eq!(name(&[("Struct:Mine", "net"), ("Vec", "3"), ("Struct:Linear", "bias")]), "net.3.bias");
    }

    #[test]
    fn only_linear_weights_are_transposed() {
        for (container, field, expected) in [
            ("Struct:Linear", "weight", true),
            ("Struct:Linear", "bias", false),
            ("Struct:Embedding", "weight", false),
            ("Struct:Conv2d", "weight", false),
        ] {
            let mut place = Place::default();
            place.enter(field, container);
            assert_eq!(place.is_transposed(), expected, "{container}.{field}");
        }
    }

    #[test]
    fn leaving_undoes_entering() {
        let mut place = Place::default();
        place.enter("blocks", "Struct:Dit");
        for field in ["norm1", "mlp_out"] {
            place.enter("modules", "Struct:CondSequential");
            place.enter(field, "Struct:DitBlock");
            place.leave();
            place.leave();
            assert_eq!(place.name(), "blocks");
        }
    }
}

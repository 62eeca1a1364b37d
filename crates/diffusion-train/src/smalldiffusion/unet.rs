//! smalldiffusion's names of the U-Net.

use diffusion_weights::NameTable;

pub(super) fn names(table: NameTable) -> NameTable {
    table
        .with("ResnetBlock", &[("norm1", "layer1.0"), ("conv1", "layer1.2")])
        .with("ResnetBlock", &[("temb_proj", "temb_proj.1")])
        .with("ResnetBlock", &[("norm2", "layer2.0"), ("conv2", "layer2.3")])
        .with("UnetBlock", &[("resnet", "0"), ("attn", "1")])
        .with("UnetMiddle", &[("first", "0"), ("attn", "1"), ("second", "2")])
        .with("Downsample", &[("conv", "1")])
        .with("Upsample", &[("conv", "1")])
        .with("Unet", &[("out_norm", "out_layer.0"), ("out_conv", "out_layer.2")])
}

#[cfg(test)]
mod tests {
    use crate::smalldiffusion_names;

    /// The names are those that Python prints for `Unet(8, 1, 1, ch=32, ch_mult=(1, 2), attn_resolutions=(4,))`.
    #[test]
    fn a_unets_fields_have_smalldiffusions_names() {
        let names = smalldiffusion_names();
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
            assert_eq!(names.name_of([path, tail].concat()), expected);
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
            assert_eq!(names.name_of(path.iter().copied()), expected);
        }
    }
}

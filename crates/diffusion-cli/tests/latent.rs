//! From a pretrained folder to pictures, and from images to latents and back.

#![allow(clippy::unwrap_used)]

mod common;
mod pretrained;

use common::{Folder, fail, files, metrics, succeed};
use pretrained::folders::Folder as Pretrained;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Height and width of a PNG, and its texts.
fn read_png(path: &str) -> ([u32; 2], BTreeMap<String, String>) {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut size, mut texts) = (&bytes[8..], [0; 2], BTreeMap::new());
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    while !rest.is_empty() {
        let length = number(rest) as usize;
        let (kind, content) = (&rest[4..8], &rest[8..8 + length]);
        match kind {
            b"IHDR" => size = [number(&content[4..]), number(content)],
            b"iTXt" => {
                // A keyword; whether and how it is compressed; language; translated keyword; text.
                let mut parts = content.splitn(2, |&byte| byte == 0);
                let (keyword, after) = (parts.next().unwrap(), parts.next().unwrap());
                assert_eq!(after[..4], [0; 4], "a text that is compressed or of a language");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                texts.insert(text(keyword), text(&after[4..]));
            }
            _ => {}
        }
        rest = &rest[12 + length..];
    }
    (size, texts)
}

/// `count` images of 20 × 24 pixels of each class.
fn write_images(folder: &str, classes: &[&str], count: u32) {
    for (number, class) in classes.iter().enumerate() {
        let class = Path::new(folder).join(class);
        fs::create_dir_all(&class).unwrap();
        for i in 0..count {
            let number = number as u32;
            let picture = image::RgbImage::from_fn(24, 20, |x, y| {
                image::Rgb([x * 10 + i, y * 12, number * 200].map(|value| value as u8))
            });
            picture.save(class.join(format!("{i:04}.png"))).unwrap();
        }
    }
}

/// The values of a tensor in a file, and its shape.
fn tensor(path: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    (view.shape().to_vec(), values.collect())
}

#[test]
fn pictures_are_generated_and_say_how() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let base = ["generate", model, "the red fox", "--size", "16x24", "--steps", "2"];
    let run = |options: &[&str]| succeed(&[&base[..], options].concat());
    let [one, again, many, second] =
        ["one.png", "again.png", "many.png", "second.png"].map(|name| folder.path(name));
    let options = ["--negative", "süß 🦊", "--guidance", "5", "--seed", "3", "--sampler", "heun"];
    run(&[&options[..], &["--out", &one]].concat());
    run(&[&options[..], &["--out", &again]].concat());
    assert!(fs::read(&one).unwrap() == fs::read(&again).unwrap(), "the same seed gives another file");

    let (size, texts) = read_png(&one);
    assert_eq!(size, [16, 24]);
    let name = Path::new(model).file_name().unwrap().to_str().unwrap();
    for (keyword, text) in [
        ("prompt", "the red fox"),
        ("negative_prompt", "süß 🦊"),
        ("seed", "3"),
        ("steps", "2"),
        ("guidance_scale", "5"),
        ("cfg_scale", "4"),
        ("sampler", "heun"),
        ("size", "24x16"),
        ("model", name),
    ] {
        assert_eq!(texts[keyword], text, "{keyword}");
    }
    assert!(texts["Software"].starts_with("diffusion "));

    run(&["--count", "2", "--out", &many]);
    run(&["--seed", "1", "--out", &second]);
    let [first, other] = [0, 1].map(|seed| fs::read(folder.path(&format!("many-seed-{seed}.png"))).unwrap());
    assert!(other == fs::read(&second).unwrap(), "the second picture is not that of the next seed");
    assert!(first != other, "two seeds give one picture");
}

#[test]
fn pictures_begin_with_others() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    write_images(&folder.path("images"), &["a"], 1);
    let (image, mask) = (folder.path("images/a/0000.png"), folder.path("mask.png"));
    image::GrayImage::from_fn(24, 20, |x, _| image::Luma([if x < 12 { 255 } else { 0 }]))
        .save(&mask)
        .unwrap();
    let base = ["generate", model.path().to_str().unwrap(), "the red fox", "--size", "16", "--steps", "4"];
    let draw = |name: &str, options: &[&str]| {
        let out = folder.path(name);
        succeed(&[&base[..], &["--out", &out], options].concat());
        out
    };
    let [little, much] = ["0.25", "1"]
        .map(|strength| draw(&format!("{strength}.png"), &["--image", &image, "--strength", strength]));
    assert_eq!((&read_png(&little).1["strength"][..], &read_png(&much).1["strength"][..]), ("0.25", "1"));
    assert!(fs::read(&little).unwrap() != fs::read(&much).unwrap(), "strength changes nothing");
    let painted = draw("painted.png", &["--image", &image, "--mask", &mask, "--preview-every", "2"]);
    assert_eq!(read_png(&painted).1["strength"], "1");
    // A pixel for each latent.
    assert_eq!(read_png(&folder.path("painted-preview.png")).0, [8, 8]);
}

/// The latents of a folder of images train a model whose samples are decoded, in one command or in two.
#[test]
fn latents_are_made_trained_on_and_decoded() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, latents, run] = ["images", "latents", "run"].map(|name| folder.path(name));
    write_images(&images, &["cat", "dog"], 3);
    succeed(&["encode", model, "--images", &images, "--size", "32", "--out", &latents]);
    let shard = folder.path("latents/latents-00000-of-00001.safetensors");
    assert_eq!(tensor(&shard, "latent_mean").0, [6, 4, 16, 16]);

    let small = [
        "network.ch=32",
        "network.ch_mult=[1]",
        "network.attn_resolutions=[]",
        "sampling.count=2",
        "sampling.steps=2",
    ];
    let set: Vec<&str> = small.iter().flat_map(|setting| ["--set", setting]).collect();
    let train = ["train", "--latents", &latents, "--steps", "20", "--batch-size", "2", "--out", &run];
    succeed(&[&train[..], &set].concat());
    assert_eq!(metrics(&run).last().unwrap()["step"], 20);
    let config = fs::read_to_string(folder.path("run/config.toml")).unwrap();
    for setting in ["scale = 0.18215", "num_classes = 2", r#"classes = ["cat", "dog"]"#, "flip = true"] {
        assert!(config.contains(setting), "{setting}: {config}");
    }

    let [raw, seen, decoded] = ["raw.png", "seen.png", "decoded.png"].map(|name| folder.path(name));
    succeed(&["sample", &run, "--seed", "4", "--out", &raw]);
    succeed(&["sample", &run, "--seed", "4", "--out", &seen, "--decoder", model]);
    // Both leave the latents beside the picture, and of the same seed the same.
    let [of_raw, of_seen] = ["raw", "seen"].map(|name| folder.path(&format!("{name}.safetensors")));
    assert!(tensor(&of_raw, "samples") == tensor(&of_seen, "samples"), "a decoder changes the latents");
    assert!(fs::read(&raw).unwrap() != fs::read(&seen).unwrap(), "latents are shown as images");
    succeed(&["decode", model, &of_raw, "--out", &decoded]);
    let pixels = |path: &str| image::open(path).unwrap().into_rgb8();
    assert!(pixels(&decoded) == pixels(&seen), "two commands make another picture than one");
    // What was encoded is decoded, too.
    succeed(&["decode", model, &shard, "--out", &decoded, "--overwrite"]);
}

/// Two shards, of which the first stays while the second is made again.
#[test]
fn encoding_goes_on_and_refuses_other_settings() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, latents] = ["images", "latents"].map(|name| folder.path(name));
    write_images(&images, &["a"], 1025);
    let base = ["encode", model, "--images", &images, "--out", &latents, "--batch-size", "64"];
    let encode = [&base[..], &["--size", "8"]].concat();
    succeed(&encode);
    let whole = files(&latents);
    let [first, second] =
        [0, 1].map(|i| folder.path(&format!("latents/latents-{i:05}-of-00002.safetensors")));
    let written = |path: &str| fs::metadata(path).unwrap().modified().unwrap();
    let before = written(&first);

    fs::remove_file(&second).unwrap();
    succeed(&encode);
    assert!(written(&first) == before && files(&latents) == whole, "a whole shard was written again");
    // A shard that was cut short is not complete.
    fs::write(&second, &fs::read(&second).unwrap()[..100]).unwrap();
    succeed(&encode);
    assert!(written(&first) == before && files(&latents) == whole, "a whole shard was written again");

    let other = [&base[..], &["--size", "10"]].concat();
    assert!(fail(&other).contains("--overwrite"));
    assert!(files(&latents) == whole, "a refusal changes files");
    fs::remove_dir_all(Path::new(&images)).unwrap();
    write_images(&images, &["b"], 3);
    assert!(fail(&encode).contains("--overwrite"));
    assert!(files(&latents) == whole, "a refusal changes files");
    succeed(&[&other[..], &["--overwrite"]].concat());
    let names: Vec<_> = files(&latents).into_keys().map(|name| name.to_str().unwrap().to_string()).collect();
    assert_eq!(names, ["encoded.toml", "latents-00000-of-00001.safetensors"]);
}

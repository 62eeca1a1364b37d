//! From a pretrained folder to pictures, and from images to latents and back.

#![allow(clippy::unwrap_used)]

mod common;
mod pretrained;

use common::{Folder, fail, files, metrics, run, succeed};
use pretrained::folders::Folder as Pretrained;
use pretrained::one_file::with_one_file;
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
    for absent in
        ["scheduler", "spacing", "image", "mask", "strength", "tiles", "variant", "prediction", "class"]
    {
        assert!(!texts.contains_key(absent), "{absent}");
    }

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
    let texts = read_png(&painted).1;
    for (keyword, text) in [("strength", "1"), ("image", "0000.png"), ("mask", "mask.png")] {
        assert_eq!(texts[keyword], text, "{keyword}");
    }
    // A pixel for each latent.
    assert_eq!(read_png(&folder.path("painted-preview.png")).0, [8, 8]);
}

fn pixels(path: &str) -> image::RgbImage {
    image::open(path).unwrap().into_rgb8()
}

/// The sampler that is written draws the same picture where it is asked for.
#[test]
fn pictures_say_what_was_left_to_the_folder() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let [vae, half] =
        ["", ".fp16"].map(|variant| model.join(&format!("vae/diffusion_pytorch_model{variant}.safetensors")));
    fs::copy(vae, half).unwrap();
    let path = model.path().to_str().unwrap();
    let draw = |name: &str, options: &[&str]| {
        let out = folder.path(name);
        let base = ["generate", path, "the red fox", "--size", "16", "--steps", "3", "--out", &out];
        let said = succeed(&[&base[..], options].concat());
        (out, said)
    };
    for (class, sampler) in [
        ("DDIMScheduler", "ddim"),
        ("PNDMScheduler", "pndm"),
        ("EulerAncestralDiscreteScheduler", "ddpm"),
        ("UniPCMultistepScheduler", "unipc"),
        ("DPMSolverSinglestepScheduler", "dpm-solver"),
    ] {
        model.edit("scheduler/scheduler_config.json", |text| {
            let mut settings: serde_json::Value = serde_json::from_str(&text).unwrap();
            settings["_class_name"] = class.into();
            settings["skip_prk_steps"] = true.into();
            settings.to_string()
        });
        let options = ["--spacing", "trailing", "--tiles", "--variant", "fp16", "--overwrite"];
        let (followed, said) = draw("followed.png", &options);
        let texts = read_png(&followed).1;
        for (keyword, text) in [
            ("sampler", sampler),
            ("scheduler", class),
            ("spacing", "trailing"),
            ("tiles", "true"),
            ("variant", "fp16"),
        ] {
            assert_eq!(texts[keyword], text, "{keyword}");
        }
        assert_eq!(said.contains("`dpm-solver`"), sampler == "dpm-solver", "{said}");
        let (asked, _) = draw("asked.png", &[&options[..], &["--sampler", sampler]].concat());
        assert!(pixels(&asked) == pixels(&followed), "{class}");
        assert!(!read_png(&asked).1.contains_key("scheduler"));
    }
}

/// A diffusion transformer's folder with names of its ten classes.
fn of_classes() -> Pretrained {
    let model = Pretrained::new("dit");
    let names: Vec<_> = (0..10).map(|i| format!(r#""{i}": "kind {i}, fox {i}""#)).collect();
    let named = format!(r#"{{"id2label": {{{}}},"#, names.join(", "));
    model.edit("model_index.json", |text| text.replacen('{', &named, 1));
    model
}

#[test]
fn classes_are_drawn_by_their_names_and_numbers() {
    let (model, folder) = (of_classes(), Folder::new());
    let model = model.path().to_str().unwrap();
    let draw = |name: &str, prompt: &str, options: &[&str]| {
        let out = folder.path(name);
        let said = succeed(&[&["generate", model, prompt, "--steps", "2", "--out", &out], options].concat());
        (out, said)
    };
    let (named, said) = draw("named.png", "fox 7", &[]);
    assert!(said.contains("class 7: kind 7, fox 7"), "{said}");
    let (numbered, _) = draw("numbered.png", "7", &["--guidance", "4"]);
    assert!(pixels(&named) == pixels(&numbered), "a name and its number, or the default guidance, differ");
    let (size, texts) = read_png(&named);
    assert_eq!((size, &texts["guidance_scale"][..]), ([16, 16], "4"));
    assert_eq!((&texts["prompt"][..], &texts["class"][..]), ("fox 7", "7"));
    assert_eq!(texts["class_name"], "kind 7, fox 7");

    let (other, _) = draw("other.png", "kind 3", &[]);
    let (against, _) = draw("against.png", "fox 7", &["--negative", "kind 3"]);
    for different in [&other, &against] {
        assert!(pixels(&named) != pixels(different), "{different}");
    }
    draw("many.png", "fox 7", &["--count", "2", "--preview-every", "1"]);
    assert!(pixels(&folder.path("many-seed-0.png")) == pixels(&named), "the first of two is another");

    let said = fail(&["generate", model, "fix 7", "--out", &folder.path("none.png")]);
    assert!(said.contains("`fox 7`") && said.contains("id2label"), "{said}");
    let without = Pretrained::new("dit");
    let said =
        fail(&["generate", without.path().to_str().unwrap(), "fox 7", "--out", &folder.path("none.png")]);
    assert!(!said.contains("id2label"), "{said}");
}

/// The picture of the folder that has the same networks.
#[test]
fn checkpoints_in_one_file_are_drawn_with_a_tokenizer() {
    for (name, options) in [("sd1", &[][..]), ("sd2", &["--prediction", "v_prediction"])] {
        let ((model, file), folder) = (with_one_file(name), Folder::new());
        let [file, model] = [&file, model.path()].map(|path| path.to_str().unwrap());
        let tokenizer = format!("{model}/tokenizer");
        let draw = |out: &str, model: &str, options: &[&str]| {
            let out = folder.path(out);
            let base = ["generate", model, "the red fox", "--size", "16x24", "--steps", "3", "--out", &out];
            succeed(&[&base[..], options].concat());
            out
        };
        let whole = draw("folder.png", model, &[]);
        let found = draw("file.png", file, &[&["--tokenizer", &tokenizer][..], options].concat());
        assert!(pixels(&found) == pixels(&whole), "{name}: another picture");
        let texts = read_png(&found).1;
        assert_eq!(texts["model"], "whole.safetensors");
        assert_eq!(texts.get("prediction").map(String::as_str), options.get(1).copied());
        // The folder that the tokenizer is in will do.
        let inside = draw("inside.png", file, &[&["--tokenizer", model][..], options].concat());
        assert!(pixels(&inside) == pixels(&found), "{name}");

        let said = fail(&["generate", file, "the red fox", "--out", &folder.path("none.png")]);
        for word in ["--tokenizer FOLDER", "vocab.json", "merges.txt", "tokenizer.json"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        if name == "sd2" {
            let out = folder.path("none.png");
            let said = fail(&["generate", file, "the red fox", "--tokenizer", &tokenizer, "--out", &out]);
            assert!(said.contains("--prediction epsilon"), "{said}");
        }
    }
}

const SMALL: [&str; 5] = [
    "network.ch=32",
    "network.ch_mult=[1]",
    "network.attn_resolutions=[]",
    "sampling.count=2",
    "sampling.steps=2",
];

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

    let set: Vec<&str> = SMALL.iter().flat_map(|setting| ["--set", setting]).collect();
    let train = ["train", "--latents", &latents, "--steps", "20", "--batch-size", "2", "--out", &run];
    succeed(&[&train[..], &set].concat());
    assert_eq!(metrics(&run).last().unwrap()["step"], 20);
    let config = fs::read_to_string(folder.path("run/config.toml")).unwrap();
    for setting in ["scale = 0.18215", "num_classes = 2", r#"classes = ["cat", "dog"]"#, "flip = true"] {
        assert!(config.contains(setting), "{setting}: {config}");
    }

    let [raw, seen, decoded] = ["raw.png", "seen.png", "decoded.png"].map(|name| folder.path(name));
    // Too many that take turns for a column each, so that there are no names above, which only a run knows.
    let labels = ["cat,dog"; 8].join(",") + ",dog";
    let sample = ["sample", &run, "--seed", "4", "--count", "17", "--labels", &labels, "--out"];
    succeed(&[&sample[..], &[&raw]].concat());
    succeed(&[&sample[..], &[&seen, "--decoder", model]].concat());
    // Both leave the latents beside the picture, and of the same seed the same.
    let [of_raw, of_seen] = ["raw", "seen"].map(|name| folder.path(&format!("{name}.safetensors")));
    assert!(tensor(&of_raw, "samples") == tensor(&of_seen, "samples"), "a decoder changes the latents");
    assert!(fs::read(&raw).unwrap() != fs::read(&seen).unwrap(), "latents are shown as images");
    succeed(&["decode", model, &of_raw, "--out", &decoded]);
    assert!(pixels(&decoded) == pixels(&seen), "two commands make another picture than one");
    // What was encoded is decoded, too.
    succeed(&["decode", model, &shard, "--out", &decoded, "--overwrite"]);
}

/// What a shard says of its captions: the captions themselves, the row of each image's, and the shape of their tokens.
fn captions(path: &str) -> Option<(Vec<String>, Vec<i64>, Vec<usize>)> {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let text = file.tensor("text").ok()?;
    let rows = text.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    let captions = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["captions"]).unwrap();
    Some((captions, rows, file.tensor("text_tokens").unwrap().shape().to_vec()))
}

fn write_captions(images: &str, metadata: &str) {
    let images = Path::new(images);
    fs::write(images.join("cat/0000.txt"), "a cat\n").unwrap();
    fs::write(images.join("cat/metadata.jsonl"), r#"{"file_name": "0001.png", "text": "a cat"}"#).unwrap();
    fs::write(images.join("metadata.jsonl"), metadata).unwrap();
}

/// A text beside a picture and metadata say the same; each different text is stored once.
#[test]
fn captions_are_encoded_with_their_pictures() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, latents] = ["images", "latents"].map(|name| folder.path(name));
    write_images(&images, &["cat", "dog"], 3);
    let long = "the red fox ".repeat(20);
    let metadata = |dog: &str| {
        format!(
            "{{\"file_name\": \"dog/0000.png\", \"caption\": \"{dog}\"}}\n{{\"file_name\": \"dog/0001.png\", \"text\": \"{long}\"}}"
        )
    };
    write_captions(&images, &metadata("a dog"));
    let base = ["encode", model, "--images", &images, "--size", "16"];
    let encode = [&base[..], &["--out", &latents]].concat();
    let said = succeed(&encode);
    for warning in [
        "warning: 2 of 6 images without a caption",
        "warning: the captions of 1 image have more than 16 tokens",
    ] {
        assert!(said.contains(warning), "{warning}: {said}");
    }
    let shard = folder.path("latents/latents-00000-of-00001.safetensors");
    let texts = ["a cat", "", "a dog", long.trim()].map(String::from).to_vec();
    assert_eq!(captions(&shard), Some((texts, vec![0, 0, 1, 2, 3, 1], vec![4, 16, 32])));
    let about = fs::read_to_string(folder.path("latents/encoded.toml")).unwrap();
    assert!(about.ends_with("[text]\ntokens = 16\nwidth = 32\n"), "{about}");

    // They are read with their latents.
    use diffusion::data::{CaptionedLatents, Dataset, LatentsConfig};
    let data = CaptionedLatents::open(&latents, LatentsConfig::default()).unwrap();
    let text = |index| data.text(index).unwrap();
    assert_eq!((data.len(), data.text_shape()), (6, [16, 32]));
    assert!(text(0) == text(1) && text(2) == text(5) && text(0) != text(2) && text(3) != text(4));

    // Warned of again where nothing is left to do.
    let whole = files(&latents);
    assert!(succeed(&encode).contains("warning: the captions of 1 image") && files(&latents) == whole);
    fs::remove_file(&shard).unwrap();
    succeed(&encode);
    assert!(files(&latents) == whole, "the same command makes other files");

    let plain = folder.path("plain");
    let said = succeed(&[&base[..], &["--no-captions", "--out", &plain]].concat());
    assert!(!said.contains("caption"), "{said}");
    let without = files(&plain);
    assert_eq!(captions(&folder.path("plain/latents-00000-of-00001.safetensors")), None);
    assert!(!fs::read_to_string(folder.path("plain/encoded.toml")).unwrap().contains("text"));
    // Such a folder, from whichever version, is not taken for one with captions, nor one with others.
    let with = [&base[..], &["--out", &plain]].concat();
    let said = fail(&with);
    assert!(said.contains("of other captions\n") && said.contains("--no-captions"), "{said}");
    assert!(files(&plain) == without);
    write_captions(&images, &metadata("a dog?"));
    let said = fail(&encode);
    assert!(said.contains("of other captions\n") && said.contains("--overwrite"), "{said}");
    assert!(files(&latents) == whole);

    let (vae, alone) = (format!("{model}/vae"), folder.path("alone"));
    let said = succeed(&["encode", &vae, "--images", &images, "--size", "16", "--out", &alone]);
    assert_eq!(said.matches("note: the images have captions").count(), 1, "{said}");
    assert!(files(&alone) == without, "a folder without a text encoder makes other latents");
}

/// Those of Stable Diffusion XL have a vector of the whole text.
#[test]
fn pooled_texts_are_stored() {
    let (model, folder) = (Pretrained::new("sdxl"), Folder::new());
    let images = folder.path("images");
    write_images(&images, &["a"], 2);
    for (name, text) in [("0000", "a cat"), ("0001", "a dog")] {
        fs::write(format!("{images}/a/{name}.txt"), text).unwrap();
    }
    let latents = folder.path("latents");
    succeed(&[
        "encode",
        model.path().to_str().unwrap(),
        "--images",
        &images,
        "--size",
        "16",
        "--out",
        &latents,
    ]);
    let shard = folder.path("latents/latents-00000-of-00001.safetensors");
    let (_, rows, shape) = captions(&shard).unwrap();
    let (pooled_shape, pooled) = tensor(&shard, "text_pooled");
    assert_eq!((rows, &shape[..2], pooled_shape[0], pooled_shape.len()), (vec![0, 1], &[2, 16][..], 2, 2));
    let (first, second) = pooled.split_at(pooled_shape[1]);
    assert!(first != second);
}

/// Two shards, of which the first stays while the second is made again.
#[test]
fn encoding_goes_on_and_refuses_other_settings() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, latents] = ["images", "latents"].map(|name| folder.path(name));
    write_images(&images, &["a"], 257);
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

    // A folder of a version whose shards had 1024 images, and which did not say so.
    let (about, about_path) = (
        fs::read_to_string(folder.path("latents/encoded.toml")).unwrap(),
        folder.path("latents/encoded.toml"),
    );
    assert!(about.contains("shard = 256\n") && !about.contains("text"), "{about}");
    fs::write(&about_path, about.replace("shard = 256\n", "")).unwrap();
    for shard in [&first, &second] {
        fs::remove_file(shard).unwrap();
    }
    succeed(&encode);
    let one = folder.path("latents/latents-00000-of-00001.safetensors");
    let together = tensor(&one, "latent_mean").1;
    succeed(&encode);
    assert_eq!(files(&latents).len(), 2);
    fs::remove_file(one).unwrap();
    fs::write(&about_path, about).unwrap();
    succeed(&encode);
    assert!(files(&latents) == whole);
    let apart = [&first, &second].map(|path| tensor(path, "latent_mean").1).concat();
    assert!(apart == together, "the size of a shard changes latents");

    let other = [&base[..], &["--size", "10"]].concat();
    let said = fail(&other);
    assert!(said.contains("of other size\n") && said.contains("--overwrite"), "{said}");
    assert!(!said.contains("--no-captions"), "{said}");
    assert!(files(&latents) == whole, "a refusal changes files");
    fs::remove_dir_all(Path::new(&images)).unwrap();
    write_images(&images, &["b"], 3);
    assert!(fail(&encode).contains("--overwrite"));
    assert!(files(&latents) == whole, "a refusal changes files");
    succeed(&[&other[..], &["--overwrite"]].concat());
    let names: Vec<_> = files(&latents).into_keys().map(|name| name.to_str().unwrap().to_string()).collect();
    assert_eq!(names, ["encoded.toml", "latents-00000-of-00001.safetensors"]);
}

/// Whichever way training comes to the latents of an `encode` that was stopped, it says how many are there.
#[test]
fn latents_that_are_not_all_there_are_not_trained_on() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, latents, run, new] = ["images", "latents", "run", "new"].map(|name| folder.path(name));
    write_images(&images, &["a"], 257);
    let encode =
        ["encode", model, "--images", &images, "--out", &latents, "--batch-size", "64", "--size", "8"];
    succeed(&encode);
    let set: Vec<&str> = SMALL.iter().flat_map(|setting| ["--set", setting]).collect();
    let train = ["train", "--latents", &latents, "--steps", "1", "--batch-size", "2", "--out", &run];
    succeed(&[&train[..], &set].concat());

    let config = format!("{run}/config.toml");
    let ways: [&[&str]; 5] = [
        &["train", "--latents", &latents, "--out", &new],
        &["train", "--latents", &latents, "--pretrained", model, "--out", &new],
        &["train", "fashion-unet-small", "--latents", &latents, "--out", &new],
        &["train", "--config", &config, "--out", &new],
        &["train", "--resume", &run, "--steps", "2"],
    ];
    let assert_says = |count: &str, hint: &str| {
        let before = files(&folder.path(""));
        for way in ways {
            let said = fail(way);
            assert!(said.contains(count) && said.contains(hint), "{way:?}: {said}");
            assert!(files(&folder.path("")) == before, "{way:?} changes files");
        }
    };
    let [first, second] =
        [0, 1].map(|i| folder.path(&format!("latents/latents-{i:05}-of-00002.safetensors")));
    fs::remove_file(&second).unwrap();
    assert_says("256 of 257 images", "the same command goes on");
    let kept = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    assert_says("0 of 257 images", "the same command goes on");
    fs::write(&first, kept).unwrap();

    // Names tell how many shards there are, where nothing else does.
    let about = folder.path("latents/encoded.toml");
    let written = fs::read_to_string(&about).unwrap();
    fs::remove_file(&about).unwrap();
    let said = fail(ways[3]);
    assert!(said.contains("1 of 2 shards") && said.contains("hint: "), "{said}");
    fs::write(&about, &written).unwrap();
    succeed(&encode);
    fs::write(&about, written.replace("count = 257", "count = 200")).unwrap();
    assert_says("257 of 200 images", "into another folder");
    fs::write(&about, &written).unwrap();
    succeed(ways[4]);
}

/// A link does not hide that one folder lies in the other; beside the images there is room.
#[cfg(unix)]
#[test]
fn latents_do_not_come_among_images() {
    let (model, folder) = (Pretrained::new("sd1"), Folder::new());
    let model = model.path().to_str().unwrap();
    let [images, link, beside] = ["images", "link", "images-2"].map(|name| folder.path(name));
    write_images(&images, &["a"], 1);
    std::os::unix::fs::symlink(&images, &link).unwrap();
    let before = files(&images);
    let encode = |images: &str, out: &str| {
        let [model, images, out] = [model, images, out].map(String::from);
        ["encode".into(), model, "--images".into(), images, "--size".into(), "8".into(), "--out".into(), out]
    };
    for (images, out) in [
        (&images, images.clone()),
        (&images, format!("{images}/latents")),
        (&images, format!("{link}/a/new/latents")),
        (&link, format!("{images}/latents")),
    ] {
        let command = encode(images, &out);
        let said = fail(&command.each_ref().map(String::as_str));
        assert!(said.contains(&out) && said.contains("--out FOLDER"), "{said}");
        assert!(files(images) == before, "{out} is written");
    }
    let (output, said) = run(&encode(&images, &beside).each_ref().map(String::as_str));
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("1 image as latents"), "{printed}");
}

/// Every other command says so.
#[test]
fn only_generate_takes_a_checkpoint_in_one_file() {
    let ((model, file), folder) = (with_one_file("sd1"), Folder::new());
    let [file, model] = [&file, model.path()].map(|path| path.to_str().unwrap());
    let [images, latents, run, new] = ["images", "latents", "run", "new"].map(|name| folder.path(name));
    write_images(&images, &["a"], 2);
    succeed(&["encode", model, "--images", &images, "--size", "32", "--out", &latents]);
    let set: Vec<&str> = SMALL.iter().flat_map(|setting| ["--set", setting]).collect();
    let train = ["train", "--latents", &latents, "--steps", "1", "--out", &run];
    succeed(&[&train[..], &set].concat());
    let shard = folder.path("latents/latents-00000-of-00001.safetensors");
    for command in [
        &["encode", file, "--images", &images, "--size", "32", "--out", &new][..],
        &["train", "--latents", &latents, "--pretrained", file, "--out", &new],
        &["sample", &run, "--decoder", file, "--out", &format!("{new}.png")],
        &["decode", file, &shard, "--out", &format!("{new}.png")],
    ] {
        let said = fail(command);
        assert!(said.contains(file) && said.contains("only `generate` takes"), "{command:?}: {said}");
    }
}

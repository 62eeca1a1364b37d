//! Training on latents with captions: networks of every kind, and pretrained ones further.

#![allow(clippy::unwrap_used)]

mod common;
mod pretrained;

use common::{Folder, fail, files, metrics, succeed};
use pretrained::folders::Folder as Pretrained;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A folder with the latents of six images with captions, and the model that made them.
struct Captioned {
    folder: Folder,
    model: Pretrained,
    latents: String,
}

impl Captioned {
    fn new() -> Self {
        let (folder, model) = (Folder::new(), Pretrained::new("sd1"));
        let images = folder.path("images");
        fs::create_dir_all(&images).unwrap();
        for i in 0..6u8 {
            let picture =
                image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8 * 10 + i, y as u8 * 12, i * 40]));
            picture.save(folder.path(&format!("images/{i}.png"))).unwrap();
            let caption = if i < 3 { "a cat" } else { "the red fox" };
            fs::write(folder.path(&format!("images/{i}.txt")), caption).unwrap();
        }
        let latents = folder.path("latents");
        let path = model.path().to_str().unwrap().to_string();
        succeed(&["encode", &path, "--images", &images, "--size", "16", "--out", &latents]);
        Self { folder, model, latents }
    }

    fn model(&self) -> &str {
        self.model.path().to_str().unwrap()
    }

    /// Trains into the folder `run`, with small settings.
    fn train(&self, run: &str, options: &[&str], set: &[&str]) -> String {
        let run = self.folder.path(run);
        let set: Vec<&str> = ["sampling.count=2", "sampling.steps=2", "validation.per_bin=1"]
            .iter()
            .chain(set)
            .flat_map(|setting| ["--set", setting])
            .collect();
        let base = ["train", "--latents", &self.latents, "--batch-size", "2", "--out", &run];
        succeed(&[&base[..], options, &set].concat());
        run
    }

    /// What a run draws of a prompt.
    fn sample(&self, run: &str, options: &[&str]) -> Vec<u8> {
        let out = self.folder.path("sample.safetensors");
        succeed(&[&["sample", run, "--seed", "4", "--overwrite", "--out", &out], options].concat());
        let bytes = fs::read(&out).unwrap();
        SafeTensors::deserialize(&bytes).unwrap().tensor("samples").unwrap().data().to_vec()
    }
}

const UNET: &[&str] = &["network.unet.norm_num_groups=8", "network.unet.block_out_channels=[16, 16]"];
const DIT: &[&str] = &["network.depth=1", "network.head_dim=8", "network.num_heads=2"];

/// Each kind of network trains on captions, goes on exactly after a stop, and draws what it is told.
#[test]
fn networks_learn_from_captions() {
    let captioned = Captioned::new();
    let encoder = ["--text-encoder", captioned.model()];
    for (network, small) in [("unet", UNET), ("dit", DIT)] {
        let options = ["--network", network, "--steps", "4"];
        let run = captioned.train(network, &options, small);
        let config = fs::read_to_string(format!("{run}/config.toml")).unwrap();
        assert!(config.contains(&format!("kind = \"text-{network}\"")), "{config}");
        let of = |prompts: &[&str]| {
            let prompts: Vec<&str> = prompts.iter().flat_map(|prompt| ["--prompt", prompt]).collect();
            captioned.sample(&run, &[&encoder[..], &prompts].concat())
        };
        let [cat, fox] = [of(&["a cat"]), of(&["the red fox"])];
        assert!(cat != fox, "{network} does not look at its text");
        let [half, rest] = [cat.len() / 2, fox.len() / 2];
        assert!(of(&["a cat", "the red fox"]) == [&cat[..half], &fox[rest..]].concat(), "prompts take turns");
        assert!(captioned.sample(&run, &[]) != cat, "without a prompt it draws the same");

        // A run that ends after two steps and goes on is the same as one that does not.
        let short =
            captioned.train(&format!("{network}-short"), &["--network", network, "--steps", "2"], small);
        succeed(&["train", "--resume", &short, "--steps", "4"]);
        assert_eq!(metrics(&short).last().unwrap()["loss"], metrics(&run).last().unwrap()["loss"]);
        assert!(
            captioned.sample(&short, &[&encoder[..], &["--prompt", "a cat"]].concat()) == cat,
            "{network}"
        );
    }
}

/// Low-rank changes of a pretrained model are trained, written in PEFT's names, and change what the model draws.
#[test]
fn a_pretrained_model_is_trained_further() {
    let captioned = Captioned::new();
    let model = captioned.model();
    let options = ["--pretrained", model, "--lora-rank", "2", "--steps", "4", "--lr", "0.01"];
    let run = captioned.train("lora", &options, &[]);
    // A checkpoint has the changes alone.
    let size = |path: &str| -> u64 { files(path).values().map(|content| content.len() as u64).sum() };
    let whole = fs::metadata(format!("{model}/unet/diffusion_pytorch_model.safetensors")).unwrap().len();
    assert!(size(&format!("{run}/checkpoints")) < whole / 2, "a checkpoint has more than the changes");
    // The prompt is encoded by the pretrained model, and the samples are its pictures.
    let prompt = ["--prompt", "a cat"];
    let cat = captioned.sample(&run, &prompt);
    assert!(cat != captioned.sample(&run, &["--prompt", "the red fox"]));
    let picture = captioned.folder.path("cat.png");
    succeed(&[&["sample", &run, "--out", &picture], &prompt[..]].concat());
    assert_eq!(image::open(&picture).unwrap().width() % 2, 0);

    let lora = captioned.folder.path("lora.safetensors");
    succeed(&["export", &run, "--out", &lora]);
    let bytes = fs::read(&lora).unwrap();
    let names: Vec<String> =
        SafeTensors::deserialize(&bytes).unwrap().names().iter().map(ToString::to_string).collect();
    assert!(names.iter().all(|name| name.starts_with("unet.") && name.contains(".lora_")), "{names:?}");
    let draw = |name: &str, options: &[&str]| {
        let out = captioned.folder.path(name);
        let base = ["generate", model, "a cat", "--size", "16", "--steps", "2", "--out", &out];
        succeed(&[&base[..], options].concat());
        fs::read(&out).unwrap()
    };
    assert!(draw("with.png", &["--lora", &lora]) != draw("without.png", &[]), "the changes change nothing");

    // All weights, under the names of diffusers.
    let run = captioned.train("all", &["--pretrained", model, "--all-weights", "--steps", "2"], &[]);
    let unet = captioned.folder.path("unet.safetensors");
    succeed(&["export", &run, "--out", &unet]);
    let shapes = |path: &str| -> BTreeMap<String, Vec<usize>> {
        let bytes = fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.iter().map(|(name, tensor)| (name.to_string(), tensor.shape().to_vec())).collect()
    };
    assert_eq!(shapes(&unet), shapes(&format!("{model}/unet/diffusion_pytorch_model.safetensors")));
}

/// A run needs the model that it changes, wherever that is now.
#[test]
fn a_pretrained_model_may_move() {
    let captioned = Captioned::new();
    let moved = captioned.folder.path("moved");
    let copy = captioned.folder.path("copy");
    copy_folder(captioned.model(), &copy);
    let run = captioned.train("lora", &["--pretrained", &copy, "--lora-rank", "2", "--steps", "2"], &[]);
    let before = captioned.sample(&run, &["--prompt", "a cat"]);
    fs::rename(&copy, &moved).unwrap();
    let [out, lora] = ["out.safetensors", "lora.safetensors"].map(|name| captioned.folder.path(name));
    for command in [
        &["sample", &run, "--out", &out][..],
        &["export", &run, "--out", &lora],
        &["train", "--resume", &run],
    ] {
        let message = fail(command);
        assert!(message.contains(&copy) && message.contains("--pretrained"), "{message}");
    }
    let there = ["--pretrained", &moved[..]];
    assert!(captioned.sample(&run, &[&there[..], &["--prompt", "a cat"]].concat()) == before);
    succeed(&[&["export", &run, "--out", &lora], &there[..]].concat());
    succeed(&[&["train", "--resume", &run, "--steps", "4"], &there[..]].concat());
    // It knows the new place now.
    assert!(captioned.sample(&run, &["--prompt", "a cat"]) != before);

    let plain = captioned.train("plain", &["--condition", "none", "--network", "dit", "--steps", "1"], DIT);
    assert!(fail(&[&["sample", &plain], &there[..]].concat()).contains("--pretrained"));
}

fn copy_folder(from: &str, to: &str) {
    for (path, content) in files(from) {
        let to = Path::new(to).join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, content).unwrap();
    }
}

/// What is asked for and cannot be is said before anything is written.
#[test]
fn what_does_not_fit_is_refused() {
    let captioned = Captioned::new();
    let (model, latents) = (captioned.model(), &captioned.latents);
    let train = |options: &[&str]| {
        let run = captioned.folder.path("refused");
        let message = fail(&[&["train", "--latents", latents, "--out", &run], options].concat());
        assert!(!fs::exists(&run).unwrap(), "{options:?} left a folder");
        message
    };
    assert!(train(&["--condition", "labels"]).contains("condition"));
    let other = Pretrained::new("sdxl");
    assert!(train(&["--pretrained", other.path().to_str().unwrap()]).contains("pretrained: "));
    assert!(
        train(&["--pretrained", model, "--set", "network.lora.targets=[\"to_x\"]"]).contains("network.lora")
    );
    assert!(train(&["--set", "network.unet.norm_groups=8"]).contains("norm_groups"));

    let run = captioned.train("plain", &["--condition", "none", "--network", "dit", "--steps", "1"], DIT);
    assert!(fail(&["sample", &run, "--prompt", "a cat"]).contains("--prompt"));
    let run = captioned.train("told", &["--network", "dit", "--steps", "1"], DIT);
    assert!(fail(&["sample", &run, "--prompt", "a cat"]).contains("--text-encoder"));
    let other = other.path().to_str().unwrap();
    assert!(fail(&["sample", &run, "--prompt", "a cat", "--text-encoder", other]).contains("tokens"));
}

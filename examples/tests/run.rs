//! Every example runs, in a short form, and the number that it prints is a sensible one.

use diffusion_recipe::RunConfig;
use safetensors::tensor::{Dtype, TensorView};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The number after `name` in what the example prints.
fn number(program: &str, arguments: &[&str], name: &str) -> f64 {
    let output = Command::new(program).args(arguments).output().expect("the example starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} failed:\n{text}{errors}");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the example prints its number");
    line[name.len()..].trim().parse().expect("a number")
}

#[test]
fn toy_swissroll() {
    // An untrained network has a loss of about 1.
    let loss = number(env!("CARGO_BIN_EXE_toy_swissroll"), &["600"], "loss ");
    assert!((0.4..0.8).contains(&loss), "loss {loss}");
}

#[test]
fn tree_guidance() {
    let program = env!("CARGO_BIN_EXE_tree_guidance");
    let distance = number(program, &["600"], "scale 0:");
    // A point of the unit disc is about 0.5 away from a branch that it has nothing to do with.
    assert!((0.0..0.3).contains(&distance), "distance {distance}");
}

#[test]
fn composed_guidance() {
    let program = env!("CARGO_BIN_EXE_composed_guidance");
    let [one, both] = ["told one:", "told both:"].map(|name| number(program, &["600"], name));
    // After so short a training some samples stray; a point of the unit disc that knows neither branch is about 0.6 away.
    assert!((0.0..0.55).contains(&one) && (0.0..0.55).contains(&both), "told one {one}, told both {both}");
}

#[test]
fn ideal_denoiser() {
    let distance = number(env!("CARGO_BIN_EXE_ideal_denoiser"), &[], "distance ");
    assert!(distance < 1e-3, "distance {distance}");
}

/// The folder of Fashion-MNIST; where there is none, says that `test` is skipped.
fn fashion_mnist(test: &str) -> Option<&'static str> {
    let folder = "/usr/share/datasets/fashion-mnist";
    if Path::new(folder).exists() {
        return Some(folder);
    }
    // Not `eprintln!`, which the test harness hides when tests pass.
    let _ = writeln!(std::io::stderr(), "{test} is skipped: there is no {folder}");
    None
}

#[test]
fn fashion_dit() {
    let Some(folder) = fashion_mnist("fashion_dit") else { return };
    let loss = number(env!("CARGO_BIN_EXE_fashion_dit"), &[folder, "6", "4"], "loss ");
    assert!((0.0..2.0).contains(&loss), "loss {loss}");
}

#[test]
fn fashion_dit_cond() {
    let Some(folder) = fashion_mnist("fashion_dit_cond") else { return };
    let loss = number(env!("CARGO_BIN_EXE_fashion_dit_cond"), &[folder, "6", "4"], "loss ");
    assert!((0.7..1.4).contains(&loss), "loss {loss}");
}

#[test]
fn fashion_unet() {
    let Some(folder) = fashion_mnist("fashion_unet") else { return };
    let loss = number(env!("CARGO_BIN_EXE_fashion_unet"), &[folder, "3", "2"], "loss ");
    assert!((0.7..1.4).contains(&loss), "loss {loss}");
}

/// On black and white images, which a few steps tell apart.
#[test]
fn fashion_classifier() {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["train", "t10k"] {
        let (labels, images) =
            ([&[0, 0, 8, 1, 0, 0, 0, 16][..], &[0, 1].repeat(8)], [0u8, 255].map(|gray| vec![gray; 784]));
        let header = [0, 0, 8, 3, 0, 0, 0, 16, 0, 0, 0, 28, 0, 0, 0, 28];
        let files = [
            ("labels-idx1", labels.concat()),
            ("images-idx3", [&header[..], &images.concat().repeat(8)].concat()),
        ];
        for (name, bytes) in files {
            std::fs::write(folder.path().join(format!("{part}-{name}-ubyte")), bytes).expect("a file");
        }
    }
    let out = folder.path().join("weights.safetensors").display().to_string();
    let arguments = [folder.path().to_str().expect("a name"), &out, "20", "4"];
    let run = || {
        let accuracy = number(env!("CARGO_BIN_EXE_fashion_classifier"), &arguments, "accuracy ");
        (accuracy, std::fs::read(&out).expect("weights"))
    };
    let (accuracy, weights) = run();
    assert!(accuracy == 1.0 && weights.len() < 300_000, "accuracy {accuracy}, {} bytes", weights.len());
    assert!(run() == (accuracy, weights), "a second run is another");
}

/// On pictures of one colour each, by a network of a quarter of the width.
#[test]
fn cifar_unet() {
    let folder = tempfile::tempdir().expect("a folder");
    for batch in 1..=5 {
        let record = |label: u8| [&[label][..], &[50 * label; 3072]].concat();
        let file = folder.path().join(format!("data_batch_{batch}.bin"));
        std::fs::write(file, [record(1), record(4)].concat()).expect("a file");
    }
    let folder = folder.path().to_str().expect("a name");
    let loss = number(env!("CARGO_BIN_EXE_cifar_unet"), &[folder, "2", "2", "32"], "loss ");
    assert!((0.7..1.4).contains(&loss), "loss {loss}");
}

/// On latents that are made up, by a network of one block.
#[test]
fn imagenet_dit() {
    let folder = tempfile::tempdir().expect("a folder");
    let values: Vec<u8> = (0..4 * 4096).flat_map(|i| ((i * 7 % 11) as f32 - 5.0).to_le_bytes()).collect();
    let labels: Vec<u8> = [7i64, 0, 999, 3].iter().flat_map(|label| label.to_le_bytes()).collect();
    let view = |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).expect("a tensor");
    let latents = view(Dtype::F32, vec![4, 4, 32, 32], &values);
    let tensors = [
        ("latent_mean", latents.clone()),
        ("latent_mean_flip", latents),
        ("label", view(Dtype::I64, vec![4], &labels)),
    ];
    let shard = folder.path().join("0.safetensors");
    safetensors::serialize_to_file(tensors, None, &shard).expect("a file");
    let folder = folder.path().to_str().expect("a name");
    let arguments = [folder, "2", "2", "1"];
    let loss = number(env!("CARGO_BIN_EXE_imagenet_dit"), &arguments, "loss ");
    // The data have a variance of about 0.33, the noise one of 1, and an untrained transformer puts out zeros.
    assert!((1.0..2.0).contains(&loss), "loss {loss}");
}

/// A tiny model in a folder as diffusers writes it, with made-up weights.
fn tiny_stable_diffusion(folder: &Path) {
    let about = include_str!("../../crates/diffusion-tests/fixtures/latent.json");
    let about: serde_json::Value = serde_json::from_str(about).expect("JSON");
    let write = |file: &str, bytes: &[u8]| {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    };
    let objects = |value: &serde_json::Value| value.as_object().expect("an object").clone();
    for (file, text) in objects(&about["folders"]["sd1"]) {
        write(&file, text.as_str().expect("text").as_bytes());
    }
    for (file, parameters) in objects(&about["parameters"]["sd1"]) {
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = objects(&parameters)
            .into_iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> = serde_json::from_value(shape).expect("a shape");
                let scale = (shape[1..].iter().product::<usize>() as f32).powf(-0.5);
                let values = (0..shape.iter().product()).map(|i: usize| scale * (i as f32 * 1.7).sin());
                (name, shape, values.flat_map(f32::to_le_bytes).collect())
            })
            .collect();
        let view = |shape: &Vec<usize>, bytes| TensorView::new(Dtype::F32, shape.clone(), bytes);
        let views = tensors.iter().map(|(name, shape, bytes)| (name, view(shape, bytes).expect("a tensor")));
        write(&file, &safetensors::serialize(views, None).expect("tensors"));
    }
}

#[test]
fn text_to_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    tiny_stable_diffusion(folder.path());
    let picture = folder.path().join("picture.png").display().to_string();
    let arguments = [folder.path().to_str().expect("a name"), "a fox", "3", &picture];
    let contrast = number(env!("CARGO_BIN_EXE_text_to_picture"), &arguments, "contrast ");
    assert!(contrast.is_finite() && contrast > 0.0, "contrast {contrast}");
    assert!(std::fs::read(&picture).expect("the picture").starts_with(b"\x89PNG"), "no PNG");
}

#[test]
fn from_toml() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, mut config) =
        (folder.path().join("config.toml"), RunConfig::preset("swissroll").expect("a preset"));
    config.set("training.steps=300").expect("a setting");
    std::fs::write(&path, config.to_toml().expect("a configuration")).expect("a file");
    let loss = number(env!("CARGO_BIN_EXE_from_toml"), &[&path.display().to_string()], "loss ");
    assert!((0.3..0.95).contains(&loss), "loss {loss}");
}

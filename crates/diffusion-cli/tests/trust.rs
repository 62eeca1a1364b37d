//! What the program does about numbers that are not finite, about what it learns by heart, and about seeds.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{Folder, assert_same_run, command, fail, metrics, run, succeed};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::fs;
use std::path::{Path, PathBuf};

/// Latents of eight examples of two classes, `[1, 4, 4]`, with a NaN in the third where `spoiled`.
fn write_latents(folder: &str, spoiled: bool) {
    fs::create_dir(folder).unwrap();
    let mut latents: Vec<f32> = (0..8 * 16).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    if spoiled {
        latents[2 * 16 + 5] = f32::NAN;
    }
    let bytes: Vec<u8> = latents.iter().flat_map(|value| value.to_le_bytes()).collect();
    let labels: Vec<u8> = (0..8i64).flat_map(|i| (i % 2).to_le_bytes()).collect();
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [
        ("latent_mean", view(Dtype::F32, &[8, 1, 4, 4], &bytes)),
        ("latent_mean_flip", view(Dtype::F32, &[8, 1, 4, 4], &bytes)),
        ("label", view(Dtype::I64, &[8], &labels)),
    ];
    let path = Path::new(folder).join("shard-0.safetensors");
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
}

/// A tiny transformer of those latents, eight steps of one epoch each.
fn latents_config(folder: &Folder, data: &str, steps: u32) -> String {
    folder.config(
        "imagenet-dit",
        &[
            ("\"latents\"\npath = \"latents\"", &format!("\"latents\"\npath = {data:?}")),
            ("in_dim = 32", "in_dim = 4"),
            ("channels = 4", "channels = 1"),
            ("depth = 12", "depth = 1"),
            ("head_dim = 64", "head_dim = 8"),
            ("num_heads = 12", "num_heads = 1"),
            ("num_classes = 1000", "num_classes = 2"),
            ("batch_size = 256", "batch_size = 4"),
            ("steps = 400000", &format!("steps = {steps}")),
            ("count = 16", "count = 2"),
            ("per_bin = 32", "per_bin = 2"),
        ],
    )
}

/// A NaN in the data is told with its place before anything is trained.
#[test]
fn a_nan_in_the_data_is_told_before_training() {
    let folder = Folder::new();
    let (data, out) = (folder.path("latents"), folder.path("run"));
    write_latents(&data, true);
    let config = latents_config(&folder, &data, 8);
    let errors = fail(&["train", "--config", &config, "--out", &out]);
    assert!(errors.contains("shard-0.safetensors has NaN at value 5 of example 2"), "{errors}");
    assert!(errors.contains("hint: ") && !Path::new(&out).exists(), "{errors}");
}

/// A NaN in a weight: named with its path, and training stops after ten steps; the checkpoint from before is there.
#[test]
fn a_nan_in_a_weight_is_named_and_stops_training() {
    let folder = Folder::new();
    let out = folder.path("run");
    succeed(&["train", "swissroll", "--steps", "4", "--out", &out, "--checkpoint-every", "2"]);
    let checkpoints = Path::new(&out).join("checkpoints");
    let newest = checkpoints.join("step-00000004");
    rewrite(&newest.join("model.safetensors"), |file| {
        let tensors = SafeTensors::deserialize(file).unwrap();
        let tensor = tensors.tensor("network.net.2.weight").unwrap();
        let place = tensor.data().as_ptr() as usize - file.as_ptr() as usize + 4 * 7;
        let mut file = file.to_vec();
        file[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        file
    });
    let errors = fail(&["train", "--resume", &out, "--steps", "40"]);
    assert!(
        errors.contains("warning: skipped step 5: the weights of `network.net.2.weight` are not finite"),
        "{errors}"
    );
    let end = "error: steps 5 to 14 were skipped: the weights of `network.net.2.weight` are not finite; training stopped";
    assert!(errors.contains(end) && errors.contains("hint: try a smaller --lr"), "{errors}");
    assert_eq!(metrics(&out).len(), 14);
    // The one that is spoiled is removed by hand, as the message's checkpoint shows; the one before it is whole.
    fs::remove_dir_all(newest).unwrap();
    let errors = succeed(&["train", "--resume", &out, "--steps", "6"]);
    assert!(errors.contains("resuming after step 2"), "{errors}");
}

/// Changes a file of a checkpoint and updates its checksum, as a user's own tool might.
fn rewrite(path: &PathBuf, change: impl Fn(&[u8]) -> Vec<u8>) {
    let (name, state) = (path.file_name().unwrap().to_str().unwrap(), path.with_file_name("state.toml"));
    let old = fs::read(path).unwrap();
    let new = change(&old);
    fs::write(path, &new).unwrap();
    let metadata = fs::read_to_string(&state).unwrap();
    let (body, _) = metadata.rsplit_once("# crc32").unwrap();
    let checksum = |bytes: &[u8]| format!("crc32 = {}", crc32fast::hash(bytes));
    let (head, tail) = body.split_once(&format!("[files.\"{name}\"]")).unwrap();
    let tail = tail.replacen(&checksum(&old), &checksum(&new), 1);
    let body = format!("{head}[files.\"{name}\"]{tail}");
    fs::write(state, format!("{body}# crc32 of the above: {:08x}\n", crc32fast::hash(body.as_bytes())))
        .unwrap();
}

/// A loss that grows beyond all numbers: skipped, named, stopped after ten steps with a checkpoint from before. It has
/// finite weights and can be drawn from, though what they compute is beyond all numbers as well.
#[test]
fn a_loss_without_bounds_stops_training() {
    let folder = Folder::new();
    let out = folder.path("run");
    let errors = fail(&["train", "swissroll", "--steps", "200", "--lr", "1e12", "--out", &out]);
    assert!(
        errors.contains("were skipped: ") && errors.contains("the weights from before are in"),
        "{errors}"
    );
    assert!(errors.contains("hint: try a smaller --lr, --set training.clip_norm=1"), "{errors}");
    let lines = metrics(&out);
    let bad = lines.iter().rev().take_while(|line| !line["skipped"].is_null()).count();
    assert!(bad == 10 && lines.len() < 200, "{bad} of {} steps", lines.len());
    assert!(Path::new(&out).join("loss.png").is_file());
    let errors = fail(&["sample", &out, "--count", "4", "--no-ema", "--out", &folder.path("samples.png")]);
    assert!(errors.contains("4 of 4 samples are not finite"), "{errors}");
    assert!(Path::new(&folder.path("samples.png")).is_file());
}

/// Its loss at each noise level, twice, the optimal denoiser's below the training loss, in metrics, as table and picture; the best
/// checkpoint is kept and can be drawn from.
#[test]
fn a_run_is_validated_on_its_way() {
    let folder = Folder::new();
    let (data, out) = (folder.path("latents"), folder.path("run"));
    write_latents(&data, false);
    // 8 examples are too few to keep one, so the folder has more shards.
    for i in 1..4 {
        fs::copy(
            Path::new(&data).join("shard-0.safetensors"),
            Path::new(&data).join(format!("shard-{i}.safetensors")),
        )
        .unwrap();
    }
    let config = latents_config(&folder, &data, 9);
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("\nevery = 1000", "\nevery = 3").replace("lr = 0.0001", "lr = 0.01");
    fs::write(&config, text).unwrap();
    let (output, errors) = run(&["train", "--config", &config, "--out", &out]);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("3 examples are kept for validation"), "{errors}");
    let validations: Vec<_> = metrics(&out).into_iter().filter(|line| !line["val"].is_null()).collect();
    assert_eq!(validations.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 6, 9]);
    for line in &validations {
        let val = &line["val"];
        for who in ["training", "validation", "optimal"] {
            assert_eq!(val[who]["bins"].as_array().unwrap().len(), 10, "{val}");
            assert!(val[who]["mean"].as_f64().unwrap().is_finite(), "{val}");
        }
        assert!(val["optimal"]["mean"].as_f64() < val["training"]["mean"].as_f64(), "{val}");
        assert_eq!(val["optimal"], validations[0]["val"]["optimal"], "the optimal denoiser's loss moves");
        let low = val["sigma_min"].as_array().unwrap();
        assert!(low.windows(2).all(|pair| pair[0].as_f64() < pair[1].as_f64()), "{val}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("noise level σ   training  validation     optimal       gap"), "{table}");
    assert_eq!(
        table.lines().filter(|line| line.contains(" to 0.") || line.contains(" to 1.")).count(),
        10,
        "{table}"
    );
    let (width, height) = image::image_dimensions(Path::new(&out).join("val_loss.png")).unwrap();
    assert_eq!((width, height), (900, 540));
    // The first validation is the best so far, so there is a checkpoint of it between those at the start and at the end.
    assert!(Path::new(&out).join("checkpoints/step-00000003").is_dir());
    let best = validations.iter().min_by(|a, b| {
        let loss = |line: &serde_json::Value| line["val"]["validation"]["mean"].as_f64().unwrap();
        loss(a).total_cmp(&loss(b))
    });
    let step = best.unwrap()["step"].to_string();
    let (output, _) = run(&["sample", &out, "--count", "2", "--checkpoint", "best"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with(&format!("2 samples of step {step} ")), "{told}, expected step {step}");
}

/// Values of a tensor of a file, example by example.
fn tensor(path: &str, name: &str) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let row: usize = tensor.shape()[1..].iter().product();
    let values: Vec<f32> =
        tensor.data().chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    values.chunks(row).map(<[f32]>::to_vec).collect()
}

/// The largest difference, relative to the largest value.
fn difference(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let largest = expected.iter().flatten().fold(0f32, |largest, value| largest.max(value.abs()));
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

/// Sample i depends on the seed and on i: not on how many are drawn, not on how many at once, and on the backend only
/// within the tolerance that README.md states.
#[test]
fn a_sample_depends_on_seed_and_number_alone() {
    let folder = Folder::new();
    let (data, run, out) = (folder.path("latents"), folder.path("run"), folder.path("out.safetensors"));
    write_latents(&data, false);
    // Fast, so that the network, whose last layer begins at 0, has something to say.
    let config = latents_config(&folder, &data, 12);
    succeed(&["train", "--config", &config, "--lr", "0.02", "--out", &run]);
    let noise = folder.path("noise.safetensors");
    succeed(&["sample", &run, "--seed", "7", "--out", &noise, "--no-ema", "--count", "8", "--steps", "1"]);
    let drawn = |more: &[&str]| {
        let _ = fs::remove_file(&out);
        let ddpm = ["--sampler", "ddpm", "--steps", "12"];
        succeed(
            &[&["sample", &run, "--seed", "7", "--out", &out, "--labels", "0,1"][..], &ddpm, more].concat(),
        );
        tensor(&out, "samples")
    };
    let eight = drawn(&["--count", "8"]);
    assert!(difference(&eight, &tensor(&noise, "start")) > 0.1, "samples are noise");
    assert!(difference(&eight[..1], &eight[1..2]) > 0.01, "all samples are the same");
    for (count, at_once) in [(8, 1), (8, 3), (3, 64), (1, 1)] {
        let (count_text, piece) = (count.to_string(), at_once.to_string());
        let others = drawn(&["--count", &count_text, "--batch-size", &piece]);
        assert_eq!(others.len(), count);
        let off = difference(&others, &eight[..count]);
        assert!(off <= 1e-5, "{count} samples, {at_once} at once, are {off:e} off");
    }
    for backend in [cfg!(feature = "ndarray").then_some("ndarray"), cfg!(feature = "wgpu").then_some("wgpu")]
    {
        let Some(backend) = backend else { continue };
        let probe =
            command(&["sample", &run, "--backend", backend, "--count", "1", "--out", &out, "--overwrite"])
                .status()
                .unwrap();
        if !probe.success() {
            assert!(
                backend == "wgpu" && std::env::var_os("DIFFUSION_REQUIRE_WGPU").is_none(),
                "{backend} fails"
            );
            continue;
        }
        let off = difference(&drawn(&["--count", "8", "--backend", backend]), &eight);
        println!("{backend} is {off:e} off");
        let tolerance = if backend == "wgpu" { 1e-4 } else { 1e-5 };
        assert!(off <= tolerance, "{backend} is {off:e} off");
    }
}

/// The resident set in the last quarter of 2,000 steps is within 5 % of that in the second.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat() {
    let folder = Folder::new();
    let out = folder.path("run");
    let arguments = ["train", "swissroll", "--steps", "2000", "--checkpoint-every", "200", "--out", &out];
    let mut child = command(&arguments).spawn().unwrap();
    let lines = || {
        fs::read(Path::new(&out).join("metrics.jsonl")).map_or(0, |text| text.split(|&b| b == b'\n').count())
    };
    let (mut second, mut last) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        let statm = fs::read_to_string(format!("/proc/{}/statm", child.id())).unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
        match lines() {
            500..1000 => second = second.max(pages),
            1500..1990 => last = last.max(pages),
            _ => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success() && second > 0 && last > 0);
    println!("resident: {second} pages in the second quarter, {last} in the last");
    assert!(last as f64 <= 1.05 * second as f64, "{second} pages grew to {last}");
    let again = folder.path("again");
    succeed(&["train", "swissroll", "--steps", "20", "--out", &again]);
    succeed(&["train", "swissroll", "--steps", "20", "--out", &folder.path("once more")]);
    assert_same_run("the same run twice", &again, &folder.path("once more"));
}

/// Samples that are not finite are counted, and an error; the files are written all the same, and a training keeps all
/// that it made.
#[test]
fn samples_that_are_not_finite_are_an_error() {
    let folder = Folder::new();
    let (out, picture, tensors) = (folder.path("run"), folder.path("a.png"), folder.path("a.safetensors"));
    let config = folder.config(
        "swissroll",
        &[
            ("steps = 15000", "steps = 3"),
            ("batch_size = 2048", "batch_size = 16"),
            ("hidden_dims = [16, 128, 128, 128, 128, 16]", "hidden_dims = [8]"),
            ("count = 2000", "count = 7"),
            ("steps = 20", "steps = 6"),
            ("s_noise = 1.0", "s_noise = 3e38"),
        ],
    );
    let told = |errors: &str| {
        assert!(errors.contains("error: 7 of 7 samples are not finite"), "{errors}");
        assert!(errors.contains("hint: "), "{errors}");
    };
    told(&fail(&["train", "--config", &config, "--out", &out]));
    assert_eq!(metrics(&out).len(), 3);
    for name in ["samples.png", "loss.png", "checkpoints/step-00000003/model.safetensors"] {
        assert!(Path::new(&out).join(name).exists(), "{name}");
    }

    told(&fail(&["sample", &out, "--out", &picture]));
    assert!(Path::new(&picture).exists());
    told(&fail(&["sample", &out, "--out", &tensors]));
    let bytes = fs::read(&tensors).unwrap();
    let samples = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(samples.tensor("samples").unwrap().shape(), [7, 2]);
    succeed(&["sample", &out, "--sampler", "ddim", "--out", &picture, "--overwrite"]);
}

/// Guidance compares with what a network says without a label: it warns, once, where training never left one out.
#[test]
fn guidance_without_dropped_labels_warns() {
    let folder = Folder::new();
    let (out, picture) = (folder.path("run"), folder.path("a.png"));
    let small = |dropout: &str| {
        folder.config(
            "tree",
            &[
                ("steps = 10000", "steps = 2"),
                ("hidden_dims = [16, 128, 256, 128, 16]", "hidden_dims = [8]"),
                ("count = 2000", "count = 4"),
                ("num_classes = 64\ndropout = 0.1", &format!("num_classes = 64\ndropout = {dropout}")),
            ],
        )
    };
    let guided = ["--set", "sampling.guidance.kind=classifier-free", "--set", "sampling.guidance.scale=2"];
    let train = |config: &str, more: &[&str]| {
        succeed(&[&["train", "--config", config, "--out", &out, "--overwrite"], more].concat())
    };
    let sample =
        |more: &[&str]| succeed(&[&["sample", &out, "--out", &picture, "--overwrite"], more].concat());
    let times = |errors: &str| errors.matches("warning: network.labels.dropout").count();

    let dropped = small("0.1");
    assert_eq!((times(&train(&dropped, &guided)), times(&sample(&["--cfg-scale", "3"]))), (0, 0));
    let never = small("0.0");
    assert_eq!((times(&train(&never, &[])), times(&sample(&[]))), (0, 0));
    assert_eq!(times(&sample(&["--cfg-scale", "3"])), 1);
    assert_eq!((times(&train(&never, &guided)), times(&sample(&[]))), (1, 1));
    assert_eq!(times(&sample(&["--cfg-scale", "0"])), 0);
    // In two steps as good as never.
    let rarely = small("1e-300");
    assert_eq!((times(&train(&rarely, &guided)), times(&sample(&[]))), (1, 1));
    let always = small("1.0");
    assert_eq!((times(&train(&always, &[])), times(&sample(&[]))), (1, 1));
}

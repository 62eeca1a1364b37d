//! The program trains on data sets as they are published, and on more files than a process may open.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A network and samples so small that a step takes a moment.
const SMALL: &[&str] = &[
    "--batch-size",
    "2",
    "--set",
    "network.depth=1",
    "--set",
    "network.head_dim=4",
    "--set",
    "sampling.steps=1",
    "--set",
    "sampling.count=1",
    "--set",
    "validation.per_bin=1",
];

fn train(preset: &str, folder: &Path, data: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_diffusion"))
        .args(["train", preset, "--data", data, "--out", "run", "--overwrite", "--steps", "2"])
        .args(SMALL)
        .args(more)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_trains(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("step 2/2"), "{errors}");
}

/// Twelve images of 28 × 28 pixels and their labels, at these paths.
fn write(folder: &Path, images: &str, labels: Option<&str>, label: u8) {
    let head = [0, 0, 8, 3, 0, 0, 0, 12, 0, 0, 0, 28, 0, 0, 0, 28];
    let pixels = (0..12 * 784_u32).map(|i| (i * 37 % 251) as u8);
    let write = |path: &str, bytes: Vec<u8>| {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), bytes).unwrap();
    };
    write(images, head.into_iter().chain(pixels).collect());
    if let Some(labels) = labels {
        write(labels, [&[0, 0, 8, 1, 0, 0, 0, 12], &[label; 12][..]].concat());
    }
}

#[test]
fn idx_files_are_read_by_every_name() {
    for (images, labels) in [
        ("data/train-images.idx3-ubyte", Some("data/train-labels.idx1-ubyte")),
        ("data/emnist-byclass-train-images-idx3-ubyte", Some("data/emnist-byclass-train-labels-idx1-ubyte")),
        (
            "data/FashionMNIST/raw/train-images-idx3-ubyte",
            Some("data/FashionMNIST/raw/train-labels-idx1-ubyte"),
        ),
        ("data/TRAIN-IMAGES-IDX3-UBYTE", Some("data/TRAIN-LABELS-IDX1-UBYTE")),
        ("data/train-images-idx3-ubyte", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        // A label beyond the ten of MNIST, which an unconditional network does not mind.
        write(folder.path(), images, labels, 61);
        assert_trains(&train("fashion-dit-small", folder.path(), "data", &[]));
        assert_trains(&train("fashion-dit-small", folder.path(), images, &[]));
        let classes = |n| format!("network.labels.num_classes={n}");
        if labels.is_some() {
            assert_trains(&train("fashion-dit-cond", folder.path(), "data", &["--set", &classes(62)]));
        }
        let output = train("fashion-dit-cond", folder.path(), "data", &["--set", &classes(61)]);
        assert_eq!(output.status.code(), Some(1));
    }
}

/// A folder `data` with shards of two latents each.
#[cfg(unix)]
fn shards(folder: &Path, count: usize) {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    fs::create_dir(folder.join("data")).unwrap();
    let values = vec![60; 2 * 2 * 4 * 32 * 32];
    let tensor = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let shard = [
        ("latent_mean", tensor(Dtype::F16, &[2, 4, 32, 32], &values)),
        ("latent_mean_flip", tensor(Dtype::F16, &[2, 4, 32, 32], &values)),
        ("label", tensor(Dtype::U8, &[2], &[0, 1])),
    ];
    let shard = serialize(shard, None).unwrap();
    for number in 0..count {
        fs::write(folder.join(format!("data/{number:04}.safetensors")), &shard).unwrap();
    }
}

/// Twice as many shards as a process may have open files.
#[cfg(unix)]
#[test]
fn shards_may_be_more_than_open_files() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path(), 128);
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_diffusion")])
        .args(["train", "imagenet-dit", "--data", "data", "--out", "run", "--steps", "2"])
        .args(SMALL)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_trains(&output);
}

/// What was trained until a shard was cut short is kept.
#[cfg(unix)]
#[test]
fn a_shard_that_is_cut_in_mid_run_ends_it_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    shards(folder.path(), 4);
    let child = Command::new(env!("CARGO_BIN_EXE_diffusion"))
        .args(["train", "imagenet-dit", "--data", "data", "--out", "run"])
        .args(SMALL)
        .args(["--steps", "1000000"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The first checkpoint is written when training begins.
    let (begun, first) = (Instant::now(), folder.path().join("run/checkpoints/step-00000000"));
    while !first.exists() && begun.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(500));
    File::options()
        .write(true)
        .open(folder.path().join("data/0002.safetensors"))
        .unwrap()
        .set_len(2000)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && !errors.contains("panicked"), "{errors}");
    assert!(errors.contains("data/0002.safetensors"), "{errors}");
    let checkpoints = fs::read_dir(folder.path().join("run/checkpoints")).unwrap().count();
    assert_eq!(checkpoints, 2, "{errors}");
}

//! Settings and data belong to a run: one that is to go on with others says what is otherwise, and goes on only where that
//! is asked for. And there is a way back to an earlier checkpoint.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, assert_same_run, fail, files, metrics, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `count` images for each of `classes`, in `folder`.
fn images(folder: &str, classes: &[&str], count: u8) {
    for (class, name) in classes.iter().enumerate() {
        (0..count).for_each(|i| image(folder, &format!("{name}/{i:02}.png"), 40 * class as u8 + i));
    }
}

fn image(folder: &str, name: &str, value: u8) {
    let path = Path::new(folder).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(8, 8, |x, y| image::Luma([value + (x * y) as u8])).save(path).unwrap();
}

/// A small run of these images for 4 steps.
fn train_on(images: &str, out: &str) {
    let mut arguments =
        vec!["train", "--images", images, "--image-size", "8", "--network", "dit", "--out", out];
    for setting in [
        "network.depth=1",
        "network.head_dim=4",
        "batch_size=4",
        "training.steps=4",
        "validation.per_bin=1",
        "sampling.count=2",
        "sampling.steps=2",
        // A cosine would know how many steps there are.
        "training.lr_schedule.decay={ kind = 'constant' }",
    ] {
        arguments.extend(["--set", setting]);
    }
    succeed(&arguments);
}

/// A small run of points for 10 steps, all of whose checkpoints are kept.
fn points(folder: &Folder, out: &str) {
    let config = folder.config(
        "swissroll",
        &[
            ("batch_size = 2048", "batch_size = 16"),
            ("steps = 15000", "steps = 10"),
            ("checkpoint_every = 5000", "checkpoint_every = 2"),
            ("checkpoint_keep = 3", "checkpoint_keep = 9"),
            ("hidden_dims = [16, 128, 128, 128, 128, 16]", "hidden_dims = [8]"),
            ("\nevery = 5000", "\nevery = 4"),
            ("count = 2000", "count = 4"),
            ("per_bin = 32", "per_bin = 1"),
        ],
    );
    succeed(&["train", "--config", &config, "--out", out]);
}

fn edit(run: &str, from: &str, to: &str) {
    let path = Path::new(run).join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The run is refused, each of `changes` named, a hint given, and nothing on the disk changed.
#[track_caller]
fn refused(arguments: &[&str], run: &str, changes: &[&str]) {
    let before = files(run);
    let errors = fail(arguments);
    let error = errors.lines().find(|line| line.starts_with("error: ")).unwrap();
    for change in changes {
        assert!(error.contains(change), "{change} is not in {error}");
    }
    assert!(errors.contains("hint: ") && errors.contains("--accept-changes"), "{errors}");
    assert!(files(run) == before, "the disk changed");
}

#[test]
fn a_new_image_is_named_and_asked_about() {
    let folder = Folder::new();
    let (data, run) = (folder.path("data"), folder.path("run"));
    images(&data, &["cat", "dog"], 10);
    train_on(&data, &run);
    let errors = succeed(&["train", "--resume", &run, "--steps", "5"]);
    assert!(!errors.contains("another run"), "{errors}");

    let limit = |step: u64| {
        let state = Path::new(&run).join(format!("checkpoints/step-{step:08}/state.toml"));
        let text = fs::read_to_string(state).unwrap();
        text.lines().find(|line| line.starts_with("validation_limit = ")).unwrap().to_string()
    };
    let begun_with = limit(4);
    image(&data, "cat/new.png", 200);
    refused(&["train", "--resume", &run, "--steps", "6"], &run, &["data.examples 20 -> 21"]);
    let errors = succeed(&["train", "--resume", &run, "--steps", "6", "--accept-changes"]);
    assert!(errors.contains("after step 5 this is another run: data.examples 20 -> 21"), "{errors}");
    assert_eq!(limit(6), begun_with, "the split was made anew");
    // It is this one from now on.
    let errors = succeed(&["train", "--resume", &run, "--steps", "7"]);
    assert!(!errors.contains("another run"), "{errors}");
    assert_eq!(metrics(&run).len(), 7);
}

#[test]
fn classes_and_values_that_are_others_are_named() {
    let folder = Folder::new();
    let (data, run) = (folder.path("data"), folder.path("run"));
    images(&data, &["cat", "dog"], 10);
    train_on(&data, &run);
    let [cat, bird] = ["cat", "bird"].map(|class| Path::new(&data).join(class));
    fs::rename(&cat, &bird).unwrap();
    let resume = ["train", "--resume", &run, "--steps", "6"];
    refused(&resume, &run, &["data.classes `bird` appeared", "data.classes `cat` vanished"]);
    fs::rename(&bird, &cat).unwrap();

    image(&data, "cat/00.png", 77);
    refused(&resume, &run, &["data.values"]);
    image(&data, "cat/00.png", 0);
    fs::rename(cat.join("05.png"), cat.join("05a.png")).unwrap();
    refused(&resume, &run, &["data.examples"]);
    fs::rename(cat.join("05a.png"), cat.join("05.png")).unwrap();
    succeed(&resume);

    // What was accepted is stored.
    fs::rename(&cat, &bird).unwrap();
    succeed(&["train", "--resume", &run, "--steps", "7", "--accept-changes"]);
    let errors = succeed(&["train", "--resume", &run, "--steps", "8"]);
    assert!(!errors.contains("another run"), "{errors}");
    let config = fs::read_to_string(Path::new(&run).join("config.toml")).unwrap();
    assert!(config.contains("\"bird\"") && !config.contains("\"cat\""), "{config}");
}

#[test]
fn data_that_were_moved_are_recognized() {
    let folder = Folder::new();
    let [here, there, other] = ["here", "there", "other"].map(|name| folder.path(name));
    let run = folder.path("run");
    images(&here, &["cat", "dog"], 10);
    images(&other, &["cat", "dog"], 11);
    train_on(&here, &run);
    fs::rename(&here, &there).unwrap();
    fail(&["train", "--resume", &run, "--steps", "5"]);
    for (option, steps) in [("--data", "5"), ("--images", "6")] {
        let errors = succeed(&["train", "--resume", &run, "--steps", steps, option, &there]);
        assert!(!errors.contains("another run") && !errors.contains("note: "), "{errors}");
        fs::rename(&there, &here).unwrap();
        fs::rename(&here, &there).unwrap();
    }
    // The new place is stored.
    succeed(&["train", "--resume", &run, "--steps", "7"]);
    refused(
        &["train", "--resume", &run, "--steps", "8", "--data", &other],
        &run,
        &["data.examples 20 -> 22"],
    );
    succeed(&["train", "--resume", &run, "--steps", "8", "--data", &other, "--accept-changes"]);
    assert_eq!(metrics(&run).len(), 8);
}

/// What steps depend on is asked about; how many they are, and what is only drawn or measured, is said.
#[test]
fn an_edited_configuration_is_noticed() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    edit(&run, "checkpoint_every = 2", "checkpoint_every = 3");
    let errors = succeed(&["train", "--resume", &run]);
    assert!(errors.contains("note: ") && errors.contains("checkpoint_every 2 -> 3"), "{errors}");
    edit(&run, "batch_size = 16", "batch_size = 8");
    edit(&run, "lr = 0.001", "lr = 0.01");
    let changes = ["batch_size 16 -> 8", "training.lr 0.001 -> 0.01"];
    refused(&["train", "--resume", &run, "--steps", "12"], &run, &changes);
    // To ask for one of them is not to ask for the other.
    refused(&["train", "--resume", &run, "--steps", "12", "--batch-size", "8"], &run, &changes[1..]);
    let errors = succeed(&["train", "--resume", &run, "--steps", "12", "--accept-changes"]);
    assert!(changes.iter().all(|change| errors.contains(change)), "{errors}");
    assert_eq!(metrics(&run).last().unwrap()["lr"], 0.01);
}

#[test]
fn what_the_command_line_changes_is_asked_for() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    for (steps, options, change) in [
        ("11", ["--set", "training.lr=0.01"], "training.lr 0.001 -> 0.01"),
        ("12", ["--lr", "0.02"], "training.lr 0.01 -> 0.02"),
        ("13", ["--batch-size", "8"], "batch_size 16 -> 8"),
        ("14", ["--set", "training.lr_schedule.decay.kind=cosine"], "training.steps 13 -> 14"),
    ] {
        let errors = succeed(&[&["train", "--resume", &run, "--steps", steps][..], &options].concat());
        assert!(errors.contains("this is another run") && errors.contains(change), "{errors}");
        let errors = succeed(&["train", "--resume", &run]);
        assert!(!errors.contains("another run"), "{errors}");
    }
    assert_eq!(metrics(&run).len(), 14);
}

/// Of what the command line changes it is not said that the file was changed, whatever else that brings; and it is said
/// once that the file was.
#[test]
fn what_is_asked_for_is_no_edit() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    for options in [
        &["--set", "sampling.count=3"][..],
        &["--val-every", "3"],
        &["--set", "sampling.sampler.kind=heun"],
        &["--checkpoint-every", "3", "--set", "checkpoint_keep=7"],
        &["--set", "validation.per_bin=3"],
        &[],
    ] {
        let errors = succeed(&[&["train", "--resume", &run][..], options].concat());
        assert!(!errors.contains("note: "), "{options:?}: {errors}");
    }
    edit(&run, "checkpoint_every = 3", "checkpoint_every = 4");
    assert!(succeed(&["train", "--resume", &run]).contains("note: "));
    assert!(!succeed(&["train", "--resume", &run]).contains("note: "));
}

/// What came after the checkpoint is moved aside, whole; with the same settings the same steps follow.
#[test]
fn there_is_a_way_back() {
    let folder = Folder::new();
    let (whole, run) = (folder.path("whole"), folder.path("run"));
    points(&folder, &whole);
    points(&folder, &run);
    let errors = succeed(&["train", "--resume", &run, "--checkpoint", "4"]);
    assert!(errors.contains("what came after step 4 is in") && errors.contains("abandoned-1"), "{errors}");
    let aside = Path::new(&run).join("abandoned-1");
    let (given_up, expected) = (files(aside.to_str().unwrap()), files(&whole));
    assert_eq!(given_up[Path::new("metrics.jsonl")], expected[Path::new("metrics.jsonl")]);
    let is_later = |path: &Path| {
        ["06", "08", "10"].iter().any(|n| path.starts_with(format!("checkpoints/step-000000{n}")))
    };
    let later = |files: &BTreeMap<PathBuf, Vec<u8>>| {
        files
            .iter()
            .filter(|(path, _)| is_later(path))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(later(&expected).len(), 15);
    assert!(later(&given_up) == later(&expected), "{:?}", given_up.keys());
    // What was made of them went along.
    for name in ["samples.png", "val_loss.png"] {
        assert_eq!(given_up[Path::new(name)], expected[Path::new(name)], "{name}");
    }
    assert_eq!(given_up.len(), 18);
    fs::remove_dir_all(&aside).unwrap();
    assert_same_run("gone back", &run, &whole);

    let errors = succeed(&["train", "--resume", &run, "--checkpoint", "6", "--set", "training.lr=0.01"]);
    assert!(errors.contains("after step 6 this is another run: training.lr 0.001 -> 0.01"), "{errors}");
    let rates = |run: &str| metrics(run).iter().map(|line| line["lr"].as_f64().unwrap()).collect::<Vec<_>>();
    assert_eq!(rates(&run), [[0.001; 6].as_slice(), &[0.01; 4]].concat());
    let errors = succeed(&["train", "--resume", &run, "--checkpoint", "best"]);
    assert!(errors.contains("resuming after step"), "{errors}");
    assert_eq!(metrics(&run).len(), 10);
    // The newest has nothing after it.
    let errors = succeed(&["train", "--resume", &run, "--checkpoint", "latest", "--steps", "11"]);
    assert!(!errors.contains("what came after"), "{errors}");
}

/// A killed run has metrics of steps after its last checkpoint: of another run they are not overwritten.
#[test]
fn steps_that_another_run_takes_the_place_of_are_kept() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    fs::remove_dir_all(Path::new(&run).join("checkpoints/step-00000010")).unwrap();
    let before = files(&run);
    let errors = succeed(&["train", "--resume", &run, "--lr", "0.01"]);
    assert!(errors.contains("abandoned-1"), "{errors}");
    let metrics = Path::new("metrics.jsonl");
    assert_eq!(files(&run)[&Path::new("abandoned-1").join(metrics)], before[metrics]);
}

/// What is left of a run that diverged: its hint names the way back, and that leads to an end.
#[test]
fn a_run_that_diverged_goes_on_from_before() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    let errors = fail(&["train", "--resume", &run, "--steps", "60", "--lr", "1e30"]);
    assert!(errors.contains("hint: ") && errors.contains("--checkpoint"), "{errors}");
    succeed(&["train", "--resume", &run, "--checkpoint", "8", "--set", "training.lr=0.001"]);
    assert_eq!(metrics(&run).len(), 60);
    assert!(metrics(&run).iter().all(|line| line["loss"].is_f64()));
}

#[test]
fn a_run_begins_with_the_weights_that_are_asked_for() {
    let folder = Folder::new();
    let (run, out) = (folder.path("run"), folder.path("new"));
    points(&folder, &run);
    for (options, step, file) in [
        (&["--checkpoint", "4"][..], 4, "model.safetensors"),
        (&["--checkpoint", "6", "--no-ema"], 6, "model.safetensors"),
        (&["--checkpoint", "6", "--ema"], 6, "ema.safetensors"),
        (&["--ema"], 10, "ema.safetensors"),
        (&[], 10, "model.safetensors"),
    ] {
        let begin = ["train", "--init-from", &run, "--out", &out, "--overwrite", "--steps", "1"];
        succeed(&[&begin[..], options].concat());
        let weights = |run: &str, step: u64, file: &str| {
            fs::read(Path::new(run).join(format!("checkpoints/step-{step:08}/{file}"))).unwrap()
        };
        assert!(weights(&out, 0, "model.safetensors") == weights(&run, step, file), "{options:?}");
        // The configuration repeats the run.
        let (config, again) = (format!("{out}/config.toml"), folder.path("again"));
        succeed(&["train", "--config", &config, "--out", &again, "--overwrite"]);
        assert_same_run("again", &again, &out);
    }
}

/// A checkpoint of a version that kept no record: it is gone on from, with a note.
#[test]
fn a_checkpoint_without_a_record_is_gone_on_from() {
    let folder = Folder::new();
    let run = folder.path("run");
    points(&folder, &run);
    let path = Path::new(&run).join("checkpoints/step-00000010/state.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (body, _) = text.rsplit_once("# crc32").unwrap();
    let (mut old, mut is_record) = (String::new(), false);
    for line in body.split_inclusive('\n') {
        if line.starts_with('[') {
            is_record = line.starts_with("[run]") || line.starts_with("[run.");
        }
        if !is_record {
            old.push_str(line);
        }
    }
    assert!(old.len() < body.len(), "there is no record in {text}");
    let checksum = crc32fast::hash(old.as_bytes());
    fs::write(&path, format!("{old}# crc32 of the above: {checksum:08x}\n")).unwrap();
    edit(&run, "lr = 0.001", "lr = 0.01");
    let errors = succeed(&["train", "--resume", &run, "--steps", "11"]);
    assert!(errors.contains("note: ") && errors.contains("step-00000010"), "{errors}");
    // The next checkpoint has one.
    edit(&run, "lr = 0.01", "lr = 0.02");
    refused(&["train", "--resume", &run, "--steps", "12"], &run, &["training.lr 0.01 -> 0.02"]);
}

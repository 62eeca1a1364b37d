//! Nothing of the user's is deleted or replaced unasked.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, fail, files, succeed};
use std::fs;
use std::path::Path;

const SMALL: [&str; 8] = [
    "--set",
    "network.hidden_dims=[8]",
    "--set",
    "training.steps=4",
    "--set",
    "checkpoint_every=1",
    "--set",
    "sampling.count=4",
];

/// A small run in `out`; returns what was said.
fn train(out: &str, options: &[&str]) -> String {
    succeed(&[&["train", "--batch-size", "16", "--out", out][..], &SMALL, options].concat())
}

fn write(run: &str, name: &str) {
    let path = Path::new(run).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("mine: {name}")).unwrap();
}

/// Asserts that these are as [`write`] wrote them.
#[track_caller]
fn are_kept(run: &str, names: &[&str]) {
    for name in names {
        let text = fs::read_to_string(Path::new(run).join(name));
        assert_eq!(text.ok(), Some(format!("mine: {name}")), "{name}");
    }
}

#[test]
fn overwriting_removes_only_what_a_run_wrote() {
    let folder = Folder::new();
    let (run, fresh) = (folder.path("run"), folder.path("fresh"));
    train(&run, &[]);
    train(&fresh, &["--seed", "1"]);
    let mine = [
        "notes.txt",
        "results/table.tsv",
        "thesis.partial",
        ".notes.txt.partial",
        "samples-seed-7.png",
        "samples-mine.png",
        "checkpoints/notes.txt",
        "checkpoints/step-5/notes.txt",
        "checkpoints/step-00000003-good/model.safetensors",
        "checkpoints/step-00000003/notes.txt",
    ];
    mine.iter().for_each(|name| write(&run, name));
    // What a killed process leaves is not theirs.
    fs::write(Path::new(&run).join(".config.toml.123-0.partial"), "half").unwrap();
    let errors = train(&run, &["--overwrite", "--seed", "1"]);
    are_kept(&run, &mine);
    let kept = errors.lines().find(|line| line.contains("kept")).unwrap();
    let above = ["notes.txt", "results", "thesis.partial", "samples-seed-7.png", "checkpoints/notes.txt"];
    assert!(above.iter().all(|name| kept.contains(name)), "{kept}");
    assert!(!kept.contains("config.toml") && !kept.contains("loss.png"), "{kept}");

    let mut found = files(&run);
    found.retain(|path, _| !mine.iter().any(|name| path == Path::new(name)));
    assert!(found == files(&fresh), "{:?} and {:?}", found.keys(), files(&fresh).keys());
    let errors = train(&fresh, &["--overwrite", "--seed", "1"]);
    assert!(!errors.contains("kept"), "{errors}");
}

/// Neither when a run is gone on with, nor when old checkpoints go.
#[test]
fn resuming_removes_only_what_a_run_wrote() {
    let folder = Folder::new();
    let run = folder.path("run");
    train(&run, &[]);
    let mine =
        ["notes.partial", ".notes.partial", "checkpoints/step-5/notes", "checkpoints/step-00000004/notes"];
    mine.iter().for_each(|name| write(&run, name));
    succeed(&["train", "--resume", &run, "--steps", "12"]);
    are_kept(&run, &mine);
    // It is a checkpoint still.
    succeed(&["sample", &run, "--checkpoint", "4"]);
    succeed(&["train", "--resume", &run, "--checkpoint", "4", "--lr", "0.01"]);
    are_kept(&run, &mine);
}

#[test]
fn a_picture_that_no_run_drew_stays() {
    let folder = Folder::new();
    let run = folder.path("run");
    train(&run, &[]);
    let drawn = files(&run);
    let mine = ["samples.png", "loss.png"];
    mine.iter().for_each(|name| write(&run, name));
    for _ in 0..2 {
        let errors = succeed(&["train", "--resume", &run]);
        are_kept(&run, &mine);
        assert!(errors.contains("samples-1.png") && errors.contains("loss-1.png"), "{errors}");
        let found = files(&run);
        for name in ["samples", "loss"] {
            let [usual, other] = ["", "-1"].map(|end| Path::new(&format!("{name}{end}.png")).to_path_buf());
            assert!(found[&other] == drawn[&usual], "{name}");
        }
    }
    train(&run, &["--overwrite"]);
    are_kept(&run, &mine);
}

#[test]
fn samples_replace_nothing_unasked() {
    let folder = Folder::new();
    let (run, out) = (folder.path("run"), folder.path("out.png"));
    train(&run, &[]);
    for (out, options) in [(&out, &["--out", &out][..]), (&format!("{run}/samples-seed-0.png"), &[])] {
        let sample = [&["sample", &run][..], options].concat();
        succeed(&sample);
        fs::write(out, "mine").unwrap();
        let errors = fail(&sample);
        assert!(errors.contains(&format!("error: {out} exists already")), "{errors}");
        assert!(errors.contains("hint: ") && errors.contains("--overwrite"), "{errors}");
        assert_eq!(fs::read_to_string(out).unwrap(), "mine");
        succeed(&[&sample[..], &["--overwrite"]].concat());
        assert!(fs::read(out).unwrap().starts_with(b"\x89PNG"));
    }
}

//! Several averages of a run's weights, and those that are made of its snapshots.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, fail, files, succeed};
use std::fs;
use std::path::Path;

/// A small run with two averages more than usual, and snapshots of two others.
fn train(run: &str, options: &[&str]) {
    let settings = [
        "network.hidden_dims=[8, 8]",
        "training.steps=12",
        "training.lr=0.01",
        "sampling.count=8",
        "checkpoint_every=4",
        "training.snapshots.every=3",
        "training.emas=[{ kind = 'power', width = 0.2 }, { name = 'fast', kind = 'constant', decay = 0.5 }]",
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let typed = ["train", "--batch-size", "16", "--out", run];
    succeed(&[&typed[..], &Vec::from_iter(settings), options].concat());
}

/// The bytes of samples that are drawn with `options`.
fn sample(folder: &Folder, run: &str, options: &[&str]) -> Vec<u8> {
    let out = folder.path("samples.safetensors");
    succeed(&[&["sample", run, "--out", &out, "--overwrite"], options].concat());
    fs::read(out).unwrap()
}

#[test]
fn averages_are_chosen_by_name_and_width() {
    let folder = Folder::new();
    let run = folder.path("run");
    train(&run, &[]);
    let of = |options: &[&str]| sample(&folder, &run, options);
    let all = [
        &[][..],
        &["--no-ema"],
        &["--ema", "fast"],
        &["--ema", "0.2"],
        &["--ema", "0.05"],
        &["--ema", "0.1"],
    ]
    .map(of);
    for (i, samples) in all.iter().enumerate() {
        assert!(!all[..i].contains(samples), "the samples of choice {i} are those of another");
    }
    // The same width in other digits.
    assert!(of(&["--ema", "0.20"]) == all[3]);
    let dict = folder.path("dict.safetensors");
    let export = |options: &[&str]| {
        succeed(&[&["export", &run, "--out", &dict, "--overwrite"], options].concat());
        fs::read(&dict).unwrap()
    };
    assert!(export(&["--ema", "fast"]) != export(&[]));

    // One that was not tracked, when it is made.
    let errors = fail(&["sample", &run, "--ema", "0.08", "--out", &folder.path("new.png")]);
    assert!(errors.contains("0.08") && errors.contains("0.05, 0.1, 0.2, fast"), "{errors}");
    succeed(&["ema", &run, "--width", "0.08"]);
    let made = of(&["--ema", "0.08"]);
    assert!(!all.contains(&made));
    let file = Path::new(&run).join("ema-0.08.safetensors");
    assert!(of(&["--weights", file.to_str().unwrap()]) == made);
    // Of an earlier step, elsewhere.
    let out = folder.path("early.safetensors");
    succeed(&["ema", &run, "--width", "0.08", "--step", "9", "--out", &out]);
    assert!(![&all[..], &[made]].concat().contains(&of(&["--weights", &out])));
    fail(&["ema", &run, "--width", "0.08"]);
    succeed(&["ema", &run, "--width", "0.08", "--overwrite"]);
}

/// What of snapshots was after the step that a run goes back to is moved aside, and what is not a run's stays.
#[test]
fn snapshots_are_a_run_s() {
    let folder = Folder::new();
    let (run, fresh) = (folder.path("run"), folder.path("fresh"));
    train(&run, &[]);
    succeed(&["ema", &run, "--width", "0.08"]);
    let snapshots = |of: &Path| -> Vec<String> {
        let names = fs::read_dir(of.join("snapshots")).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let steps =
        |steps: &[u64]| -> Vec<String> { steps.iter().map(|step| format!("step-{step:08}")).collect() };
    assert_eq!(snapshots(run.as_ref()), steps(&[3, 6, 9, 12]));
    // The best may be another, and is of no step here.
    succeed(&["train", "--resume", &run, "--checkpoint", "8", "--lr", "0.1"]);
    assert_eq!(snapshots(&Path::new(&run).join("abandoned-1")), steps(&[9, 12]));
    assert_eq!(snapshots(run.as_ref()), steps(&[3, 6, 9, 12]));
    fs::remove_dir_all(Path::new(&run).join("abandoned-1")).unwrap();

    let mine = ["snapshots/notes.txt", "snapshots/step-00000003/notes.txt", "ema-mine.safetensors"];
    mine.iter().for_each(|name| fs::write(Path::new(&run).join(name), "mine").unwrap());
    train(&run, &["--seed", "1", "--overwrite"]);
    train(&fresh, &["--seed", "1"]);
    let mut found = files(&run);
    for name in mine {
        assert_eq!(found.remove(Path::new(name)).as_deref(), Some(&b"mine"[..]), "{name}");
    }
    assert!(found == files(&fresh), "{:?} and {:?}", found.keys(), files(&fresh).keys());
    // Nothing is left of them where nobody put anything.
    let plain = ["--set", "training.steps=2", "--set", "network.hidden_dims=[8]", "--batch-size", "16"];
    succeed(&[&["train", "--out", &fresh, "--overwrite"], &plain[..]].concat());
    assert!(!Path::new(&fresh).join("snapshots").exists());
}

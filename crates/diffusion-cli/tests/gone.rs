//! A run whose folder goes while it trains is not lost, and nothing false is said of it.

// Elsewhere a folder with an open file in it stays.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, command, fail, metrics, succeed};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Small, and with a checkpoint many times a second.
fn train<'a>(run: &'a str, steps: &'a str) -> Vec<&'a str> {
    let few = ["--batch-size", "4", "--set", "network.hidden_dims=[4]", "--checkpoint-every", "500"];
    [&["train", "swissroll", "--out", run, "--steps", steps][..], &few].concat()
}

/// Trains into the folder `run` below `folder`, does `meddle` after the first steps, and returns what was said until
/// the error.
fn meddle_with(folder: &Folder, meddle: impl Fn(&Path)) -> String {
    let run = folder.path("run");
    let mut program = command(&train(&run, "1000000"));
    let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
    let (begun, path) = (Instant::now(), Path::new(&run));
    let is_begun = || fs::read_dir(path.join("checkpoints")).is_ok_and(|entries| entries.count() > 2);
    while !is_begun() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
        thread::sleep(Duration::from_millis(5));
    }
    meddle(path);
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// The run is complete in `run`, and goes on with the very command that the hint says.
fn goes_on(run: &str, said: &str) {
    assert!(said.contains(&format!("train --resume {run}`")), "{said}");
    for name in ["config.toml", "metrics.jsonl", "checkpoints"] {
        assert!(Path::new(run).join(name).exists(), "{name}: {said}");
    }
    let done = metrics(run).len();
    let checkpoint = format!("checkpoints/step-{done:08}");
    assert!(done > 500 && Path::new(run).join(checkpoint).exists(), "{done} steps: {said}");
    let steps = (done + 3).to_string();
    let errors = succeed(&["train", "--resume", run, "--steps", &steps]);
    assert!(errors.contains(&format!("resuming after step {done}")), "{errors}");
    assert_eq!(metrics(run).len(), done + 3);
}

#[test]
fn a_run_whose_folder_is_removed_is_saved_in_a_complete_one() {
    let folder = Folder::new();
    let said = meddle_with(&folder, |run| {
        let aside = run.with_extension("trash");
        fs::rename(run, &aside).unwrap();
        fs::remove_dir_all(aside).unwrap();
    });
    goes_on(&folder.path("run"), &said);
}

#[test]
fn a_run_whose_folder_is_moved_is_saved_in_a_complete_one() {
    let folder = Folder::new();
    let moved = folder.path("moved");
    let said = meddle_with(&folder, |run| fs::rename(run, &moved).unwrap());
    goes_on(&folder.path("run"), &said);
    // What was moved is still the run until its last checkpoint there.
    fail(&["train", "--resume", &moved, "--steps", "1"]);
}

#[test]
fn a_folder_in_the_place_of_a_run_s_is_left_alone() {
    let folder = Folder::new();
    let said = meddle_with(&folder, |run| {
        let other = run.with_extension("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("mine.txt"), "mine").unwrap();
        fs::rename(run, run.with_extension("moved")).unwrap();
        fs::rename(other, run).unwrap();
    });
    goes_on(&folder.path("run-1"), &said);
    assert_eq!(fs::read_dir(folder.path("run")).unwrap().count(), 1);
}

#[test]
fn a_configuration_that_is_removed_is_written_again() {
    let folder = Folder::new();
    let run = folder.path("run");
    let (mut child, begun) = (command(&train(&run, "4000")).spawn().unwrap(), Instant::now());
    let place = Path::new(&run).join("config.toml");
    while fs::remove_file(&place).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no configuration");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(place.exists());
}

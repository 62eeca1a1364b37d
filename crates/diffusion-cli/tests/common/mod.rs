//! Running the program, and what it leaves behind.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program with these arguments, silent.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diffusion"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The same, which hears signals even where whoever runs the tests ignores them, as `nohup` does.
#[cfg(target_os = "linux")]
pub fn hearing(arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM,USR1,USR2,XCPU", env!("CARGO_BIN_EXE_diffusion")]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs the program, and returns what it wrote on standard error.
pub fn run(arguments: &[&str]) -> (Output, String) {
    let output = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(!errors.contains("panicked"), "{arguments:?} panics: {errors}");
    (output, errors)
}

/// Runs the program, which must succeed; returns what it wrote on standard error.
pub fn succeed(arguments: &[&str]) -> String {
    let (output, errors) = run(arguments);
    assert!(output.status.success(), "{arguments:?} failed: {errors}");
    errors
}

/// Runs the program, which must fail with 1; returns what it wrote on standard error.
pub fn fail(arguments: &[&str]) -> String {
    let (output, errors) = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    errors
}

/// A folder of its own for each test, and names in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    /// Writes the configuration of `preset` with `changes` of its text, and returns its path.
    pub fn config(&self, preset: &str, changes: &[(&str, &str)]) -> String {
        let (output, _) = run(&["train", preset, "--print-config"]);
        let mut text = String::from_utf8(output.stdout).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{from:?} is not in {text}");
            text = text.replace(from, to);
        }
        let path = self.path(&format!("{preset}.toml"));
        fs::write(&path, text).unwrap();
        path
    }
}

/// All files of a run by their names, but those that depend on the clock.
pub fn files(run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(Path::new(run), Path::new(""), &mut files);
    files.remove(Path::new("timing.jsonl"));
    // What is drawn on the way is drawn when there is time for it.
    files.remove(Path::new("training.gif"));
    files.retain(|path, _| !path.starts_with("samples"));
    files.remove(Path::new(".lock"));
    files
}

fn collect(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

/// Panics unless both runs have the same files with the same bytes.
#[track_caller]
pub fn assert_same_run(what: &str, found: &str, expected: &str) {
    let (found, expected) = (files(found), files(expected));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{what}: other files");
    let other: Vec<_> =
        expected.iter().filter(|(name, bytes)| found[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(other.is_empty(), "{what}: {other:?} differ");
}

/// The lines of metrics.jsonl.
pub fn metrics(run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Images of `side`² pixels in two IDX files, `count` of them, labeled 0 to 9 in turn.
pub fn write_idx(folder: &str, count: u8, side: u8) {
    fs::create_dir(folder).unwrap();
    let pixels = usize::from(count) * usize::from(side) * usize::from(side);
    let values = (0..pixels).map(|i| (i * 37 % 251) as u8);
    let images = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, side, 0, 0, 0, side].into_iter().chain(values);
    let labels = [0, 0, 8, 1, 0, 0, 0, count].into_iter().chain((0..count).map(|i| i % 10));
    for (name, bytes) in [
        ("train-images-idx3-ubyte", images.collect::<Vec<u8>>()),
        ("train-labels-idx1-ubyte", labels.collect()),
    ] {
        fs::write(Path::new(folder).join(name), bytes).unwrap();
    }
}

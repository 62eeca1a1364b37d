//! Runs that are killed, cut short, crowded out or moved to another length, and go on as if nothing had happened.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::{Folder, assert_same_run, command, files, metrics, succeed, write_idx};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Moments at which a run is killed.
const KILLS: u64 = 25;

/// Averages of all kinds, snapshots of two, and Muon.
const AVERAGES: &str = "[training.optimizer]
kind = \"muon\"

[training.snapshots]
every = 7

[[training.emas]]
kind = \"half-life\"
name = \"half\"
examples = 200

[[training.emas]]
kind = \"power\"
width = 0.2

[training.ema]";

/// A small conditional run whose time goes into steps and checkpoints in about equal parts.
fn small(folder: &Folder) -> String {
    folder.config(
        "tree",
        &[
            ("batch_size = 256", "batch_size = 24"),
            ("steps = 10000", "steps = 60"),
            ("checkpoint_every = 5000", "checkpoint_every = 2"),
            ("every = 5000", "every = 10"),
            ("count = 2000", "count = 8"),
            ("per_bin = 32", "per_bin = 4"),
            ("[training.ema]", AVERAGES),
        ],
    )
}

/// A number in [0, 1) that follows from `i` (Steele et al. 2014, SplitMix64).
fn uniform(i: u64) -> f64 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Whether a checkpoint was being written when the run ended.
fn is_half_written(run: &str) -> bool {
    let Ok(entries) = fs::read_dir(Path::new(run).join("checkpoints")) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(".step-"))
}

/// The newest checkpoint's step.
fn newest(run: &str) -> Option<u64> {
    let entries = fs::read_dir(Path::new(run).join("checkpoints")).ok()?;
    let step = |name: &str| name.strip_prefix("step-")?.parse().ok();
    entries.flatten().filter_map(|entry| step(entry.file_name().to_str()?)).max()
}

/// SIGKILL at 25 moments: after a checkpoint that a seed chooses and a share of the time to the next. Each time the run
/// is resumed to the same bytes as one that was left alone, in weights, EMA, optimizer, metrics and pictures.
#[test]
fn a_run_that_is_killed_goes_on_as_if_nothing_had_happened() {
    let folder = Folder::new();
    let (config, whole) = (small(&folder), folder.path("whole"));
    succeed(&["train", "--config", &config, "--out", &whole]);
    let (mut half_written, mut ended) = (0, 0);
    for kill in 0..KILLS {
        let run = folder.path(&format!("killed-{kill}"));
        let mut child = command(&["train", "--config", &config, "--out", &run]).spawn().unwrap();
        let after = (62.0 * uniform(2 * kill)) as u64 / 2 * 2;
        let (begun, mut last, mut seen) = (Instant::now(), Instant::now(), None);
        let mut between = Duration::from_millis(20);
        while seen.is_none_or(|step| step < after) {
            assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint of step {after}");
            if newest(&run) > seen {
                seen = newest(&run);
                (between, last) = (last.elapsed(), Instant::now());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(between.mul_f64(uniform(2 * kill + 1)));
        child.kill().unwrap();
        ended += u64::from(child.wait().unwrap().success());
        half_written += u64::from(is_half_written(&run));
        succeed(&["train", "--resume", &run]);
        assert_same_run(&format!("killed after step {after}"), &run, &whole);
        fs::remove_dir_all(run).unwrap();
    }
    println!(
        "{KILLS} kills, {half_written} of them while a checkpoint was being written, {ended} after the run's end"
    );
    assert!(half_written > 0, "no kill hit a checkpoint that was being written");
    assert!(ended < KILLS / 3, "most kills hit no training");
}

/// A small U-Net on images, with dropout, mirrored images and two batches a step.
#[cfg(target_os = "linux")]
fn small_images(folder: &Folder) -> String {
    let changes = [
        ("checkpoint_every = 1000", "checkpoint_every = 2"),
        ("every = 1000", "every = 10"),
        ("steps = 2000", "steps = 40"),
        ("steps = 20\n", "steps = 2\n"),
    ];
    of_small_images(folder, &changes)
}

/// A U-Net on 23 images of 8 × 8 pixels, two batches a step, few samples and validation examples, and `changes`.
fn of_small_images(folder: &Folder, changes: &[(&str, &str)]) -> String {
    let data = folder.path("data");
    write_idx(&data, 23, 8);
    let small = [
        ("in_dim = 28", "in_dim = 8"),
        ("ch_mult = [1, 2, 2]", "ch_mult = [1, 1]"),
        ("attn_resolutions = [14]", "attn_resolutions = [4]"),
        ("/usr/share/datasets/fashion-mnist", &data),
        ("batch_size = 32", "batch_size = 3"),
        ("accumulate = 1", "accumulate = 2"),
        ("count = 64", "count = 2"),
        ("per_bin = 32", "per_bin = 1"),
    ];
    folder.config("smalldiffusion-unet-small", &[&small, changes].concat())
}

/// Signals of every kind, and kills soon after one, at random moments, on points and on images: what is there in the end
/// are the bytes of a run that was left alone. `DIFFUSION_KILLS=40` makes it 40 moments.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_stopped_in_any_way_goes_on_as_if_nothing_had_happened() {
    use nix::sys::signal::{Signal, kill};
    let ways = [
        (Signal::SIGKILL, false),
        (Signal::SIGTERM, false),
        (Signal::SIGINT, false),
        (Signal::SIGHUP, false),
        (Signal::SIGUSR1, false),
        (Signal::SIGTERM, true),
    ];
    let kills = std::env::var("DIFFUSION_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let folder = Folder::new();
    let configs = [small(&folder), small_images(&folder)];
    let wholes = [folder.path("whole-points"), folder.path("whole-images")];
    for (config, whole) in configs.iter().zip(&wholes) {
        succeed(&["train", "--config", config, "--out", whole]);
    }
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for i in 0..kills {
        // Every way, and every way on the other preset.
        let preset = (i + i / ways.len() as u64) as usize % 2;
        let (config, whole) = (&configs[preset], &wholes[preset]);
        let (signal, is_mixed) = ways[i as usize % ways.len()];
        let run = folder.path(&format!("stopped-{i}"));
        let [after, share, soon] = [0, 1, 2].map(|k| uniform(2_000 + 3 * i + k));
        let mut child = common::hearing(&["train", "--config", config, "--out", &run]).spawn().unwrap();
        let (begun, after) = (Instant::now(), (38.0 * after) as u64);
        while newest(&run).is_none_or(|step| step < after) {
            assert!(begun.elapsed() < Duration::from_secs(240), "no checkpoint of step {after}");
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(60).mul_f64(share));
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        kill(pid, signal).unwrap();
        if is_mixed {
            std::thread::sleep(Duration::from_millis(20).mul_f64(soon));
            // It may have stopped already.
            let _ = kill(pid, Signal::SIGKILL);
        }
        let status = child.wait().unwrap();
        *ends
            .entry(format!("{signal}{}: {status}", if is_mixed { " and SIGKILL" } else { "" }))
            .or_default() += 1;
        succeed(&["train", "--resume", &run]);
        assert_same_end(&format!("{i}: {signal} after step {after}"), &run, whole);
        fs::remove_dir_all(run).unwrap();
    }
    println!("{kills} moments: {ends:#?}");
}

/// Panics unless both runs ended with the same bytes. One that was stopped has a checkpoint of that step, in the place of
/// an older one.
#[cfg(target_os = "linux")]
#[track_caller]
fn assert_same_end(what: &str, found: &str, expected: &str) {
    let (found, mut expected) = (files(found), files(expected));
    let last = expected.keys().filter(|path| path.starts_with("checkpoints")).max().unwrap().clone();
    assert!(found.contains_key(&last), "{what}: {} is missing", last.display());
    expected.retain(|path, _| !path.starts_with("checkpoints") || found.contains_key(path));
    assert!(expected.len() > 8, "{what}: only {:?} are there", expected.keys());
    for (path, bytes) in expected {
        assert!(found.get(&path) == Some(&bytes), "{what}: {} differs", path.display());
    }
}

/// A run without its first checkpoint begins again.
#[test]
fn a_run_that_was_killed_at_once_begins_again() {
    let folder = Folder::new();
    let (config, whole, run) = (small(&folder), folder.path("whole"), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &whole, "--steps", "4"]);
    succeed(&["train", "--config", &config, "--out", &run, "--steps", "4"]);
    let checkpoints = Path::new(&run).join("checkpoints");
    fs::remove_dir_all(&checkpoints).unwrap();
    fs::create_dir_all(checkpoints.join(".step-00000000.partial")).unwrap();
    // Of other files too there may be halves.
    for half in [".metrics.jsonl.123-0.partial", ".config.toml.123-0.partial", ".loss.png.123-0.partial"] {
        fs::write(Path::new(&run).join(half), "half").unwrap();
    }
    fs::create_dir_all(checkpoints.join(".step-00000077.partial")).unwrap();
    let errors = succeed(&["train", "--resume", &run]);
    assert!(errors.contains("removed a checkpoint that was being written when the run ended"), "{errors}");
    assert_same_run("begun again", &run, &whole);
}

/// A run of N steps that is made M steps longer is one of N + M; with dropout, mirrored images and accumulation.
#[test]
fn a_run_that_is_made_longer_is_the_longer_run() {
    let folder = Folder::new();
    let config = of_small_images(&folder, &[("steps = 20\n", "steps = 2\n")]);
    assert!(fs::read_to_string(&config).unwrap().contains("dropout = 0.1"));
    let (whole, parts) = (folder.path("whole"), folder.path("parts"));
    succeed(&["train", "--config", &config, "--out", &whole, "--steps", "5", "--set", "checkpoint_keep=9"]);
    let errors = succeed(&[
        "train",
        "--config",
        &config,
        "--out",
        &parts,
        "--steps",
        "3",
        "--set",
        "checkpoint_keep=9",
    ]);
    assert!(
        errors.contains("21 examples, 3 steps of 2·3")
            && errors.contains("2 examples are kept for validation"),
        "{errors}"
    );
    let errors = succeed(&["train", "--resume", &parts, "--steps", "5"]);
    assert!(errors.contains("resuming after step 3"), "{errors}");
    // A validation and a checkpoint more than the run in one go had: those of the end that was none.
    for run in [&whole, &parts] {
        assert_eq!(metrics(run).len(), 5);
    }
    let last = |run: &str| {
        let mut files = files(run);
        files
            .retain(|path, _| path.starts_with("checkpoints/step-00000005") || path.ends_with("samples.png"));
        files
    };
    assert_eq!(last(&whole).len(), 6);
    assert!(last(&whole) == last(&parts), "weights, optimizer or samples differ");
    let losses = |run: &str| metrics(run).iter().map(|line| line["loss"].to_string()).collect::<Vec<_>>();
    assert_eq!(losses(&whole), losses(&parts));
}

/// The newest valid checkpoint is used, the damaged one named; the rest is computed again to the same bytes.
#[test]
fn a_damaged_checkpoint_is_named_and_passed_over() {
    let folder = Folder::new();
    let (config, whole, run) = (small(&folder), folder.path("whole"), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &whole, "--steps", "20"]);
    succeed(&["train", "--config", &config, "--out", &run, "--steps", "20"]);
    let newest = Path::new(&run).join("checkpoints/step-00000020");
    let weights = newest.join("moment_2.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let place = bytes.len() - 5;
    bytes[place] ^= 64;
    fs::write(&weights, bytes).unwrap();
    let errors = succeed(&["train", "--resume", &run]);
    let named = format!(
        "warning: passed over a damaged checkpoint: {} is damaged: its checksum is",
        weights.display()
    );
    assert!(errors.contains(&named) && errors.contains("resuming after step 18"), "{errors}");
    assert_same_run("after damage", &run, &whole);
}

/// While one process trains, no other touches its folder; the first never notices.
#[test]
fn two_processes_do_not_share_a_folder() {
    let folder = Folder::new();
    let (config, whole, run) = (small(&folder), folder.path("whole"), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &whole]);
    let mut first = command(&["train", "--config", &config, "--out", &run]).spawn().unwrap();
    let begun = Instant::now();
    while !Path::new(&run).join("config.toml").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the first process does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let attempts: [&[&str]; 3] = [
        &["train", "--resume", &run],
        &["train", "--config", &config, "--out", &run],
        &["train", "--config", &config, "--out", &run, "--overwrite"],
    ];
    let answers = attempts.map(|attempt| common::run(attempt).1);
    assert!(first.try_wait().unwrap().is_none(), "the first process was too quick for this test");
    for answer in answers {
        assert!(answer.contains(&format!("error: another process is working in {run}")), "{answer}");
    }
    assert!(first.wait().unwrap().success());
    assert_same_run("crowded", &run, &whole);
}

/// Where files may grow no further, as on a full disk: one error, all that was there is still there, and once there
/// is room the run goes on to the same bytes.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing() {
    let folder = Folder::new();
    let (config, whole, run) = (small(&folder), folder.path("whole"), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &whole]);
    succeed(&["train", "--config", &config, "--out", &run, "--steps", "10"]);
    succeed(&["train", "--config", &config, "--out", &folder.path("copy"), "--steps", "10"]);
    // 64 blocks of 512 bytes (in some shells 1024): less than a checkpoint's weights.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_diffusion"), "train", "--resume", &run, "--steps", "60"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let sentences: Vec<&str> = errors.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(sentences.len() == 1 && sentences[0].contains("cannot write"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");

    let (mut left, before) = (files(&run), files(&folder.path("copy")));
    for (path, bytes) in before {
        let kept = left.remove(&path).unwrap();
        // Metrics grow until the checkpoint that had no room, and the configuration knows its new length.
        let grows = path.ends_with("metrics.jsonl") || path.ends_with("config.toml");
        assert!(kept == bytes || grows, "{} was changed", path.display());
    }
    assert!(left.is_empty(), "{:?} were left behind", left.keys());
    succeed(&["train", "--resume", &run]);
    let last = |run: &str| {
        let mut files = files(run);
        files.retain(|path, _| {
            path.starts_with("checkpoints") || path.extension().is_some_and(|end| end == "png")
        });
        files
    };
    assert!(last(&run) == last(&whole), "the run after the full disk is another");
}

/// On another backend a run goes on, and says that it will not be the same bit for bit.
#[cfg(feature = "ndarray")]
#[test]
fn another_backend_goes_on_with_a_warning() {
    let folder = Folder::new();
    let (config, run) = (small(&folder), folder.path("run"));
    succeed(&["train", "--config", &config, "--out", &run, "--steps", "4"]);
    let errors = succeed(&["train", "--resume", &run, "--steps", "6", "--backend", "ndarray"]);
    assert!(errors.contains("warning: the run was on flex so far; on ndarray it goes on"), "{errors}");
    assert_eq!(metrics(&run).len(), 6);
    let errors = common::fail(&["train", "--resume", &run, "--steps", "3"]);
    assert!(errors.contains("has done 6"), "{errors}");
}

//! Pictures of a run while it trains, and pictures that move.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, fail, metrics, succeed, write_idx};
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::{AnimationDecoder, RgbImage};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// A small conditional U-Net on few images, with dropout, mirrored images and validation.
fn images(folder: &Folder) -> String {
    let data = folder.path("data");
    write_idx(&data, 23, 8);
    let config = folder.config(
        "smalldiffusion-unet-small",
        &[
            ("in_dim = 28", "in_dim = 8"),
            ("ch_mult = [1, 2, 2]", "ch_mult = [1, 1]"),
            ("attn_resolutions = [14]", "attn_resolutions = [4]"),
            ("[schedule]", "[network.labels]\nnum_classes = 10\n\n[schedule]"),
            ("/usr/share/datasets/fashion-mnist", &data),
            ("batch_size = 32", "batch_size = 3"),
            ("steps = 2000", "steps = 6"),
            ("steps = 20\n", "steps = 3\n"),
            ("count = 64", "count = 4"),
            ("every = 1000", "every = 3"),
            ("per_bin = 32", "per_bin = 1"),
        ],
    );
    let text = fs::read_to_string(&config).unwrap();
    let expected = ["flip = true", "dropout = 0.1", "every = \"auto\""];
    assert!(expected.iter().all(|setting| text.contains(setting)), "{text}");
    config
}

fn train(folder: &Folder, config: &str, name: &str, more: &[&str]) -> String {
    let run = folder.path(name);
    succeed(&[&["train", "--config", config, "--out", &run], more].concat());
    run
}

/// The pictures of the training, by the steps in their names.
fn drawn(run: &str) -> BTreeMap<u64, Vec<u8>> {
    let Ok(entries) = fs::read_dir(Path::new(run).join("samples")) else { return BTreeMap::new() };
    let picture = |path: PathBuf| {
        let step =
            path.file_stem().unwrap().to_str().unwrap().strip_prefix("step-").unwrap().parse().unwrap();
        (step, fs::read(path).unwrap())
    };
    entries.map(|entry| picture(entry.unwrap().path())).collect()
}

fn steps(run: &str) -> Vec<u64> {
    drawn(run).into_keys().collect()
}

/// What the steps of a run depend on, and what they were.
fn bits(run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = common::files(run);
    files.retain(|path, _| {
        path.extension().is_some_and(|ending| ending == "safetensors") || path.ends_with("metrics.jsonl")
    });
    files
}

#[test]
fn pictures_change_nothing_of_a_run() {
    let folder = Folder::new();
    let config = images(&folder);
    let every = ["--set", "checkpoint_every=2", "--sample-every"];
    let with = train(&folder, &config, "with", &[&every[..], &["2"]].concat());
    let without = train(&folder, &config, "without", &[&every[..], &["never"]].concat());
    assert_eq!((steps(&with), steps(&without)), (vec![2, 4, 6], vec![]));
    let (with_bits, without_bits) = (bits(&with), bits(&without));
    assert!(with_bits.len() > 8 && with_bits == without_bits, "{:?}", with_bits.keys());
    // Each is of other weights, and all of the same noise: the last are the samples of the end.
    let pictures = drawn(&with);
    assert!(pictures[&2] != pictures[&4] && pictures[&4] != pictures[&6]);
    assert_eq!(pictures[&6], fs::read(Path::new(&with).join("samples.png")).unwrap());
}

#[test]
fn a_run_that_goes_on_leaves_its_pictures_alone() {
    let folder = Folder::new();
    let config = images(&folder);
    let whole = train(&folder, &config, "whole", &["--sample-every", "2"]);
    let run = train(&folder, &config, "run", &["--sample-every", "2", "--steps", "4"]);
    assert_eq!(steps(&run), [2, 4]);
    let first = Path::new(&run).join("samples/step-00000002.png");
    let written = || first.metadata().unwrap().modified().unwrap();
    let before = written();
    // What an earlier process did not come to draw.
    fs::remove_file(Path::new(&run).join("samples/step-00000004.png")).unwrap();
    succeed(&["train", "--resume", &run, "--steps", "6"]);
    assert!(written() == before, "the first picture was drawn again");
    assert!(drawn(&run) == drawn(&whole), "{:?}", steps(&run));
    let frames = |run: &str| gif(&Path::new(run).join("training.gif"));
    assert_eq!(frames(&run).len(), 3);
    assert!(frames(&run) == frames(&whole));
    // Back to where it was: what came later is moved aside.
    let later = drawn(&run);
    succeed(&["train", "--resume", &run, "--checkpoint", "4", "--lr", "0.01"]);
    let aside = drawn(&format!("{run}/abandoned-1"));
    assert_eq!(Vec::from_iter(aside.keys().copied()), [6]);
    assert!(aside[&6] == later[&6] && drawn(&run)[&6] != later[&6], "another rate draws the same");
    assert!(drawn(&run)[&4] == later[&4]);
    // So is what was made of it.
    for name in ["samples.png", "training.gif", "val_loss.png"] {
        let place = |folder: &str| Path::new(&run).join(folder).join(name);
        assert!(place("abandoned-1").exists() && place("").exists(), "{name}");
    }
    let more = ["--sample-every", "never", "--set", "validation="];
    succeed(&[&["train", "--resume", &run, "--checkpoint", "4", "--lr", "0.02"], &more[..]].concat());
    assert!(!Path::new(&run).join("val_loss.png").exists());
    assert_eq!(frames(&run).len(), 2, "there is a frame of what was given up");
}

#[test]
fn pictures_that_no_run_drew_stay() {
    let folder = Folder::new();
    let config = images(&folder);
    let run = train(&folder, &config, "run", &["--sample-every", "3"]);
    let pictures = drawn(&run);
    assert_eq!(steps(&run), [3, 6]);
    let place = |name: &str| Path::new(&run).join(name);
    let mine = ["samples/step-00000003.png", "samples/notes.txt", "training.gif", "learning_rate.png"];
    mine.iter().for_each(|name| fs::write(place(name), "mine").unwrap());
    fs::write(place("samples/.step-00000006.png.1-0.partial"), "half").unwrap();
    train(&folder, &config, "run", &["--sample-every", "3", "--overwrite"]);
    for name in mine {
        assert_eq!(fs::read(place(name)).unwrap(), b"mine", "{name}");
    }
    assert!(!place("samples/.step-00000006.png.1-0.partial").exists());
    assert!(fs::read(place("samples/step-00000003-1.png")).unwrap() == pictures[&3]);
    assert_eq!(gif(&place("training-1.gif")).len(), 2);
    // Without them nothing is left of the folder.
    mine.iter().for_each(|name| fs::remove_file(place(name)).unwrap());
    train(&folder, &config, "run", &["--sample-every", "never", "--overwrite"]);
    assert!(!place("samples").exists() && !place("training-1.gif").exists());
}

#[cfg(unix)]
#[test]
fn a_run_that_is_asked_to_stop_draws_a_last_picture() {
    use nix::sys::signal::{Signal, kill};
    use std::thread::sleep;
    use std::time::{Duration, Instant};
    let folder = Folder::new();
    let config = images(&folder);
    for (every, is_drawn) in [("1000000", true), ("never", false)] {
        let run = folder.path(every);
        let long = ["--steps", "10000000", "--set", "validation=", "--sample-every", every];
        let mut child =
            common::hearing(&[&["train", "--config", &config, "--out", &run], &long[..]].concat())
                .spawn()
                .unwrap();
        let (begun, timing) = (Instant::now(), Path::new(&run).join("timing.jsonl"));
        while timing.metadata().map_or(true, |file| file.len() == 0) {
            assert!(begun.elapsed() < Duration::from_secs(90), "no step is made");
            sleep(Duration::from_millis(10));
        }
        kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
        let last = metrics(&run).len() as u64;
        assert_eq!(steps(&run), Vec::from_iter(is_drawn.then_some(last)), "every {every}");
        assert!(
            Path::new(&run).join("loss.png").exists() && Path::new(&run).join("learning_rate.png").exists()
        );
        // It goes on as if it had not been drawn.
        let more = (last + 2).to_string();
        succeed(&["train", "--resume", &run, "--steps", &more]);
    }
}

/// As at the end, in a frame where some of them are.
#[test]
fn points_are_drawn_over_the_data() {
    let folder = Folder::new();
    let run = folder.path("run");
    let small = ["--set", "network.hidden_dims=[8]", "--set", "sampling.count=500", "--steps", "4"];
    succeed(&[&["train", "swissroll", "--out", &run, "--sample-every", "2"], &small[..]].concat());
    assert_eq!(steps(&run), [2, 4]);
    assert_eq!(drawn(&run)[&4], fs::read(Path::new(&run).join("samples.png")).unwrap());
}

fn frames<'a>(decoder: impl AnimationDecoder<'a>) -> Vec<(RgbImage, u32)> {
    let frame = |frame: image::Frame| {
        let milliseconds = frame.delay().numer_denom_ms();
        let picture = image::DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8();
        (picture, milliseconds.0 / milliseconds.1)
    };
    decoder.into_frames().collect_frames().unwrap().into_iter().map(frame).collect()
}

fn gif(path: &Path) -> Vec<(RgbImage, u32)> {
    frames(GifDecoder::new(BufReader::new(File::open(path).unwrap())).unwrap())
}

fn apng(path: &Path) -> Vec<(RgbImage, u32)> {
    frames(PngDecoder::new(BufReader::new(File::open(path).unwrap())).unwrap().apng().unwrap())
}

/// From the noise to the samples, whatever is drawn at once.
#[test]
fn the_way_from_noise_is_an_animation() {
    let folder = Folder::new();
    let config = images(&folder);
    let run = train(&folder, &config, "run", &[]);
    let sample = |name: &str, more: &[&str]| {
        let out = folder.path(name);
        succeed(&[&["sample", &run, "--out", &out], more].concat());
        PathBuf::from(out)
    };
    let still = image::open(sample("a.png", &[])).unwrap().into_rgb8();
    let gif = gif(&sample("a.gif", &["--batch-size", "3"]));
    let apng = apng(&sample("a.apng", &[]));
    // The noise and three steps.
    assert_eq!((gif.len(), apng.len()), (4, 4));
    assert!(gif == apng, "gray has few enough colors");
    assert!(apng[3].0 == still && (0..3).all(|i| apng[i].0 != apng[i + 1].0));
    assert!(apng[3].1 > 10 * apng[0].1, "{} and {} ms", apng[0].1, apng[3].1);
    // No more is left than what was asked for.
    let left = fs::read_dir(folder.path("")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')));
    let errors = fail(&["sample", &run, "--out", folder.path("a.gif").as_str()]);
    assert!(errors.contains("a.gif"), "{errors}");
}

//! What `sample` makes of pictures and between seeds, and `likelihood`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, run, succeed};
use diffusion::weights::TensorFile;
use std::fs;

/// The pixels of a picture, red in each, in [−1, 1].
const SIDE: u32 = 8;

/// A run on three pictures in color, `a.png`, `b.png` and `c.png` beside it, and a mask, white on its right half.
fn pictures(folder: &Folder) -> String {
    fs::create_dir(folder.path("data")).unwrap();
    for (name, shift) in [("a", 0u32), ("b", 90), ("c", 200)] {
        let picture = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
            image::Rgb([(31 * x + shift) as u8, (29 * y + shift) as u8, (5 * x * y) as u8])
        });
        picture.save(folder.path(&format!("data/{name}.png"))).unwrap();
    }
    let mask =
        image::GrayImage::from_fn(SIDE, SIDE, |x, _| image::Luma([if x < SIDE / 2 { 0 } else { 255 }]));
    mask.save(folder.path("mask.png")).unwrap();
    let run = folder.path("run");
    let mut line = vec!["train", "--images"];
    let data = folder.path("data");
    line.extend([&data[..], "--image-size", "8", "--network", "dit", "--out", &run]);
    for setting in [
        "network.depth=1",
        "network.head_dim=4",
        "training.steps=200",
        "sampling.count=3",
        // Noise that is far from the pictures after so few steps.
        "prediction=scaled-eps",
        "objective={ kind = 'prediction-mse' }",
        "schedule={ kind = 'ddpm', n = 1000, beta_start = 0.0001, beta_end = 0.02 }",
    ] {
        line.extend(["--set", setting]);
    }
    succeed(&line);
    run
}

/// What `sample` writes into a file of tensors: the samples, and the states that they began with.
fn sample(run: &str, folder: &Folder, options: &[&str]) -> [Vec<f32>; 2] {
    let out = folder.path("out.safetensors");
    let steps = if options.contains(&"--steps") { &[][..] } else { &["--steps", "6"] };
    succeed(&[&["sample", run, "--overwrite", "--out", &out][..], steps, options].concat());
    let file = TensorFile::open_safetensors(&out).unwrap();
    ["samples", "start"].map(|name| file.read(name).unwrap())
}

/// The values of a picture as a network sees them.
fn values(path: &str) -> Vec<f32> {
    let picture = image::open(path).unwrap().into_rgb8();
    let planes = (0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel.0[channel]));
    planes.map(|byte| f32::from(byte) / 255.0 * 2.0 - 1.0).collect()
}

#[test]
fn pictures_are_changed_and_completed() {
    let folder = Folder::new();
    let run = pictures(&folder);
    let [a, b] = ["data/a.png", "data/b.png"].map(|name| folder.path(name));
    let init = ["--init", &a, "--init", &b, "--count", "3"];
    let begin = |options: &[&str]| sample(&run, &folder, &[&init[..], options].concat());

    // Pictures take turns, and strength 0 leaves them.
    let expected = [values(&a), values(&b), values(&a)].concat();
    let [kept, _] = begin(&["--strength", "0"]);
    assert_eq!(kept, expected);
    // Strength 1 leaves nothing of them.
    assert_eq!(begin(&["--strength", "1"]), sample(&run, &folder, &["--count", "3"]));
    let [half, start] = begin(&["--strength", "0.5"]);
    assert!(half != expected && start != expected);

    for options in [&[][..], &["--repaint", "3", "--jump", "2"], &["--strength", "0.5"]] {
        let mask = folder.path("mask.png");
        let [completed, _] = begin(&[&["--inpaint", &mask][..], options].concat());
        let is_known = |i: usize| (i as u32) % SIDE < SIDE / 2;
        for (i, (found, expected)) in completed.iter().zip(&expected).enumerate() {
            let is_kept = found.to_bits() == expected.to_bits();
            assert_eq!(is_kept, is_known(i), "{options:?}: value {i} is {found}, in the picture {expected}");
        }
    }
    // A picture depends on the seed and its number alone.
    let [one, _] = begin(&["--batch-size", "1", "--strength", "0.5"]);
    let apart = one.iter().zip(&half).fold(0.0f32, |apart, (one, all)| apart.max((one - all).abs()));
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn pictures_are_inverted_varied_and_blended() {
    let folder = Folder::new();
    let run = pictures(&folder);
    let [a, b] = ["data/a.png", "data/b.png"].map(|name| folder.path(name));
    let spread = |found: &[f32], expected: &[f32]| {
        let squares: f32 = found.iter().zip(expected).map(|(x, y)| (x - y).powi(2)).sum();
        (squares / found.len() as f32).sqrt()
    };
    let mended = ["--steps", "40", "--fixed-point", "10", "--count", "1"];
    let invert = |options: &[&str]| sample(&run, &folder, &[&["--init", &a], &mended[..], options].concat());
    let [back, noise] = invert(&["--invert"]);
    assert!(spread(&back, &values(&a)) < 0.02, "{}", spread(&back, &values(&a)));
    assert!(spread(&noise, &values(&a)) > 1.0);
    // A variation without anything fresh is the picture, too.
    let heun = ["--sampler", "heun", "--strength", "0.5"];
    let [same, _] = invert(&[&["--vary", "0"][..], &heun].concat());
    let [other, _] = invert(&[&["--vary", "0.8"][..], &heun].concat());
    assert!(spread(&same, &values(&a)) < 0.02, "{}", spread(&same, &values(&a)));
    assert!(spread(&other, &values(&a)) > 0.05, "{}", spread(&other, &values(&a)));

    let between = |ends: [&str; 2], count: &str| {
        let [samples, _] = sample(&run, &folder, &["--interpolate", ends[0], ends[1], "--count", count]);
        samples
    };
    let [one, two] = ["4", "5"]
        .map(|seed| sample(&run, &folder, &["--seed", seed, "--count", "1", "--sampler", "heun"])[0].clone());
    let size = one.len();
    let way = between(["4", "5"], "3");
    assert!(spread(&way[..size], &one) < 1e-4 && spread(&way[2 * size..], &two) < 1e-4);
    assert!(spread(&way[size..2 * size], &one) > 0.05 && spread(&way[size..2 * size], &two) > 0.05);
    let way = between([&a, &b], "2");
    assert!(spread(&way[..size], &values(&b)) > spread(&way[size..], &values(&b)));
}

#[test]
fn likelihoods_are_printed_and_repeat() {
    let folder = Folder::new();
    let pictures = pictures(&folder);
    let bits = |line: &[&str]| {
        let (output, errors) = run(line);
        assert!(output.status.success(), "{line:?}: {errors}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mean: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        assert!(mean.is_finite() && text.contains("bits/dim"), "{text}");
        (mean, text)
    };
    let line = ["likelihood", &pictures, "--steps", "10", "--count", "2", "--no-ema"];
    let (first, text) = bits(&line);
    assert!(text.contains("2 training examples") && text.contains('±'), "{text}");
    let (again, _) = bits(&[&line[..], &["--batch-size", "1"]].concat());
    assert!((first - again).abs() < 1e-3, "{first} and {again}");
    let (other, _) = bits(&[&line[..], &["--seed", "8"]].concat());
    assert_ne!(first, other);

    // Points, by the exact trace and by an estimate of it that is good enough.
    let points = folder.path("points");
    succeed(&["train", "swissroll", "--steps", "200", "--out", &points]);
    let line = ["likelihood", &points, "--count", "20", "--steps", "40"];
    let (exact, text) = bits(&[&line[..], &["--exact"]].concat());
    assert!(text.contains("of density") && text.contains("20 "), "{text}");
    let (estimated, _) = bits(&[&line[..], &["--draws", "16"]].concat());
    assert!((exact - estimated).abs() < 0.3, "{exact} and {estimated}");
    let (adaptive, _) = bits(&[&line[..], &["--exact", "--solver", "adaptive"]].concat());
    assert!((exact - adaptive).abs() < 0.05, "{exact} and {adaptive}");
}

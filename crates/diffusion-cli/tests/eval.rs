//! `eval`: what is measured of samples, and what is written.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, fail, metrics, run, succeed, write_idx};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A short run of a preset with these settings.
fn train(folder: &Folder, preset: &str, settings: &[&str]) -> String {
    let path = folder.path(preset);
    let mut line = vec!["train", preset, "--out", &path];
    settings.iter().for_each(|setting| line.extend(["--set", setting]));
    succeed(&line);
    path
}

/// A run on points.
fn points(folder: &Folder) -> String {
    let settings = ["training.steps=30", "network.hidden_dims=[16]", "sampling.count=20", "sampling.steps=4"];
    train(folder, "swissroll", &settings)
}

/// A run on 60 images of 8 × 8 pixels.
fn images(folder: &Folder, more: &[&str]) -> String {
    let data = folder.path("data");
    if !Path::new(&data).exists() {
        write_idx(&data, 60, 8);
    }
    let path = format!("data.path={data}");
    let settings =
        ["network.in_dim=8", "network.depth=1", "network.head_dim=4", "training.steps=4", "batch_size=8"];
    let rest = ["sampling.count=4", "sampling.steps=3", "validation.bins=2", "validation.per_bin=4", &path];
    train(folder, "fashion-dit-small", &[&settings[..], &rest, more].concat())
}

/// What `eval` writes as JSON, with its table.
fn eval(folder: &Folder, arguments: &[&str]) -> (Value, String) {
    let json = folder.path("out.json");
    let line = [&["eval"], arguments, &["--json", &json, "--overwrite"][..]].concat();
    let (output, errors) = run(&line);
    assert!(output.status.success(), "{line:?}: {errors}");
    let text = fs::read_to_string(json).unwrap();
    (serde_json::from_str(&text).unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// A number that was measured.
#[track_caller]
fn number(found: &Value, metric: &str, what: &str) -> f64 {
    let results = found["results"].as_array().unwrap();
    let row = results.iter().find(|row| row["metric"] == metric);
    row.unwrap_or_else(|| panic!("{metric} is not in {found}"))[what].as_f64().unwrap()
}

#[test]
fn a_run_on_points_is_measured() {
    let folder = Folder::new();
    let run = points(&folder);
    let (found, table) = eval(&folder, &[&run, "--count", "60"]);
    for metric in ["sliced-wasserstein", "wasserstein", "energy", "mmd"] {
        assert!(table.contains(metric), "{table}");
        let [value, error, floor] = ["value", "error", "floor"].map(|what| number(&found, metric, what));
        // After thirty steps it is no spiral.
        assert!(value > floor + error && error > 0.0, "{metric}: {value} ± {error}, {floor}");
        assert_eq!(number(&found, metric, "samples"), 60.0);
    }
    assert_eq!((&found["settings"]["count"], &found["settings"]["step"]), (&60.into(), &30.into()));
    assert_eq!(found["settings"]["sampling"]["steps"], 4);
    // The same again, in pieces of another size.
    let (again, _) = eval(&folder, &[&run, "--count", "60", "--batch-size", "7"]);
    assert_eq!(again, found);
    // The flags of `sample` are understood.
    let (other, _) =
        eval(&folder, &[&run, "--count", "60", "--steps", "2", "--sampler", "heun", "--seed", "3"]);
    assert_eq!(other["settings"]["sampling"]["sampler"]["kind"], "heun");
    assert_ne!(other["results"], found["results"]);
    let (likely, _) = eval(&folder, &[&run, "--metrics", "bits-per-dim", "--count", "2"]);
    assert!(number(&likely, "bits-per-dim", "value").is_finite());
    let settings = &likely["settings"]["likelihood"];
    assert_eq!((&settings["steps"], settings["count"].as_u64()), (&50.into(), Some(100)), "{likely}");
    // Data that are drawn from a hundred points are among them all the same.
    let draws = folder.path("draws.safetensors");
    succeed(&["sample", &run, "--count", "60", "--out", &draws]);
    let near = ["--metrics", "precision-recall,density-coverage", "--against", &draws];
    let (near, _) = eval(&folder, &[&[&draws[..]], &near[..]].concat());
    assert_eq!(number(&near, "precision", "value"), 1.0);
    assert!(fail(&["eval", &run, "--metrics", "memorization", "--count", "20"]).contains("--metrics"));
}

#[test]
fn samples_of_a_run_are_measured_in_a_file_as_they_are_drawn() {
    let folder = Folder::new();
    let run = images(&folder, &[]);
    let stats = folder.path("stats.npz");
    let (drawn, table) = eval(&folder, &[&run, "--count", "24", "--save-stats", &stats]);
    for metric in ["fd", "kid", "precision", "recall", "density", "coverage"] {
        assert!(table.contains(metric), "{table}");
        assert!(number(&drawn, metric, "floor").is_finite());
    }
    // Noise is far from the data, and all of them are as far from each other as data are.
    assert!(number(&drawn, "fd", "value") > 2.0 * number(&drawn, "fd", "floor"), "{drawn}");

    let samples = folder.path("samples.safetensors");
    succeed(&["sample", &run, "--count", "24", "--out", &samples]);
    let data = folder.path("data");
    let (read, _) = eval(&folder, &[&samples, "--against", &data, "--metrics", "fd"]);
    // That run was trained on all but six examples.
    let [a, b] = [&read, &drawn].map(|found| number(found, "fd", "value"));
    assert!((a / b - 1.0).abs() < 0.2 && a != b, "{a}, {b}");
    let (known, _) = eval(&folder, &[&samples, "--against", &stats]);
    let of = |found| number(found, "fd", "value");
    assert!((of(&known) / of(&drawn) - 1.0).abs() < 1e-9, "{known}");
    assert_eq!(
        (&drawn["settings"]["weights"], known["settings"]["weights"].is_null()),
        (&"ema".into(), true)
    );
    let (raw, _) = eval(&folder, &[&run, "--count", "24", "--metrics", "fd", "--no-ema"]);
    assert_eq!(raw["settings"]["weights"], "raw");

    // What cannot be had is said before anything is drawn.
    for metric in ["kid", "precision-recall", "density-coverage"] {
        let few = fail(&["eval", &run, "--count", "3", "--metrics", metric]);
        assert!(few.contains("--count is 3") && few.contains(metric), "{few}");
    }
    let other = fail(&["eval", &run, "--against", &data, "--metrics", "bits-per-dim"]);
    assert!(other.contains("--metrics"), "{other}");

    // Data against themselves.
    let (same, _) = eval(&folder, &[&data, "--against", &data, "--metrics", "fd,precision-recall"]);
    assert!(number(&same, "fd", "value") < 1e-9, "{same}");
    assert_eq!(number(&same, "precision", "value"), 1.0);
}

#[test]
fn copies_are_found_out() {
    let folder = Folder::new();
    let run = images(&folder, &[]);
    let picture = folder.path("pairs.png");
    let options = ["--metrics", "memorization", "--count", "20", "--out", &picture];
    let (found, _) = eval(&folder, &[&[&run[..]], &options[..]].concat());
    // Noise is farther from the data than data are.
    assert!(number(&found, "memorization", "value") < 0.5);
    assert_eq!(found["settings"]["held_out"], "validation");
    // Sixteen pairs, one above the other.
    let (width, height) = image::image_dimensions(&picture).unwrap();
    assert!(width > 7 * height, "{width} × {height}");
}

#[test]
fn validation_measures_samples() {
    let folder = Folder::new();
    let asked =
        ["validation.every=2", "validation.metrics=[\"fd\", \"precision-recall\"]", "validation.samples=16"];
    let run = images(&folder, &asked);
    let measured = |run: &str| -> Vec<Value> {
        metrics(run)
            .into_iter()
            .filter(|line| line.get("val").is_some())
            .map(|line| line["val"].clone())
            .collect()
    };
    let found = measured(&run);
    assert_eq!(found.len(), 2);
    for val in &found {
        assert!(val["metrics"]["fd"].as_f64().unwrap() > 0.0, "{val}");
        assert!(val["metrics"]["recall"].is_number() && val["metrics"]["precision"].is_number());
    }
    assert_ne!(found[0]["metrics"]["fd"], found[1]["metrics"]["fd"]);
    assert!(Path::new(&run).join("val_metrics.png").exists());

    // It is the same run without them.
    let other = Folder::new();
    fs::create_dir(other.path("data")).unwrap();
    for entry in fs::read_dir(folder.path("data")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), Path::new(&other.path("data")).join(entry.file_name())).unwrap();
    }
    let plain = images(&other, &["validation.every=2"]);
    let losses = |run: &str| metrics(run).iter().map(|line| line["loss"].clone()).collect::<Vec<_>>();
    assert_eq!(losses(&plain), losses(&run));

    // One that is made longer measures the same, and draws what was measured before.
    let long = folder.path("long");
    let config = format!("{run}/config.toml");
    succeed(&["train", "--config", &config, "--steps", "6", "--out", &long]);
    succeed(&["train", "--resume", &run, "--steps", "6"]);
    assert_eq!(measured(&run), measured(&long));
    let picture = |run: &str| fs::read(Path::new(run).join("val_metrics.png")).unwrap();
    assert!(picture(&run) == picture(&long));
}

/// An array of bytes as NumPy's `savez` writes it.
fn write_npz(path: &str, name: &str, shape: [usize; 4], bytes: &[u8]) {
    let shape = shape.map(|n| n.to_string()).join(", ");
    let mut text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    text.extend(std::iter::repeat_n(' ', 117 - text.len()));
    let npy = [b"\x93NUMPY\x01\x00\x76\x00", text.as_bytes(), b"\n", bytes].concat();
    let [size, crc] = [npy.len() as u32, crc32fast::hash(&npy)].map(u32::to_le_bytes);
    let name = format!("{name}.npy");
    let length = (name.len() as u16).to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &crc, &size, &size, &length, &[0, 0]].concat();
    let file = [b"PK\x03\x04", &common[..], name.as_bytes(), &npy].concat();
    let entry = [b"PK\x01\x02\x14\x00", &common[..], &[0; 14], name.as_bytes()].concat();
    let [start, long] = [file.len() as u32, entry.len() as u32].map(u32::to_le_bytes);
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &long, &start, &[0, 0]].concat();
    fs::write(path, [file, entry, end].concat()).unwrap();
}

#[test]
fn arrays_and_pictures_of_the_same_pixels_are_the_same() {
    let folder = Folder::new();
    fs::create_dir(folder.path("png")).unwrap();
    let mut bytes = Vec::new();
    for i in 0..24u32 {
        let pixel = |x, y| image::Rgb([(31 * x + 9 * i) as u8, (29 * y * i) as u8, (5 * x * y) as u8]);
        let picture = image::RgbImage::from_fn(4, 3, pixel);
        picture.save(folder.path(&format!("png/{i:02}.png"))).unwrap();
        bytes.extend_from_slice(&picture);
    }
    let [npz, png] = ["samples.npz", "png"].map(|name| folder.path(name));
    write_npz(&npz, "arr_0", [24, 3, 4, 3], &bytes);
    for (samples, data) in [(&npz, &png), (&png, &npz)] {
        let line = [&samples[..], "--against", data, "--metrics", "fd,sliced-wasserstein,density-coverage"];
        let (found, _) = eval(&folder, &line);
        assert!(number(&found, "sliced-wasserstein", "value") < 1e-12, "{found}");
        assert!(number(&found, "fd", "value") < 1e-9, "{found}");
        assert_eq!(number(&found, "coverage", "value"), 1.0);
        assert_eq!(found["settings"]["count"], 24);
    }
}

/// What is no covariance is found before a sample is drawn.
#[test]
fn statistics_that_are_none_are_refused() {
    use diffusion::weights::NpyArray;
    let folder = Folder::new();
    let (run, path) = (points(&folder), folder.path("bad.npz"));
    let array = |shape: &[usize], values: &[f64]| NpyArray { shape: shape.to_vec(), values: values.to_vec() };
    let (mu, sigma) = (array(&[2], &[0.0; 2]), array(&[2, 2], &[1.0, 0.0, 0.0, -1.0]));
    diffusion::weights::write_npz(&path, &[("mu", &mu), ("sigma", &sigma)]).unwrap();
    let errors = fail(&["eval", &run, "--against", &path]);
    assert!(errors.contains("bad.npz") && errors.contains("--against"), "{errors}");
}

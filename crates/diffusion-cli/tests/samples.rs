//! Samples for other tools, and the names above pictures.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, fail, run, succeed, write_idx};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;

/// The run of a tiny network on pictures of 16 × 16 pixels of two classes.
fn train(folder: &Folder) -> String {
    for (class, gray) in [("cat", 40), ("dog", 200)] {
        let place = folder.path(&format!("images/{class}"));
        fs::create_dir_all(&place).unwrap();
        image::GrayImage::from_pixel(16, 16, image::Luma([gray])).save(format!("{place}/a.png")).unwrap();
    }
    let (images, run) = (folder.path("images"), folder.path("run"));
    let settings = ["network.depth=1", "network.head_dim=4", "sampling.count=1", "sampling.steps=2"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments = ["train", "--images", &images, "--image-size", "16", "--network", "dit", "--out", &run];
    succeed(&arguments.into_iter().chain(["--steps", "1"]).chain(settings).collect::<Vec<_>>());
    run
}

/// The files of a folder but `samples.toml`.
fn pictures(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let file =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let mut files: BTreeMap<_, _> = entries.map(file).collect();
    assert!(files.remove("samples.toml").is_some(), "{:?}", files.keys());
    files
}

fn pixels(picture: &[u8]) -> Vec<u8> {
    image::load_from_memory(picture).unwrap().to_luma8().into_raw()
}

#[test]
fn single_pictures_are_the_samples_of_the_seed() {
    let folder = Folder::new();
    let run = train(&folder);
    let sample = |more: &[&str]| succeed(&[&["sample", &run][..], more].concat());
    let [all, part] = ["all/", "part/"].map(|name| folder.path(name));
    sample(&["--count", "6", "--out", &all]);
    let drawn = pictures(&all);
    let names: Vec<String> = (0..6).map(|i| format!("{i:06}.png")).collect();
    assert_eq!(drawn.keys().cloned().collect::<Vec<_>>(), names);

    // Those of a range are the same, however many are drawn at once.
    sample(&["--first", "2", "--count", "3", "--batch-size", "2", "--out", &part]);
    let some = pictures(&part);
    assert_eq!(some.keys().collect::<Vec<_>>(), names[2..5].iter().collect::<Vec<_>>());
    assert!(some.iter().all(|(name, bytes)| drawn[name] == *bytes), "others of a range");

    // And the same as in a file of tensors, and in one of bytes with labels.
    let [tensors, archive] = ["samples.safetensors", "samples.npz"].map(|name| folder.path(name));
    sample(&["--count", "6", "--out", &tensors]);
    let bytes = fs::read(tensors).unwrap();
    let values = SafeTensors::deserialize(&bytes).unwrap().tensor("samples").unwrap().data().to_vec();
    let byte = |value: &[u8]| {
        let value = f32::from_le_bytes(value.try_into().unwrap());
        ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round_ties_even() as u8
    };
    let expected: Vec<u8> = values.chunks(4).map(byte).collect();
    let found: Vec<u8> = drawn.values().flat_map(|picture| pixels(picture)).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(found, expected)| found.abs_diff(*expected) <= 1));
    sample(&["--count", "6", "--batch-size", "4", "--out", &archive]);
    let bytes = fs::read(&archive).unwrap();
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
    let labels: Vec<u8> = [0i64, 1, 0, 1, 0, 1].into_iter().flat_map(i64::to_le_bytes).collect();
    assert!(holds(&found) && holds(&labels) && holds(b"'shape': (6, 16, 16, 1)"));
    assert!(fail(&["sample", &run, "--count", "2", "--out", &archive]).contains("exists already"));

    // What is there stays, and what is missing is drawn.
    let four = folder.path("all/000004.png");
    fs::remove_file(&four).unwrap();
    let (output, _) = common::run(&["sample", &run, "--count", "6", "--out", &all]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.starts_with("1 sample ") && told.contains("5 were already"), "{told}");
    assert_eq!(pictures(&all), drawn);

    // Samples of another seed are not mixed with them, and nothing of the user's is removed for them.
    fs::write(folder.path("all/mine.png"), "mine").unwrap();
    let other = ["sample", &run, "--count", "2", "--seed", "7", "--out", &all];
    assert!(fail(&other).contains("--overwrite"));
    sample(&[&other[2..], &["--overwrite"]].concat());
    let replaced = pictures(&all);
    assert_eq!(replaced.keys().collect::<Vec<_>>(), [&names[0], &names[1], &"mine.png".to_string()]);
    assert_ne!(replaced[&names[0]], drawn[&names[0]]);
}

#[test]
fn columns_have_the_names_of_their_classes() {
    let folder = Folder::new();
    let run = train(&folder);
    let size = |more: &[&str]| {
        let out = folder.path("grid.png");
        succeed(&[&["sample", &run, "--out", &out, "--overwrite"][..], more].concat());
        image::image_dimensions(out).unwrap()
    };
    // Two columns of two rows, as wide as high but for the names above.
    let (width, height) = size(&["--count", "4"]);
    assert!((600..640).contains(&width) && (16..40).contains(&(height - width)), "{width}, {height}");
    // Of five classes that take turns, four samples have a column each.
    let (width, height) = size(&["--count", "4", "--labels", "0,1,1,0,0"]);
    let names = height - (width - 2) / 4 - 2;
    assert!((16..40).contains(&names), "{width}, {height}");
}

/// One class per column, which has its number above where it has no name.
#[test]
fn the_conditional_preset_draws_a_table_of_classes() {
    let folder = Folder::new();
    let (data, out) = (folder.path("data"), folder.path("run"));
    write_idx(&data, 20, 28);
    let settings = ["network.depth=1", "network.head_dim=4", "sampling.steps=1", "validation="];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments = ["train", "fashion-dit-cond-small", "--data", &data, "--out", &out, "--steps", "1"];
    run(&arguments.into_iter().chain(settings).collect::<Vec<_>>());
    let (width, height) = image::image_dimensions(folder.path("run/samples.png")).unwrap();
    assert_eq!(width, 10 * (3 * 28 + 2) + 2);
    assert!((16..40).contains(&(height - (6 * (3 * 28 + 2) + 2))), "{height}");
}

/// Samples between two ends depend on how many they are, and those that are guided by another model on its weights.
#[test]
fn samples_that_were_made_of_something_else_are_not_mixed() {
    let folder = Folder::new();
    let run = train(&folder);
    let [between, guided] = ["between/", "guided/"].map(|name| folder.path(name));
    let ends = ["sample", &run, "--interpolate", "1", "2", "--sampler", "ddim", "--out", &between];
    succeed(&[&ends[..], &["--count", "3"]].concat());
    let drawn = pictures(&between);
    assert!(fail(&[&ends[..], &["--count", "2"]].concat()).contains("--overwrite"));
    assert_eq!(pictures(&between), drawn);

    let weaker = folder.path("weaker");
    let train = |steps: &str| {
        let settings =
            ["--set", "network.depth=1", "--set", "network.head_dim=4", "--set", "sampling.count=1"];
        let images = folder.path("images");
        let line = ["train", "--images", &images, "--image-size", "16", "--network", "dit", "--out", &weaker];
        succeed(&[&line[..], &["--steps", steps, "--overwrite"], &settings].concat());
    };
    let line = ["sample", &run, "--cfg-scale", "1", "--weaker", &weaker, "--out", &guided];
    train("1");
    succeed(&[&line[..], &["--count", "1"]].concat());
    succeed(&[&line[..], &["--count", "2"]].concat());
    train("2");
    assert!(fail(&[&line[..], &["--count", "3"]].concat()).contains("--overwrite"));
}

//! Pictures have the pixels that Pillow reads in the same files; see `pillow/make.py`.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use diffusion_data::{Channels, Dataset, ImageFolder, ImageFolderConfig, Problem, pixels};

/// Where Pillow's files are.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow")
}

/// The one picture of a folder with a copy of the file `name`, channel after channel.
fn picture(name: &str, config: ImageFolderConfig) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(files().join(name), folder.path().join(name)).unwrap();
    let data = ImageFolder::open(&folder, config).unwrap_or_else(|error| panic!("{error}"));
    let mut values = vec![0.0; data.shape().iter().product()];
    data.read(0, &mut values).unwrap();
    values.into_iter().map(pixels::to_u8).collect()
}

#[test]
fn pictures_are_those_of_pillow() {
    let expected = fs::read_to_string(files().join("expected.txt")).unwrap();
    let mut failures = Vec::new();
    for line in expected.lines() {
        let [name, kind, tolerance, width, height, hex] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let [width, height] = [width, height].map(|side| side.parse().unwrap());
        let channels = if kind == "L" { Channels::Gray } else { Channels::Rgb };
        let found = picture(name, ImageFolderConfig { height, width, channels });
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let count = bytes.len() / (width * height);
        // Pillow's pixels have their channels side by side.
        let planes = (0..count).flat_map(|channel| bytes.iter().skip(channel).step_by(count));
        let farthest = found.iter().zip(planes).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if found.len() != bytes.len() || farthest > tolerance.parse().unwrap() {
            failures.push(format!("{name} {kind}: {farthest} apart, expected at most {tolerance}"));
        }
    }
    assert!(expected.lines().count() > 100, "too few files are expected");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Nobody knows where black and white are in it.
#[test]
fn floating_point_pixels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(files().join("float.tif"), folder.path().join("float.tif")).unwrap();
    let config = ImageFolderConfig { height: 5, width: 7, channels: Channels::Gray };
    let error = ImageFolder::open(&folder, config).expect_err("its range is not known");
    assert!(error.path.as_ref().is_some_and(|path| path.ends_with("float.tif")), "{error}");
    assert!(matches!(error.problem, Problem::Format { .. } | Problem::Decode { .. }), "{error}");
}

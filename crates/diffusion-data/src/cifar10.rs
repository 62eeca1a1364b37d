//! CIFAR-10: small color photographs of ten classes, in the files of its binary version.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Split,
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    images::Images,
    source::{Source, find},
};

/// The reader of color images of 32 × 32 pixels and ten classes.
///
/// The files are those of the binary version that CIFAR-10 is published in, plain or compressed with gzip; which of
/// the two is told by what a file begins with, not by its name. A file is a row of records of 3073 bytes: the label,
/// then the red, the green and the blue values of the pixels, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Cifar10;

const CLASSES: usize = 10;
const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;

/// Ten times the records of a published file; 307 MB.
const MAX_RECORDS: usize = 100_000;

const HINT: &str = "unpack CIFAR-10's binary version, cifar-10-binary.tar.gz, and give its folder";

impl Cifar10 {
    /// The number of classes.
    pub const CLASSES: usize = CLASSES;

    /// What the classes show, in the order of the labels.
    pub const NAMES: [&str; CLASSES] =
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    /// Reads the images in some files, one file after the other.
    ///
    /// # Errors
    /// If a file cannot be read, is not a row of whole records, holds no record or more than 100 000, or gives an image
    /// a label that is not below ten. A compressed file is not decompressed beyond that length.
    ///
    /// # Panics
    /// If there is no file.
    pub fn from_files(paths: &[impl AsRef<Path>]) -> Result<Images, DataError> {
        assert!(!paths.is_empty(), "0 files were given, expected at least 1");
        let (mut bytes, mut labels) = (Vec::new(), Vec::new());
        for path in paths {
            for record in read(path.as_ref(), MAX_RECORDS)?.chunks_exact(RECORD) {
                labels.push(record[0].into());
                bytes.extend_from_slice(&record[1..]);
            }
        }
        let names = Self::NAMES.map(str::to_owned).to_vec();
        Ok(Images::new(SHAPE, bytes, labels, CLASSES).with_class_names(names))
    }

    /// Reads a split from the files of the standard names in `folder`, with `.gz` behind them or without.
    ///
    /// If `folder` has a folder `cifar-10-batches-bin`, as the published archive makes it, the files are looked for in
    /// there.
    ///
    /// # Errors
    /// If a file is missing, or as [`from_files`](Self::from_files).
    pub fn from_folder(folder: impl AsRef<Path>, split: Split) -> Result<Images, DataError> {
        let unpacked = folder.as_ref().join("cifar-10-batches-bin");
        let folder = if unpacked.is_dir() { &unpacked } else { folder.as_ref() };
        let names = match split {
            Split::Train => (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
            Split::Test => vec!["test_batch.bin".to_owned()],
        };
        let paths: Result<Vec<_>, _> = names.iter().map(|name| find(folder, name, HINT)).collect();
        Self::from_files(&paths?)
    }
}

/// CIFAR-10 in its binary version, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarConfig {
    /// The folder with the six files, or with the folder that has them.
    pub path: PathBuf,
}

impl DataKind for CifarConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, _: &ModelInput) -> Result<AnyDataset, DataError> {
        Cifar10::from_folder(&self.path, Split::Train).map(AnyDataset::from)
    }

    fn open_test(&self, _: &ModelInput) -> Option<Result<AnyDataset, DataError>> {
        Some(Cifar10::from_folder(&self.path, Split::Test).map(AnyDataset::from))
    }
}

/// The records of a file, at least one and at most `max`, each with a label that names a class.
fn read(path: &Path, max: usize) -> Result<Vec<u8>, DataError> {
    let limit = (max * RECORD) as u64;
    // The byte too many tells a file that goes on from one that ends here.
    let records = Source::open(path)?.read(u128::from(limit) + 1)?;
    if records.len() as u64 > limit {
        let found = format!("is longer than {limit} bytes");
        return Err(Problem::TooLarge { found, limit: Some(limit) }.at(path));
    }
    if records.is_empty() || !records.len().is_multiple_of(RECORD) {
        let found = format!("is {} bytes long", records.len());
        let expected = format!("whole records of {RECORD} bytes, and at least one");
        return Err(Problem::format(found, expected).at(path));
    }
    match records.iter().step_by(RECORD).position(|&label| usize::from(label) >= CLASSES) {
        None => Ok(records),
        Some(index) => {
            let found = records[index * RECORD].into();
            Err(Problem::Label { index, found, classes: CLASSES }.at(path))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::{Dataset, source::gzip};

    /// A record whose bytes follow from their place; their period is no row's or channel's length, and the first of
    /// them is not the label.
    fn record(label: u8) -> Vec<u8> {
        let pixels = (0..PIXELS).map(|i| ((i * 7 + 50 + usize::from(label)) % 251) as u8);
        std::iter::once(label).chain(pixels).collect()
    }

    fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.bin");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[track_caller]
    fn assert_fails(bytes: &[u8], expected: impl Fn(&Problem) -> bool) {
        for bytes in [bytes, &gzip(bytes)] {
            let (_folder, path) = file(bytes);
            let error = Cifar10::from_files(&[&path]).expect_err("the file is not well formed");
            assert!(error.path.as_ref() == Some(&path) && expected(&error.problem), "{error}");
        }
    }

    /// A folder with both splits, one record in each file, labeled 1 to 5 and 9; the third file is compressed.
    fn published(below: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join(below);
        fs::create_dir_all(&files).unwrap();
        for i in [1, 2, 4, 5] {
            fs::write(files.join(format!("data_batch_{i}.bin")), record(i)).unwrap();
        }
        fs::write(files.join("data_batch_3.bin.gz"), gzip(&record(3))).unwrap();
        fs::write(files.join("test_batch.bin"), record(9)).unwrap();
        folder
    }

    #[test]
    fn pixels_and_labels_come_back() {
        let bytes = [record(9), record(0), record(3)].concat();
        for bytes in [&bytes, &gzip(&bytes)] {
            let (_folder, path) = file(bytes);
            let data = Cifar10::from_files(&[path]).unwrap();
            assert_eq!((data.len(), data.shape(), data.num_classes()), (3, &[3, 32, 32][..], 10));
            let mut into = vec![0.0; 3072];
            for (index, label) in [(0, 9), (1, 0), (2, 3)] {
                assert_eq!(data.read(index, &mut into), label);
                for (place, x) in into.iter().enumerate() {
                    let expected = ((place * 7 + 50 + label) % 251) as f32 / 127.5 - 1.0;
                    assert!((x - expected).abs() < 1e-6, "{x} in place {place} of image {index}");
                }
            }
        }
    }

    #[test]
    fn files_are_read_in_order() {
        for below in ["", "cifar-10-batches-bin"] {
            let folder = published(below);
            let labels = |split| {
                let data = Cifar10::from_folder(&folder, split).unwrap();
                (0..data.len()).map(|i| data.read(i, &mut [0.0; 3072])).collect::<Vec<_>>()
            };
            assert_eq!(labels(Split::Train), [1, 2, 3, 4, 5]);
            assert_eq!(labels(Split::Test), [9]);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        for (below, gone) in [("", "data_batch_3.bin.gz"), ("cifar-10-batches-bin", "data_batch_5.bin")] {
            let folder = published(below);
            let files = folder.path().join(below);
            fs::remove_file(files.join(gone)).unwrap();
            let error = Cifar10::from_folder(&folder, Split::Train).expect_err("a file is gone");
            assert_eq!(error.path, Some(files));
            let name = gone.trim_end_matches(".gz");
            assert!(
                matches!(&error.problem, Problem::Missing { wanted, .. } if wanted.starts_with(name)),
                "{error}"
            );
            assert!(error.hint().is_some_and(|hint| hint.contains("cifar-10-binary.tar.gz")), "{error}");
            assert!(Cifar10::from_folder(&folder, Split::Test).is_ok());
        }
        let error = Cifar10::from_files(&["no/such"]).expect_err("there is no such file");
        assert!(matches!(error.problem, Problem::Io(_)), "{error}");
    }

    #[test]
    fn only_whole_records_are_read() {
        let bytes = [record(1), record(2), vec![3]].concat();
        for length in [0, 1, 3072, 3074, 6145, 6147] {
            let long = format!("is {length} bytes long");
            assert_fails(
                &bytes[..length],
                |problem| matches!(problem, Problem::Format { found, .. } if *found == long),
            );
        }
    }

    #[test]
    fn labels_must_name_a_class() {
        let bytes = [record(9), record(10), record(200)].concat();
        assert_fails(&bytes, |problem| {
            matches!(problem, Problem::Label { index: 1, found: 10, classes: 10 })
        });
        assert_fails(&bytes[6146..], |problem| {
            matches!(problem, Problem::Label { index: 0, found: 200, .. })
        });
    }

    #[test]
    fn there_are_as_many_records_as_allowed() {
        let (_folder, path) = file(&[record(1), record(2)].concat());
        assert_eq!(read(&path, 2).unwrap().len(), 6146);
        let error = read(&path, 1).expect_err("there are two records");
        assert!(matches!(error.problem, Problem::TooLarge { limit: Some(3073), .. }), "{error}");
    }

    /// Decompressing all of it would meet the cut end and report that instead.
    #[test]
    fn a_gzip_bomb_is_left_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 25]);
        let (_folder, path) = file(&bomb[..bomb.len() / 2]);
        let error = read(&path, 100).expect_err("the file goes on");
        assert!(matches!(error.problem, Problem::TooLarge { limit: Some(307_300), .. }), "{error}");
    }

    #[test]
    fn the_names_are_in_the_order_of_the_labels() {
        let published = "airplane automobile bird cat deer dog frog horse ship truck";
        assert_eq!(Cifar10::NAMES.join(" "), published);
        let (_folder, path) = file(&record(1));
        let data = Cifar10::from_files(&[path]).unwrap();
        assert_eq!(data.class_names().map(|names| names.join(" ")).as_deref(), Some(published));
    }

    #[test]
    #[should_panic(expected = "0 files were given, expected at least 1")]
    fn no_files_panic() {
        let none: [&str; 0] = [];
        let _ = Cifar10::from_files(&none);
    }
}

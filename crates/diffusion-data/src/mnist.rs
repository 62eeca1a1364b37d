//! Gray images in the files of MNIST and its drop-in replacements, such as Fashion-MNIST, EMNIST and QMNIST.

mod names;

use std::path::{Path, PathBuf};

use diffusion_core::{counted, watch::Watch};
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    idx,
    idx_files::{self, Found},
    images::Images,
    split::Split,
};

/// The reader of gray images in IDX files.
///
/// The files are those that MNIST is published in, plain or compressed with gzip; which of the two is told by what a
/// file begins with, not by its name. There are as many classes as the greatest label says, and one more: EMNIST's
/// letters, whose labels begin at 1, have 27, of which the first has no example, as in torchvision. The pixels are those
/// of the file: EMNIST's, which are published with rows and columns exchanged, stay so, as in torchvision.
///
/// Where the labels are those that Fashion-MNIST is published with, its classes have their names; the files of others do not
/// tell what their classes are.
#[derive(Clone, Copy, Debug)]
pub struct MnistLike;

impl MnistLike {
    /// Reads the images in one IDX file and their labels in another.
    ///
    /// # Errors
    /// If a file cannot be read, is not well formed, or the two do not fit together.
    pub fn from_files(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Images, DataError> {
        read(images.as_ref(), Some(labels.as_ref()), &Watch::default())
    }

    /// Reads the images in an IDX file, whose labels are not asked for: all get the label 0.
    ///
    /// # Errors
    /// If the file cannot be read or is not well formed.
    pub fn from_images(images: impl AsRef<Path>) -> Result<Images, DataError> {
        read(images.as_ref(), None, &Watch::default())
    }

    /// Reads a split from the files of the usual names in `folder`, or in a folder in it, or in one in that, such as
    /// `FashionMNIST/raw`; from the nearest of them.
    ///
    /// The usual names are `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, and `t10k` or `test` instead of
    /// `train`; with a data set's name before them, as `emnist-letters-train-images-idx3-ubyte`, in capitals or not, with
    /// dots instead of dashes, and with `.gz` behind them or without. Instead of a folder, a file of images can be given,
    /// to choose one of several data sets.
    ///
    /// # Errors
    /// If a file is missing, or there are several data sets; or as [`from_files`](Self::from_files).
    pub fn from_folder(folder: impl AsRef<Path>, split: Split) -> Result<Images, DataError> {
        open(folder.as_ref(), split, true, &Watch::default())
    }
}

/// Reads a split, with its labels or without.
fn open(path: &Path, split: Split, is_labeled: bool, watch: &Watch) -> Result<Images, DataError> {
    let Found { images, labels, notes } = idx_files::find(path, split, watch)?;
    if is_labeled && labels.is_none() {
        let name = if split == Split::Train { "train" } else { "t10k" };
        let missing = Problem::missing(format!("{name}-labels-idx1-ubyte beside {}", images.display()));
        return Err(missing.at(path).with_hint("an unconditional network needs no labels"));
    }
    Ok(read(&images, labels.as_deref().filter(|_| is_labeled), watch)?.with_notes(notes))
}

/// Reads a file of images, and the labels in another.
fn read(images_path: &Path, labels: Option<&Path>, watch: &Watch) -> Result<Images, DataError> {
    let images = idx::images(images_path, watch)?;
    let expected = images.bytes.len() / (images.rows * images.columns);
    let shape = [1, images.rows, images.columns];
    let Some(path) = labels else { return Ok(Images::new(shape, images.bytes, vec![0; expected], 1)) };
    let as_many = |found: usize| match found == expected {
        true => Ok(()),
        false => {
            let expected = format!("{expected}, one for each image in {}", images_path.display());
            Err(Problem::format(format!("holds {}", counted(found, "label")), expected))
        }
    };
    let labels = idx::labels(path, as_many, watch)?;
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let names = names::of(&labels);
    let images = Images::new(shape, images.bytes, labels, classes);
    Ok(match names {
        Some(names) => images.with_class_names(names),
        None => images,
    })
}

/// Fashion-MNIST, MNIST or anything else in their format, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MnistConfig {
    /// The folder with the IDX files, or one that holds it, or the file of images to train on.
    pub path: PathBuf,
}

impl DataKind for MnistConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        self.split(Split::Train, input, watch)
    }

    fn open_test(&self, input: &ModelInput, watch: &Watch) -> Option<Result<AnyDataset, DataError>> {
        Some(self.split(Split::Test, input, watch))
    }
}

impl MnistConfig {
    /// A split; without its labels, which may be missing then, for an unconditional network.
    fn split(&self, split: Split, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let is_labeled = input.num_classes.is_some();
        let images = AnyDataset::from(open(&self.path, split, is_labeled, watch)?);
        Ok(if is_labeled { images } else { images.without_labels() })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Write, stderr},
    };

    use super::*;
    use crate::Dataset;

    /// A folder with one split of three images of 1 × 2 pixels, and the given labels.
    fn folder(part: &str, labels: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let images =
            [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0, 255, 51, 102, 1, 2]].concat();
        let labels = [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8][..], labels].concat();
        fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        // The name claims what the bytes don't keep, to show that the bytes decide.
        fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte.gz")), labels).unwrap();
        folder
    }

    #[test]
    fn pixels_and_labels_come_back() {
        for (part, split) in [("train", Split::Train), ("t10k", Split::Test)] {
            let data = MnistLike::from_folder(folder(part, &[9, 0, 3]), split).unwrap();
            assert_eq!((data.len(), data.shape(), data.num_classes()), (3, &[1, 1, 2][..], 10));
            assert_eq!(data.class_names(), None);
            let mut into = [0.0; 2];
            assert_eq!((data.read(0, &mut into).unwrap(), into), (9, [-1.0, 1.0]));
            // 51 / 255 · 2 − 1 = −0.6 and 102 / 255 · 2 − 1 = −0.2.
            assert_eq!(data.read(1, &mut into).unwrap(), 0);
            assert!((into[0] + 0.6).abs() < 1e-6 && (into[1] + 0.2).abs() < 1e-6, "{into:?}");
            assert_eq!(data.read(2, &mut into).unwrap(), 3);
        }
    }

    #[test]
    fn the_other_split_is_missing() {
        let folder = folder("train", &[9, 0, 3]);
        let missing = |split, name| {
            let error = MnistLike::from_folder(&folder, split).expect_err("a file is missing");
            assert_eq!(error.path.as_deref(), Some(folder.path()));
            assert!(
                matches!(&error.problem, Problem::Missing { wanted, .. } if wanted.starts_with(name)),
                "{error}"
            );
            assert!(error.hint().is_some(), "{error}");
        };
        missing(Split::Test, "t10k-images-idx3-ubyte");
        fs::remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        missing(Split::Train, "train-labels-idx1-ubyte");
    }

    #[test]
    fn labels_must_be_as_many_as_images() {
        for labels in [&[1, 2][..], &[1, 2, 3, 4]] {
            let error = MnistLike::from_folder(folder("train", labels), Split::Train)
                .expect_err("there are three images");
            let holds = format!("holds {} labels", labels.len());
            match error.problem {
                Problem::Format { found, expected } => {
                    assert_eq!(found, holds);
                    assert!(expected.starts_with("3, one for each image in "), "{expected}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_classes_are_those_of_the_labels() {
        for (labels, classes) in [([9, 10, 200], 201), ([0, 0, 0], 1), ([26, 1, 1], 27)] {
            let data = MnistLike::from_folder(folder("train", &labels), Split::Train).unwrap();
            let found = [0, 1, 2].map(|index| data.read(index, &mut [0.0; 2]).unwrap() as u8);
            assert_eq!((data.num_classes(), found), (classes, labels));
        }
    }

    /// What an unconditional network is trained on needs no labels, whatever they are.
    #[test]
    fn labels_that_are_not_asked_for_are_not_looked_at() {
        let folder = folder("train", &[9, 10, 200]);
        let config = MnistConfig { path: folder.path().to_owned() };
        let open = |num_classes| {
            let input = ModelInput { shape: vec![1, 1, 2], num_classes, text: None, class_names: Vec::new() };
            config.open(&input, &Watch::default())
        };
        assert_eq!(open(None).unwrap().num_classes(), None);
        let labels = folder.path().join("train-labels-idx1-ubyte.gz");
        for bytes in [&b"dear reader"[..], &[0, 0, 8, 1, 255, 255, 255, 255]] {
            fs::write(&labels, bytes).unwrap();
            assert!(open(None).is_ok());
            assert_eq!(open(Some(256)).unwrap_err().path.as_ref(), Some(&labels));
        }
        fs::remove_file(labels).unwrap();
        assert_eq!(open(None).unwrap().len(), 3);
        assert!(matches!(open(Some(256)).unwrap_err().problem, Problem::Missing { .. }));
    }

    /// The published files, where the Debian package `dataset-fashion-mnist` has put them.
    ///
    /// Each class has as many examples. Mean and standard deviation of the training pixels, in [0, 1], are known to
    /// every tutorial as 0.2860 and 0.3530.
    #[test]
    fn fashion_mnist_is_read_whole() {
        let folder = Path::new("/usr/share/datasets/fashion-mnist");
        if !folder.exists() {
            // Not `eprintln!`, which the test harness hides when a test passes.
            writeln!(stderr(), "skipped fashion_mnist_is_read_whole: there is no {}", folder.display())
                .unwrap();
            return;
        }
        for (split, len) in [(Split::Train, 60_000), (Split::Test, 10_000)] {
            let data = MnistLike::from_folder(folder, split).unwrap();
            assert_eq!((data.len(), data.shape()), (len, &[1, 28, 28][..]));
            let names = data.class_names().map(|names| (names.len(), &names[0][..], &names[9][..]));
            assert_eq!(names, Some((10, "T-shirt/top", "Ankle boot")));
            let (mut count, mut sum, mut squares) = ([0; 10], 0.0, 0.0);
            let mut into = [0.0; 784];
            for i in 0..len {
                count[data.read(i, &mut into).unwrap()] += 1;
                for x in into.map(|x| (f64::from(x) + 1.0) / 2.0) {
                    sum += x;
                    squares += x * x;
                }
            }
            assert_eq!(count, [len / 10; 10]);
            if split == Split::Train {
                let labels: Vec<usize> = (0..5).map(|i| data.read(i, &mut into).unwrap()).collect();
                assert_eq!(labels, [9, 0, 0, 3, 0]);
                let n = (len * 784) as f64;
                let (mean, deviation) = (sum / n, (squares / n - (sum / n).powi(2)).sqrt());
                assert!(
                    (mean - 0.2860).abs() < 1e-4 && (deviation - 0.3530).abs() < 1e-4,
                    "{mean}, {deviation}"
                );
            }
        }
    }
}

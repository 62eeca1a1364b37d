//! Labeled gray images in the files of MNIST and its drop-in replacements, such as Fashion-MNIST.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    idx,
    images::Images,
    source::find,
};

/// The reader of gray images of ten classes.
///
/// The files are those that MNIST is published in, plain or compressed with gzip; which of the two is told by what a
/// file begins with, not by its name.
#[derive(Clone, Copy, Debug)]
pub struct MnistLike;

/// Which of the two parts of a published data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The examples to train on, and to split validation examples from: `train-images-idx3-ubyte` and
    /// `train-labels-idx1-ubyte` of MNIST, `data_batch_1.bin` to `data_batch_5.bin` of CIFAR-10.
    Train,
    /// The examples for a final figure, which no decision during training may depend on: `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte` of MNIST, `test_batch.bin` of CIFAR-10.
    Test,
}

const CLASSES: usize = 10;

const HINT: &str = "on Debian, `apt-get install dataset-fashion-mnist` puts Fashion-MNIST into \
                    /usr/share/datasets/fashion-mnist; elsewhere, give the folder with its four IDX files";

impl MnistLike {
    /// The number of classes.
    pub const CLASSES: usize = CLASSES;

    /// Reads the images in one IDX file and their labels in another.
    ///
    /// # Errors
    /// If a file cannot be read, is not well formed, or the two do not fit together.
    pub fn from_files(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Images, DataError> {
        let (images_path, path) = (images.as_ref(), labels.as_ref());
        let images = idx::images(images_path)?;
        let labels = idx::labels(path)?;
        let expected = images.bytes.len() / (images.rows * images.columns);
        if labels.len() != expected {
            let expected = format!("{expected}, one for each image in {}", images_path.display());
            return Err(Problem::format(format!("holds {} labels", labels.len()), expected).at(path));
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
            let found = labels[index].into();
            return Err(Problem::Label { index, found, classes: CLASSES }.at(path));
        }
        let labels = labels.into_iter().map(u32::from).collect();
        Ok(Images::new([1, images.rows, images.columns], images.bytes, labels, CLASSES))
    }

    /// Reads a split from the files of the standard names in `folder`, with `.gz` behind them or without.
    ///
    /// # Errors
    /// If a file is missing, or as [`from_files`](Self::from_files).
    pub fn from_folder(folder: impl AsRef<Path>, split: Split) -> Result<Images, DataError> {
        let part = match split {
            Split::Train => "train",
            Split::Test => "t10k",
        };
        let folder = folder.as_ref();
        let images = find(folder, &format!("{part}-images-idx3-ubyte"), HINT)?;
        let labels = find(folder, &format!("{part}-labels-idx1-ubyte"), HINT)?;
        Self::from_files(images, labels)
    }
}

/// Fashion-MNIST, MNIST or anything else in their format, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MnistConfig {
    /// The folder with the four IDX files.
    pub path: PathBuf,
}

impl DataKind for MnistConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, _: &ModelInput) -> Result<AnyDataset, DataError> {
        MnistLike::from_folder(&self.path, Split::Train).map(AnyDataset::from)
    }

    fn open_test(&self, _: &ModelInput) -> Option<Result<AnyDataset, DataError>> {
        Some(MnistLike::from_folder(&self.path, Split::Test).map(AnyDataset::from))
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
            let mut into = [0.0; 2];
            assert_eq!((data.read(0, &mut into), into), (9, [-1.0, 1.0]));
            // 51 / 255 · 2 − 1 = −0.6 and 102 / 255 · 2 − 1 = −0.2.
            assert_eq!(data.read(1, &mut into), 0);
            assert!((into[0] + 0.6).abs() < 1e-6 && (into[1] + 0.2).abs() < 1e-6, "{into:?}");
            assert_eq!(data.read(2, &mut into), 3);
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
            assert!(error.hint().is_some_and(|hint| hint.contains("Fashion-MNIST")), "{error}");
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
    fn labels_must_name_a_class() {
        let error = MnistLike::from_folder(folder("train", &[9, 10, 200]), Split::Train)
            .expect_err("there are ten classes");
        assert!(matches!(error.problem, Problem::Label { index: 1, found: 10, classes: 10 }), "{error}");
        assert!(error.path.unwrap().ends_with("train-labels-idx1-ubyte.gz"));
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
            let (mut count, mut sum, mut squares) = ([0; 10], 0.0, 0.0);
            let mut into = [0.0; 784];
            for i in 0..len {
                count[data.read(i, &mut into)] += 1;
                for x in into.map(|x| (f64::from(x) + 1.0) / 2.0) {
                    sum += x;
                    squares += x * x;
                }
            }
            assert_eq!(count, [len / 10; 10]);
            if split == Split::Train {
                let labels: Vec<usize> = (0..5).map(|i| data.read(i, &mut into)).collect();
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

//! Labelled grey images in the files of MNIST and its drop-in replacements, such as Fashion-MNIST.

use std::{fmt, path::Path};

use crate::{
    DataError,
    dataset::{Dataset, check_index},
    idx, pixels,
    source::find,
};

/// Grey images of ten classes, kept in memory as bytes and read as numbers in [−1, 1].
///
/// The files are those that MNIST is published in, plain or compressed with gzip; which of the two is told by what a
/// file begins with, not by its name.
#[derive(Clone)]
pub struct MnistLike {
    shape: [usize; 3],
    bytes: Vec<u8>,
    labels: Vec<u8>,
}

/// Which of the two parts of a published data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The examples to train on: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` of MNIST,
    /// `data_batch_1.bin` to `data_batch_5.bin` of CIFAR-10.
    Train,
    /// The examples to judge by: `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte` of MNIST, `test_batch.bin` of
    /// CIFAR-10.
    Test,
}

const CLASSES: usize = 10;

impl MnistLike {
    /// The number of classes.
    pub const CLASSES: usize = CLASSES;

    /// Reads the images in one IDX file and their labels in another.
    ///
    /// # Errors
    /// If a file cannot be read, is not well formed, or the two do not fit together.
    pub fn from_files(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self, DataError> {
        let (images_path, path) = (images.as_ref(), labels.as_ref());
        let images = idx::images(images_path)?;
        let labels = idx::labels(path)?;
        let expected = images.bytes.len() / (images.rows * images.columns);
        if labels.len() != expected {
            return Err(DataError::LabelCount {
                path: path.to_owned(),
                images: images_path.to_owned(),
                found: labels.len(),
                expected,
            });
        }
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
            return Err(DataError::LabelRange {
                path: path.to_owned(),
                index,
                found: labels[index].into(),
                classes: CLASSES,
            });
        }
        Ok(Self { shape: [1, images.rows, images.columns], bytes: images.bytes, labels })
    }

    /// Reads a split from the files of the standard names in `folder`, with `.gz` behind them or without.
    ///
    /// # Errors
    /// If a file is missing, or as [`from_files`](Self::from_files).
    pub fn from_folder(folder: impl AsRef<Path>, split: Split) -> Result<Self, DataError> {
        let part = match split {
            Split::Train => "train",
            Split::Test => "t10k",
        };
        let folder = folder.as_ref();
        let images = find(folder, format!("{part}-images-idx3-ubyte"))?;
        let labels = find(folder, format!("{part}-labels-idx1-ubyte"))?;
        Self::from_files(images, labels)
    }

    /// The number of classes, 10; labels lie below it.
    pub fn num_classes(&self) -> usize {
        CLASSES
    }
}

impl Dataset for MnistLike {
    type Label = usize;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn read(&self, index: usize, into: &mut [f32]) -> usize {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        pixels::read_image(&self.bytes[index * size..(index + 1) * size], into);
        usize::from(self.labels[index])
    }
}

impl fmt::Debug for MnistLike {
    /// Leaves out the pixels, which nobody wants to see as numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MnistLike")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Write, stderr},
    };

    use super::*;

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
        let error = MnistLike::from_folder(&folder, Split::Test).expect_err("only one split is there");
        let name = "t10k-images-idx3-ubyte";
        let expected = format!("found neither {name} nor {name}.gz in {}", folder.path().display());
        assert_eq!(error.to_string(), expected);
        fs::remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
        let error = MnistLike::from_folder(&folder, Split::Train).expect_err("the labels are gone");
        assert!(error.to_string().starts_with("found neither train-labels-idx1-ubyte nor"), "{error}");
    }

    #[test]
    fn labels_must_be_as_many_as_images() {
        for labels in [&[1, 2][..], &[1, 2, 3, 4]] {
            let error = MnistLike::from_folder(folder("train", labels), Split::Train)
                .expect_err("there are three images")
                .to_string();
            let expected = format!(" holds {} labels, expected 3, one for each image in ", labels.len());
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn labels_must_name_a_class() {
        let error = MnistLike::from_folder(folder("train", &[9, 10, 200]), Split::Train)
            .expect_err("there are ten classes")
            .to_string();
        assert!(error.ends_with(" gives example 1 the label 10, expected a label below 10"), "{error}");
    }

    #[test]
    #[should_panic(expected = "room for 3 values was given, expected 2")]
    fn room_for_another_size_panics() {
        MnistLike::from_folder(folder("train", &[9, 0, 3]), Split::Train).unwrap().read(0, &mut [0.0; 3]);
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
            let mut count = [0; 10];
            data.labels.iter().for_each(|&label| count[usize::from(label)] += 1);
            assert_eq!(count, [len / 10; 10]);
            if split == Split::Train {
                let mut into = [0.0; 784];
                let labels: Vec<usize> = (0..5).map(|i| data.read(i, &mut into)).collect();
                assert_eq!(labels, [9, 0, 0, 3, 0]);
                let moment = |power| {
                    let sum: f64 = data.bytes.iter().map(|&b| (f64::from(b) / 255.0).powi(power)).sum();
                    sum / data.bytes.len() as f64
                };
                let (mean, deviation) = (moment(1), (moment(2) - moment(1).powi(2)).sqrt());
                assert!(
                    (mean - 0.2860).abs() < 1e-4 && (deviation - 0.3530).abs() < 1e-4,
                    "{mean}, {deviation}"
                );
            }
        }
    }
}

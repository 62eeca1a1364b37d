//! CIFAR-10 and CIFAR-100: small color photographs, in the files that they are published in.

mod files;
mod version;

use std::path::{Path, PathBuf};

use diffusion_core::{counted, watch::Watch};
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    images::Images,
    source::check_memory,
    split::Split,
};

use files::Place;
pub use version::CifarLabels;
use version::{Records, Version};

/// The reader of color images of 32 × 32 pixels and ten classes.
///
/// The files are those that CIFAR-10 is published in: its binary version or its Python version, as a folder or as the
/// archive, a tar file; each plain or compressed with gzip. What a file is, is told by what it begins with. A binary file
/// is a row of records of 3073 bytes: the label, then the red, the green and the blue values of the pixels, row after row.
/// Files of the Python version are pickles; they are read without running anything.
#[derive(Clone, Copy, Debug)]
pub struct Cifar10;

/// The reader of color images of 32 × 32 pixels and a hundred classes, which belong to twenty others; from the same kinds
/// of files as [`Cifar10`].
#[derive(Clone, Copy, Debug)]
pub struct Cifar100;

const CLASSES: usize = 10;
const SHAPE: [usize; 3] = [3, 32, 32];

impl Cifar10 {
    /// The number of classes.
    pub const CLASSES: usize = CLASSES;

    /// What the classes show, in the order of the labels.
    pub const NAMES: [&str; CLASSES] =
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

    /// Reads the images in some files of the binary version, one file after the other.
    ///
    /// # Errors
    /// If a file cannot be read, is not a row of whole records, holds no record or more than 100 000, or gives an image
    /// a label that is not below ten. A compressed file is not decompressed beyond that length.
    ///
    /// # Panics
    /// If there is no file.
    pub fn from_files(paths: &[impl AsRef<Path>]) -> Result<Images, DataError> {
        assert!(!paths.is_empty(), "0 files were given, expected at least 1");
        let mut records = Records::default();
        for path in paths {
            let path = path.as_ref();
            let limit = Version::Binary10.limit();
            let bytes = files::read_at_most(path, limit, &Watch::default())?;
            Version::Binary10.decode(&bytes, CifarLabels::Fine, path, &mut records)?;
        }
        Ok(images(records, CLASSES, Some(Self::NAMES.map(str::to_owned).to_vec())))
    }

    /// Reads a split from the files of the standard names in `folder`, with `.gz` behind them or without; or from a
    /// folder in it, such as `cifar-10-batches-bin`; or from the archive that `folder` names or that lies in it.
    ///
    /// # Errors
    /// If a file is missing, or as [`from_files`](Self::from_files).
    pub fn from_folder(folder: impl AsRef<Path>, split: Split) -> Result<Images, DataError> {
        let is_ours = |version: Version| !version.is_100();
        open(folder.as_ref(), split, CifarLabels::Fine, is_ours, &Watch::default())
    }
}

impl Cifar100 {
    /// Reads a split as [`Cifar10::from_folder`] does.
    ///
    /// # Errors
    /// As [`Cifar10::from_folder`].
    pub fn from_folder(
        folder: impl AsRef<Path>,
        split: Split,
        labels: CifarLabels,
    ) -> Result<Images, DataError> {
        open(folder.as_ref(), split, labels, Version::is_100, &Watch::default())
    }
}

/// CIFAR-10 or CIFAR-100, as a configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarConfig {
    /// The folder with the files of either version, or one that holds it, or the published archive.
    pub path: PathBuf,
    /// Which of CIFAR-100's labels; absent: the fine ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<CifarLabels>,
}

impl DataKind for CifarConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, _: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        self.split(Split::Train, watch)
    }

    fn open_test(&self, _: &ModelInput, watch: &Watch) -> Option<Result<AnyDataset, DataError>> {
        Some(self.split(Split::Test, watch))
    }
}

impl CifarConfig {
    fn split(&self, split: Split, watch: &Watch) -> Result<AnyDataset, DataError> {
        open(&self.path, split, self.labels.unwrap_or_default(), |_| true, watch).map(AnyDataset::from)
    }
}

/// Reads a split of whichever version lies at `path`, of those that are `wanted`.
fn open(
    path: &Path,
    split: Split,
    labels: CifarLabels,
    wanted: impl Fn(Version) -> bool,
    watch: &Watch,
) -> Result<Images, DataError> {
    let (version, mut place) = files::find(path, split, wanted, watch)?;
    if labels == CifarLabels::Coarse && !version.is_100() {
        let reason = "coarse, but CIFAR-10 has one kind of labels";
        return Err(Problem::invalid("labels", reason).into());
    }
    let mut records = Records::default();
    for name in version.names(split) {
        let limit = version.limit();
        let (path, bytes) = place.take(&name, limit, watch)?;
        check_memory(bytes.len() as u128).map_err(|problem| problem.at(&path))?;
        version.decode(&bytes, labels, &path, &mut records)?;
    }
    let classes = version.classes(labels);
    let names = names(version, labels, &mut place, watch)?;
    Ok(images(records, classes, names).with_notes(place.notes))
}

fn images(Records { pixels, labels }: Records, classes: usize, names: Option<Vec<String>>) -> Images {
    let images = Images::new(SHAPE, pixels, labels, classes);
    match names {
        Some(names) => images.with_class_names(names),
        None => images,
    }
}

/// The classes' names as the files tell them; those that are known of CIFAR-10 where they do not.
fn names(
    version: Version,
    labels: CifarLabels,
    place: &mut Place,
    watch: &Watch,
) -> Result<Option<Vec<String>>, DataError> {
    let file = version.names_file(labels);
    if !place.has(file) {
        return Ok((!version.is_100()).then(|| Cifar10::NAMES.map(str::to_owned).to_vec()));
    }
    let (path, bytes) = place.take(file, 1 << 20, watch)?;
    let names = version.decode_names(&bytes, labels, &path)?;
    let expected = version.classes(labels);
    if names.len() != expected {
        let found = format!("names {}", counted(names.len(), "class"));
        return Err(Problem::format(found, expected.to_string()).at(&path));
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::{version::PIXELS, *};
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
                assert_eq!(data.read(index, &mut into).unwrap(), label);
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
                (0..data.len()).map(|i| data.read(i, &mut [0.0; 3072]).unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(labels(Split::Train), [1, 2, 3, 4, 5]);
            assert_eq!(labels(Split::Test), [9]);
        }
    }

    /// Plain before compressed, binary before Python, and a note that says so.
    #[test]
    fn of_several_copies_one_is_read_and_named() {
        let folder = published("bin");
        let notes = || Cifar10::from_folder(&folder, Split::Train).unwrap().notes().to_vec();
        assert!(notes().is_empty());
        let copy = folder.path().join("bin/data_batch_2.bin.gz");
        fs::write(&copy, gzip(&record(7))).unwrap();
        assert!(matches!(&notes()[..], [note] if note.contains("data_batch_2.bin.gz")), "{:?}", notes());
        fs::remove_file(copy).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/data_batch_1"), "a pickle").unwrap();
        assert!(
            matches!(&notes()[..], [note] if note.starts_with("the binary version in ")),
            "{:?}",
            notes()
        );
        let labels = Cifar10::from_folder(&folder, Split::Train).unwrap();
        assert_eq!(labels.read(1, &mut [0.0; 3072]).unwrap(), 2);
    }

    #[test]
    fn a_pointer_in_the_place_of_an_archive_is_known() {
        let (_folder, path) = file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n");
        let error = Cifar10::from_folder(&path, Split::Train).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("git lfs pull")), "{error}");
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
            assert!(error.hint().is_some_and(|hint| hint.contains("https://")), "{error}");
            assert!(Cifar10::from_folder(&folder, Split::Test).is_ok());
        }
        let error = Cifar10::from_files(&["no/such"]).expect_err("there is no such file");
        assert!(matches!(error.problem, Problem::Io(_)), "{error}");
    }

    #[test]
    fn only_whole_records_are_read() {
        let bytes = [record(1), record(2), vec![3]].concat();
        for length in [0, 1, 3072, 3074, 6145, 6147] {
            let long = format!("is {} long", counted(length, "byte"));
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
        let read = |limit| files::read_at_most(&path, limit, &Watch::default());
        assert_eq!(read(6146).unwrap().len(), 6146);
        let error = read(3073).expect_err("there are two records");
        assert!(matches!(error.problem, Problem::TooLarge { limit: Some(3073), .. }), "{error}");
    }

    /// Decompressing all of it would meet the cut end and report that instead.
    #[test]
    fn a_gzip_bomb_is_left_at_the_limit() {
        let bomb = gzip(&vec![0; 1 << 25]);
        let (_folder, path) = file(&bomb[..bomb.len() / 2]);
        let error = files::read_at_most(&path, 307_300, &Watch::default()).expect_err("the file goes on");
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

    /// A file of the Python version, as Python 2 pickled it: some `labels` under their key, and as many images.
    fn python(key: &str, labels: &[u8]) -> Vec<u8> {
        let text = |text: &str| [&b"U"[..], &[text.len() as u8], text.as_bytes()].concat();
        let data: Vec<u8> = labels.iter().flat_map(|&label| record(label)[1..].to_vec()).collect();
        let list: Vec<u8> = labels.iter().flat_map(|&label| [b'K', label]).collect();
        [
            b"\x80\x02}q\x01(",
            &text("batch_label")[..],
            &text("training batch 1 of 5"),
            &text(key),
            b"](",
            &list,
            b"e",
            &text("data"),
            b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85U\x01b\x87Rq\x09(K\x01K",
            &[labels.len() as u8],
            b"M\0\x0c\x86cnumpy\ndtype\nq\nU\x02u1K\0K\x01\x87Rq\x0b(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T",
            &(data.len() as u32).to_le_bytes(),
            &data,
            b"tbu.",
        ]
        .concat()
    }

    /// A pickled list of names.
    fn python_names(key: &str, names: &[String]) -> Vec<u8> {
        let text = |text: &str| [&b"U"[..], &[text.len() as u8], text.as_bytes()].concat();
        let names: Vec<u8> = names.iter().flat_map(|name| text(name)).collect();
        [b"\x80\x02}(", &text(key)[..], b"](", &names, b"eu."].concat()
    }

    fn numbered(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    /// The files of a version with two images in each, of these labels: the fine ones, and the coarse ones if it has both.
    fn version(version: &str, fine: [u8; 2], coarse: [u8; 2]) -> Vec<(String, Vec<u8>)> {
        let binary: Vec<u8> = fine.into_iter().flat_map(record).collect();
        let both = |(coarse, fine): (&u8, u8)| [&[*coarse][..], &record(fine)].concat();
        let both: Vec<u8> = coarse.iter().zip(fine).flat_map(both).collect();
        let names = |names: Vec<String>| names.join("\n").into_bytes();
        let batches = |suffix: &str, bytes: Vec<u8>| {
            let names =
                (1..=5).map(|i| format!("data_batch_{i}{suffix}")).chain([format!("test_batch{suffix}")]);
            names.map(|name| (name, bytes.clone())).collect::<Vec<_>>()
        };
        let mut files = match version {
            "binary 10" => batches(".bin", binary),
            "python 10" => batches("", python("labels", &fine)),
            "binary 100" => vec![("train.bin".to_owned(), both.clone()), ("test.bin".to_owned(), both)],
            _ => vec![
                ("train".to_owned(), python("fine_labels", &fine)),
                ("test".to_owned(), python("fine_labels", &fine)),
            ],
        };
        files.extend(match version {
            "binary 10" => vec![("batches.meta.txt".to_owned(), names(numbered(10)))],
            "python 10" => vec![("batches.meta".to_owned(), python_names("label_names", &numbered(10)))],
            "binary 100" => vec![
                ("fine_label_names.txt".to_owned(), names(numbered(100))),
                ("coarse_label_names.txt".to_owned(), names(numbered(20))),
            ],
            _ => vec![("meta".to_owned(), python_names("fine_label_names", &numbered(100)))],
        });
        files
    }

    fn write(folder: &Path, files: &[(String, Vec<u8>)]) {
        fs::create_dir_all(folder).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    }

    fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (format!("cifar/{name}"), bytes)).collect();
        gzip(&crate::tar::archive(
            &files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect::<Vec<_>>(),
        ))
    }

    fn open_at(path: &Path, labels: Option<CifarLabels>) -> Result<AnyDataset, DataError> {
        let config = CifarConfig { path: path.to_owned(), labels };
        config.open(
            &ModelInput { shape: SHAPE.to_vec(), num_classes: None, text: None, class_names: Vec::new() },
            &Watch::default(),
        )
    }

    #[test]
    fn every_version_is_read_from_folders_and_archives() {
        use crate::AnyLabel::Class;
        for (name, classes, images) in
            [("binary 10", 10, 10), ("python 10", 10, 10), ("binary 100", 100, 2), ("python 100", 100, 2)]
        {
            let files = version(name, [9, 3], [1, 0]);
            let folder = tempfile::tempdir().unwrap();
            let [flat, below, beside] = ["flat", "below", "beside"].map(|name| folder.path().join(name));
            write(&flat, &files);
            write(&below.join("cifar-files"), &files);
            let file = beside.join("cifar.tar.gz");
            fs::create_dir(&beside).unwrap();
            fs::write(&file, archive(&files)).unwrap();
            for path in [flat, below, beside, file] {
                let data = open_at(&path, None).unwrap();
                assert_eq!((data.len(), data.num_classes()), (images, Some(classes)), "{name}");
                assert_eq!(data.class_names().unwrap(), numbered(classes));
                let mut into = vec![0.0; PIXELS];
                for (index, label) in [(0, 9), (1, 3)] {
                    assert_eq!(data.read(index, &mut into).unwrap(), Class(label));
                    let expected = |place| ((place * 7 + 50 + label) % 251) as f32 / 127.5 - 1.0;
                    assert!(
                        into.iter().enumerate().all(|(place, x)| (x - expected(place)).abs() < 1e-6),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn cifar_100_has_two_kinds_of_labels() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &version("binary 100", [99, 3], [19, 0]));
        let data = Cifar100::from_folder(folder.path(), Split::Test, CifarLabels::Coarse).unwrap();
        let mut into = vec![0.0; PIXELS];
        assert_eq!([0, 1].map(|index| data.read(index, &mut into).unwrap()), [19, 0]);
        assert_eq!(data.class_names().unwrap(), numbered(20));
        assert!(Cifar10::from_folder(folder.path(), Split::Test).is_err());
        write(folder.path(), &version("binary 100", [99, 3], [20, 0]));
        let error = open_at(folder.path(), Some(CifarLabels::Coarse)).unwrap_err();
        assert!(matches!(error.problem, Problem::Label { index: 0, found: 20, classes: 20 }), "{error}");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &version("binary 10", [9, 3], [1, 0]));
        let error = open_at(folder.path(), Some(CifarLabels::Coarse)).unwrap_err();
        assert!(matches!(error.problem, Problem::Invalid { .. }), "{error}");
    }

    #[test]
    fn of_two_data_sets_one_must_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let [ten, hundred] = ["cifar-10-batches-py", "cifar-100-python"].map(|name| folder.path().join(name));
        write(&ten, &version("python 10", [9, 3], [1, 0]));
        write(&hundred, &version("python 100", [9, 3], [1, 0]));
        let error = open_at(folder.path(), None).unwrap_err();
        assert!(matches!(error.problem, Problem::Format { .. }) && error.hint().is_some(), "{error}");
        assert_eq!(open_at(&ten, None).unwrap().num_classes(), Some(10));
        assert_eq!(open_at(&hundred, None).unwrap().num_classes(), Some(100));
        // A reader of one of them means that one.
        assert_eq!(Cifar10::from_folder(folder.path(), Split::Train).unwrap().len(), 10);
    }

    #[test]
    fn names_must_be_as_many_as_classes() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = version("binary 10", [9, 3], [1, 0]);
        files.last_mut().unwrap().1 = b"cat\ndog\n".to_vec();
        write(folder.path(), &files);
        let error = open_at(folder.path(), None).unwrap_err();
        assert!(error.path.is_some_and(|path| path.ends_with("batches.meta.txt")));
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let (_folder, path) = file(&record(3));
        let error = open_at(&path, None).unwrap_err();
        assert!(matches!(error.problem, Problem::Format { .. }) && error.hint().is_some(), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = open_at(empty.path(), None).unwrap_err();
        assert!(matches!(error.problem, Problem::Missing { .. }) && error.hint().is_some(), "{error}");
        let error = open_at(&empty.path().join("none"), None).unwrap_err();
        assert!(matches!(error.problem, Problem::Io(_)) && error.hint().is_some(), "{error}");
    }

    #[test]
    #[should_panic(expected = "0 files were given, expected at least 1")]
    fn no_files_panic() {
        let none: [&str; 0] = [];
        let _ = Cifar10::from_files(&none);
    }
}

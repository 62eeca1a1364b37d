//! A folder of pictures, sorted into one subfolder for each class or not sorted at all.

use std::path::{Path, PathBuf};

use diffusion_core::memory::fallibly;
use diffusion_core::watch::Watch;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    captions::{self, ImageCaptions},
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    identity,
    image_cache::ImageFiles,
    image_config::{Channels, ImageFolderConfig},
    image_file,
    images::Images,
    listing::{Broken, Listing, list, on_all, path_bytes},
    memory,
};

/// The reader of image files of any size, which it makes into images of one size.
///
/// Where they fit into memory, all files are decoded when the folder is opened, on all processors: broken ones are found
/// at once, and reading an example later cannot fail. The memory that this takes is images × channels × height × width
/// bytes. Where that is too much, only the beginning of each file is looked at, and an image is decoded when it is read;
/// those that were read last are kept. Both give the same examples.
///
/// ```no_run
/// use diffusion_data::{Batches, Channels, ImageFolder, ImageFolderConfig};
///
/// let config = ImageFolderConfig { height: 64, width: 64, channels: Channels::Rgb };
/// let images = ImageFolder::open("photos", config)?;
/// println!("classes {:?}; left out: {}", images.class_names(), images.left_out());
/// let (x0, labels) = Batches::new(images, 32, 0).next().expect("the batches never end")?;
/// assert_eq!(x0.shape.as_slice(), [32, 3, 64, 64]);
/// # Ok::<(), diffusion_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ImageFolder;

impl ImageFolder {
    /// Reads all images in `folder`, and takes up to half of the memory that is free for them.
    ///
    /// If it has subfolders, each is a class, as in torchvision's `ImageFolder`: the classes are numbered by name, and
    /// the images of a class are those anywhere below its folder, ordered by the bytes of their paths. If it has none,
    /// its own images are the data set, in a single class without a name.
    ///
    /// # Which files
    /// What a file holds decides, not its name: images are PNG, JPEG, WebP, BMP, GIF and TIFF files and Netpbm's (PPM,
    /// PGM, PBM, PAM). A file that is called an image (`.png`, `.jpg`, …) and holds none is an error, and so is an image
    /// of another known format, such as HEIC, AVIF, JPEG XL or SVG: it is not left out in silence. All other files are
    /// left out and counted, see [`Images::left_out`]; and so are files and folders whose names begin with a dot, and
    /// those that systems put beside the user's own: `__MACOSX`, `@eaDir`, `Thumbs.db`, `desktop.ini`, `lost+found`,
    /// `#recycle`, `$RECYCLE.BIN` and others. Links are followed.
    ///
    /// # Which pixels
    /// Those that Pillow's `ImageOps.exif_transpose(image).convert("RGB")` has, or `convert("L")`: of animations and
    /// files of several pages the first image; palettes and CMYK in color; without transparency, so that the colors below
    /// it are seen; and turned as Exif or XMP data say, which torchvision does not do by itself. Of values of 16 bits
    /// the higher 8 are taken, also in gray, where Pillow makes all values beyond 255 white. Floating-point pixels are
    /// an error, since their range is not known. Color profiles are not applied.
    ///
    /// # Errors
    /// If a folder cannot be listed or leads back to itself; if there are images and subfolders side by side, no images
    /// at all, or a class without any; if an image cannot be read or decoded, ends too early, or takes more than
    /// 512 MiB as a file or decoded. Several broken images are named together, in [`Problem::Files`]. Damage within the
    /// coded pixels of a JPEG file cannot always be told from a picture.
    ///
    /// # Panics
    /// If height or width is not in 1 to 16384, or the system cannot start a thread.
    pub fn open(folder: impl AsRef<Path>, config: ImageFolderConfig) -> Result<Images, DataError> {
        Self::open_within(folder, config, None, &Watch::default())
    }

    /// Like [`open`](Self::open), with `memory` bytes for decoded images instead of half of what is free. `watch` is told
    /// how far it is, and may stop it.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if `watch` is stopped.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn open_within(
        folder: impl AsRef<Path>,
        config: ImageFolderConfig,
        memory: Option<u64>,
        watch: &Watch,
    ) -> Result<Images, DataError> {
        Ok(Self::opened(folder.as_ref(), config, memory, false, watch)?.0)
    }

    /// Like [`open_within`](Self::open_within), with the caption of each image, where it has one.
    ///
    /// A caption stands in a text file of the image's name, `cats/1.txt` beside `cats/1.png`; or in a file
    /// `metadata.jsonl`, as Hugging Face's image folders have it, in the folder of the image or in one above it: a line
    /// for each image, a JSON object with `file_name`, the way to the image from there, and `text` or `caption`. Both are
    /// in UTF-8; space around a caption is left out. Metadata in which no line has either are no captions, and named.
    ///
    /// # Errors
    /// As [`open_within`](Self::open_within); or if a caption is longer than 64 KiB, a line of metadata than 1 MiB, or
    /// one is not as said here; if a line of metadata has neither `text` nor `caption` where others have one, be it `null`;
    /// if metadata name a file that is not there, or lies elsewhere; if an image has two captions
    /// that differ.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn open_captioned(
        folder: impl AsRef<Path>,
        config: ImageFolderConfig,
        memory: Option<u64>,
        watch: &Watch,
    ) -> Result<(Images, ImageCaptions), DataError> {
        Self::opened(folder.as_ref(), config, memory, true, watch)
    }

    /// The channels (1 of gray, else 3), the height and the width of the first image in `folder`, in the order of
    /// [`open`](Self::open).
    ///
    /// # Errors
    /// If the folder cannot be listed, or as [`open`](Self::open) of that image.
    pub fn first_shape(folder: impl AsRef<Path>, watch: &Watch) -> Result<[usize; 3], DataError> {
        let (folder, broken) = (folder.as_ref(), Broken::default());
        let Listing { images, .. } = list(folder, &broken, watch)?;
        broken.into_result(folder)?;
        let first = images.first().map(|(path, _)| folder.join(path)).unwrap_or_default();
        image_file::shape(&first)
    }

    /// The images, and their captions where they are wanted.
    fn opened(
        folder: &Path,
        config: ImageFolderConfig,
        memory: Option<u64>,
        with_captions: bool,
        watch: &Watch,
    ) -> Result<(Images, ImageCaptions), DataError> {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let broken = Broken::default();
        let Listing { classes, images, left_out, is_nested } = list(folder, &broken, watch)?;
        let note = split_note(folder, &classes, is_nested);
        let (paths, labels): (Vec<PathBuf>, Vec<u32>) = images.into_iter().unzip();
        let captions = match with_captions {
            true => captions::read(folder, &paths, watch).map_err(|error| error.with_hint(CAPTIONS))?,
            false => ImageCaptions::default(),
        };
        let identities = paths.iter().map(|path| identity::hash(&path_bytes(path))).collect();
        let (shape, num_classes) = (config.shape(), classes.len().max(1));
        let memory = memory.unwrap_or_else(|| memory::available() / 2);
        let files = paths.iter().map(PathBuf::as_path);
        let images = match zeros(paths.len(), shape, memory) {
            Some(mut bytes) => {
                let jobs = files.zip(bytes.chunks_exact_mut(shape.iter().product()));
                let read = |path: &Path, into: &mut [u8]| image_file::read(&folder.join(path), config, into);
                on_all("reading images", jobs, watch, &broken, read)?;
                broken.into_result(folder)?;
                Images::new(shape, bytes, labels, num_classes)
            }
            None => {
                let check = |path: &Path, ()| image_file::check(&folder.join(path));
                on_all("looking at images", files.map(|path| (path, ())), watch, &broken, check)?;
                broken.into_result(folder)?;
                let files = ImageFiles::new(folder.to_owned(), paths, config, memory);
                Images::of_files(shape, files, labels, num_classes)
            }
        };
        let images =
            images.with_identities(identities).with_left_out(left_out).with_notes(note.into_iter().collect());
        let images = if classes.is_empty() { images } else { images.with_class_names(classes) };
        Ok((images, captions))
    }
}

/// A folder of images, as a configuration names it; a subfolder is a class.
///
/// Their size and channels are those that the network takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    /// The folder.
    pub path: PathBuf,
    /// How much memory decoded images may take, in MiB; half of what is free where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

impl DataKind for ImagesConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let (channels, height, width) = match input.shape[..] {
            [1, height, width] => (Channels::Gray, height, width),
            [3, height, width] => (Channels::Rgb, height, width),
            _ => {
                let found = format!("images have 1 or 3 channels, and the network takes {:?}", input.shape);
                return Err(Problem::invalid("kind", found + "; choose a network of images").into());
            }
        };
        let config = ImageFolderConfig { height, width, channels };
        config.validate()?;
        let memory = self.memory_mib.map(|mib| mib.saturating_mul(1 << 20));
        ImageFolder::open_within(&self.path, config, memory, watch).map(AnyDataset::from)
    }
}

const CAPTIONS: &str = "mend the captions, or leave all of them out by --no-captions";

/// Names of folders that hold the parts of a data set.
const SPLITS: [&str; 9] =
    ["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"];

/// What to say where the folders are the parts of a data set by their names, and so hardly its classes.
fn split_note(folder: &Path, classes: &[String], is_nested: bool) -> Option<String> {
    let is_split = |name: &String| SPLITS.iter().any(|split| name.eq_ignore_ascii_case(split));
    let train = classes.iter().find(|name| name.to_ascii_lowercase().starts_with("train"));
    let train = train.or(classes.first())?;
    if !classes.iter().all(is_split) {
        return None;
    }
    let within = if is_nested { ", and the folders within them are not" } else { "" };
    let folder = folder.join(train);
    Some(format!(
        "the folders {} are taken as classes{within}; if they are the parts of a data set, give {} instead",
        classes.join(", "),
        folder.display()
    ))
}

/// Zeros for `images` images, if they take no more than `memory` bytes and the system has them.
fn zeros(images: usize, shape: [usize; 3], memory: u64) -> Option<Vec<u8>> {
    let wanted = shape.iter().fold(images as u128, |product, &n| product * n as u128);
    let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted as u64 <= memory)?;
    let mut bytes = Vec::new();
    fallibly(|| bytes.try_reserve_exact(wanted)).ok()?;
    bytes.resize(wanted, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma};
    use tempfile::TempDir;

    use super::*;
    use crate::{Dataset, pixels};

    const GRAY: ImageFolderConfig = ImageFolderConfig { height: 2, width: 2, channels: Channels::Gray };

    /// A folder with images of one brightness each; what has no brightness is a file of text.
    fn folder(files: &[(&str, Option<u8>)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for &(name, brightness) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match brightness {
                Some(brightness) => GrayImage::from_pixel(4, 3, Luma([brightness]))
                    .save_with_format(path, image::ImageFormat::Png)
                    .unwrap(),
                None => fs::write(path, "not an image").unwrap(),
            }
        }
        folder
    }

    /// Brightness and label of each image.
    fn images(data: &Images) -> Vec<(u8, usize)> {
        let mut into = vec![0.0; data.shape().iter().product()];
        let image = |i| {
            let label = data.read(i, &mut into).unwrap();
            assert!(into.iter().all(|&x| x == into[0]), "{into:?}");
            (pixels::to_u8(into[0]), label)
        };
        (0..data.len()).map(image).collect()
    }

    #[test]
    fn the_first_image_has_a_shape_of_its_own() {
        let folder = folder(&[("b/1.png", Some(1)), ("readme", None)]);
        let shape = || ImageFolder::first_shape(&folder, &Watch::default()).unwrap();
        assert_eq!(shape(), [1, 3, 4]);
        fs::create_dir(folder.path().join("a")).unwrap();
        let colored = image::RgbImage::from_pixel(5, 7, image::Rgb([1, 2, 3]));
        colored.save(folder.path().join("a/2.png")).unwrap();
        assert_eq!(shape(), [3, 7, 5]);
    }

    /// What is wrong, and where below the folder.
    #[track_caller]
    fn problem(folder: &TempDir) -> (String, Problem) {
        let error = ImageFolder::open(folder, GRAY).expect_err("the folder is not as it should be");
        let path = error.path.expect("a file or folder is not as it should be");
        let below = path.strip_prefix(folder.path()).expect("it lies in the folder");
        (below.display().to_string(), error.problem)
    }

    #[test]
    fn subfolders_are_classes_in_the_order_of_their_names() {
        let folder = folder(&[
            ("owl/2.png", Some(2)),
            ("owl/10.png", Some(1)),
            ("Cat/deep/er/a.JPG", Some(7)),
            ("Cat/z.Jpeg", Some(8)),
            ("Cat/a.png", Some(6)),
            ("bee/b.PNG", Some(5)),
            // Ignored: no images, and hidden ones.
            ("bee/notes.txt", None),
            ("bee/png", None),
            ("bee/.c.png", None),
            ("bee/.hidden/d.png", None),
            (".git/e.png", None),
            ("README.md", None),
            (".f.png", None),
        ]);
        let data = ImageFolder::open(&folder, GRAY).unwrap();
        assert_eq!(
            (data.class_names(), data.num_classes()),
            (Some(&["Cat", "bee", "owl"].map(str::to_owned)[..]), 3)
        );
        assert_eq!(images(&data), [(6, 0), (7, 0), (8, 0), (5, 1), (1, 2), (2, 2)]);
    }

    #[test]
    fn a_folder_without_subfolders_is_one_class() {
        let folder = folder(&[("flat/b.png", Some(2)), ("flat/a.png", Some(1)), ("flat/c.txt", None)]);
        let data = ImageFolder::open(folder.path().join("flat"), GRAY).unwrap();
        assert_eq!((data.class_names(), data.num_classes()), (None, 1));
        assert_eq!(images(&data), [(1, 0), (2, 0)]);
    }

    /// More images than there are threads, so that most of them are taken by whichever thread is free.
    /// Wherever the folder is, and whatever else is in it.
    #[test]
    fn the_way_to_an_image_below_the_folder_is_its_identity() {
        let files = [("cats/1.png", Some(1)), ("cats/old/2.png", Some(2)), ("dogs/1.png", Some(3))];
        let (few, more) = (folder(&files), folder(&[&files[..], &[("cats/0.png", Some(0))]].concat()));
        let identities = |folder: &TempDir| {
            let config = ImageFolderConfig { height: 1, width: 1, channels: Channels::Gray };
            let data = AnyDataset::from(ImageFolder::open(folder.path(), config).unwrap());
            Vec::from_iter((0..data.len()).map(|index| data.identity(index)))
        };
        let names = ["cats/0.png", "cats/1.png", "cats/old/2.png", "dogs/1.png"];
        let expected = names.map(|name| identity::hash(name.as_bytes()));
        assert_eq!(identities(&few), expected[1..]);
        assert_eq!(identities(&more), expected);
    }

    #[test]
    fn images_are_in_order_however_many_there_are() {
        let names: Vec<String> = (0..200).map(|i| format!("{}/{i:03}.png", i / 70)).collect();
        let folder = folder(&Vec::from_iter(names.iter().zip(0..).map(|(name, i)| (&name[..], Some(i)))));
        let data = ImageFolder::open(&folder, GRAY).unwrap();
        assert_eq!(images(&data), Vec::from_iter((0..200).map(|i| (i, usize::from(i) / 70))));
    }

    #[test]
    fn shape_and_values_are_as_asked_for() {
        let folder = folder(&[("a.png", Some(51))]);
        for (channels, count) in [(Channels::Gray, 1), (Channels::Rgb, 3)] {
            let data =
                ImageFolder::open(&folder, ImageFolderConfig { height: 5, width: 6, channels }).unwrap();
            assert_eq!((data.len(), data.shape()), (1, &[count, 5, 6][..]));
            let mut into = vec![0.0; 30 * count];
            assert_eq!(data.read(0, &mut into).unwrap(), 0);
            // 51 / 127.5 − 1 = −0.6.
            assert!(into.iter().all(|x| (x + 0.6).abs() < 1e-6), "{into:?}");
        }
    }

    #[test]
    fn images_and_subfolders_side_by_side_are_an_error() {
        let folder =
            folder(&[("b.png", Some(1)), ("a.png", Some(1)), ("z/c.png", Some(1)), ("y/d.png", Some(1))]);
        let (image, class) = (folder.path().join("a.png"), folder.path().join("y"));
        let both = format!("holds the image {} beside the folder {}", image.display(), class.display());
        let (place, problem) = problem(&folder);
        assert!(matches!(&problem, Problem::Format { found, .. } if *found == both), "{problem:?}");
        assert_eq!(place, "");
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        let missing = |folder: &TempDir, place: &str| {
            let (at, problem) = problem(folder);
            assert!(matches!(problem, Problem::Missing { .. }), "{problem:?}");
            assert_eq!(at, place);
        };
        missing(&folder(&[]), "");
        missing(&folder(&[("notes.txt", None), (".a.png", Some(1))]), "");
        missing(&folder(&[("a/a.png", Some(1)), ("b/c/notes.txt", None), ("c/a.png", Some(1))]), "b");
    }

    #[test]
    fn what_is_no_folder_is_named() {
        let folder = folder(&[("a.png", Some(1))]);
        for name in ["a.png", "nothing"] {
            let path = folder.path().join(name);
            let error = ImageFolder::open(&path, GRAY).expect_err("this is no folder");
            assert!(matches!(error.problem, Problem::Io(_)), "{error}");
            assert_eq!(error.path, Some(path));
        }
    }

    /// The files that an error about several names, and how many there are.
    #[track_caller]
    fn broken(folder: &TempDir) -> (Vec<String>, u64) {
        match problem(folder) {
            (place, Problem::Files { broken, count }) if place.is_empty() => {
                let name = |error: DataError| {
                    error.path.unwrap().strip_prefix(folder).unwrap().display().to_string()
                };
                (broken.into_iter().map(name).collect(), count)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn broken_images_are_named_together() {
        let names: Vec<String> = (0..70).map(|i| format!("a/{i:02}.png")).collect();
        let files = names.iter().enumerate().map(|(i, name)| (&name[..], (i < 23).then_some(9)));
        let folder = folder(&Vec::from_iter(files));
        for _ in 0..10 {
            assert_eq!(broken(&folder), (names[23..43].to_vec(), 47));
        }
        let error = ImageFolder::open(&folder, GRAY).unwrap_err();
        assert!(error.hint().is_some());
        // What is wrong, twenty files, what was expected, and how many more they are.
        assert_eq!(error.to_string().lines().count(), 23);
        assert_eq!(error.to_string().matches("PNG, JPEG").count(), 1);
        // Also those of which only the pixels are broken.
        let whole = fs::read(folder.path().join("a/00.png")).unwrap();
        for name in &names[23..] {
            fs::write(folder.path().join(name), if name.contains('5') { &whole[..50] } else { &whole })
                .unwrap();
        }
        assert_eq!(broken(&folder).1, 14);
    }

    /// Whether they are no images at all, or end too early, and whether they are decoded now or later.
    #[test]
    fn files_that_are_broken_in_different_ways_are_named_together() {
        let folder =
            folder(&[("a/1.png", Some(1)), ("a/2.png", None), ("b/3.png", Some(3)), ("b/4.png", Some(4))]);
        for name in ["a/0.png", "b/4.png"] {
            let whole = fs::read(folder.path().join("b/3.png")).unwrap();
            fs::write(folder.path().join(name), &whole[..whole.len() - 20]).unwrap();
        }
        let names = ["a/0.png", "a/2.png", "b/4.png"].map(str::to_owned).to_vec();
        assert_eq!(broken(&folder), (names, 3));
        let later = ImageFolder::open_within(&folder, GRAY, Some(0), &Watch::default());
        assert!(matches!(later.unwrap_err().problem, Problem::Files { count: 3, .. }));
    }

    #[test]
    fn what_was_fetched_instead_of_an_image_is_known() {
        let folder = folder(&[("a.png", Some(1))]);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
        for name in ["b.jpg", "c.heic"] {
            fs::write(folder.path().join(name), pointer).unwrap();
        }
        let error = ImageFolder::open(&folder, GRAY).unwrap_err();
        assert_eq!(error.to_string().matches("pointer of Git LFS").count(), 2, "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("git lfs pull")), "{error}");
        // Where not all are cured by the same, each says what by.
        fs::write(folder.path().join("d.png"), "<!DOCTYPE html>").unwrap();
        let error = ImageFolder::open(&folder, GRAY).unwrap_err();
        let (message, hint) = (error.to_string(), error.hint().unwrap());
        assert!(message.matches("git lfs pull").count() == 2 && message.contains("web page"), "{error}");
        assert!(!hint.contains("git lfs"), "{hint}");
    }

    #[test]
    fn an_empty_class_is_told_by_what_is_in_it() {
        let files = [("a/1.png", Some(1)), ("a/a.csv", None), ("b/b.txt", None), ("c.md", None)];
        let folder = self::folder(&files);
        match problem(&folder) {
            (place, Problem::Missing { found, .. }) => {
                assert_eq!((&place[..], &found[..]), ("b", &["1 .txt file".to_owned()][..]))
            }
            other => panic!("{other:?}"),
        }
        assert!(ImageFolder::open(&folder, GRAY).unwrap_err().hint().is_some());
        fs::create_dir(folder.path().join("empty")).unwrap();
        let error = ImageFolder::open(&folder, GRAY).unwrap_err();
        assert!(
            error.path.as_deref() == Some(folder.path()) && error.to_string().contains("[b, empty]"),
            "{error}"
        );
        // A class of broken images is not empty.
        let broken = self::folder(&[("a/1.png", Some(1)), ("b/2.png", None)]);
        assert_eq!(problem(&broken).0, "b/2.png");
    }

    #[test]
    fn an_archive_in_the_place_of_images_is_to_be_unpacked() {
        let hint =
            |name| ImageFolder::open(folder(&[(name, None)]), GRAY).unwrap_err().hint().map(str::to_owned);
        assert!(hint("photos.zip").is_some_and(|hint| hint.contains("unpack")));
        assert_eq!(hint("notes.txt"), None);
    }

    #[test]
    fn the_parts_of_a_data_set_are_hardly_classes() {
        let notes = |names: &[&str]| {
            let files: Vec<_> = names.iter().map(|&name| (name, Some(1))).collect();
            let folder = folder(&files);
            let data = AnyDataset::from(ImageFolder::open(&folder, GRAY).unwrap());
            data.notes().join("; ").replace(&format!("{}/", folder.path().display()), "FOLDER/")
        };
        for names in [["train/cat/1.png", "val/cat/2.png"], ["test/1.png", "Train/2.png"]] {
            let note = notes(&names);
            let train = &names.iter().find(|name| name.to_lowercase().starts_with("train")).unwrap()[..5];
            assert!(note.contains(&format!("give FOLDER/{train} instead")), "{note}");
        }
        for names in [["train/1.png", "car/2.png"], ["training_set/1.png", "cat/2.png"], ["1.png", "2.png"]] {
            assert_eq!(notes(&names), "");
        }
    }

    #[test]
    fn what_is_no_image_is_left_out_and_counted() {
        let folder = folder(&[
            ("cat/a.png", Some(1)),
            ("cat/a.txt", None),
            ("cat/._a.png", None),
            ("cat/Thumbs.db", None),
            ("dog/b", Some(2)),
            ("dog/c.TXT", None),
            ("dog/@eaDir/b.png", Some(3)),
            ("__MACOSX/cat/a.png", None),
            ("lost+found/d.png", Some(4)),
            ("captions.csv", None),
        ]);
        let data = ImageFolder::open(&folder, GRAY).unwrap();
        assert_eq!(images(&data), [(1, 0), (2, 1)]);
        assert_eq!(data.class_names(), Some(&["cat", "dog"].map(str::to_owned)[..]));
        let expected =
            "2 .txt files, 1 .csv file, 1 @eaDir, 1 Thumbs.db, 1 __MACOSX, 1 lost+found, 1 hidden name";
        assert_eq!(data.left_out().to_string(), expected);
    }

    /// Nothing that somebody has taken for a picture is missed in silence.
    #[test]
    fn images_that_cannot_be_read_are_not_left_out() {
        let folder = folder(&[("a.png", Some(1)), ("b.jpg", Some(2)), ("c.heic", None), ("d.webp", None)]);
        fs::write(folder.path().join("e.jpg"), b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
        let names = ["c.heic", "d.webp", "e.jpg"].map(str::to_owned).to_vec();
        assert_eq!(broken(&folder), (names, 3));
        let error = ImageFolder::open(&folder, GRAY).unwrap_err().to_string();
        assert_eq!(error.matches("is a HEIC file").count(), 2, "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_are_left_alone() {
        let folder = folder(&[("a.png", Some(1))]);
        let pipe = folder.path().join("b.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(ImageFolder::open(&folder, GRAY).unwrap().left_out().to_string(), "1 pipe or device");
    }

    fn lazily(folder: &TempDir, memory: u64) -> Images {
        ImageFolder::open_within(folder, GRAY, Some(memory), &Watch::default()).unwrap()
    }

    #[test]
    fn images_beyond_the_memory_are_read_when_they_are_asked_for() {
        let names: Vec<String> = (0..100).map(|i| format!("{}/{i:03}.png", i / 70)).collect();
        let folder = folder(&Vec::from_iter(names.iter().zip(0..).map(|(name, i)| (&name[..], Some(2 * i)))));
        let whole = ImageFolder::open(&folder, GRAY).unwrap();
        assert!(whole.is_in_memory() && whole.readers() == 1);
        for memory in [0, 399] {
            let data = lazily(&folder, memory);
            assert!(!data.is_in_memory() && lazily(&folder, 400).is_in_memory());
            assert_eq!((data.len(), data.class_names()), (whole.len(), whole.class_names()));
            let batches = |data: Images| {
                crate::Batches::new(data, 8, 3).flip_horizontally().epochs(2).prefetch(2).map(Result::unwrap)
            };
            assert!(batches(data).eq(batches(whole.clone())));
        }
    }

    #[test]
    fn a_file_that_goes_in_the_meantime_is_an_error_of_its_example() {
        let folder = folder(&[("a.png", Some(1)), ("b.png", Some(2)), ("c.png", Some(3))]);
        let data = lazily(&folder, 0);
        fs::remove_file(folder.path().join("b.png")).unwrap();
        fs::write(folder.path().join("c.png"), b"not an image").unwrap();
        let mut into = [0.0; 4];
        assert!(data.read(0, &mut into).is_ok());
        for (index, name) in [(1, "b.png"), (2, "c.png")] {
            let error = data.read(index, &mut into).expect_err("the file is not what it was");
            assert_eq!(error.path, Some(folder.path().join(name)));
        }
        let error = data.gather(&[0, 2, 1, 0]).expect_err("two files are not what they were");
        assert_eq!(error.path, Some(folder.path().join("c.png")));
    }

    #[test]
    fn opening_is_watched_and_can_be_stopped() {
        let names: Vec<String> = (0..100).map(|i| format!("{i}.png")).collect();
        let folder = folder(&Vec::from_iter(names.iter().map(|name| (&name[..], Some(7)))));
        for (memory, works) in [
            (None, ["looking at files", "reading images"]),
            (Some(0), ["looking at files", "looking at images"]),
        ] {
            for work in works {
                let watch = std::sync::Arc::new(std::sync::OnceLock::<Watch>::new());
                let inner = watch.clone();
                let listener = Watch::new(move |progress| {
                    assert!(progress.done <= 100 && progress.total == Some(100));
                    if progress.work == work {
                        inner.get().unwrap().stop();
                    }
                });
                watch.set(listener.clone()).unwrap();
                let error =
                    ImageFolder::open_within(&folder, GRAY, memory, &listener).expect_err("it was stopped");
                assert!(matches!(error.problem, Problem::Stopped), "{error}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_unless_they_lead_back() {
        let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
        let folder = folder(&[("a/1.png", Some(1)), ("a/b/2.png", Some(2))]);
        link("a/b", &folder.path().join("c"));
        link("../b/2.png", &folder.path().join("a/b/3.png"));
        // Twice the same folder, but not within itself.
        link("b", &folder.path().join("a/d"));
        let found = images(&ImageFolder::open(&folder, GRAY).unwrap());
        assert_eq!(found, [(1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 1), (2, 1)]);

        link("nowhere", &folder.path().join("a/notes"));
        assert_eq!(ImageFolder::open(&folder, GRAY).unwrap().len(), 7);
        link("nowhere", &folder.path().join("a/0.png"));
        let (place, broken) = problem(&folder);
        assert!(place == "a/0.png" && matches!(broken, Problem::Io(_)), "{place}: {broken:?}");
        fs::remove_file(folder.path().join("a/0.png")).unwrap();

        for to in ["..", "../..", "."] {
            link(to, &folder.path().join("a/b/loop"));
            let (place, problem) = problem(&folder);
            assert!(
                matches!(&problem, Problem::Format { found, .. } if found.starts_with("leads back to ")),
                "{to}: {problem:?}"
            );
            assert_eq!(place, "a/b/loop");
            fs::remove_file(folder.path().join("a/b/loop")).unwrap();
        }
    }

    #[test]
    fn images_that_fit_are_kept() {
        assert_eq!(zeros(3, [3, 2, 2], 36), Some(vec![0; 36]));
        assert_eq!(zeros(3, [3, 2, 2], 35), None);
        assert_eq!(zeros(usize::MAX, [3, 1, 1], u64::MAX), None);
        // This still is a number of bytes, but more than any allocation may have.
        assert_eq!(zeros(1 << 62, [1, 2, 1], u64::MAX), None);
    }

    #[test]
    #[should_panic(expected = "height: 0, expected 1 to 16384")]
    fn images_without_pixels_panic() {
        let _ = ImageFolder::open("", ImageFolderConfig { height: 0, ..GRAY });
    }

    #[test]
    #[should_panic(expected = "width: 16385, expected 1 to 16384")]
    fn giant_images_panic() {
        let _ = ImageFolder::open("", ImageFolderConfig { width: 16385, ..GRAY });
    }
}

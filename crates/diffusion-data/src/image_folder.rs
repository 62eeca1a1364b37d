//! A folder of pictures, sorted into one subfolder for each class or not sorted at all.

use std::{
    fs, iter,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    error::{DataError, Problem},
    image_config::{Channels, ImageFolderConfig},
    image_file,
    images::Images,
    parallel::in_parallel,
    source::has_extension,
};

/// The reader of PNG and JPEG files of any size, which it makes into images of one size.
///
/// All files are decoded when the folder is opened, on all processors: a broken one is found at once, and reading an
/// example later cannot fail. The memory that this takes is images × channels × height × width bytes.
#[derive(Clone, Copy, Debug)]
pub struct ImageFolder;

impl ImageFolder {
    /// Reads all images in `folder`.
    ///
    /// If it has subfolders, each is a class, as in torchvision's `ImageFolder`: the classes are numbered by name, and
    /// the images of a class are those anywhere below its folder, ordered by path. If it has none, its own images are
    /// the data set, in a single class that is called as the folder is.
    ///
    /// Images are the files whose names end in `.png`, `.jpg` or `.jpeg`, in capitals or not; which of the two formats
    /// a file has is told by what it begins with. Other files are ignored, and so are files and folders whose names
    /// begin with a dot. Links are followed. A value of 16 bits is rounded to 8. What is transparent is laid over
    /// black, where torchvision would show whatever colors are hidden there. An image is turned as its Exif
    /// orientation says, as viewers show it, and unlike torchvision.
    ///
    /// # Errors
    /// If a folder cannot be listed or leads back to itself; if there are images and subfolders side by side, no images
    /// at all, or a class without any; if an image cannot be read or decoded, ends too early, or takes more than
    /// 512 MiB as a file or decoded; if the images do not fit into memory. Of several broken images the first is named.
    /// Damage within the coded pixels of a JPEG file cannot always be told from a picture.
    ///
    /// # Panics
    /// If height or width is not in 1 to 16384, or the system cannot start a thread.
    pub fn open(folder: impl AsRef<Path>, config: ImageFolderConfig) -> Result<Images, DataError> {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let folder = folder.as_ref();
        let (classes, images) = list(folder)?;
        let shape = config.shape();
        let mut bytes = zeros(images.len(), shape).map_err(|bytes| {
            let found = format!("holds {} images that need {bytes} bytes", images.len());
            Problem::TooLarge { found, limit: None }.at(folder)
        })?;
        let places = bytes.chunks_exact_mut(shape.iter().product());
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(images.len());
        in_parallel(images.iter().zip(places), threads, |((path, _), into)| {
            image_file::read(path, config, into)
        })?;
        let labels = images.into_iter().map(|(_, label)| label).collect();
        Ok(Images::new(shape, bytes, labels, classes.len()).with_class_names(classes))
    }
}

/// A folder of PNG and JPEG images, as a configuration names it; a subfolder is a class.
///
/// Their size and channels are those that the network takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    /// The folder.
    pub path: PathBuf,
}

impl DataKind for ImagesConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, input: &ModelInput) -> Result<AnyDataset, DataError> {
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
        ImageFolder::open(&self.path, config).map(AnyDataset::from)
    }
}

/// The names of the classes, and all images with their labels.
type Listing = (Vec<String>, Vec<(PathBuf, u32)>);

/// Finds out what is in a folder.
fn list(folder: &Path) -> Result<Listing, DataError> {
    let (mut images, mut classes) = entries(folder)?;
    images.sort();
    classes.sort();
    let none = |folder: &Path| Problem::missing("file named *.png, *.jpg or *.jpeg").at(folder);
    match (images.first(), classes.first()) {
        (Some(image), Some(subfolder)) => {
            let found =
                format!("holds the image {} beside the folder {}", image.display(), subfolder.display());
            Err(Problem::format(found, "only images or only a folder for each class").at(folder))
        }
        (None, None) => Err(none(folder)),
        (Some(_), None) => Ok((vec![name(folder)], images.into_iter().zip(iter::repeat(0)).collect())),
        (None, Some(_)) => {
            let mut all = Vec::new();
            for (label, class) in (0..).zip(&classes) {
                let mut images = Vec::new();
                images_below(class, &mut vec![canonical(folder)?], &mut images)?;
                if images.is_empty() {
                    return Err(none(class));
                }
                images.sort();
                all.extend(images.into_iter().zip(iter::repeat(label)));
            }
            Ok((classes.iter().map(|class| name(class)).collect(), all))
        }
    }
}

/// Adds the images in `folder` and in all folders below it; `above` are the folders on the way there.
fn images_below(folder: &Path, above: &mut Vec<PathBuf>, images: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let here = canonical(folder)?;
    if above.contains(&here) {
        let found = format!("leads back to {}", here.display());
        return Err(Problem::format(found, "no folder within itself").at(folder));
    }
    above.push(here);
    let (in_folder, subfolders) = entries(folder)?;
    images.extend(in_folder);
    for subfolder in subfolders {
        images_below(&subfolder, above, images)?;
    }
    above.pop();
    Ok(())
}

/// The images and the subfolders of a folder, in no particular order.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let failed = DataError::io(folder);
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => folders.push(path),
            // Of a link that leads nowhere the name must tell; reading it will fail.
            Ok(_) | Err(_) if has_extension(&path, &["png", "jpg", "jpeg"]) => images.push(path),
            Ok(_) | Err(_) => {}
        }
    }
    Ok((images, folders))
}

fn canonical(folder: &Path) -> Result<PathBuf, DataError> {
    fs::canonicalize(folder).map_err(DataError::io(folder))
}

/// What a folder is called, without the way to it.
fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

/// Zeros for `images` images, or else how many bytes they would be.
fn zeros(images: usize, shape: [usize; 3]) -> Result<Vec<u8>, u128> {
    let wanted = shape.iter().fold(images as u128, |product, &n| product * n as u128);
    let mut bytes = Vec::new();
    let wanted_here = usize::try_from(wanted).map_err(|_| wanted)?;
    bytes.try_reserve_exact(wanted_here).map_err(|_| wanted)?;
    bytes.resize(wanted_here, 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
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
            let label = data.read(i, &mut into);
            assert!(into.iter().all(|&x| x == into[0]), "{into:?}");
            (pixels::to_u8(into[0]), label)
        };
        (0..data.len()).map(image).collect()
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
            // Ignored: no images by name, and hidden ones.
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
        assert_eq!(data.class_names(), Some(&["flat".to_owned()][..]));
        assert_eq!(images(&data), [(1, 0), (2, 0)]);
    }

    /// More images than there are threads, so that most of them are taken by whichever thread is free.
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
            assert_eq!(data.read(0, &mut into), 0);
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

    #[test]
    fn of_several_broken_images_the_first_is_named() {
        let names: Vec<String> = (0..40).map(|i| format!("a/{i:02}.png")).collect();
        let files = names.iter().enumerate().map(|(i, name)| (&name[..], (i < 23).then_some(9)));
        let folder = folder(&Vec::from_iter(files));
        for _ in 0..10 {
            let (place, problem) = problem(&folder);
            assert!(place == "a/23.png" && matches!(problem, Problem::Format { .. }), "{place}: {problem:?}");
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
    fn too_many_images_are_an_error() {
        assert_eq!(zeros(3, [3, 2, 2]), Ok(vec![0; 36]));
        assert_eq!(zeros(usize::MAX, [3, 1, 1]), Err(3 * usize::MAX as u128));
        // This still is a number of bytes, but more than any allocation may have.
        assert_eq!(zeros(1 << 62, [1, 2, 1]), Err(1 << 63));
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

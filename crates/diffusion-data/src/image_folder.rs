//! A folder of pictures, sorted into one subfolder for each class or not sorted at all.

use std::{
    ffi::OsStr,
    fmt, fs, iter,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use crate::{
    DataError,
    dataset::{Dataset, check_index},
    image_file,
    parallel::in_parallel,
    pixels,
};

/// PNG and JPEG files of any size, made into squares of one size, kept in memory as bytes and read as numbers in
/// [−1, 1].
///
/// All files are decoded when the folder is opened, on all processors: a broken one is found at once, and reading an
/// example later cannot fail. The memory that this takes is images × channels × size² bytes.
#[derive(Clone)]
pub struct ImageFolder {
    shape: [usize; 3],
    classes: Vec<String>,
    bytes: Vec<u8>,
    labels: Vec<usize>,
}

/// What the files of an [`ImageFolder`] are made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFolderConfig {
    /// Width and height in pixels, 1 to 16384.
    ///
    /// Of each image the greatest square in the middle is taken (where it cannot lie in the middle, half a pixel up
    /// or to the left) and resized with Lanczos' filter of three lobes.
    pub size: usize,
    /// Grey or in colour, whatever the files are.
    pub channels: Channels,
}

/// The channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One: luma, `0.2126 R + 0.7152 G + 0.0722 B` of the values as they are in the file.
    Grey,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// How many they are.
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

const MAX_SIZE: usize = 1 << 14;

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
    /// black, where torchvision would show whatever colours are hidden there. An image is turned as its Exif
    /// orientation says, as viewers show it, and unlike torchvision.
    ///
    /// # Errors
    /// If a folder cannot be listed or leads back to itself; if there are images and subfolders side by side, no images
    /// at all, or a class without any; if an image cannot be read or decoded, ends too early, or takes more than
    /// 512 MiB as a file or decoded; if the images do not fit into memory. Of several broken images the first is named.
    /// Damage within the coded pixels of a JPEG file cannot always be told from a picture.
    ///
    /// # Panics
    /// If `config.size` is not in 1 to 16384, or the system cannot start a thread.
    pub fn open(folder: impl AsRef<Path>, config: ImageFolderConfig) -> Result<Self, DataError> {
        let (folder, size) = (folder.as_ref(), config.size);
        assert!(
            (1..=MAX_SIZE).contains(&size),
            "images of size {size} were asked for, expected 1 to {MAX_SIZE}"
        );
        let (classes, images) = list(folder)?;
        let shape = [config.channels.count(), size, size];
        let mut bytes = room(images.len(), shape).map_err(|bytes| DataError::Memory {
            folder: folder.to_owned(),
            images: images.len(),
            bytes,
        })?;
        let places = bytes.chunks_exact_mut(shape.iter().product());
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(images.len());
        in_parallel(images.iter().zip(places), threads, |((path, _), into)| {
            image_file::read(path, config, into)
        })?;
        let labels = images.into_iter().map(|(_, label)| label).collect();
        Ok(Self { shape, classes, bytes, labels })
    }

    /// The names of the classes, in the order of the labels.
    ///
    /// A name that is not Unicode is shown with replacement characters.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of classes; labels lie below it.
    pub fn num_classes(&self) -> usize {
        self.classes.len()
    }
}

impl Dataset for ImageFolder {
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
        self.labels[index]
    }
}

impl fmt::Debug for ImageFolder {
    /// Leaves out the pixels, which nobody wants to see as numbers, but tells how many bytes they take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageFolder")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("classes", &self.classes.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The names of the classes, and all images with their labels.
type Listing = (Vec<String>, Vec<(PathBuf, usize)>);

/// Finds out what is in a folder.
fn list(folder: &Path) -> Result<Listing, DataError> {
    let (mut images, mut classes) = entries(folder)?;
    images.sort();
    classes.sort();
    let none = |folder: &Path| DataError::NoneInFolder {
        folder: folder.to_owned(),
        wanted: "file named *.png, *.jpg or *.jpeg",
    };
    match (images.first(), classes.first()) {
        (Some(image), Some(subfolder)) => Err(DataError::MixedFolder {
            folder: folder.to_owned(),
            image: image.to_owned(),
            subfolder: subfolder.to_owned(),
        }),
        (None, None) => Err(none(folder)),
        (Some(_), None) => Ok((vec![name(folder)], images.into_iter().zip(iter::repeat(0)).collect())),
        (None, Some(_)) => {
            let mut all = Vec::new();
            for (label, class) in classes.iter().enumerate() {
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
        return Err(DataError::FolderLoop { folder: folder.to_owned(), target: here });
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
    let failed = |source| DataError::Read { path: folder.to_owned(), source };
    let (mut images, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
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

/// Whether the name of a file ends in a dot and one of `extensions`, in capitals or not.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)))
}

fn canonical(folder: &Path) -> Result<PathBuf, DataError> {
    fs::canonicalize(folder).map_err(|source| DataError::Read { path: folder.to_owned(), source })
}

/// What a folder is called, without the way to it.
fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
}

/// Zeros for `images` images, or else how many bytes they would be.
fn room(images: usize, shape: [usize; 3]) -> Result<Vec<u8>, u128> {
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

    const GREY: ImageFolderConfig = ImageFolderConfig { size: 2, channels: Channels::Grey };

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
    fn images(data: &ImageFolder) -> Vec<(u8, usize)> {
        let mut into = vec![0.0; data.shape().iter().product()];
        let image = |i| {
            let label = data.read(i, &mut into);
            assert!(into.iter().all(|&x| x == into[0]), "{into:?}");
            (pixels::to_u8(into[0]), label)
        };
        (0..data.len()).map(image).collect()
    }

    /// The error's message, with an ellipsis for the way to the folder.
    #[track_caller]
    fn message(folder: &TempDir) -> String {
        let error =
            ImageFolder::open(folder, GREY).expect_err("the folder is not as it should be").to_string();
        error.replace(&folder.path().display().to_string(), "…")
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
        let data = ImageFolder::open(&folder, GREY).unwrap();
        assert_eq!((data.classes(), data.num_classes()), (&["Cat", "bee", "owl"].map(str::to_owned)[..], 3));
        assert_eq!(images(&data), [(6, 0), (7, 0), (8, 0), (5, 1), (1, 2), (2, 2)]);
    }

    #[test]
    fn a_folder_without_subfolders_is_one_class() {
        let folder = folder(&[("flat/b.png", Some(2)), ("flat/a.png", Some(1)), ("flat/c.txt", None)]);
        let data = ImageFolder::open(folder.path().join("flat"), GREY).unwrap();
        assert_eq!(data.classes(), ["flat"]);
        assert_eq!(images(&data), [(1, 0), (2, 0)]);
    }

    /// More images than there are threads, so that most of them are taken by whichever thread is free.
    #[test]
    fn images_are_in_order_however_many_there_are() {
        let names: Vec<String> = (0..200).map(|i| format!("{}/{i:03}.png", i / 70)).collect();
        let folder = folder(&Vec::from_iter(names.iter().zip(0..).map(|(name, i)| (&name[..], Some(i)))));
        let data = ImageFolder::open(&folder, GREY).unwrap();
        assert_eq!(images(&data), Vec::from_iter((0..200).map(|i| (i, usize::from(i) / 70))));
    }

    #[test]
    fn shape_and_values_are_as_asked_for() {
        let folder = folder(&[("a.png", Some(51))]);
        for (channels, count) in [(Channels::Grey, 1), (Channels::Rgb, 3)] {
            let data = ImageFolder::open(&folder, ImageFolderConfig { size: 5, channels }).unwrap();
            assert_eq!((data.len(), data.shape()), (1, &[count, 5, 5][..]));
            let mut into = vec![0.0; 25 * count];
            assert_eq!(data.read(0, &mut into), 0);
            // 51 / 127.5 − 1 = −0.6.
            assert!(into.iter().all(|x| (x + 0.6).abs() < 1e-6), "{into:?}");
        }
    }

    #[test]
    fn images_and_subfolders_side_by_side_are_an_error() {
        let folder =
            folder(&[("b.png", Some(1)), ("a.png", Some(1)), ("z/c.png", Some(1)), ("y/d.png", Some(1))]);
        let expected = "… holds the image …/a.png beside the folder …/y, expected only images or only a folder for \
                        each class";
        assert_eq!(message(&folder), expected);
    }

    #[test]
    fn a_folder_without_images_is_an_error() {
        assert_eq!(message(&folder(&[])), "found no file named *.png, *.jpg or *.jpeg in …");
        let nothing = folder(&[("notes.txt", None), (".a.png", Some(1))]);
        assert_eq!(message(&nothing), "found no file named *.png, *.jpg or *.jpeg in …");
        let one_empty = folder(&[("a/a.png", Some(1)), ("b/c/notes.txt", None), ("c/a.png", Some(1))]);
        assert_eq!(message(&one_empty), "found no file named *.png, *.jpg or *.jpeg in …/b");
    }

    #[test]
    fn what_is_no_folder_is_named() {
        let folder = folder(&[("a.png", Some(1))]);
        for name in ["a.png", "nothing"] {
            let path = folder.path().join(name);
            let error = ImageFolder::open(&path, GREY).expect_err("this is no folder").to_string();
            assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
        }
    }

    #[test]
    fn of_several_broken_images_the_first_is_named() {
        let names: Vec<String> = (0..40).map(|i| format!("a/{i:02}.png")).collect();
        let files = names.iter().enumerate().map(|(i, name)| (&name[..], (i < 23).then_some(9)));
        let folder = folder(&Vec::from_iter(files));
        for _ in 0..10 {
            assert!(message(&folder).starts_with("…/a/23.png begins with the bytes ["));
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
        let found = images(&ImageFolder::open(&folder, GREY).unwrap());
        assert_eq!(found, [(1, 0), (2, 0), (2, 0), (2, 0), (2, 0), (2, 1), (2, 1)]);

        link("nowhere", &folder.path().join("a/notes"));
        assert_eq!(ImageFolder::open(&folder, GREY).unwrap().len(), 7);
        link("nowhere", &folder.path().join("a/0.png"));
        assert!(message(&folder).starts_with("cannot read …/a/0.png: "));
        fs::remove_file(folder.path().join("a/0.png")).unwrap();

        for to in ["..", "../..", "."] {
            link(to, &folder.path().join("a/b/loop"));
            assert!(message(&folder).starts_with("…/a/b/loop leads back to "), "{to}");
            fs::remove_file(folder.path().join("a/b/loop")).unwrap();
        }
    }

    #[test]
    fn too_many_images_are_an_error() {
        assert_eq!(room(3, [3, 2, 2]), Ok(vec![0; 36]));
        assert_eq!(room(usize::MAX, [3, 1, 1]), Err(3 * usize::MAX as u128));
        // This still is a number of bytes, but more than any allocation may have.
        assert_eq!(room(1 << 62, [1, 2, 1]), Err(1 << 63));
    }

    #[test]
    fn debugging_tells_the_memory() {
        let folder = folder(&[("a.png", Some(1)), ("b.png", Some(1))]);
        let found = format!("{:?}", ImageFolder::open(&folder, GREY).unwrap());
        assert_eq!(found, "ImageFolder { len: 2, shape: [1, 2, 2], classes: 1, bytes: 8, .. }");
    }

    #[test]
    #[should_panic(expected = "images of size 0 were asked for, expected 1 to 16384")]
    fn images_without_pixels_panic() {
        let _ = ImageFolder::open("", ImageFolderConfig { size: 0, channels: Channels::Rgb });
    }

    #[test]
    #[should_panic(expected = "images of size 16385 were asked for, expected 1 to 16384")]
    fn giant_images_panic() {
        let _ = ImageFolder::open("", ImageFolderConfig { size: 16385, channels: Channels::Rgb });
    }

    #[test]
    #[should_panic(expected = "room for 3 values was given, expected 4")]
    fn room_for_another_size_panics() {
        ImageFolder::open(folder(&[("a.png", Some(1))]), GREY).unwrap().read(0, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "example 1 was asked for, expected an index below 1")]
    fn an_index_outside_panics() {
        ImageFolder::open(folder(&[("a.png", Some(1))]), GREY).unwrap().read(1, &mut [0.0; 4]);
    }
}

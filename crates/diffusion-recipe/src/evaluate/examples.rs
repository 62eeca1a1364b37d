//! Examples from files and folders of others.

use crate::error::RecipeError;
use crate::samples::are_latents;
use diffusion::core::watch::Watch;
use diffusion::data::{
    AnyDataset, Channels, CifarConfig, DataConfig, Dataset, ImageFolder, ImageFolderConfig, Images,
    MnistConfig, MnistLike, ModelInput, Points, Split,
};
use diffusion::weights::{TensorFile, npz_names, read_npz_bytes};
use std::fs;
use std::path::{Path, PathBuf};

/// The ending of a file, in small letters.
pub(crate) fn ending(path: &Path) -> String {
    path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Whether the file is one of NumPy's archives and has arrays of these names.
pub(crate) fn has_arrays(path: &Path, names: &[&str]) -> Result<bool, RecipeError> {
    if ending(path) != "npz" {
        return Ok(false);
    }
    let found = npz_names(path)?;
    Ok(names.iter().all(|name| found.iter().any(|found| found == name)))
}

/// The examples in a file of samples, or in a folder: of images, which are brought to `shape` where it is given, or of a
/// published data set. Second, whether they are pixels.
pub(crate) fn open(
    path: &Path,
    shape: Option<&[usize]>,
    watch: &Watch,
) -> Result<(AnyDataset, bool), RecipeError> {
    let not = |reason: &str| RecipeError::NoExamples { path: path.to_path_buf(), reason: reason.to_string() };
    if path.is_dir() {
        return Ok((folder(path, shape, watch)?, true));
    }
    match path.symlink_metadata() {
        Err(_) => Err(not("there is no such file or folder")),
        Ok(_) => match &*ending(path) {
            "safetensors" => tensors(path),
            "npz" if has_arrays(path, &["arr_0"])? => Ok((arrays(path)?, true)),
            "npz" => Err(not("it has no array `arr_0` of images")),
            _ => Err(not("expected a folder, or a file ending in .safetensors or .npz")),
        },
    }
}

/// The shape of the images in a folder in color, whether or not the first of them is gray; none of a published data set.
pub(crate) fn shape_in_color(path: &Path, watch: &Watch) -> Result<Option<Vec<usize>>, RecipeError> {
    if !path.is_dir() || published(path).is_some() {
        return Ok(None);
    }
    let [_, height, width] = ImageFolder::first_shape(path, watch)?;
    Ok(Some(vec![3, height, width]))
}

/// Examples in a folder: those to train on of a published data set, or images.
fn folder(path: &Path, shape: Option<&[usize]>, watch: &Watch) -> Result<AnyDataset, RecipeError> {
    match (published(path), shape) {
        // Of any size.
        (Some(DataConfig::Mnist(_)), None) => return Ok(MnistLike::from_folder(path, Split::Train)?.into()),
        (Some(config), shape) => {
            let shape = shape.unwrap_or(&[3, 32, 32]).to_vec();
            let input = ModelInput { shape, num_classes: None, text: None, class_names: Vec::new() };
            return Ok(config.open(&input, 0, 0, watch)?.training);
        }
        (None, _) => {}
    }
    let own;
    let shape = match shape {
        Some(shape) => shape,
        None => {
            own = ImageFolder::first_shape(path, watch)?;
            &own[..]
        }
    };
    let (channels, height, width) = match *shape {
        [1, height, width] => (Channels::Gray, height, width),
        [3, height, width] => (Channels::Rgb, height, width),
        _ => {
            let reason = format!("images are of 1 or 3 channels, and the samples are of shape {shape:?}");
            return Err(RecipeError::NoExamples { path: path.to_path_buf(), reason });
        }
    };
    let config = ImageFolderConfig { height, width, channels };
    Ok(ImageFolder::open_within(path, config, None, watch)?.into())
}

/// Whether the path is the folder of a published data set.
pub(crate) fn is_published(path: &Path) -> bool {
    published(path).is_some()
}

/// The published data set whose files lie in a folder or just below it, by their names.
fn published(path: &Path) -> Option<DataConfig> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().take(LISTED).map(|entry| entry.path()).collect()
    };
    let below = entries(path);
    let deeper: Vec<PathBuf> = below.iter().take(FOLDERS).flat_map(|folder| entries(folder)).collect();
    let name = |path: &PathBuf| {
        path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    let names: Vec<String> = below.iter().chain(&deeper).map(name).collect();
    let has = |word: &str| names.iter().any(|name| name.contains(word));
    let is = |word: &str| names.iter().any(|name| name == word);
    // The archives, their folders, and the files in these; a picture may be called after the data that it is of.
    let is_cifar =
        ["cifar-10-batches", "cifar-10-python", "cifar-10-binary", "cifar-100-python", "cifar-100-binary"]
            .into_iter()
            .any(has)
            || has("data_batch")
            || is("train.bin")
            || is("meta") && is("train");
    let path = path.to_path_buf();
    match () {
        () if has("-ubyte") => Some(DataConfig::Mnist(MnistConfig { path })),
        () if is_cifar => Some(DataConfig::Cifar(CifarConfig { path, labels: None })),
        () => None,
    }
}

/// How many names of a folder, and how many folders in one, are looked at.
const LISTED: usize = 1_000;
const FOLDERS: usize = 20;

/// The tensor `samples` of a file that `sample` wrote; pixels where they have the shape of images and are no latents.
fn tensors(path: &Path) -> Result<(AnyDataset, bool), RecipeError> {
    let not = |reason: String| RecipeError::NoExamples { path: path.to_path_buf(), reason };
    let file = TensorFile::open_safetensors(path)?;
    let shape = file.shape("samples").map(<[usize]>::to_vec);
    let shape = shape.ok_or_else(|| not("it has no tensor `samples`, as `sample` writes it".to_string()))?;
    if shape.len() < 2 || shape.contains(&0) {
        return Err(not(format!("`samples` is of shape {shape:?}, expected [count, …]")));
    }
    if let Some(dtype) = file.dtype("samples").filter(|dtype| !dtype.is_float()) {
        return Err(not(format!("`samples` is of type {dtype}, expected a floating-point type as F32")));
    }
    let values: Vec<f32> = file.read("samples")?;
    let size: usize = shape[1..].iter().product();
    let bad = values.chunks(size).filter(|sample| sample.iter().any(|x| !x.is_finite())).count();
    if bad > 0 {
        return Err(RecipeError::UnmeasurableSamples { count: bad, of: shape[0] });
    }
    let of_pixels = matches!(shape[1..], [1 | 3, _, _]) && !are_latents(path)?;
    Ok((AnyDataset::unlabeled(Points::new(values, &shape[1..])), of_pixels))
}

/// The array `arr_0` of images, `[count, height, width, channels]` in bytes.
fn arrays(path: &Path) -> Result<AnyDataset, RecipeError> {
    let (shape, mut bytes) = read_npz_bytes(path, "arr_0")?;
    let &[count, height, width, channels @ (1 | 3)] = &shape[..] else {
        let reason = format!("`arr_0` is of shape {shape:?}, expected [count, height, width, 1 or 3]");
        return Err(RecipeError::NoExamples { path: path.to_path_buf(), reason });
    };
    if bytes.is_empty() {
        let reason = "`arr_0` has no images".to_string();
        return Err(RecipeError::NoExamples { path: path.to_path_buf(), reason });
    }
    // In place, for they may be most of the memory.
    let mut planes = Vec::with_capacity(height * width * channels);
    for image in bytes.chunks_exact_mut(height * width * channels).take(count) {
        planes.clear();
        planes.extend((0..channels).flat_map(|c| image.iter().skip(c).step_by(channels)));
        image.copy_from_slice(&planes);
    }
    Ok(Images::from_bytes([channels, height, width], bytes).into())
}

/// Reads the mirror images of the examples at these places.
pub(crate) fn read_mirrored(data: &AnyDataset, indices: &[usize]) -> Result<Vec<f32>, RecipeError> {
    let size = data.shape().iter().product::<usize>();
    let mut values = vec![0.0; indices.len() * size];
    for (&index, into) in indices.iter().zip(values.chunks_exact_mut(size.max(1))) {
        data.read_mirrored(index, into)?;
    }
    Ok(values)
}

/// Reads the examples at these places.
pub(crate) fn read(data: &AnyDataset, indices: &[usize]) -> Result<Vec<f32>, RecipeError> {
    Ok(data.gather(indices)?.0.iter::<f32>().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::samples::Samples;

    #[test]
    fn a_published_data_set_may_be_in_a_folder_with_capitals() {
        let folder = tempfile::tempdir().unwrap();
        assert!(published(folder.path()).is_none());
        fs::create_dir(folder.path().join("FashionMNIST")).unwrap();
        fs::write(folder.path().join("FashionMNIST/Train-images-idx3-UBYTE"), "").unwrap();
        assert!(matches!(published(folder.path()), Some(DataConfig::Mnist(_))));
    }

    /// Of CIFAR-100 the folder's own name is no part of it; pictures may be called after the data.
    #[test]
    fn a_folder_of_cifar_is_known_by_its_files() {
        let is_cifar = |files: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            files.iter().for_each(|file| fs::write(folder.path().join(file), "").unwrap());
            matches!(published(folder.path()), Some(DataConfig::Cifar(_)))
        };
        assert!(is_cifar(&["meta", "test", "train"]) && is_cifar(&["train.bin"]));
        assert!(is_cifar(&["cifar-100-python.tar.gz"]) && is_cifar(&["data_batch_1"]));
        assert!(!is_cifar(&["cifar-10-0001.png", "train-1.png"]) && !is_cifar(&["train", "test"]));
    }

    #[test]
    fn whole_numbers_are_no_samples() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.safetensors");
        let head = br#"{"samples":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}}"#;
        fs::write(&path, [&(head.len() as u64).to_le_bytes()[..], head, &[1, 2, 3, 4]].concat()).unwrap();
        let refused = open(&path, None, &Watch::default());
        assert!(matches!(refused, Err(RecipeError::NoExamples { reason, .. }) if reason.contains("U8")));
    }

    /// Of as many channels as images have, too.
    #[test]
    fn latents_are_no_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.safetensors");
        for is_latent in [false, true] {
            let start = vec![0.0; 12];
            let samples = Samples { values: start.clone(), start, is_latent, ..Samples::none(vec![3, 2, 2]) };
            samples.write_tensors(&path, None).unwrap();
            let (data, of_pixels) = open(&path, None, &Watch::default()).unwrap();
            assert_eq!((data.shape(), of_pixels), (&[3, 2, 2][..], !is_latent));
        }
    }

    /// A gray picture does not make the others gray.
    #[test]
    fn a_folder_of_gray_pictures_may_be_in_color() {
        let folder = tempfile::tempdir().unwrap();
        let gray = Samples { values: vec![0.5; 4], ..Samples::none(vec![1, 1, 2]) };
        gray.write_images(folder.path(), 0).unwrap();
        let shape = || shape_in_color(folder.path(), &Watch::default()).unwrap();
        assert_eq!(shape(), Some(vec![3, 1, 2]));
        let (data, _) = open(folder.path(), shape().as_deref(), &Watch::default()).unwrap();
        assert_eq!((data.len(), data.shape()), (2, &[3, 1, 2][..]));
        fs::write(folder.path().join("train-images-idx3-ubyte"), "").unwrap();
        assert_eq!(shape(), None);
    }
}

//! Images as a variational autoencoder has encoded them beforehand, to train in its latent space.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{
    DataError,
    dataset::{Dataset, check_index},
    image_folder::has_extension,
    shard::{MIRRORED, Shard},
};

/// Latents in safetensors files, read from there one by one: ImageNet's would not fit into most memories.
///
/// A file, or shard, has these tensors; it may have others, which are ignored.
///
/// - `latent_mean`: `[n, channels, height, width]` in F32, F16 or BF16, the means that the encoder gives for the images
/// - `latent_mean_flip`: the same for the mirrored images; may be missing, then in all shards
/// - `label`: `[n]` in integers of any size, the classes
///
/// `n` may differ between shards, the shape of a latent may not. An example is `latent · scale + shift`, as
/// [`LatentsConfig`] says. Values that are not finite are passed on: to find them, everything would have to be read.
///
/// The mirror image of an example is the latent of the mirrored image, which is not the mirrored latent. Without
/// `latent_mean_flip` there is none, and [`Batches::flip_horizontally`](crate::Batches::flip_horizontally) panics.
///
/// In memory are the labels, eight bytes each. All files stay open, so the system must allow a process as many open
/// files as there are shards. To give one `Latents` to several users, wrap it in an `Arc`.
pub struct Latents {
    config: LatentsConfig,
    shape: [usize; 3],
    shards: Vec<Shard>,
    /// For each shard, the examples in it and in those before it.
    ends: Vec<usize>,
    mirrored: bool,
}

/// What the numbers in the files of [`Latents`] mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentsConfig {
    /// The number of classes, at least 1; labels lie below it.
    pub classes: usize,
    /// What a latent is multiplied by, so that its values have a variance of about 1.
    pub scale: f32,
    /// What is added after that.
    pub shift: f32,
}

impl Default for LatentsConfig {
    /// ImageNet's 1000 classes; scale 0.18215 and no shift, as of Stable Diffusion's first autoencoders.
    fn default() -> Self {
        Self { classes: 1000, scale: 0.18215, shift: 0.0 }
    }
}

impl Latents {
    /// Opens a shard, or all shards in a folder, `*.safetensors`, in the order of their names.
    ///
    /// Reads their headers and labels, but no latents. Files whose names begin with a dot are ignored.
    ///
    /// # Errors
    /// If a folder has no shard; if a file cannot be read, is not a safetensors file, ends before or after the end of
    /// its last tensor, or lacks a tensor; if a tensor has another shape or type than above, or another shape than in
    /// the first shard; if only some shards have `latent_mean_flip`; if a label is negative or not below
    /// `config.classes`.
    ///
    /// # Panics
    /// If there are no classes, or scale and shift are not finite, or the scale is zero.
    pub fn open(path: impl AsRef<Path>, config: LatentsConfig) -> Result<Self, DataError> {
        let LatentsConfig { classes, scale, shift } = config;
        assert!(classes > 0, "{classes} classes were asked for, expected at least 1");
        assert!(
            scale.is_finite() && scale != 0.0 && shift.is_finite(),
            "latents are scaled by {scale} and shifted by {shift}, expected finite numbers and no scale of 0",
        );
        let mut shards: Vec<Shard> = Vec::new();
        let mut ends = Vec::new();
        for path in paths(path.as_ref())? {
            let shard = Shard::open(&path, classes)?;
            if let Some(first) = shards.first() {
                check_alike(first, &shard)?;
            }
            ends.push(ends.last().unwrap_or(&0) + shard.labels.len());
            shards.push(shard);
        }
        let Some(first) = shards.first() else {
            return Err(DataError::NoneInFolder {
                folder: path.as_ref().to_owned(),
                wanted: "file named *.safetensors",
            });
        };
        let (shape, mirrored) = (first.shape, first.has_mirrored());
        Ok(Self { config, shape, shards, ends, mirrored })
    }

    /// The number of classes of the [`LatentsConfig`]; labels lie below it, and need not reach it.
    pub fn num_classes(&self) -> usize {
        self.config.classes
    }

    /// Reads the latent of an image or of the mirrored image.
    fn read_either(&self, index: usize, mirrored: bool, into: &mut [f32]) -> usize {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        assert!(into.len() == size, "room for {} values was given, expected {size}", into.len());
        let number = self.ends.partition_point(|&end| end <= index);
        let shard = &self.shards[number];
        let row = index + shard.labels.len() - self.ends[number];
        if let Err(error) = shard.read(row, mirrored, into) {
            panic!("cannot read {}: {error}", shard.path.display());
        }
        for x in into {
            *x = *x * self.config.scale + self.config.shift;
        }
        shard.labels[row]
    }
}

impl Dataset for Latents {
    type Label = usize;

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads a latent from its file.
    ///
    /// # Panics
    /// As [`Dataset::read`] says; and if the file can no longer be read, with its path.
    fn read(&self, index: usize, into: &mut [f32]) -> usize {
        self.read_either(index, false, into)
    }

    /// Reads the latent of the mirrored image.
    ///
    /// # Panics
    /// As [`read`](Self::read), or if the shards have no tensor `latent_mean_flip`.
    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> usize {
        if let Err(why) = self.can_mirror() {
            panic!("{why}");
        }
        self.read_either(index, true, into)
    }

    fn can_mirror(&self) -> Result<(), String> {
        match &self.shards[..] {
            [first, ..] if !self.mirrored => Err(format!(
                "{} has no tensor {MIRRORED}, expected the latents of the mirrored images there",
                first.path.display(),
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Latents {
    /// Leaves out the labels, and names no file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latents")
            .field("len", &self.len())
            .field("shape", &self.shape)
            .field("shards", &self.shards.len())
            .field("mirrored", &self.mirrored)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The file itself, or the shards in a folder in the order of their names.
fn paths(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && has_extension(&entry.path(), &["safetensors"]) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Compares a shard with the first one.
fn check_alike(first: &Shard, shard: &Shard) -> Result<(), DataError> {
    let ([c, h, w], [n, ..]) = (first.shape, [shard.labels.len()]);
    if shard.shape != first.shape {
        return Err(DataError::TensorShape {
            path: shard.path.clone(),
            name: "latent_mean",
            found: [&[n], &shard.shape[..]].concat(),
            expected: format!("[n, {c}, {h}, {w}] as in {}", first.path.display()),
        });
    }
    let (with, without) = match (first.has_mirrored(), shard.has_mirrored()) {
        (true, false) => (first, shard),
        (false, true) => (shard, first),
        _ => return Ok(()),
    };
    Err(DataError::SomeMirrored { with: with.path.clone(), without: without.path.clone(), name: MIRRORED })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use diffusion_core::{
        network::Labels,
        random::{Purpose, Stream},
    };
    use safetensors::Dtype;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        Batches,
        shard::{f32s, safetensors},
    };

    const PLAIN: LatentsConfig = LatentsConfig { classes: 1000, scale: 1.0, shift: 0.0 };

    /// `n` latents of 2 × 1 × 2 numbers: those of latent `i` are `i`, `i + ¼`, `i + ½` and `i + ¾`, its label is `i`,
    /// and the numbers of its mirrored image are 1000 greater.
    fn shard(first: usize, n: usize, mirrored: bool) -> Vec<u8> {
        let numbers = |offset: f32| f32s((4 * first..4 * (first + n)).map(|i| i as f32 / 4.0 + offset));
        let labels = (first..first + n).flat_map(|i| (i as u16).to_le_bytes()).collect();
        let shape = [n, 2, 1, 2];
        let mut tensors = vec![
            ("latent_mean", Dtype::F32, &shape[..], numbers(0.0)),
            ("label", Dtype::U16, &shape[..1], labels),
        ];
        if mirrored {
            tensors.push((MIRRORED, Dtype::F32, &shape, numbers(1000.0)));
        }
        safetensors(&tensors)
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    /// Three shards of 3, 1 and 2 latents, and what does not belong to them.
    fn shards(mirrored: bool) -> TempDir {
        folder(&[
            ("b.safetensors", shard(4, 2, mirrored)),
            ("a-2.safetensors", shard(3, 1, mirrored)),
            ("a-10.safetensors", shard(0, 3, mirrored)),
            (".a-1.safetensors", vec![]),
            ("notes.txt", vec![]),
        ])
    }

    /// Numbers and label of latent `index`.
    fn read(data: &Latents, index: usize, mirrored: bool) -> ([f32; 4], usize) {
        let mut into = [0.0; 4];
        let label = if mirrored { data.read_mirrored(index, &mut into) } else { data.read(index, &mut into) };
        (into, label)
    }

    fn latent(index: usize, mirrored: bool) -> ([f32; 4], usize) {
        let first = index as f32 + if mirrored { 1000.0 } else { 0.0 };
        ([first, first + 0.25, first + 0.5, first + 0.75], index)
    }

    /// The error's message, with an ellipsis for the way to the folder.
    #[track_caller]
    fn message(folder: &TempDir) -> String {
        let error = Latents::open(folder, PLAIN).expect_err("the folder is not as it should be").to_string();
        error.replace(&folder.path().display().to_string(), "…")
    }

    #[test]
    fn shards_are_read_in_the_order_of_their_names() {
        let folder = shards(true);
        let data = Latents::open(&folder, PLAIN).unwrap();
        assert_eq!((data.len(), data.shape(), data.num_classes()), (6, &[2, 1, 2][..], 1000));
        for index in [5, 0, 3, 1, 4, 2] {
            for mirrored in [false, true] {
                assert_eq!(read(&data, index, mirrored), latent(index, mirrored));
            }
        }
        let one = Latents::open(folder.path().join("b.safetensors"), PLAIN).unwrap();
        assert_eq!((one.len(), read(&one, 1, false)), (2, latent(5, false)));
    }

    #[test]
    fn values_are_scaled_and_shifted() {
        let folder = shards(true);
        let data = Latents::open(&folder, LatentsConfig { scale: 0.5, shift: -3.0, ..PLAIN }).unwrap();
        assert_eq!(read(&data, 2, false).0, [-2.0, -1.875, -1.75, -1.625]);
        assert_eq!(read(&data, 2, true).0, [498.0, 498.125, 498.25, 498.375]);
        let data = Latents::open(&folder, LatentsConfig::default()).unwrap();
        assert_eq!(read(&data, 4, false).0, [4.0, 4.25, 4.5, 4.75].map(|x: f32| x * 0.18215));
    }

    #[test]
    fn values_that_are_not_finite_are_passed_on() {
        let values = f32s([f32::NAN, f32::INFINITY]);
        let bytes = safetensors(&[
            ("latent_mean", Dtype::F32, &[1, 1, 1, 2], values),
            ("label", Dtype::U8, &[1], vec![0]),
        ]);
        let data = Latents::open(folder(&[("a.safetensors", bytes)]), PLAIN).unwrap();
        let mut into = [0.0; 2];
        data.read(0, &mut into);
        assert!(into[0].is_nan() && into[1] == f32::INFINITY, "{into:?}");
    }

    /// Mirrored are the same examples as of any other data set, but not by mirroring them.
    #[test]
    fn batches_take_the_latents_of_mirrored_images() {
        let folder = shards(true);
        let data = Arc::new(Latents::open(&folder, PLAIN).unwrap());
        let mut count = [0, 0];
        for (epoch, (examples, Labels(labels))) in
            (0..).zip(Batches::new(data, 6, 5).flip_horizontally().take(20))
        {
            let values = examples.to_vec::<f32>().unwrap();
            for (values, index) in values.chunks(4).zip(labels) {
                let mirrored = Stream::new(5, Purpose::Flip, epoch, index as u64).uniform() < 0.5;
                assert_eq!(values, latent(index, mirrored).0);
                count[usize::from(mirrored)] += 1;
            }
        }
        assert!(count.iter().all(|&n| n > 30), "{count:?} of 120 are mirrored or not");
    }

    #[test]
    fn threads_read_at_the_same_time() {
        let folder = folder(&[("a.safetensors", shard(0, 300, true))]);
        let data = &Latents::open(&folder, PLAIN).unwrap();
        thread::scope(|scope| {
            for t in 0..4 {
                scope.spawn(move || {
                    for i in 0..3000 {
                        let (index, mirrored) = ((i * 7 + t * 75) % 300, (i + t) % 2 == 0);
                        assert_eq!(read(data, index, mirrored), latent(index, mirrored));
                    }
                });
            }
        });
    }

    #[test]
    fn all_shards_must_be_alike() {
        let other = safetensors(&[
            ("latent_mean", Dtype::F32, &[5, 2, 2, 1], f32s([0.0; 20])),
            ("label", Dtype::U8, &[5], vec![0; 5]),
        ]);
        let expected = "…/b.safetensors has the tensor latent_mean of shape [5, 2, 2, 1], expected [n, 2, 1, 2] as in \
                        …/a.safetensors";
        let files = [("a.safetensors", shard(0, 3, false)), ("b.safetensors", other)];
        assert_eq!(message(&folder(&files)), expected);

        let files = [("a.safetensors", shard(0, 3, false)), ("b.safetensors", shard(3, 2, true))];
        let expected = "…/b.safetensors has a tensor latent_mean_flip and …/a.safetensors has none, expected it in all \
                        shards or in none";
        assert_eq!(message(&folder(&files)), expected);
        let files = [("b.safetensors", shard(0, 3, false)), ("a.safetensors", shard(3, 2, true))];
        let expected = "…/a.safetensors has a tensor latent_mean_flip and …/b.safetensors has none, expected it in all \
                        shards or in none";
        assert_eq!(message(&folder(&files)), expected);
    }

    #[test]
    fn labels_must_name_a_class() {
        let folder = shards(false);
        let open = |classes| Latents::open(&folder, LatentsConfig { classes, ..PLAIN });
        assert_eq!(open(6).unwrap().num_classes(), 6);
        let error = open(5).expect_err("the last label is 5").to_string();
        assert!(
            error.ends_with("b.safetensors gives example 1 the label 5, expected a label below 5"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_without_shards_is_an_error() {
        let nothing = folder(&[("notes.txt", vec![]), (".a.safetensors", shard(0, 1, true))]);
        assert_eq!(message(&nothing), "found no file named *.safetensors in …");
        let missing = nothing.path().join("nothing");
        let error = Latents::open(&missing, PLAIN).expect_err("there is no such file").to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", missing.display())), "{error}");
    }

    #[test]
    fn a_broken_shard_is_named() {
        let broken = folder(&[("a.safetensors", shard(0, 3, true)), ("b.safetensors", vec![0; 3])]);
        assert_eq!(message(&broken), "…/b.safetensors ends after 3 bytes, expected 8");
    }

    #[test]
    fn debugging_names_no_file() {
        let found = format!("{:?}", Latents::open(shards(true), PLAIN).unwrap());
        let expected = "Latents { len: 6, shape: [2, 1, 2], shards: 3, mirrored: true, config: LatentsConfig { \
                        classes: 1000, scale: 1.0, shift: 0.0 }, .. }";
        assert_eq!(found, expected);
    }

    #[test]
    #[should_panic(expected = "a-10.safetensors: the file has become shorter")]
    fn a_file_that_becomes_shorter_panics() {
        let folder = shards(true);
        let data = Latents::open(&folder, PLAIN).unwrap();
        fs::write(folder.path().join("a-10.safetensors"), "short").unwrap();
        assert_eq!(read(&data, 3, false), latent(3, false));
        read(&data, 0, false);
    }

    #[test]
    #[should_panic(
        expected = "a-10.safetensors has no tensor latent_mean_flip, expected the latents of the mirrored"
    )]
    fn batches_of_latents_that_have_no_mirrored_ones_panic() {
        let _ = Batches::new(Latents::open(shards(false), PLAIN).unwrap(), 2, 0).flip_horizontally();
    }

    #[test]
    #[should_panic(
        expected = "a-10.safetensors has no tensor latent_mean_flip, expected the latents of the mirrored"
    )]
    fn latents_that_have_no_mirrored_ones_panic() {
        read(&Latents::open(shards(false), PLAIN).unwrap(), 0, true);
    }

    #[test]
    #[should_panic(expected = "0 classes were asked for, expected at least 1")]
    fn no_classes_panic() {
        let _ = Latents::open("", LatentsConfig { classes: 0, ..PLAIN });
    }

    #[test]
    #[should_panic(
        expected = "latents are scaled by 0 and shifted by 0, expected finite numbers and no scale of 0"
    )]
    fn a_scale_of_zero_panics() {
        let _ = Latents::open("", LatentsConfig { scale: 0.0, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "latents are scaled by inf and shifted by 0")]
    fn an_infinite_scale_panics() {
        let _ = Latents::open("", LatentsConfig { scale: f32::INFINITY, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "latents are scaled by 1 and shifted by NaN")]
    fn a_shift_that_is_no_number_panics() {
        let _ = Latents::open("", LatentsConfig { shift: f32::NAN, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "room for 3 values was given, expected 4")]
    fn room_for_another_size_panics() {
        Latents::open(shards(true), PLAIN).unwrap().read(0, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "example 6 was asked for, expected an index below 6")]
    fn an_index_outside_panics() {
        Latents::open(shards(true), PLAIN).unwrap().read(6, &mut [0.0; 4]);
    }
}

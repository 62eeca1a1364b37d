//! Images as a variational autoencoder has encoded them beforehand, to train in its latent space.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use diffusion_core::watch::Watch;
use diffusion_weights::TensorFile;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    codec::ScaledLatents,
    data_kind::{DataKind, ModelInput},
    dataset::{Dataset, check_index},
    error::{DataError, Problem},
    identity,
    open_files::OpenFiles,
    shard::{self, MIRRORED, Shard},
    source::has_extension,
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
/// [`LatentsConfig`] says. A latent with a value that is not finite is an error when it is read.
///
/// The mirror image of an example is the latent of the mirrored image, which is not the mirrored latent. Without
/// `latent_mean_flip` there is none, and [`Batches::flip_horizontally`](crate::Batches::flip_horizontally) panics.
///
/// In memory are the labels, eight bytes each. Some 200 files are open at a time, or fewer where the system allows a
/// process no more. To give one `Latents` to several users, wrap it in an `Arc`.
pub struct Latents {
    config: LatentsConfig,
    shape: [usize; 3],
    shards: Vec<Shard>,
    files: OpenFiles<TensorFile>,
    /// For each shard, the examples in it and in those before it.
    ends: Vec<usize>,
    mirrored: bool,
    /// Of each shard, the hash of its name in the folder; of a file alone that of no name.
    names: Vec<u64>,
}

/// What the values in the files of [`Latents`] mean.
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

impl LatentsConfig {
    /// Whether latents can be read so.
    ///
    /// # Errors
    /// If there are no classes, or scale and shift are not finite, or the scale is zero or nearly so.
    pub fn validate(&self) -> Result<(), DataError> {
        let Self { classes, scale, shift } = *self;
        let invalid = |setting, reason: String| Err(Problem::invalid(setting, reason).into());
        if classes == 0 {
            return invalid("classes", "0, expected at least 1".to_owned());
        }
        if !scale.is_normal() {
            return invalid("scale", format!("{scale}, expected a finite number other than 0"));
        }
        if !shift.is_finite() {
            return invalid("shift", format!("{shift}, expected a finite number"));
        }
        Ok(())
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
    /// If [`LatentsConfig::validate`] says why `config` cannot be used.
    pub fn open(path: impl AsRef<Path>, config: LatentsConfig) -> Result<Self, DataError> {
        Self::open_watched(path.as_ref(), config, true, &Watch::default())
    }

    /// The same; looks at no labels, and gives all latents the label 0, if it is not labeled.
    fn open_watched(
        path: &Path,
        config: LatentsConfig,
        is_labeled: bool,
        watch: &Watch,
    ) -> Result<Self, DataError> {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let (mut shards, mut ends) = (Vec::<Shard>::new(), Vec::new());
        let files = OpenFiles::new();
        let paths = paths(path)?;
        let (total, classes) = (paths.len() as u64, is_labeled.then_some(config.classes));
        for (number, path) in paths.iter().enumerate() {
            watch.report("opening shards", number as u64, Some(total))?;
            let (shard, _) = files.get(number, || Shard::open(path, classes, watch))?;
            let Some(shard) = shard else { continue };
            if let Some(first) = shards.first() {
                check_alike(first, &shard)?;
            }
            ends.push(ends.last().unwrap_or(&0) + shard.len);
            shards.push(shard);
        }
        let Some(first) = shards.first() else {
            return Err(Problem::missing("file named *.safetensors").at(path).with_hint(HINT));
        };
        let (shape, mirrored) = (first.shape, first.has_mirrored());
        let name = |shard: &Shard| shard.path.strip_prefix(path).map(Path::to_path_buf).unwrap_or_default();
        let names =
            shards.iter().map(|shard| identity::hash(name(shard).as_os_str().as_encoded_bytes())).collect();
        Ok(Self { config, shape, shards, files, ends, mirrored, names })
    }

    /// The number of classes of the [`LatentsConfig`]; labels lie below it, and need not reach it.
    pub fn num_classes(&self) -> usize {
        self.config.classes
    }

    /// The number of the shard of an example, and its row there.
    fn place(&self, index: usize) -> (usize, usize) {
        let number = self.ends.partition_point(|&end| end <= index);
        (number, index + self.shards[number].len - self.ends[number])
    }

    /// Reads the latent of an image or of the mirrored image.
    fn read_either(&self, index: usize, mirrored: bool, into: &mut [f32]) -> Result<usize, DataError> {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        assert!(into.len() == size, "room for {} values was given, expected {size}", into.len());
        let (number, row) = self.place(index);
        let shard = &self.shards[number];
        let (_, file) = self.files.get(number, || Ok(((), shard.reopen()?)))?;
        shard::read(&file, row, mirrored, into)?;
        let LatentsConfig { scale, shift, .. } = self.config;
        ScaledLatents { scale: scale.into(), shift: shift.into() }.encode_in_place(into);
        Ok(shard.label(row))
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
    /// # Errors
    /// If the file can no longer be read, or a value is not finite.
    fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
        self.read_either(index, false, into)
    }

    /// Reads the latent of the mirrored image.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read), or if the shards have no tensor `latent_mean_flip`.
    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
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

    /// Of the name of the shard and the row in it.
    fn identity(&self, index: usize) -> u64 {
        check_index(index, self.len());
        let (number, row) = self.place(index);
        identity::hash(&[self.names[number], row as u64].map(u64::to_le_bytes).concat())
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

/// Latents of images in safetensors shards, as a configuration names them; the network sees them times `scale` plus
/// `shift`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentShardsConfig {
    /// A shard, or the folder that holds all shards.
    pub path: PathBuf,
    /// What a latent is multiplied by, so that its values have a variance of about 1.
    pub scale: f64,
    /// What is added after that.
    pub shift: f64,
}

impl LatentShardsConfig {
    fn with_classes(&self, classes: usize) -> LatentsConfig {
        LatentsConfig { classes, scale: self.scale as f32, shift: self.shift as f32 }
    }
}

impl DataKind for LatentShardsConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn validate(&self) -> Result<(), DataError> {
        self.with_classes(1).validate()
    }

    /// Shards do not tell how many classes there are, and for a network without classes no label is looked at.
    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let open = |classes, is_labeled| {
            Latents::open_watched(&self.path, self.with_classes(classes), is_labeled, watch)
        };
        match input.num_classes {
            Some(classes) => Ok(AnyDataset::labeled(open(classes, true)?, classes)),
            None => Ok(AnyDataset::unlabeled(open(1, false)?.unlabeled())),
        }
    }

    fn may_be_non_finite(&self) -> bool {
        true
    }

    fn latents(&self) -> Option<ScaledLatents> {
        Some(ScaledLatents { scale: self.scale, shift: self.shift })
    }
}

const HINT: &str = "encode the images first: a shard is a safetensors file with the tensors `latent_mean` and, for a \
                    network with labels, `label`";

/// The file itself, or the shards in a folder in the order of their names.
fn paths(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = DataError::io(path);
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
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
    let ([c, h, w], n) = (first.shape, shard.len);
    if shard.shape != first.shape {
        let part = "the tensor latent_mean".to_owned();
        let found = [&[n], &shard.shape[..]].concat().into();
        let expected = format!("[n, {c}, {h}, {w}] as in {}", first.path.display());
        return Err(Problem::Shape { part, found, expected }.at(&shard.path));
    }
    let (with, without) = match (first.has_mirrored(), shard.has_mirrored()) {
        (true, false) => (first, shard),
        (false, true) => (shard, first),
        _ => return Ok(()),
    };
    let found = format!("has a tensor {MIRRORED} and {} has none", without.path.display());
    Err(Problem::format(found, "it in all shards or in none").at(&with.path))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use diffusion_core::{network::Labels, random::Stream};
    use safetensors::Dtype;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        Batches, purpose,
        shard::{f32s, safetensors},
    };

    const PLAIN: LatentsConfig = LatentsConfig { classes: 1000, scale: 1.0, shift: 0.0 };

    /// `n` latents of 2 × 1 × 2 values: those of latent `i` are `i`, `i + ¼`, `i + ½` and `i + ¾`, its label is `i`,
    /// and the values of its mirrored image are 1000 greater.
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

    /// A new shard changes no other's; a file alone has no name.
    #[test]
    fn shard_and_row_are_an_identity() {
        let files = [("b.safetensors", shard(0, 2, false)), ("d.safetensors", shard(2, 1, false))];
        let few = folder(&files);
        let more = folder(&[&files[..], &[("a.safetensors", shard(9, 1, false))]].concat());
        let identities = |path: &Path| {
            let data = Latents::open(path, PLAIN).unwrap();
            Vec::from_iter((0..data.len()).map(|index| data.identity(index)))
        };
        let [few, more] = [few.path(), more.path()].map(identities);
        assert_eq!(few, more[1..]);
        assert!(Vec::from_iter(more.iter().collect::<std::collections::BTreeSet<_>>()).len() == 4);

        let (here, there) = (folder(&files), folder(&[("c.safetensors", shard(0, 2, false))]));
        let file = |folder: &TempDir, name| identities(&folder.path().join(name));
        assert_eq!(file(&here, "b.safetensors"), file(&there, "c.safetensors"));
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

    /// Values and label of latent `index`.
    fn read(data: &Latents, index: usize, mirrored: bool) -> ([f32; 4], usize) {
        let mut into = [0.0; 4];
        let label = if mirrored { data.read_mirrored(index, &mut into) } else { data.read(index, &mut into) };
        (into, label.unwrap())
    }

    fn latent(index: usize, mirrored: bool) -> ([f32; 4], usize) {
        let first = index as f32 + if mirrored { 1000.0 } else { 0.0 };
        ([first, first + 0.25, first + 0.5, first + 0.75], index)
    }

    /// What is wrong, and where below the folder.
    #[track_caller]
    fn problem(folder: &TempDir) -> (String, Problem) {
        let error = Latents::open(folder, PLAIN).expect_err("the folder is not as it should be");
        let path = error.path.expect("a file or folder is not as it should be");
        let below = path.strip_prefix(folder.path()).expect("it lies in the folder");
        (below.display().to_string(), error.problem)
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

    /// Wherever it lies, and told by its file: batches would be skipped, and validation losses not numbers for ever.
    #[test]
    fn values_that_are_not_finite_are_errors_when_they_are_read() {
        let file = |values: [f32; 4]| {
            safetensors(&[
                ("latent_mean", Dtype::F32, &[2, 2, 1, 1][..], f32s(values)),
                ("label", Dtype::U8, &[2], vec![0, 1]),
            ])
        };
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.safetensors"), file([0.0; 4])).unwrap();
        fs::write(folder.path().join("b.safetensors"), file([0.0, 0.0, 1.0, f32::NAN])).unwrap();
        let data = Latents::open(folder.path(), PLAIN).unwrap();
        for index in 0..3 {
            data.read(index, &mut [0.0; 2]).unwrap();
        }
        let error = data.read(3, &mut [0.0; 2]).unwrap_err();
        assert!(error.path.as_ref().is_some_and(|path| path.ends_with("b.safetensors")), "{error}");
        assert!(matches!(error.problem, Problem::NonFinite { index: 1, position: 1, .. }), "{error}");
    }

    /// Mirrored are the same examples as of any other data set, but not by mirroring them.
    #[test]
    fn batches_take_the_latents_of_mirrored_images() {
        let folder = shards(true);
        let data = Arc::new(Latents::open(&folder, PLAIN).unwrap());
        let mut count = [0, 0];
        for (epoch, batch) in (0..).zip(Batches::new(data, 6, 5).flip_horizontally().take(20)) {
            let (examples, Labels(labels)) = batch.unwrap();
            let values = examples.to_vec::<f32>().unwrap();
            for (values, index) in values.chunks(4).zip(labels) {
                let mirrored = Stream::new(5, purpose::FLIP, epoch, index as u64).uniform() < 0.5;
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
        let files = [("a.safetensors", shard(0, 3, false)), ("b.safetensors", other)];
        match problem(&folder(&files)) {
            (place, Problem::Shape { part, found, expected }) => {
                assert_eq!((&place[..], &part[..]), ("b.safetensors", "the tensor latent_mean"));
                assert_eq!(*found, [5, 2, 2, 1]);
                assert!(expected.starts_with("[n, 2, 1, 2] as in "), "{expected}");
            }
            other => panic!("{other:?}"),
        }

        for [with, without] in [["b.safetensors", "a.safetensors"], ["a.safetensors", "b.safetensors"]] {
            let (place, problem) =
                problem(&folder(&[(without, shard(0, 3, false)), (with, shard(3, 2, true))]));
            assert!(
                matches!(&problem, Problem::Format { found, .. } if found.contains(without)),
                "{problem:?}"
            );
            assert_eq!(place, with);
        }
    }

    #[test]
    fn labels_must_name_a_class() {
        let folder = shards(false);
        let open = |classes| Latents::open(&folder, LatentsConfig { classes, ..PLAIN });
        assert_eq!(open(6).unwrap().num_classes(), 6);
        let error = open(5).expect_err("the last label is 5");
        assert!(matches!(error.problem, Problem::Label { index: 1, found: 5, classes: 5 }), "{error}");
        assert!(error.path.is_some_and(|path| path.ends_with("b.safetensors")));
    }

    #[test]
    fn a_folder_without_shards_is_an_error() {
        let nothing = folder(&[("notes.txt", vec![]), (".a.safetensors", shard(0, 1, true))]);
        let (place, none) = problem(&nothing);
        assert!(place.is_empty() && matches!(none, Problem::Missing { .. }), "{place}: {none:?}");
        let missing = nothing.path().join("nothing");
        let error = Latents::open(&missing, PLAIN).expect_err("there is no such file");
        assert!(matches!(error.problem, Problem::Io(_)), "{error}");
        assert_eq!(error.path, Some(missing));
    }

    #[test]
    fn a_broken_shard_is_named() {
        let broken = folder(&[("a.safetensors", shard(0, 3, true)), ("b.safetensors", vec![0; 3])]);
        let (place, problem) = problem(&broken);
        assert!(matches!(problem, Problem::Decode { .. }), "{problem:?}");
        assert_eq!(place, "b.safetensors");
    }

    #[test]
    fn debugging_names_no_file() {
        let found = format!("{:?}", Latents::open(shards(true), PLAIN).unwrap());
        let expected = "Latents { len: 6, shape: [2, 1, 2], shards: 3, mirrored: true, config: LatentsConfig { \
                        classes: 1000, scale: 1.0, shift: 0.0 }, .. }";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let folder = shards(true);
        let data = Latents::open(&folder, PLAIN).unwrap();
        fs::write(folder.path().join("a-10.safetensors"), "short").unwrap();
        assert_eq!(read(&data, 3, false), latent(3, false));
        let error = data.read(0, &mut [0.0; 4]).unwrap_err();
        assert!(error.path.is_some_and(|path| path.ends_with("a-10.safetensors")));
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
    #[should_panic(expected = "classes: 0, expected at least 1")]
    fn no_classes_panic() {
        let _ = Latents::open("", LatentsConfig { classes: 0, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "scale: 0, expected a finite number other than 0")]
    fn a_scale_of_zero_panics() {
        let _ = Latents::open("", LatentsConfig { scale: 0.0, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "scale: inf, expected a finite number other than 0")]
    fn an_infinite_scale_panics() {
        let _ = Latents::open("", LatentsConfig { scale: f32::INFINITY, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "shift: NaN, expected a finite number")]
    fn a_shift_that_is_no_number_panics() {
        let _ = Latents::open("", LatentsConfig { shift: f32::NAN, ..PLAIN });
    }

    #[test]
    #[should_panic(expected = "room for 3 values was given, expected 4")]
    fn room_for_another_size_panics() {
        let _ = Latents::open(shards(true), PLAIN).unwrap().read(0, &mut [0.0; 3]);
    }

    #[test]
    #[should_panic(expected = "example 6 was asked for, expected an index below 6")]
    fn an_index_outside_panics() {
        let _ = Latents::open(shards(true), PLAIN).unwrap().read(6, &mut [0.0; 4]);
    }
}

//! Images as a variational autoencoder has encoded them beforehand, to train in its latent space.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use diffusion_core::{Tokens, watch::Watch};
use diffusion_weights::TensorFile;

use crate::{
    codec::ScaledLatents,
    dataset::{Dataset, check_index},
    error::{DataError, Problem},
    identity,
    open_files::OpenFiles,
    shard::{self, MIRRORED, Shard},
    shard_name::check_whole,
    source::has_extension,
    texts::Texts,
};

/// Latents in safetensors files, read from there one by one: ImageNet's would not fit into most memories.
///
/// A file, or shard, has these tensors; it may have others, which are ignored.
///
/// - `latent_mean`: `[n, channels, height, width]` in F32, F16 or BF16, the means that the encoder gives for the images
/// - `latent_mean_flip`: the same for the mirrored images; may be missing, then in all shards
/// - `label`: `[n]` in integers of any size, the classes
/// - `text_tokens`: `[m, tokens, width]` in F32, F16 or BF16, the encoded captions, each different one once; and `text`:
///   `[n]` in integers of any size, the row of each image's; [`CaptionedLatents`] reads them
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
    /// The texts of each shard; none where there are none, or they were not asked for.
    texts: Vec<Texts>,
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
    /// If a folder has no shard, or not as many as a [`ShardName`](crate::ShardName) in it tells; if a file cannot be
    /// read, is not a safetensors file, ends before or after the end of its last tensor, or lacks a tensor; if a tensor
    /// has another shape or type than above, or another shape than in the first shard; if only some shards have
    /// `latent_mean_flip`; if a label is negative or not below `config.classes`.
    ///
    /// # Panics
    /// If [`LatentsConfig::validate`] says why `config` cannot be used.
    pub fn open(path: impl AsRef<Path>, config: LatentsConfig) -> Result<Self, DataError> {
        Self::open_watched(path.as_ref(), config, Told::Labels, &Watch::default())
    }

    /// The same; looks at no labels that are not `told`, and gives all latents the label 0 then.
    pub(crate) fn open_watched(
        path: &Path,
        config: LatentsConfig,
        told: Told,
        watch: &Watch,
    ) -> Result<Self, DataError> {
        if let Err(error) = config.validate() {
            panic!("{error}");
        }
        let (mut shards, mut ends, mut texts) = (Vec::<Shard>::new(), Vec::new(), Vec::new());
        let files = OpenFiles::new();
        let paths = paths(path)?;
        let (total, classes) = (paths.len() as u64, (told == Told::Labels).then_some(config.classes));
        for (number, path) in paths.iter().enumerate() {
            watch.report("opening shards", number as u64, Some(total))?;
            let (shard, file) = files.get(number, || Shard::open(path, classes, watch))?;
            let Some(shard) = shard else { continue };
            let found = if told == Told::Texts { Texts::find(&shard, &file, watch)? } else { None };
            if let Some(first) = shards.first() {
                check_alike(first, &shard)?;
                check_texts((first, texts.first()), (&shard, found.as_ref()))?;
            }
            texts.extend(found);
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
        Ok(Self { config, shape, shards, files, ends, mirrored, names, texts })
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

    /// The file of a shard, which is opened if it is not open.
    fn file(&self, number: usize) -> Result<Arc<TensorFile>, DataError> {
        let (_, file) = self.files.get(number, || {
            let file = self.shards[number].reopen()?;
            if let Some(texts) = self.texts.get(number) {
                texts.check(&file)?;
            }
            Ok(((), file))
        })?;
        Ok(file)
    }

    /// Reads the latent of an image or of the mirrored image.
    fn read_either(&self, index: usize, mirrored: bool, into: &mut [f32]) -> Result<usize, DataError> {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        assert!(into.len() == size, "room for {} values was given, expected {size}", into.len());
        let (number, row) = self.place(index);
        shard::read(&*self.file(number)?, row, mirrored, into)?;
        let LatentsConfig { scale, shift, .. } = self.config;
        ScaledLatents { scale: scale.into(), shift: shift.into() }.encode_in_place(into);
        Ok(self.shards[number].label(row))
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

/// What of the files of latents is told to a network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing.
    Nothing,
    /// Labels, which must be there.
    Labels,
    /// Texts, where there are some.
    Texts,
}

/// [`Latents`] whose label is the image's caption, as a text encoder has encoded it: `[1, tokens, width]`.
///
/// A caption is read from its file with its latent. Of the texts in memory is the row of each latent's, eight bytes.
#[derive(Debug)]
pub struct CaptionedLatents {
    latents: Latents,
    shape: [usize; 2],
}

impl CaptionedLatents {
    /// Opens a shard, or all shards in a folder, as [`Latents::open`] does; looks at the texts, and at no labels.
    ///
    /// # Errors
    /// As [`Latents::open`], but for labels; or if a shard has no texts, or they have another shape or type than said
    /// there, or another shape than in the first shard, or a latent's text is not among them.
    ///
    /// # Panics
    /// If [`LatentsConfig::validate`] says why `config` cannot be used.
    pub fn open(path: impl AsRef<Path>, config: LatentsConfig) -> Result<Self, DataError> {
        let path = path.as_ref();
        let latents = Latents::open_watched(path, config, Told::Texts, &Watch::default())?;
        Self::of(latents).map_err(|_| Problem::missing("tensor text_tokens").at(path).with_hint(NO_TEXTS))
    }

    /// Those that were opened with their texts; the latents again if they have none.
    pub(crate) fn of(latents: Latents) -> Result<Self, Box<Latents>> {
        match latents.texts.first().map(Texts::shape) {
            Some(shape) => Ok(Self { latents, shape }),
            None => Err(Box::new(latents)),
        }
    }

    /// The number of tokens of a caption, and the width of one.
    pub fn text_shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The encoded caption of an example, `[1, tokens, width]`.
    ///
    /// # Errors
    /// If the file can no longer be read, or a value is not finite.
    ///
    /// # Panics
    /// If there is no example `index`.
    pub fn text(&self, index: usize) -> Result<Tokens, DataError> {
        check_index(index, self.latents.len());
        let (number, row) = self.latents.place(index);
        self.latents.texts[number].read(&*self.latents.file(number)?, row)
    }
}

impl Dataset for CaptionedLatents {
    type Label = Arc<Tokens>;

    fn len(&self) -> usize {
        self.latents.len()
    }

    fn shape(&self) -> &[usize] {
        self.latents.shape()
    }

    /// Reads a latent and its caption.
    ///
    /// # Errors
    /// If the file can no longer be read, or a value is not finite.
    fn read(&self, index: usize, into: &mut [f32]) -> Result<Arc<Tokens>, DataError> {
        self.latents.read(index, into)?;
        self.text(index).map(Arc::new)
    }

    /// Reads the latent of the mirrored image, with the same caption.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// As [`read`](Self::read), or if the shards have no tensor `latent_mean_flip`.
    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<Arc<Tokens>, DataError> {
        self.latents.read_mirrored(index, into)?;
        self.text(index).map(Arc::new)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.latents.can_mirror()
    }

    fn identity(&self, index: usize) -> u64 {
        self.latents.identity(index)
    }
}

const HINT: &str = "encode the images first: a shard is a safetensors file with the tensors `latent_mean` and, for a \
                    network with labels, `label`";

const NO_TEXTS: &str =
    "encode the images with captions: each in a text file beside its image, or all in metadata.jsonl";

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
    check_whole(path, &paths)?;
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

/// Compares the texts of a shard with those of the first one.
fn check_texts(first: (&Shard, Option<&Texts>), shard: (&Shard, Option<&Texts>)) -> Result<(), DataError> {
    let (with, without) = match (first.1, shard.1) {
        (Some(one), Some(other)) if one.shape() != other.shape() => {
            let [[tokens, width], found] = [one.shape(), other.shape()];
            let expected = format!("[{tokens}, {width}] as in {}", first.0.path.display());
            let part = "texts".to_owned();
            return Err(Problem::Shape { part, found: found.into(), expected }.at(&shard.0.path));
        }
        (Some(_), None) => (first.0, shard.0),
        (None, Some(_)) => (shard.0, first.0),
        _ => return Ok(()),
    };
    let found = format!("has texts and {} has none", without.path.display());
    Err(Problem::format(found, "them in all shards or in none").at(&with.path))
}

#[cfg(test)]
mod tests {
    use std::thread;

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

    /// A shard of latents as in [`shard`], whose texts have two tokens of width 3: those of text `t` are `t / 8`.
    fn captioned(first: usize, texts: &[i16], of: usize) -> Vec<u8> {
        let n = texts.len();
        let rows = texts.iter().flat_map(|row| row.to_le_bytes()).collect();
        let tokens = f32s((0..of * 6).map(|i| (i / 6) as f32 / 8.0));
        safetensors(&[
            (
                "latent_mean",
                Dtype::F32,
                &[n, 2, 1, 2],
                f32s((0..4 * n).map(|i| (4 * first + i) as f32 / 4.0)),
            ),
            (MIRRORED, Dtype::F32, &[n, 2, 1, 2], f32s(vec![9.0; 4 * n])),
            ("text", Dtype::I16, &[n], rows),
            ("text_tokens", Dtype::F32, &[of, 2, 3], tokens),
            ("text_pooled", Dtype::F32, &[of, 3], f32s(vec![0.0; 3 * of])),
        ])
    }

    fn text(row: usize) -> Tokens {
        Tokens::new(vec![row as f32 / 8.0; 6], [1, 2, 3])
    }

    /// Several latents have one text, and labels are not looked at.
    #[test]
    fn texts_are_read_with_their_latents() {
        let files =
            [("a.safetensors", captioned(0, &[1, 0, 1], 2)), ("b.safetensors", captioned(3, &[2, 0], 3))];
        let folder = folder(&files);
        let data = CaptionedLatents::open(&folder, PLAIN).unwrap();
        assert_eq!((data.len(), data.shape(), data.text_shape()), (5, &[2, 1, 2][..], [2, 3]));
        for (index, row) in [(4, 0), (0, 1), (3, 2), (2, 1), (1, 0)] {
            let mut into = [0.0; 4];
            assert_eq!(*data.read(index, &mut into).unwrap(), text(row), "{index}");
            assert_eq!(into, latent(index, false).0, "{index}");
            assert_eq!(*data.read_mirrored(index, &mut into).unwrap(), text(row), "{index}");
            assert_eq!(into, [9.0; 4]);
        }
        let all = data.gather(&[3, 0]).unwrap().1;
        assert_eq!(all, Tokens::new([text(2).values(), text(1).values()].concat(), [2, 2, 3]));
        let unlabeled = Latents::open_watched(folder.path(), PLAIN, Told::Nothing, &Watch::default());
        assert!(unlabeled.unwrap().texts.is_empty());
    }

    /// What is wrong with a file whose texts are `text` and `text_tokens`.
    #[track_caller]
    fn text_error(text: (Dtype, &[usize], Vec<u8>), tokens: (Dtype, &[usize], Vec<u8>)) -> String {
        let mean = ("latent_mean", Dtype::F32, &[2, 1, 1, 1][..], f32s([0.0; 2]));
        let bytes = safetensors(&[
            mean,
            ("text", text.0, text.1, text.2),
            ("text_tokens", tokens.0, tokens.1, tokens.2),
        ]);
        let folder = folder(&[("a.safetensors", bytes)]);
        let path = folder.path().join("a.safetensors");
        let error = CaptionedLatents::open(&path, PLAIN).and_then(|data| data.text(1)).unwrap_err();
        assert_eq!(error.path.as_deref(), Some(&*path));
        error.to_string().replace(&path.display().to_string(), "…")
    }

    #[test]
    fn texts_that_are_not_as_they_should_be_are_errors() {
        let (rows, tokens) =
            ((Dtype::U8, &[2][..], vec![0, 1]), (Dtype::F32, &[2, 1, 1][..], f32s([0.5; 2])));
        for (rows, tokens, expected) in [
            (rows.clone(), (Dtype::F32, &[2, 1][..], f32s([0.5; 2])), "text_tokens of shape [2, 1]"),
            (rows.clone(), (Dtype::F32, &[0, 1, 1][..], vec![]), "text_tokens of shape [0, 1, 1]"),
            (rows.clone(), (Dtype::F64, &[2, 1, 1][..], vec![0; 16]), "text_tokens of type F64"),
            (rows.clone(), (Dtype::F32, &[1, 1, 1][..], f32s([0.5])), "gives example 1 the text 1, "),
            (
                rows.clone(),
                (Dtype::F32, &[2, 1, 1][..], f32s([0.5, f32::INFINITY])),
                "inf in row 1 of text_tokens, the text of example 1",
            ),
            ((Dtype::I8, &[2][..], vec![0, 255]), tokens.clone(), "gives example 1 the text -1, "),
            ((Dtype::U8, &[1][..], vec![0]), tokens.clone(), "tensor text of shape [1]"),
            ((Dtype::F32, &[2][..], vec![0; 8]), tokens.clone(), "tensor text of type F32"),
        ] {
            let found = text_error(rows, tokens);
            assert!(found.contains(expected), "{found}, expected {expected}");
        }
    }

    #[test]
    fn texts_are_in_all_shards_or_in_none() {
        let open = |files: &[(&str, Vec<u8>)]| CaptionedLatents::open(folder(files), PLAIN).unwrap_err();
        let [with, without] = [captioned(0, &[0, 0, 0], 1), shard(0, 3, true)];
        for (files, place) in [
            ([("a.safetensors", with.clone()), ("b.safetensors", without.clone())], "a.safetensors"),
            ([("a.safetensors", without.clone()), ("b.safetensors", with.clone())], "b.safetensors"),
        ] {
            let error = open(&files);
            assert!(matches!(error.problem, Problem::Format { .. }), "{error}");
            assert!(error.path.as_ref().is_some_and(|path| path.ends_with(place)), "{error}");
        }
        let none = open(&[("a.safetensors", without.clone())]);
        assert!(matches!(none.problem, Problem::Missing { .. }) && none.hint().is_some(), "{none}");
        let wide = safetensors(&[
            ("latent_mean", Dtype::F32, &[1, 2, 1, 2], f32s([0.0; 4])),
            (MIRRORED, Dtype::F32, &[1, 2, 1, 2], f32s([0.0; 4])),
            ("text", Dtype::U8, &[1], vec![0]),
            ("text_tokens", Dtype::F32, &[1, 2, 4], f32s([0.0; 8])),
        ]);
        let error = open(&[("a.safetensors", with.clone()), ("b.safetensors", wide)]);
        assert!(matches!(&error.problem, Problem::Shape { found, .. } if **found == [2, 4]), "{error}");
        let half = safetensors(&[
            ("latent_mean", Dtype::F32, &[1, 2, 1, 2], f32s([0.0; 4])),
            ("text", Dtype::U8, &[1], vec![0]),
        ]);
        let error = open(&[("a.safetensors", half)]);
        assert!(matches!(&error.problem, Problem::Missing { wanted, .. } if wanted.contains("text_tokens")));
    }

    #[test]
    fn texts_of_a_file_that_was_replaced_are_an_error() {
        let folder = folder(&[("a.safetensors", captioned(0, &[0, 1, 1], 2))]);
        let data = CaptionedLatents::open(&folder, PLAIN).unwrap();
        // As if the file had been closed meanwhile.
        let data = CaptionedLatents { latents: Latents { files: OpenFiles::new(), ..data.latents }, ..data };
        for other in [shard(0, 3, true), captioned(0, &[0, 0, 0], 1)] {
            fs::write(folder.path().join("a.safetensors"), other).unwrap();
            assert!(data.text(1).is_err());
            assert!(data.read(1, &mut [0.0; 4]).is_err());
        }
        fs::write(folder.path().join("a.safetensors"), captioned(0, &[0, 1, 1], 2)).unwrap();
        assert_eq!(data.text(1).unwrap(), text(1));
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

//! Samples as other programs take them: single pictures in a folder, or one archive of their bytes. Memory holds one batch.

use crate::config::SamplingConfig;
use crate::error::RecipeError;
use crate::made::partial_of;
use crate::run::SampleRequest;
use crate::samples::Samples;
use crate::task::Task;
use burn::tensor::TensorData;
use diffusion::core::Invalid;
use diffusion::data::{Codec as _, Pixels, write_png};
use diffusion::weights::{NpyKind, NpzWriter, read_regular, write_atomically};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, ErrorKind, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Table;

/// What the file of [`Drawn`] is called.
const ABOUT: &str = "samples.toml";

/// The least digits in the name of a picture.
const DIGITS: usize = 6;

/// Who is given the samples of each batch, as images.
type Take<'a> = dyn FnMut(Samples) -> Result<(), RecipeError> + 'a;

/// Draws the samples of a request, e.g. by [`Run::sample_each`](crate::Run::sample_each), and hands them on as images.
pub type Draw<'a> = dyn Fn(&SampleRequest, &mut Take<'_>) -> Result<(), RecipeError> + 'a;

/// By what a folder of samples was drawn; `samples.toml` in it. What is drawn into the folder later is drawn by the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// The seed of the noise.
    pub seed: u64,
    /// What tells the weights from others, e.g. the step of a checkpoint and the checksums of its files.
    pub model: String,
    /// The labels that were asked for; all classes in turn where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<usize>>,
    /// What tells from others whatever else was asked for: texts, data to begin with, a decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
    /// How they were drawn, but for their number.
    pub sampling: Table,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many samples were drawn.
    pub drawn: usize,
    /// How many were there already.
    pub there: usize,
    /// Of how many that were drawn not all values are finite.
    pub non_finite: usize,
}

/// A folder of samples: a PNG picture of each, called by its number, `000000.png`, and `samples.toml` by what they were drawn.
///
/// Sample i of a seed is the same whatever others are drawn, so that several programs may fill one folder, each with its own
/// range, and one that was stopped goes on.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_recipe::{Drawn, RunConfig, SampleFolder, SampleRequest};
///
/// # let folder = tempfile::tempdir()?;
/// # let out = folder.path().join("samples");
/// let mut config = RunConfig::preset("fashion-dit-small")?;
/// config.set_all(["network.depth=1", "network.head_dim=4", "sampling.count=3", "sampling.steps=2"])?;
/// let run = config.build::<Flex>(&Default::default())?;
/// let request = SampleRequest::of(&config);
/// let drawn = Drawn::of(&request, "not trained".into(), None)?;
/// let written = SampleFolder::open(&out, drawn, false)?
///     .fill(&request, &|request, take| run.sample_each(request, take, &mut |_| {}))?;
/// assert_eq!(written.drawn, 3);
/// assert!(out.join("000002.png").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SampleFolder {
    path: PathBuf,
}

impl Written {
    /// Whether all values that were drawn are finite.
    ///
    /// # Errors
    /// If some are not; the error says of how many samples.
    pub fn check(&self) -> Result<(), RecipeError> {
        match self.non_finite {
            0 => Ok(()),
            count => Err(RecipeError::NonFiniteSamples { count, of: self.drawn }),
        }
    }
}

impl Drawn {
    /// That of the samples of `request`, by the weights that `model` tells from others. `told` tells from others what the
    /// samples are told besides labels, and what they are made of; it may be absent only where they are told nothing else.
    ///
    /// # Errors
    /// If a setting does not fit into TOML.
    pub fn of(request: &SampleRequest, model: String, told: Option<String>) -> Result<Self, RecipeError> {
        let SampleRequest { sampling, seed, labels, .. } = request;
        let mut sampling = Table::try_from(sampling).map_err(RecipeError::write_toml)?;
        sampling.remove("count");
        Ok(Self { seed: *seed, model, labels: labels.clone(), told, sampling })
    }
}

impl SampleFolder {
    /// Finds out whether [`open`](Self::open) can open the folder, before anything long is done for it. Nothing is changed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn check(path: impl AsRef<Path>, drawn: &Drawn, overwrite: bool) -> Result<(), RecipeError> {
        found(path.as_ref(), drawn, overwrite).map(drop)
    }

    /// Makes the folder, or opens one whose samples were drawn by the same. Where they were drawn by something else and
    /// `overwrite` says so, they are removed.
    ///
    /// # Errors
    /// If it has other samples or other files, or the file system refuses.
    pub fn open(path: impl AsRef<Path>, drawn: Drawn, overwrite: bool) -> Result<Self, RecipeError> {
        let path = path.as_ref();
        let folder = Self { path: path.to_path_buf() };
        match found(path, &drawn, overwrite)? {
            Found::Same => return Ok(folder),
            Found::Nothing => fs::create_dir_all(path).map_err(RecipeError::io("create", path))?,
            Found::Others => {
                for picture in pictures(path)? {
                    fs::remove_file(&picture).map_err(RecipeError::io("remove", &picture))?;
                }
            }
        }
        let text = toml::to_string(&drawn).map_err(RecipeError::write_toml)?;
        let about = path.join(ABOUT);
        let written = write_atomically(&about, |file| file.write_all(text.as_bytes()));
        written.map_err(RecipeError::io("write", &about))?;
        Ok(folder)
    }

    /// Draws the samples of `request` that are not there yet. What is there stays, whatever its pixels.
    ///
    /// # Errors
    /// What `draw` returns; or if the samples are no images, or the file system refuses.
    pub fn fill(&self, request: &SampleRequest, draw: &Draw<'_>) -> Result<Written, RecipeError> {
        let SampleRequest { first, sampling: SamplingConfig { count, .. }, task, .. } = request;
        let all = *first..first.saturating_add(*count);
        let mut missing = self.missing(all.clone());
        if matches!(task, Task::Interpolate(_)) && !missing.is_empty() {
            // Its samples depend on how many there are.
            missing = vec![all];
        }
        let drawn = missing.iter().map(Range::len).sum();
        let mut written = Written { drawn, there: count - drawn, non_finite: 0 };
        for Range { start, end } in missing {
            let sampling = SamplingConfig { count: end - start, ..request.sampling.clone() };
            let part = SampleRequest { sampling, first: start, ..request.clone() };
            let mut at = start;
            draw(&part, &mut |samples| {
                samples.write_images(&self.path, at)?;
                at += samples.count();
                written.non_finite += samples.non_finite();
                Ok(())
            })?;
        }
        Ok(written)
    }

    /// How many pictures there are.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn count(&self) -> Result<usize, RecipeError> {
        Ok(pictures(&self.path)?.len())
    }

    /// The numbers in `range` of which there is no picture, those that follow each other together.
    fn missing(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut missing: Vec<Range<usize>> = Vec::new();
        for number in range.filter(|&number| !self.path.join(name(number)).is_file()) {
            match missing.last_mut() {
                Some(last) if last.end == number => last.end += 1,
                _ => missing.push(number..number + 1),
            }
        }
        missing
    }
}

/// What is in a folder.
enum Found {
    Nothing,
    Same,
    /// Samples that are to be replaced.
    Others,
}

fn found(path: &Path, drawn: &Drawn, overwrite: bool) -> Result<Found, RecipeError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        entries => entries.map_err(RecipeError::io("read", path))?,
    };
    let about = path.join(ABOUT);
    let unknown = entries.flatten().any(|entry| partial_of(&entry.file_name().to_string_lossy()).is_none());
    // Looked for last, for another program may be making the folder right now.
    match read_regular(&about, 1 << 24) {
        Ok(bytes) => match toml::from_str::<Drawn>(&String::from_utf8_lossy(&bytes)) {
            Ok(before) if before == *drawn => Ok(Found::Same),
            _ if overwrite => Ok(Found::Others),
            _ => Err(RecipeError::OtherSamples(path.to_path_buf())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => match unknown {
            false => Ok(Found::Nothing),
            true => Err(RecipeError::NotSamples(path.to_path_buf())),
        },
        Err(error) => Err(RecipeError::io("read", &about)(error)),
    }
}

/// What the picture of the sample `number` is called.
fn name(number: usize) -> String {
    format!("{number:0DIGITS$}.png")
}

/// The pictures in a folder.
fn pictures(path: &Path) -> Result<Vec<PathBuf>, RecipeError> {
    let is_picture = |path: &PathBuf| {
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".png")?.parse().ok());
        number.is_some_and(|number| path.ends_with(name(number))) && path.is_file()
    };
    let entries = fs::read_dir(path).map_err(RecipeError::io("read", path))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(is_picture).collect())
}

/// Draws the samples of `request` into a `.npz` file as evaluations of ADM and EDM take it: `arr_0`, the bytes of their
/// pixels, `[count, height, width, channels]`, and `arr_1`, their labels, where they have some. One that is there is replaced;
/// what is stopped leaves nothing.
///
/// # Errors
/// What `draw` returns; or if the samples are no images, or the file system refuses.
pub fn write_archive(
    path: impl AsRef<Path>,
    request: &SampleRequest,
    draw: &Draw<'_>,
) -> Result<Written, RecipeError> {
    let path = path.as_ref();
    let (mut written, mut failure) = (Written::default(), None);
    let done = write_atomically(path, |file| {
        archive((path, file), request, draw, &mut written).map_err(|error| {
            let kind = match &error {
                RecipeError::Io { source, .. } => source.kind(),
                _ => ErrorKind::Other,
            };
            failure = Some(error);
            io::Error::from(kind)
        })
    });
    match failure {
        Some(error) => Err(error),
        None => done.map(|()| written).map_err(RecipeError::io("write", path)),
    }
}

fn archive(
    (path, file): (&Path, &mut (impl Write + Seek)),
    request: &SampleRequest,
    draw: &Draw<'_>,
    written: &mut Written,
) -> Result<(), RecipeError> {
    let mut npz = NpzWriter::new(file);
    let refused = |source| RecipeError::Io { action: "write", path: path.to_path_buf(), source };
    let mut labels = Vec::new();
    draw(request, &mut |samples| {
        let (bytes, [channels, height, width]) = (samples.to_bytes()?, image_shape(&samples.shape)?);
        if written.drawn == 0 {
            let shape = [request.sampling.count, height, width, channels];
            npz.begin("arr_0", NpyKind::U8, &shape).map_err(refused)?;
        }
        written.drawn += samples.count();
        written.non_finite += samples.non_finite();
        labels.extend(samples.labels.into_iter().flatten().flat_map(|label| (label as i64).to_le_bytes()));
        npz.write(&bytes).map_err(refused)
    })?;
    if !labels.is_empty() {
        npz.begin("arr_1", NpyKind::I64, &[labels.len() / 8]).map_err(refused)?;
        npz.write(&labels).map_err(refused)?;
    }
    npz.finish().map_err(refused)
}

/// The shape of samples that are images.
fn image_shape(shape: &[usize]) -> Result<[usize; 3], Invalid> {
    match *shape {
        [channels @ (1 | 3), height, width] => Ok([channels, height, width]),
        _ => {
            let reason = format!("are of shape {shape:?}, expected images of one channel or three");
            Err(Invalid::new("samples", reason))
        }
    }
}

impl Samples {
    /// Writes each sample as a PNG picture into `folder`, called by its number, of which that of the first one is `first`:
    /// `000000.png`. Pictures of these names are replaced. Values are clamped to [−1, 1]; those that are not numbers are black.
    ///
    /// # Errors
    /// If the samples are no images, or the file system refuses.
    pub fn write_images(&self, folder: impl AsRef<Path>, first: usize) -> Result<(), RecipeError> {
        let shape = image_shape(&self.shape)?;
        for (i, values) in self.values.chunks_exact(shape.iter().product()).enumerate() {
            let path = folder.as_ref().join(name(first + i));
            let image = TensorData::new(values.to_vec(), shape);
            write_png(&path, &image, &[]).map_err(RecipeError::io("write", &path))?;
        }
        Ok(())
    }

    /// The bytes of all pixels, `[count, height, width, channels]`, of values in [−1, 1] or clamped there; those that are not
    /// numbers are 0.
    ///
    /// # Errors
    /// If the samples are no images.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Invalid> {
        let [channels, height, width] = image_shape(&self.shape)?;
        let (bytes, pixels) = (Pixels.decode(&self.values), height * width);
        let by_pixel = |image: &[u8]| {
            (0..pixels * channels)
                .map(|at| image[at % channels * pixels + at / channels])
                .collect::<Vec<u8>>()
        };
        Ok(bytes.chunks_exact(channels * pixels).flat_map(by_pixel).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use std::cell::RefCell;

    /// Samples `first`, …, of 1 × 2 pixels in three colors, whose first byte is their number.
    fn samples(first: usize, count: usize) -> Samples {
        let value = |byte: usize| byte as f32 / 127.5 - 1.0;
        let values = (first..first + count).flat_map(|i| [i, 10, 20, 30, 40, 50].map(value)).collect();
        let labels = Some((first..first + count).map(|i| i % 3).collect());
        Samples { values, labels, ..Samples::none(vec![3, 1, 2]) }
    }

    fn request(first: usize, count: usize) -> SampleRequest {
        let config = RunConfig::preset("fashion-dit-small").unwrap();
        let mut request = SampleRequest { first, ..SampleRequest::of(&config) };
        request.sampling.count = count;
        request
    }

    /// Draws batches of two, and writes down which ranges.
    fn draw(
        asked: &RefCell<Vec<(usize, usize)>>,
    ) -> impl Fn(&SampleRequest, &mut Take<'_>) -> Result<(), RecipeError> {
        move |request, take| {
            let (first, count) = (request.first, request.sampling.count);
            asked.borrow_mut().push((first, count));
            (0..count).step_by(2).try_for_each(|done| take(samples(first + done, 2.min(count - done))))
        }
    }

    fn drawn(request: &SampleRequest) -> Drawn {
        Drawn::of(request, "step 7".into(), None).unwrap()
    }

    #[test]
    fn a_folder_goes_on_where_it_was_stopped() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        let asked = RefCell::default();
        let draw = draw(&asked);
        let fill =
            |request: &SampleRequest| SampleFolder::open(&path, drawn(request), false)?.fill(request, &draw);
        // Stopped in its second batch.
        let stopped = |request: &SampleRequest, take: &mut Take<'_>| {
            take(samples(request.first, 2)).and(Err(RecipeError::Stopped))
        };
        let folder = SampleFolder::open(&path, drawn(&request(0, 5)), false).unwrap();
        assert!(matches!(folder.fill(&request(0, 5), &stopped), Err(RecipeError::Stopped)));
        assert_eq!(folder.count().unwrap(), 2);

        assert_eq!(fill(&request(0, 5)).unwrap(), Written { drawn: 3, there: 2, non_finite: 0 });
        fs::remove_file(path.join("000001.png")).unwrap();
        assert_eq!(fill(&request(1, 7)).unwrap(), Written { drawn: 4, there: 3, non_finite: 0 });
        assert_eq!(*asked.borrow(), [(2, 3), (1, 1), (5, 3)]);
        assert_eq!(folder.count().unwrap(), 8);
        for number in 0..8 {
            let config = diffusion::data::ImageFolderConfig {
                height: 1,
                width: 2,
                channels: diffusion::data::Channels::Rgb,
            };
            let image = diffusion::data::read_image(path.join(name(number)), config).unwrap();
            let expected = Pixels.decode(&samples(number, 1).values);
            assert_eq!(Pixels.decode(&image.iter::<f32>().collect::<Vec<_>>()), expected, "{number}");
        }
    }

    #[test]
    fn other_samples_and_other_files_are_not_mixed_with() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        let asked = RefCell::default();
        let before = request(0, 2);
        SampleFolder::open(&path, drawn(&before), false).unwrap().fill(&before, &draw(&asked)).unwrap();
        fs::write(path.join("mine.png"), "mine").unwrap();
        let mut steps = before.clone();
        steps.sampling.steps += 1;
        let others = [
            drawn(&SampleRequest { seed: before.seed + 1, ..before.clone() }),
            drawn(&SampleRequest { labels: Some(vec![1]), ..before.clone() }),
            drawn(&steps),
            Drawn { model: "step 8".into(), ..drawn(&before) },
            Drawn { told: Some("a fox".into()), ..drawn(&before) },
        ];
        for other in &others {
            let opened = SampleFolder::open(&path, other.clone(), false);
            assert!(matches!(opened, Err(RecipeError::OtherSamples(_))), "{other:?}");
            assert!(SampleFolder::check(&path, other, true).is_ok());
        }
        assert_eq!(SampleFolder { path: path.clone() }.count().unwrap(), 2);
        let replaced = SampleFolder::open(&path, others[0].clone(), true).unwrap();
        assert_eq!((replaced.count().unwrap(), path.join("mine.png").exists()), (0, true));

        let mine = place.path().join("mine");
        fs::create_dir(&mine).unwrap();
        assert!(SampleFolder::check(&mine, &others[0], false).is_ok());
        // Another program is making the folder.
        fs::write(mine.join(".samples.toml.7-0.partial"), "se").unwrap();
        assert!(SampleFolder::check(&mine, &others[0], false).is_ok());
        fs::write(mine.join("letter"), "dear").unwrap();
        let refused = SampleFolder::open(&mine, others[0].clone(), true);
        assert!(matches!(refused, Err(RecipeError::NotSamples(_))));
    }

    #[test]
    fn an_archive_has_bytes_by_pixel_and_labels() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("samples.npz");
        let asked = RefCell::default();
        let written = write_archive(&path, &request(1, 3), &draw(&asked)).unwrap();
        assert_eq!(written, Written { drawn: 3, there: 0, non_finite: 0 });
        assert_eq!(asked.take(), [(1, 3)]);
        let bytes = fs::read(&path).unwrap();
        let at = |text: &[u8]| bytes.windows(text.len()).position(|found| found == text);
        assert!(at(b"'descr': '|u1', 'fortran_order': False, 'shape': (3, 1, 2, 3)").is_some());
        let pixels: Vec<u8> = (1..4).flat_map(|i| [i, 20, 40, 10, 30, 50]).collect();
        let labels: Vec<u8> = [1i64, 2, 0].into_iter().flat_map(i64::to_le_bytes).collect();
        assert!(at(&pixels).is_some_and(|pixels| at(&labels).is_some_and(|labels| pixels < labels)));

        let stopped =
            |_: &SampleRequest, take: &mut Take<'_>| take(samples(0, 2)).and(Err(RecipeError::Stopped));
        let none = place.path().join("none.npz");
        assert!(matches!(write_archive(&none, &request(0, 4), &stopped), Err(RecipeError::Stopped)));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_image_has_no_picture() {
        let place = tempfile::tempdir().unwrap();
        for shape in [vec![2], vec![4, 1, 1], vec![1, 2, 2, 1]] {
            let samples = Samples { values: vec![0.0; 4], ..Samples::none(shape) };
            let setting = |error| match error {
                RecipeError::Invalid(invalid) => invalid.setting,
                other => panic!("{other}"),
            };
            assert_eq!(setting(samples.write_images(place.path(), 0).unwrap_err()), "samples");
            assert_eq!(samples.to_bytes().unwrap_err().setting, "samples");
        }
    }
}

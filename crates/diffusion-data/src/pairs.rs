//! Samples of a trained model with the noise that each came from.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use diffusion_core::watch::Watch;
use diffusion_weights::TensorFile;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, ModelInput},
    dataset::{Dataset, check_index},
    error::{DataError, Problem},
    shard::{check_floats, integers, tensor, wrong_shape},
    source::{check_memory, has_extension},
};

/// The tensor of the samples.
const DATA: &str = "x0";
/// The tensor of the noise.
const NOISE: &str = "eps";
/// The tensor of the labels.
const LABEL: &str = "label";

/// The name of a shard of pairs, which tells how many there are, as in `pairs-00000-of-00003.safetensors`.
///
/// ```
/// use diffusion_data::PairsName;
///
/// let name = PairsName { number: 0, of: 3 };
/// assert_eq!(name.to_string(), "pairs-00000-of-00003.safetensors");
/// assert_eq!(PairsName::of_file("pairs/pairs-00000-of-00003.safetensors"), Some(name));
/// assert_eq!(PairsName::of_file("pairs/pairs-00003-of-00003.safetensors"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairsName {
    /// The number of the shard, from 0.
    pub number: usize,
    /// How many shards there are.
    pub of: usize,
}

impl fmt::Display for PairsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pairs-{:05}-of-{:05}.safetensors", self.number, self.of)
    }
}

impl PairsName {
    /// What the name of a file tells, if it is such a name.
    pub fn of_file(path: impl AsRef<Path>) -> Option<Self> {
        let name = path.as_ref().file_name()?.to_str()?;
        let (number, of) = name.strip_prefix("pairs-")?.split_once("-of-")?;
        let found = Self { number: number.parse().ok()?, of: of.strip_suffix(".safetensors")?.parse().ok()? };
        (found.number < found.of && found.to_string() == name).then_some(found)
    }
}

/// Samples of a trained model, each with the noise that it came from, for reflow (Liu et al. 2022, arXiv:2209.03003): a model
/// that is trained on such pairs goes straight from the one to the other.
///
/// A folder holds shards `pairs-00000-of-00003.safetensors` with these tensors, all of which are read into memory:
///
/// - `x0`: `[n, …]` in F32, F16 or BF16, the samples as the network sees them
/// - `eps`: the same shape, the noise of unit variance
/// - `label`: `[n]` in integers of any size, the classes; may be missing where no network asks for them
#[derive(Clone)]
pub struct Pairs {
    data: Vec<f32>,
    noise: Vec<f32>,
    labels: Vec<usize>,
    shape: Vec<usize>,
}

impl Pairs {
    /// Opens a folder of shards. Labels, which must be below `classes`, are read where that is given.
    ///
    /// # Errors
    /// If there are no shards, or not all of them; if one cannot be read, lacks a tensor or has one of another shape or type
    /// than above; if a value is not finite, or a label is not below `classes`.
    pub fn open(folder: impl AsRef<Path>, classes: Option<usize>, watch: &Watch) -> Result<Self, DataError> {
        let folder = folder.as_ref();
        let names = names(folder)?;
        let mut all: Option<Self> = None;
        for (number, name) in names.iter().enumerate() {
            watch.report("reading pairs", number as u64, Some(names.len() as u64))?;
            let path = folder.join(name.to_string());
            let shard = Self::shard(&path, classes, watch)?;
            match &mut all {
                None => all = Some(shard),
                Some(all) if all.shape == shard.shape => {
                    all.data.extend(shard.data);
                    all.noise.extend(shard.noise);
                    all.labels.extend(shard.labels);
                }
                Some(all) => {
                    let expected = format!("{:?} as in the first shard", all.shape);
                    let (part, found) = (format!("an example of the tensor {DATA}"), shard.shape.into());
                    return Err(Problem::Shape { part, found, expected }.at(&path));
                }
            }
        }
        all.ok_or_else(|| missing(folder))
    }

    fn shard(path: &Path, classes: Option<usize>, watch: &Watch) -> Result<Self, DataError> {
        let file = TensorFile::open_safetensors(path)?;
        let shape = tensor(&file, DATA)?.to_vec();
        if shape.len() < 2 || shape.contains(&0) {
            return Err(wrong_shape(&file, DATA, "[n, …] with at least 1 of each".to_owned()));
        }
        if tensor(&file, NOISE)? != shape {
            return Err(wrong_shape(&file, NOISE, format!("{shape:?} as of {DATA}")));
        }
        let size: usize = shape[1..].iter().product();
        check_memory(8 * shape.iter().map(|&n| n as u128).product::<u128>())
            .map_err(|problem| problem.at(path))?;
        let values = |name| {
            check_floats(&file, name)?;
            let values = file.read(name)?;
            match values.iter().position(|x| !x.is_finite()) {
                None => Ok(values),
                Some(i) => {
                    let (index, position) = (i / size, i % size);
                    Err(Problem::NonFinite { index, position, found: values[i] }.at(path))
                }
            }
        };
        let (data, noise) = (values(DATA)?, values(NOISE)?);
        let labels = match classes {
            None => vec![0; shape[0]],
            Some(classes) => integers(&file, LABEL, shape[0], watch, |index, found| {
                usize::try_from(found).ok().filter(|&label| label < classes).ok_or(Problem::Label {
                    index,
                    found,
                    classes,
                })
            })?,
        };
        Ok(Self { data, noise, labels, shape: shape[1..].to_vec() })
    }

    fn row<'a>(&self, values: &'a [f32], index: usize) -> &'a [f32] {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        &values[index * size..(index + 1) * size]
    }
}

/// The shards of a folder, which must all be there.
fn names(folder: &Path) -> Result<BTreeSet<PairsName>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::io(folder))?;
    let files =
        entries.flatten().map(|entry| entry.path()).filter(|path| has_extension(path, &["safetensors"]));
    let names: BTreeSet<PairsName> = files.filter_map(PairsName::of_file).collect();
    let Some(first) = names.first() else { return Err(missing(folder)) };
    if names.iter().any(|name| name.of != first.of) {
        return Err(Problem::format("has shards of several sets", "shards of one set").at(folder));
    }
    if names.len() < first.of {
        let found = format!("has {} of {} shards", names.len(), first.of);
        let hint = "where `reflow` was stopped, the same command goes on with it";
        return Err(Problem::format(found, "all of them").at(folder).with_hint(hint));
    }
    Ok(names)
}

fn missing(folder: &Path) -> DataError {
    let hint = "`reflow RUN --count N --out FOLDER` draws pairs from a trained flow";
    Problem::missing("file named pairs-*.safetensors").at(folder).with_hint(hint)
}

impl fmt::Debug for Pairs {
    /// Leaves out the examples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").field("len", &self.len()).field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Dataset for Pairs {
    type Label = usize;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<usize, DataError> {
        into.copy_from_slice(self.row(&self.data, index));
        Ok(self.labels[index])
    }

    fn can_mirror(&self) -> Result<(), String> {
        Err("a sample and its noise belong together as they are, so there is no mirror image".to_owned())
    }

    fn has_noise(&self) -> bool {
        true
    }

    fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        into.copy_from_slice(self.row(&self.noise, index));
        Ok(())
    }
}

/// [`Pairs`], as a configuration names them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsConfig {
    /// The folder that holds all shards.
    pub path: PathBuf,
}

impl DataKind for PairsConfig {
    fn path(&self) -> Option<&PathBuf> {
        Some(&self.path)
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        Some(&mut self.path)
    }

    fn open(&self, input: &ModelInput, watch: &Watch) -> Result<AnyDataset, DataError> {
        let pairs = Pairs::open(&self.path, input.num_classes, watch)?;
        Ok(match input.num_classes {
            Some(classes) => AnyDataset::labeled(pairs, classes),
            None => AnyDataset::unlabeled(pairs.unlabeled()),
        })
    }
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;
    use crate::shard::{Tensor, f32s, safetensors};

    fn good() -> [Tensor<'static>; 3] {
        [
            (DATA, Dtype::F32, &[2, 2], f32s([1.0, 2.0, 3.0, 4.0])),
            (NOISE, Dtype::F32, &[2, 2], f32s([0.1, 0.2, 0.3, 0.4])),
            (LABEL, Dtype::U8, &[2], vec![3, 1]),
        ]
    }

    /// What is wrong with a folder of these files.
    fn opened(files: &[(&str, Vec<u8>)], classes: Option<usize>) -> Result<Pairs, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Pairs::open(folder.path(), classes, &Watch::default()).map_err(|error| error.to_string())
    }

    const ONE: &str = "pairs-00000-of-00001.safetensors";

    fn with(at: usize, tensor: Tensor<'static>) -> Result<Pairs, String> {
        let mut tensors = good();
        tensors[at] = tensor;
        opened(&[(ONE, safetensors(&tensors))], Some(4))
    }

    #[test]
    fn samples_noise_and_labels_come_back() {
        let second = [
            (DATA, Dtype::F32, &[1, 2][..], f32s([5.0, 6.0])),
            (NOISE, Dtype::F32, &[1, 2][..], f32s([0.5, 0.6])),
            (LABEL, Dtype::I64, &[1][..], 2i64.to_le_bytes().to_vec()),
        ];
        let names = ["pairs-00000-of-00002.safetensors", "pairs-00001-of-00002.safetensors"];
        let files = [(names[0], safetensors(&good())), (names[1], safetensors(&second))];
        let pairs = opened(&files, Some(4)).unwrap();
        assert_eq!((pairs.len(), pairs.shape(), pairs.has_noise()), (3, &[2][..], true));
        let mut into = [0.0; 2];
        for (index, label, data, noise) in
            [(0, 3, [1.0, 2.0], [0.1, 0.2]), (1, 1, [3.0, 4.0], [0.3, 0.4]), (2, 2, [5.0, 6.0], [0.5, 0.6])]
        {
            assert_eq!((pairs.read(index, &mut into).unwrap(), into), (label, data));
            pairs.read_noise(index, &mut into).unwrap();
            assert_eq!(into, noise);
        }
        assert!(pairs.can_mirror().is_err());
        // Whatever is around them, they keep their noise.
        let any = AnyDataset::unlabeled(pairs.unlabeled()).without_labels();
        any.read_noise(2, &mut into).unwrap();
        assert!(any.has_noise() && into == [0.5, 0.6]);
        assert!(opened(&files[..1], Some(4)).unwrap_err().contains("has 1 of 2 shards"));
        assert!(opened(&files[1..], Some(4)).is_err());
    }

    #[test]
    fn labels_are_read_where_they_are_asked_for() {
        let [data, noise, _] = good();
        let without = [(ONE, safetensors(&[data, noise]))];
        assert!(opened(&without, None).is_ok() && opened(&without, Some(4)).is_err());
        assert!(opened(&[(ONE, safetensors(&good()))], Some(3)).is_err());
    }

    #[test]
    fn what_are_no_pairs_is_refused() {
        assert!(opened(&[], None).unwrap_err().contains("pairs-*.safetensors"));
        assert!(with(1, (NOISE, Dtype::F32, &[2, 1], f32s([1.0, 2.0]))).is_err());
        assert!(with(1, ("noise", Dtype::F32, &[2, 2], f32s([0.0; 4]))).is_err());
        assert!(with(0, (DATA, Dtype::F32, &[4], f32s([0.0; 4]))).is_err());
        assert!(with(0, (DATA, Dtype::F32, &[2, 2], f32s([0.0, f32::NAN, 0.0, 0.0]))).is_err());
        assert!(with(1, (NOISE, Dtype::F32, &[2, 2], f32s([0.0, 0.0, 0.0, f32::INFINITY]))).is_err());
        let mut cut = safetensors(&good());
        cut.pop();
        assert!(opened(&[(ONE, cut)], None).is_err());
    }
}

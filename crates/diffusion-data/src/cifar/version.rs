//! The four forms in which CIFAR is published: what their files are called and what stands in them.

use std::path::Path;

use diffusion_core::counted;
use diffusion_weights::PickledDict;
use serde::{Deserialize, Serialize};

use crate::{
    error::{DataError, Problem, shown},
    split::Split,
};

/// Which of CIFAR-100's labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CifarLabels {
    /// The hundred classes, and CIFAR-10's ten.
    #[default]
    Fine,
    /// The twenty superclasses.
    Coarse,
}

/// The values of an image.
pub(super) const PIXELS: usize = 3 * 32 * 32;
/// Ten times the records of a published file; 307 MB.
const MAX_RECORDS: usize = 100_000;
/// What a record of the Python version takes more than its pixels, at most: its labels and the name of its file.
const BESIDE: usize = 512;

/// Images, and a label for each.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub pixels: Vec<u8>,
    pub labels: Vec<u32>,
}

/// A form in which CIFAR is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Binary10,
    Python10,
    Binary100,
    Python100,
}

impl Version {
    /// All, those before others that are taken where both versions of a data set are there.
    pub(super) const ALL: [Self; 4] = [Self::Binary10, Self::Python10, Self::Binary100, Self::Python100];

    /// Whether it is CIFAR-100.
    pub(super) fn is_100(self) -> bool {
        matches!(self, Self::Binary100 | Self::Python100)
    }

    fn is_python(self) -> bool {
        matches!(self, Self::Python10 | Self::Python100)
    }

    /// What it is called, e.g. `the binary version`.
    pub(super) fn form(self) -> &'static str {
        if self.is_python() { "the Python version" } else { "the binary version" }
    }

    /// The files of a split, in order.
    pub(super) fn names(self, split: Split) -> Vec<String> {
        let suffix = if self.is_python() { "" } else { ".bin" };
        match (self.is_100(), split) {
            (false, Split::Train) => (1..=5).map(|i| format!("data_batch_{i}{suffix}")).collect(),
            (false, Split::Test) => vec![format!("test_batch{suffix}")],
            (true, Split::Train) => vec![format!("train{suffix}")],
            (true, Split::Test) => vec![format!("test{suffix}")],
        }
    }

    /// The file with the classes' names.
    pub(super) fn names_file(self, labels: CifarLabels) -> &'static str {
        match (self, labels) {
            (Self::Binary10, _) => "batches.meta.txt",
            (Self::Python10, _) => "batches.meta",
            (Self::Binary100, CifarLabels::Fine) => "fine_label_names.txt",
            (Self::Binary100, CifarLabels::Coarse) => "coarse_label_names.txt",
            (Self::Python100, _) => "meta",
        }
    }

    /// The number of classes.
    pub(super) fn classes(self, labels: CifarLabels) -> usize {
        match (self.is_100(), labels) {
            (false, _) => 10,
            (true, CifarLabels::Fine) => 100,
            (true, CifarLabels::Coarse) => 20,
        }
    }

    /// The bytes before the pixels in a binary record.
    fn labels(self) -> usize {
        if self.is_100() { 2 } else { 1 }
    }

    /// The most bytes of a file.
    pub(super) fn limit(self) -> u64 {
        let beside = if self.is_python() { BESIDE } else { self.labels() };
        (MAX_RECORDS * (PIXELS + beside)) as u64
    }

    /// Appends the images in the bytes of the file at `path`.
    pub(super) fn decode(
        self,
        bytes: &[u8],
        labels: CifarLabels,
        path: &Path,
        into: &mut Records,
    ) -> Result<(), DataError> {
        let before = into.labels.len();
        match self.is_python() {
            true => self.decode_python(bytes, labels, into).map_err(|problem| problem.at(path))?,
            false => self.decode_binary(bytes, labels, into).map_err(|problem| problem.at(path))?,
        }
        let classes = self.classes(labels);
        let wrong = into.labels[before..].iter().position(|&label| label as usize >= classes);
        match wrong {
            Some(index) => {
                let found = into.labels[before + index].into();
                Err(Problem::Label { index, found, classes }.at(path))
            }
            None => Ok(()),
        }
    }

    fn decode_binary(self, bytes: &[u8], labels: CifarLabels, into: &mut Records) -> Result<(), Problem> {
        let record = self.labels() + PIXELS;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let found = format!("is {} long", counted(bytes.len(), "byte"));
            return Err(Problem::format(found, format!("whole records of {record} bytes, and at least one")));
        }
        // CIFAR-100's records begin with the coarse label.
        let at = usize::from(self.is_100() && labels == CifarLabels::Fine);
        into.labels.reserve(bytes.len() / record);
        into.pixels.reserve(bytes.len());
        for record in bytes.chunks_exact(record) {
            into.labels.push(record[at].into());
            into.pixels.extend_from_slice(&record[self.labels()..]);
        }
        Ok(())
    }

    fn decode_python(self, bytes: &[u8], labels: CifarLabels, into: &mut Records) -> Result<(), Problem> {
        let decode = |reason: String| Problem::decode("a pickle of CIFAR", reason);
        let pickle = PickledDict::read(bytes).map_err(decode)?;
        let key = match (self.is_100(), labels) {
            (false, _) => "labels",
            (true, CifarLabels::Fine) => "fine_labels",
            (true, CifarLabels::Coarse) => "coarse_labels",
        };
        let missing = |key: &str| Problem::missing(format!("`{key}` of CIFAR's Python version"));
        let (shape, pixels) = pickle.array("data").map_err(decode)?.ok_or_else(|| missing("data"))?;
        let labels = pickle.integers(key).map_err(decode)?.ok_or_else(|| missing(key))?;
        if labels.is_empty()
            || pixels.len() != labels.len() * PIXELS
            || shape.first() != Some(&(labels.len() as u64))
        {
            let found = format!("has {} and `data` of shape {shape:?}", counted(labels.len(), "label"));
            return Err(Problem::format(
                found,
                format!("[images, {PIXELS}], a label for each, and at least one"),
            ));
        }
        let classes = u32::MAX as usize;
        for (index, found) in labels.into_iter().enumerate() {
            let label = u32::try_from(found);
            let wrong = |_| Problem::Label { index, found: found.into(), classes };
            into.labels.push(label.map_err(wrong)?);
        }
        into.pixels.extend_from_slice(pixels);
        Ok(())
    }

    /// The classes' names in the bytes of the file at `path`.
    pub(super) fn decode_names(
        self,
        bytes: &[u8],
        labels: CifarLabels,
        path: &Path,
    ) -> Result<Vec<String>, DataError> {
        if !self.is_python() {
            let text = String::from_utf8_lossy(bytes);
            return Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(shown).collect());
        }
        let key = match (self.is_100(), labels) {
            (false, _) => "label_names",
            (true, CifarLabels::Fine) => "fine_label_names",
            (true, CifarLabels::Coarse) => "coarse_label_names",
        };
        let names = PickledDict::read(bytes).and_then(|pickle| pickle.strings(key));
        let names = names.map_err(|reason| Problem::decode("a pickle of CIFAR", reason).at(path))?;
        let names = names.map(|names| names.iter().map(|name| shown(name)).collect());
        names.ok_or_else(|| Problem::missing(format!("`{key}` of CIFAR's Python version")).at(path))
    }
}

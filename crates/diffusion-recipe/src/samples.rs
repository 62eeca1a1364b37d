//! Samples on the host, and as a file of tensors.

use crate::error::RecipeError;
use diffusion::data::{Codec, ScaledLatents};
use diffusion::weights::{TensorFile, WeightsError, read_note, write_atomically};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::io::{Error, Write};
use std::path::Path;

/// Samples on the host.
#[derive(Clone, Debug)]
pub struct Samples {
    /// What came out, `[count, …]` in row-major order.
    pub values: Vec<f32>,
    /// The state that each began with, mostly noise times the first σ; of the same shape.
    pub start: Vec<f32>,
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// Whether they are latents, of which a decoder makes images.
    pub is_latent: bool,
    /// The label of each, if there are labels.
    pub labels: Option<Vec<usize>>,
    /// After how many samples the labels repeat, if there are labels; without labels, how many stand side by side in a picture.
    pub period: Option<usize>,
    /// The names of the classes in the order of their labels, where they are known.
    pub class_names: Vec<String>,
}

impl Samples {
    /// The number of samples.
    pub fn count(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>().max(1)
    }

    /// None as yet, of this shape each.
    pub(crate) fn none(shape: Vec<usize>) -> Self {
        let (values, start, class_names) = (Vec::new(), Vec::new(), Vec::new());
        Self { values, start, shape, is_latent: false, labels: None, period: None, class_names }
    }

    /// These, and those that follow them.
    pub(crate) fn append(&mut self, next: Self) {
        self.values.extend(next.values);
        self.start.extend(next.start);
        match (&mut self.labels, next.labels) {
            (Some(labels), Some(next)) => labels.extend(next),
            (labels, next) => *labels = next,
        }
        self.is_latent = next.is_latent;
        (self.period, self.class_names) = (next.period, next.class_names);
    }

    /// What the class `label` is called: its name, or its number where it has none.
    pub fn class_name(&self, label: usize) -> String {
        self.class_names.get(label).cloned().unwrap_or_else(|| label.to_string())
    }

    /// The number of samples of which not all values are finite.
    pub fn non_finite(&self) -> usize {
        let size = self.shape.iter().product::<usize>().max(1);
        self.values.chunks(size).filter(|sample| sample.iter().any(|x| !x.is_finite())).count()
    }

    /// Whether all values are finite. Whoever writes the samples does it before, so that they can be looked at.
    ///
    /// # Errors
    /// If some are not; the error says of how many samples.
    pub fn check(&self) -> Result<(), RecipeError> {
        match self.non_finite() {
            0 => Ok(()),
            count => Err(RecipeError::NonFiniteSamples { count, of: self.count() }),
        }
    }

    /// Writes the tensors `samples` and `start`, `[count, …]`: what came out, of latents as their decoder takes them, and
    /// the noise that it came from, times the first σ. The file of latents says in its metadata that they are.
    ///
    /// # Errors
    /// If the file holds something else than samples, or the file system refuses.
    pub fn write_tensors(
        &self,
        path: impl AsRef<Path>,
        latents: Option<ScaledLatents>,
    ) -> Result<(), RecipeError> {
        let path = path.as_ref();
        check_replaceable(path)?;
        let decoded = latents.map(|codec| codec.decode(&self.values));
        let values: Vec<u8> =
            decoded.as_ref().unwrap_or(&self.values).iter().flat_map(|x| x.to_le_bytes()).collect();
        let start: Vec<u8> = self.start.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = [&[self.count()], &self.shape[..]].concat();
        let note = self.is_latent.then(|| HashMap::from([(CONTENT.to_string(), LATENTS.to_string())]));
        let view = |bytes| TensorView::new(Dtype::F32, shape.clone(), bytes);
        let bytes = view(&values)
            .and_then(|values| Ok([("samples", values), ("start", view(&start)?)]))
            .and_then(|tensors| safetensors::serialize(tensors, note))
            .map_err(Error::other);
        let written = bytes.and_then(|bytes| write_atomically(path, |file| file.write_all(&bytes)));
        written.map_err(RecipeError::io("write", path))
    }
}

/// Refuses to replace a safetensors file that holds something else than samples, e.g. a run's weights.
///
/// # Errors
/// If it does, or cannot be read.
pub fn check_replaceable(path: impl AsRef<Path>) -> Result<(), RecipeError> {
    let path = path.as_ref();
    if !path.exists() {
        return Ok(());
    }
    match TensorFile::open_safetensors(path) {
        Ok(file) if has_samples(&file) => Ok(()),
        Err(error @ WeightsError::Io { .. }) => Err(error.into()),
        _ => Err(RecipeError::NoSamples(path.to_path_buf())),
    }
}

/// What a file of samples says of itself where these are latents.
const CONTENT: &str = "content";
const LATENTS: &str = "latents";

/// Whether a file of samples says that they are latents.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn are_latents(path: &Path) -> Result<bool, RecipeError> {
    let note = read_note(path, CONTENT).map_err(RecipeError::io("read", path))?;
    Ok(note.as_deref() == Some(LATENTS))
}

/// Whether a file holds samples.
pub(crate) fn is_samples(path: &Path) -> bool {
    TensorFile::open_safetensors(path).is_ok_and(|file| has_samples(&file))
}

fn has_samples(file: &TensorFile) -> bool {
    ["samples", "start"].iter().all(|name| file.shape(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_are_not_finite_are_counted() {
        let of = |values: &[f32]| Samples {
            values: values.to_vec(),
            start: values.to_vec(),
            shape: vec![2],
            is_latent: false,
            labels: None,
            period: None,
            class_names: Vec::new(),
        };
        assert!(of(&[1.0, 2.0, f32::MAX, f32::MIN]).check().is_ok());
        let some = of(&[1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.0, 4.0]);
        assert!(matches!(some.check(), Err(RecipeError::NonFiniteSamples { count: 2, of: 3 })));
    }
}

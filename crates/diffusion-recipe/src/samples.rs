//! Samples on the host, and as a file of tensors.

use crate::error::RecipeError;
use diffusion::data::{Codec, ScaledLatents};
use diffusion::weights::{TensorFile, WeightsError, write_atomically};
use safetensors::tensor::{Dtype, TensorView};
use std::io::{Error, Write};
use std::path::Path;

/// Samples on the host.
#[derive(Clone, Debug)]
pub struct Samples {
    /// What came out, `[count, …]` in row-major order.
    pub values: Vec<f32>,
    /// The noise that each began with, times the first σ; of the same shape.
    pub start: Vec<f32>,
    /// The shape of one sample.
    pub shape: Vec<usize>,
    /// The label of each, if there are labels.
    pub labels: Option<Vec<usize>>,
    /// After how many samples the labels repeat, if there are labels.
    pub period: Option<usize>,
}

impl Samples {
    /// The number of samples.
    pub fn count(&self) -> usize {
        self.values.len() / self.shape.iter().product::<usize>().max(1)
    }

    /// Writes the tensors `samples` and `start`, `[count, …]`: what came out, of latents as their decoder takes them, and
    /// the noise that it came from, times the first σ.
    ///
    /// # Errors
    /// If the file holds something else than samples, or the file system refuses.
    pub fn write_tensors(&self, path: &Path, latents: Option<ScaledLatents>) -> Result<(), RecipeError> {
        check_replaceable(path)?;
        let decoded = latents.map(|codec| codec.decode(&self.values));
        let values: Vec<u8> =
            decoded.as_ref().unwrap_or(&self.values).iter().flat_map(|x| x.to_le_bytes()).collect();
        let start: Vec<u8> = self.start.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = [&[self.count()], &self.shape[..]].concat();
        let view = |bytes| TensorView::new(Dtype::F32, shape.clone(), bytes);
        let bytes = view(&values)
            .and_then(|values| Ok([("samples", values), ("start", view(&start)?)]))
            .and_then(|tensors| safetensors::serialize(tensors, None))
            .map_err(Error::other);
        let written = bytes.and_then(|bytes| write_atomically(path, |file| file.write_all(&bytes)));
        written.map_err(RecipeError::io("write", path))
    }
}

/// Refuses to replace a safetensors file that holds something else than samples, e.g. a run's weights.
///
/// # Errors
/// If it does, or cannot be read.
pub fn check_replaceable(path: &Path) -> Result<(), RecipeError> {
    if !path.exists() {
        return Ok(());
    }
    let is_samples = |file: &TensorFile| ["samples", "start"].iter().all(|name| file.shape(name).is_some());
    match TensorFile::open_safetensors(path) {
        Ok(file) if is_samples(&file) => Ok(()),
        Err(error @ WeightsError::Io { .. }) => Err(error.into()),
        _ => Err(RecipeError::NoSamples(path.to_path_buf())),
    }
}

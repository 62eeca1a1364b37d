//! The samples that are measured: drawn from a run as they are needed, or at hand.

use super::examples::{self, read};
use super::features::Extractor;
use super::measure::{GROUPS, SampleFeatures, some_of};
use super::request::Judged;
use crate::error::RecipeError;
use crate::run::{Run, SampleRequest};
use burn::tensor::backend::Backend;
use diffusion::core::watch::Watch;
use diffusion::data::{AnyDataset, Dataset};
use diffusion::eval::{Features, GroupedMoments};
use std::mem::take;
use std::path::PathBuf;

/// Values that are drawn at once; it bounds memory and changes no sample.
const PIECE: usize = 1 << 24;

/// Features that are added to means and covariances at once: of few, going through the covariances takes longer than the sums.
const ADDED: usize = 1 << 22;

/// The samples that are measured.
pub(crate) enum Source<'a> {
    Run(&'a mut dyn Run, Box<SampleRequest>),
    Set { path: PathBuf, data: AnyDataset, of_pixels: bool, chosen: Vec<usize> },
}

impl<'a> Source<'a> {
    /// Opens what is at hand; images of a folder are brought to `shape` where it is known, and otherwise are colored where
    /// `in_color` says so.
    pub fn open(
        judged: Judged<'a>,
        shape: Option<&[usize]>,
        in_color: bool,
        watch: &Watch,
    ) -> Result<Self, RecipeError> {
        Ok(match judged {
            Judged::Run(run, request) => Self::Run(run, request),
            Judged::Samples(path) => {
                let colored = if in_color { examples::shape_in_color(&path, watch)? } else { None };
                let (data, of_pixels) = examples::open(&path, shape.or(colored.as_deref()), watch)?;
                let chosen = (0..data.len()).collect();
                Self::Set { path, data, of_pixels, chosen }
            }
        })
    }

    /// The shape of a sample, and whether it is made of pixels.
    pub fn shape(&self) -> (Vec<usize>, bool) {
        match self {
            Self::Run(run, _) => {
                let config = run.config();
                let shape = config.network.input_shape();
                let of_pixels = shape.len() == 3 && config.data.latents().is_none();
                (shape, of_pixels)
            }
            Self::Set { data, of_pixels, .. } => (data.shape().to_vec(), *of_pixels),
        }
    }

    /// Whether the run was trained on mirror images too.
    pub fn is_mirrored(&self) -> bool {
        matches!(self, Self::Run(run, _) if run.config().flip)
    }

    /// Whether the run's model is one of consistency.
    pub fn is_of_consistency(&self) -> bool {
        matches!(self, Self::Run(run, _) if run.config().objective.is_consistency())
    }

    /// How many there are, where that is not up to who asks.
    pub fn available(&self) -> Option<usize> {
        match self {
            Self::Run(..) => None,
            Self::Set { data, .. } => Some(data.len()),
        }
    }

    /// Takes no more than `count` of those that are at hand, chosen at random: their order may be one of classes.
    pub fn choose(&mut self, count: usize) {
        if let Self::Set { data, chosen, .. } = self {
            *chosen = some_of(data.len(), count);
        }
    }

    /// Calls `each` with the values of `count` samples, piece by piece, all of them finite.
    pub fn each_piece(
        &mut self,
        count: usize,
        watch: &Watch,
        mut each: impl FnMut(&[f32]) -> Result<(), RecipeError>,
    ) -> Result<(), RecipeError> {
        let size = self.shape().0.iter().product::<usize>().max(1);
        let piece = (PIECE / size).max(1);
        if let Self::Run(run, request) = self
            && run.config().network.text().is_some()
            && request.texts.is_none()
        {
            request.texts = run.texts(count)?;
        }
        for first in (0..count).step_by(piece) {
            let n = piece.min(count - first);
            match self {
                Self::Run(run, request) => {
                    let samples = run.sample(&part(request, first, n), &mut |_| {})?;
                    match samples.non_finite() {
                        0 => each(&samples.values)?,
                        count => return Err(RecipeError::UnmeasurableSamples { count, of: n }),
                    }
                }
                Self::Set { data, chosen, .. } => {
                    watch.report("reading samples", first as u64, Some(count as u64))?;
                    each(&read(data, &chosen[first..first + n])?)?;
                }
            }
        }
        Ok(())
    }

    /// The features of `count` samples, of which all are kept where `sets` says so, and means and covariances where
    /// `moments` does.
    pub fn features<B: Backend>(
        &mut self,
        extractor: &Extractor<B>,
        (count, sets, moments): (usize, bool, bool),
        watch: &Watch,
    ) -> Result<SampleFeatures, RecipeError> {
        let width = extractor.width();
        let mut grouped = moments.then(|| GroupedMoments::new(width, GROUPS)).transpose()?;
        let (mut waiting, mut kept) = (Vec::new(), Vec::new());
        let size = self.shape().0.iter().product::<usize>().max(1);
        let mut done = 0;
        self.each_piece(count, watch, |values| {
            for piece in values.chunks(extractor.at_once() * size) {
                watch.report("extracting features of the samples", done as u64, Some(count as u64))?;
                let features = extractor.features(piece)?;
                done += features.count();
                if let Some(grouped) = &mut grouped {
                    features.rows().for_each(|row| waiting.extend_from_slice(row));
                    if waiting.len() >= ADDED || done == count {
                        grouped.add(&Features::new(take(&mut waiting), width)?)?;
                    }
                }
                if sets {
                    features.rows().for_each(|row| kept.extend_from_slice(row));
                }
            }
            Ok(())
        })?;
        let all = sets.then(|| Features::new(kept, width)).transpose()?;
        Ok(SampleFeatures { count, all, moments: grouped })
    }

    /// The values of one sample, drawn again where it was drawn.
    pub fn one(&self, index: usize) -> Result<Vec<f32>, RecipeError> {
        match self {
            Self::Run(run, request) => Ok(run.sample(&part(request, index, 1), &mut |_| {})?.values),
            Self::Set { data, chosen, .. } => read(data, &[chosen[index]]),
        }
    }
}

/// The samples `first`, `first + 1`, … of `count`.
fn part(request: &SampleRequest, first: usize, count: usize) -> SampleRequest {
    let mut request = request.clone();
    request.first += first;
    request.sampling.count = count;
    request
}

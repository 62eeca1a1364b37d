//! Long work that tells how far it is and can be stopped: reading a data set, sampling from a denoiser.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use diffusion::core::denoiser::Evaluate;
use diffusion::core::watch::Watch;
use diffusion::core::{Denoiser, DenoiserOutput, Invalid};
use diffusion::data::{AnyDataset, DataError, Dataset, Problem};
use std::sync::atomic::{AtomicU64, Ordering};

/// A data set, or a denoiser, whose reading or sampling is watched.
pub(crate) struct Watched<'a, T> {
    inner: &'a T,
    watch: &'a Watch,
    work: &'static str,
    total: Option<u64>,
    done: AtomicU64,
}

impl<'a, T> Watched<'a, T> {
    /// `watch` hears of it as `work`.
    pub fn new(inner: &'a T, watch: &'a Watch, work: &'static str) -> Self {
        Self { inner, watch, work, total: None, done: AtomicU64::new(0) }
    }

    /// The same, of which so many parts will be asked for.
    pub fn of(self, total: usize) -> Self {
        Self { total: Some(total as u64), ..self }
    }
}

impl Dataset for Watched<'_, AnyDataset> {
    type Label = <AnyDataset as Dataset>::Label;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn shape(&self) -> &[usize] {
        self.inner.shape()
    }

    /// A stopped watch is an error.
    fn read(&self, index: usize, into: &mut [f32]) -> Result<Self::Label, DataError> {
        let done = self.done.fetch_add(1, Ordering::Relaxed);
        self.watch.report(self.work, done, self.total).map_err(|_| DataError::from(Problem::Stopped))?;
        self.inner.read(index, into)
    }

    fn read_mirrored(&self, index: usize, into: &mut [f32]) -> Result<Self::Label, DataError> {
        self.inner.read_mirrored(index, into)
    }

    fn can_mirror(&self) -> Result<(), String> {
        self.inner.can_mirror()
    }

    fn has_noise(&self) -> bool {
        self.inner.has_noise()
    }

    fn read_noise(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        self.inner.read_noise(index, into)
    }

    fn identity(&self, index: usize) -> u64 {
        self.inner.identity(index)
    }

    fn readers(&self) -> usize {
        self.inner.readers()
    }
}

/// Where the watch was asked to stop the denoiser is called no more, and what comes out means nothing: a sampler's step
/// may call it often.
impl<B: Backend, const D: usize, M: Denoiser<B, D>> Denoiser<B, D> for Watched<'_, M> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.inner.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.inner.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        match self.watch.is_stopped() {
            true => DenoiserOutput::from_denoised(&self.path(), x.clone(), x, sigma),
            false => self.inner.evaluate(x, sigma),
        }
    }

    fn start(&self) -> Evaluate<'_, B, D> {
        self.watching(self.inner.start())
    }

    fn start_averaged(&self) -> Option<Evaluate<'_, B, D>> {
        Some(self.watching(self.inner.start_averaged()?))
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.inner.check_levels(sigmas)
    }
}

impl<M> Watched<'_, M> {
    /// `evaluate`, until the watch is asked to stop.
    fn watching<'b, B: Backend, const D: usize>(
        &'b self,
        mut evaluate: Evaluate<'b, B, D>,
    ) -> Evaluate<'b, B, D>
    where
        M: Denoiser<B, D>,
    {
        Box::new(move |x, sigma, step| match self.watch.is_stopped() {
            true => DenoiserOutput::from_denoised(&self.path(), x.clone(), x, sigma),
            false => evaluate(x, sigma, step),
        })
    }
}

//! A trajectory from noise to data, in which what the model is asked is timed by itself.

use crate::error::BenchError;
use crate::serve::finish;
use crate::work::Part;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::path::VarianceExploding;
use diffusion::prelude::*;
use std::cell::Cell;
use std::time::Instant;

/// The seconds of one trajectory.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    calls: f64,
    all: f64,
}

impl Timed {
    /// Those of `part`.
    pub fn of(self, part: Part) -> f64 {
        match part {
            Part::Calls => self.calls,
            Part::Sampler => self.all - self.calls,
        }
    }
}

/// A denoiser with a stopwatch.
struct Watched<'a, B: Backend, M> {
    model: &'a M,
    device: &'a B::Device,
    seconds: Cell<f64>,
}

impl<B: Backend, M: Denoiser<B, D>, const D: usize> Denoiser<B, D> for Watched<'_, B, M> {
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.model.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.model.input_shape(batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        // On a GPU what was asked for before is the sampler's.
        finish::<B>(self.device).expect("the device computes");
        let begun = Instant::now();
        let output = self.model.evaluate(x, sigma);
        finish::<B>(self.device).expect("the device computes");
        self.seconds.set(self.seconds.get() + begun.elapsed().as_secs_f64());
        output
    }
}

/// Samples once by `sampler`, and times what the model was asked by itself.
pub fn trajectory<B: Backend>(
    model: &impl Denoiser<B, 4, Path = VarianceExploding>,
    sampler: AnySampler,
    sigmas: &Sigmas<VarianceExploding>,
    batch: usize,
    noise: Noise,
    device: &B::Device,
) -> Result<Timed, BenchError> {
    let watched = Watched { model, device, seconds: Cell::new(0.0) };
    let begun = Instant::now();
    std::hint::black_box(sample(&watched, sampler, sigmas, batch, noise, device).last());
    finish::<B>(device)?;
    Ok(Timed { calls: watched.seconds.get(), all: begun.elapsed().as_secs_f64() })
}

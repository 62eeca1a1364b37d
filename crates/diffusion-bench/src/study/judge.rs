//! How good the samples are.

use super::rows::Value;
use crate::args::StudyArgs;
use crate::error::BenchError;
use burn::tensor::backend::Backend;
use diffusion::core::watch::Watch;
use diffusion::data::DataConfig;
use diffusion::eval::Metric;
use diffusion_recipe::{
    EvaluateRequest, Evaluation, FeatureKind, Judged, Run, RunConfig, SampleRequest, evaluate,
};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is measured, and the seconds that it took, drawing included.
type Found = (Vec<Value>, f64);

/// Draws samples of a run as its configuration says, and judges them.
pub fn run<B: Backend>(run: &mut dyn Run, args: &StudyArgs, device: &B::Device) -> Result<Found, BenchError> {
    let request = SampleRequest { seed: SEED, ..SampleRequest::of(run.config()) };
    judge::<B>(Judged::Run(run, Box::new(request)), args, device)
}

/// Judges the samples in a file.
pub fn file<B: Backend>(samples: &Path, args: &StudyArgs, device: &B::Device) -> Result<Found, BenchError> {
    judge::<B>(Judged::Samples(samples.to_path_buf()), args, device)
}

/// The seed of the samples' noise, which is none of training.
const SEED: u64 = 1_000_003;

/// The folder of the data that all recipes are trained on.
pub fn data() -> Result<PathBuf, BenchError> {
    match RunConfig::preset("smalldiffusion-dit")?.data {
        DataConfig::Mnist(data) => Ok(data.path),
        other => Err(BenchError::Study(format!("the data are {other:?}, expected Fashion-MNIST"))),
    }
}

fn judge<B: Backend>(judged: Judged<'_>, args: &StudyArgs, device: &B::Device) -> Result<Found, BenchError> {
    let against = match &judged {
        Judged::Run(..) => None,
        Judged::Samples(_) => Some(data()?),
    };
    let request = EvaluateRequest {
        count: Some(args.count as usize),
        metrics: vec![Metric::Fd, Metric::Kid],
        features: Some(FeatureKind::FashionMnist),
        against,
        ..EvaluateRequest::default()
    };
    let begun = Instant::now();
    let Evaluation { results, .. } = evaluate::<B>(judged, &request, device, &Watch::default())?;
    Ok((results.into_iter().map(Value::from).collect(), begun.elapsed().as_secs_f64()))
}

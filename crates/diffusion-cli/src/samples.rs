//! Drawing samples, and drawing pictures of them.

use crate::condition::RunCondition;
use crate::config::{DataConfig, RunConfig, SamplerConfig};
use crate::error::CliError;
use crate::pictures;
use burn::tensor::TensorData;
use burn::tensor::backend::Backend;
use diffusion::prelude::{
    Denoiser, Diffusion, General, Heun, Network, Noise, Parameterization, Schedule, Sigmas, sample,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::borrow::Cow;
use std::io::Error;
use std::path::Path;

/// How many numbers are sampled at once; it bounds memory and changes no sample.
const PIECE: usize = 1 << 16;

/// Samples on the host.
pub struct Samples {
    values: Vec<f32>,
    /// The noise that each began with, times the first σ.
    start: Vec<f32>,
    shape: Vec<usize>,
    labels: Option<Vec<usize>>,
    /// After how many samples the labels repeat.
    period: Option<usize>,
}

/// Draws `config.sampling.count` samples of `seed`, `at_once` at a time: sample i depends on the seed and on i alone.
pub fn draw<B: Backend, N, P: Parameterization, const D: usize>(
    model: &Diffusion<B, N, P>,
    schedule: &dyn Schedule<Path = P::Path>,
    config: &RunConfig,
    labels: Option<&[usize]>,
    at_once: Option<usize>,
    seed: u64,
    device: &B::Device,
) -> Result<Samples, CliError>
where
    N: Network<B, D>,
    N::Condition: RunCondition,
{
    let sampling = &config.sampling;
    let sigmas = schedule.sigmas(sampling.steps);
    let shape = model.network.input_shape(1);
    let piece = at_once.unwrap_or((PIECE / shape.iter().product::<usize>()).max(1));
    let (mut values, mut start, mut drawn_labels) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..sampling.count).step_by(piece) {
        let count = piece.min(sampling.count - first);
        let noise = Noise::new(seed).starting_at(first as u64);
        let x = model.rand_input(count, noise, device) * sigmas[0];
        let (condition, null) = N::Condition::of_samples(labels, config.network.classes(), first, count);
        let denoiser = model.given(condition.clone()).guided_by(null, sampling.cfg_scale);
        start.extend(x.to_data().convert::<f32>().iter::<f32>());
        let state = run(&denoiser, &sampling.sampler, &sigmas, x, noise);
        let state = state.into_data().convert::<f32>();
        values.extend(state.iter::<f32>());
        drawn_labels.extend(condition.labels().unwrap_or_default());
    }
    let period = config.network.classes().map(|classes| labels.map_or(classes, <[usize]>::len));
    let labels = period.map(|_| drawn_labels);
    Ok(Samples { values, start, shape: shape[1..].to_vec(), labels, period })
}

fn run<B: Backend, const D: usize, M: Denoiser<B, D>>(
    denoiser: &M,
    sampler: &SamplerConfig,
    sigmas: &Sigmas<M::Path>,
    x: burn::tensor::Tensor<B, D>,
    noise: Noise,
) -> burn::tensor::Tensor<B, D> {
    let last = match *sampler {
        SamplerConfig::General { gam, mu } => {
            sample(denoiser, General::new(gam, mu), sigmas, x.clone(), noise).last()
        }
        SamplerConfig::Heun => sample(denoiser, Heun::default(), sigmas, x.clone(), noise).last(),
    };
    last.unwrap_or(x)
}

/// Writes `samples` as a picture, or where `path` ends in .safetensors as tensors. Latents, which need a decoder to be
/// seen, are written both ways.
pub fn write(
    path: &Path,
    samples: &Samples,
    data: Option<TensorData>,
    config: &DataConfig,
) -> Result<(), CliError> {
    if is_safetensors(path) {
        return tensors(path, samples, config);
    }
    if let DataConfig::Latents { .. } = config {
        tensors(&path.with_extension("safetensors"), samples, config)?;
    }
    picture(path, samples, data)
}

/// Refuses to replace a safetensors file that holds something else than samples: a run's weights, say.
pub fn check_replaced(path: &Path) -> Result<(), CliError> {
    if !is_safetensors(path) || !path.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(path).map_err(CliError::io("read", path))?;
    match SafeTensors::deserialize(&bytes) {
        Ok(tensors) if tensors.tensor("samples").is_ok() && tensors.tensor("start").is_ok() => Ok(()),
        _ => Err(CliError::FileKept(path.to_path_buf())),
    }
}

/// Whether `path` is the name of a file of tensors.
pub fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Writes the tensors `samples` and `start`, `[count, …]`: what came out, latents as they come from an encoder, and the
/// noise that it came from, times the first σ.
fn tensors(path: &Path, samples: &Samples, config: &DataConfig) -> Result<(), CliError> {
    check_replaced(path)?;
    let (scale, shift) = match *config {
        DataConfig::Latents { scale, shift, .. } => (scale, shift),
        _ => (1.0, 0.0),
    };
    let unscaled = |x: &f32| ((f64::from(*x) - shift) / scale) as f32;
    let values: Vec<u8> = samples.values.iter().flat_map(|x| unscaled(x).to_le_bytes()).collect();
    let start: Vec<u8> = samples.start.iter().flat_map(|x| x.to_le_bytes()).collect();
    let count = samples.values.len() / samples.shape.iter().product::<usize>();
    let shape = [&[count], &samples.shape[..]].concat();
    let view = |bytes| TensorView::new(Dtype::F32, shape.clone(), bytes);
    view(&values)
        .and_then(|values| Ok([("samples", values), ("start", view(&start)?)]))
        .and_then(|tensors| safetensors::serialize_to_file(tensors, None, path))
        .map_err(|error| CliError::io("write", path)(Error::other(error)))
}

/// Draws the picture of `samples`: points over the data, or a grid of images. Of images with other channels than grey
/// or red, green and blue it shows the first three, or the first, from −3 to 3 standard deviations.
fn picture(path: &Path, samples: &Samples, data: Option<TensorData>) -> Result<(), CliError> {
    match samples.shape[..] {
        [2] => {
            let points = |values: &[f32]| values.chunks_exact(2).map(|p| [p[0], p[1]]).collect::<Vec<_>>();
            let data = data.map(|data| data.iter::<f32>().collect::<Vec<_>>()).unwrap_or_default();
            pictures::scatter(path, &points(&data), &points(&samples.values), samples.labels.as_deref())?;
        }
        [channels, height, width] => {
            let count = samples.values.len() / (channels * height * width);
            // One column per label reads as a table.
            let columns = samples.period.filter(|&period| period <= 16 && count > period);
            let (values, shown) = match channels {
                1 | 3 => (Cow::Borrowed(&samples.values), channels),
                _ => {
                    let (pixels, shown) = (height * width, if channels < 3 { 1 } else { 3 });
                    let first =
                        samples.values.chunks_exact(channels * pixels).flat_map(|x| &x[..shown * pixels]);
                    (Cow::Owned(first.map(|x| x / 3.0).collect()), shown)
                }
            };
            pictures::grid(path, &values, count, shown, height, width, columns)?;
        }
        ref other => {
            let what = format!("samples of shape {other:?} have no picture");
            return Err(CliError::invalid(what, "use points in the plane or images"));
        }
    }
    Ok(())
}

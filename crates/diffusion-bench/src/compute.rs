//! The work itself, on any backend.

use crate::error::BenchError;
use crate::latent;
use crate::serve::{Serve, finish};
use crate::trajectory::trajectory;
use crate::work::{DitSizes, Work, mlp};
use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::path::VarianceExploding;
use diffusion::prelude::*;
use std::f64::consts::PI;
use std::time::Instant;

/// Images in a training set: more than a batch, and little memory.
const IMAGES: usize = 1024;

/// Prepares `work` and hands its steps to `serve`.
pub fn run<B: AutodiffBackend>(
    work: &Work,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError> {
    match work {
        Work::TrainMlp { hidden_dims, batch } => {
            let network = mlp(hidden_dims).init::<B>(0, device);
            let points = Swissroll::new(PI / 2.0, 5.0 * PI, *batch);
            let schedule = LogLinear::new(200, 0.005, 10.0);
            let run = begin::<B, _, _, _, _, 2>(network, EpsPrediction, schedule, points, *batch);
            training(run, device, serve)
        }
        Work::TrainDit { dit, batch } => {
            let (network, images) = transformer::<B>(dit, device);
            if dit.scaled {
                let prediction = Scaled(EpsPrediction);
                let run = begin::<B, _, _, _, _, 4>(network, prediction, Ddpm::default(), images, *batch);
                training(run, device, serve)
            } else {
                let run = begin::<B, _, _, _, _, 4>(network, EpsPrediction, Ddpm::default(), images, *batch);
                training(run, device, serve)
            }
        }
        Work::TrainUnder { dit, batch, objective } => {
            let (network, images) = transformer::<B>(dit, device);
            let prediction = Scaled(EpsPrediction);
            let run = begin::<B, _, _, _, _, 4>(network, prediction, Ddpm::default(), images, *batch);
            training(run.under((**objective).clone()), device, serve)
        }
        Work::TrainUnet { unet, batch } => {
            let network = unet.config().init::<B>(0, device);
            let images = images::<B::InnerBackend>(unet.in_dim, device);
            let (prediction, schedule) = (Scaled(EpsPrediction), LogLinear::new(800, 0.01, 20.0));
            let run = begin::<B, _, _, _, _, 4>(network, prediction, schedule, images, *batch);
            training(run, device, serve)
        }
        Work::SampleDit { dit, batch, steps } => {
            sampling::<B::InnerBackend>(dit, *batch, *steps, device, serve)
        }
        Work::SampleBy { dit, batch, steps, sampler, part } => {
            let (network, _) = transformer::<B::InnerBackend>(dit, device);
            let model = Diffusion::<B::InnerBackend, _, _>::new(network, Scaled(EpsPrediction));
            let parameters = model.num_params();
            let sigmas = Ddpm::default().sigmas(*steps);
            let chosen =
                AnySampler::from_name(sampler).ok_or_else(|| BenchError::Sampler(sampler.clone()))?;
            let mut seed = 0;
            serve(parameters, &mut |count| {
                let mut seconds = 0.0;
                for _ in 0..count {
                    seed += 1;
                    let timed = trajectory(&model, chosen, &sigmas, *batch, Noise::new(seed), device)?;
                    seconds += timed.of(*part);
                }
                Ok(seconds)
            })
        }
        Work::Ideal { examples, numbers, queries } => {
            ideal::<B::InnerBackend>([*examples, *numbers], *queries, device, serve)
        }
        Work::CheckpointSave { dit } => checkpoint::<B>(dit, false, device, serve),
        Work::CheckpointLoad { dit } => checkpoint::<B>(dit, true, device, serve),
        Work::Latent { folder, piece, size } => {
            latent::run::<B::InnerBackend>(folder, *piece, *size, device, serve)
        }
    }
}

/// Unit normal noise for images.
fn images<B: Backend>(in_dim: usize, device: &B::Device) -> Points {
    let noise = Noise::new(1).initial::<B, 4>([IMAGES, 1, in_dim, in_dim], device).into_data();
    Points::new(noise.into_vec::<f32>().expect("noise is f32"), &[1, in_dim, in_dim])
}

/// A transformer, and what it is trained on.
fn transformer<B: Backend>(dit: &DitSizes, device: &B::Device) -> (Dit<B>, Points) {
    (dit.config().init(0, device), images::<B>(dit.in_dim, device))
}

/// An endless training by the library's own loop.
fn begin<B, N, P, S, T, const D: usize>(
    network: N,
    prediction: P,
    schedule: S,
    data: T,
    batch: usize,
) -> Training<B, N, P, S, Batches<T>, D>
where
    B: AutodiffBackend,
    N: Network<B, D, Condition = ()> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization<Path = VarianceExploding>,
    S: Schedule<Path = VarianceExploding>,
    T: Dataset<Label = ()>,
{
    let model = Diffusion::<B, _, _>::new(network, prediction);
    train(Batches::new(data, batch, 0), model, schedule, &TrainConfig::new(u64::MAX))
}

/// Whole training steps: batch, noise, forward, loss, backward, the look at the gradients, AdamW and the EMA of the weights.
fn training<B, N, P, S, T, O, const D: usize>(
    mut run: Training<B, N, P, S, Batches<T>, D, O>,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError>
where
    B: AutodiffBackend,
    N: Network<B, D, Condition = ()> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: ModuleDisplay,
    P: Parameterization<Path = VarianceExploding>,
    S: Schedule<Path = VarianceExploding>,
    T: Dataset<Label = ()>,
    O: Objective,
{
    let parameters = run.model().num_params();
    serve(parameters, &mut |count| {
        let begun = Instant::now();
        for _ in 0..count {
            let step =
                run.next().transpose()?.filter(|step| step.skipped.is_none()).ok_or(BenchError::Skipped)?;
            std::hint::black_box(step.loss());
        }
        finish::<B>(device)?;
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// Whole trajectories from noise to data, by DDIM.
fn sampling<B: Backend>(
    dit: &DitSizes,
    batch: usize,
    steps: usize,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError> {
    let model = Diffusion::<B, _, _>::new(dit.config().init::<B>(0, device), EpsPrediction);
    let sigmas = Ddpm::default().sigmas(steps);
    let mut seed = 0;
    serve(model.num_params(), &mut |count| {
        let begun = Instant::now();
        for _ in 0..count {
            seed += 1;
            let noise = Noise::new(seed);
            std::hint::black_box(
                sample(&model, GradientEstimation::DDIM, &sigmas, batch, noise, device).last(),
            );
            finish::<B>(device)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// Answers of the ideal denoiser of noise, asked at σ = 1.
fn ideal<B: Backend>(
    [examples, numbers]: [usize; 2],
    queries: usize,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError> {
    let noise = |seed, rows| Noise::new(seed).initial::<B, 2>([rows, numbers], device);
    let denoiser = IdealDenoiser::<B, 2>::new(&noise(1, examples).into_data(), device);
    let x = noise(2, queries);
    let sigma = Tensor::<B, 1>::from_data(TensorData::new(vec![1.0f32; queries], [queries]), device);
    serve(0, &mut |count| {
        let begun = Instant::now();
        for _ in 0..count {
            std::hint::black_box(Network::forward(&denoiser, x.clone(), sigma.clone(), ()));
            finish::<B>(device)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// Checkpoints of a run after its first step: written, or read into a new run.
fn checkpoint<B: AutodiffBackend>(
    dit: &DitSizes,
    load: bool,
    device: &B::Device,
    serve: &mut Serve<'_>,
) -> Result<(), BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::Temporary)?;
    let description = ModelSpec::new(&dit.config(), &"eps".to_string(), &"ddpm".to_string());
    let model = Diffusion::<B, _, _>::new(dit.config().init::<B>(0, device), EpsPrediction);
    let parameters = model.num_params();
    let (schedule, config) = (Ddpm::default(), TrainConfig::new(u64::MAX));
    let images = images::<B::InnerBackend>(dit.in_dim, device);
    let begin = |model| train::<B, _, _, _, _, 4>(Batches::new(&images, 1, 0), model, &schedule, &config);
    let mut run = begin(model);
    run.next().transpose()?.filter(|step| step.skipped.is_none()).ok_or(BenchError::Skipped)?;
    if !load {
        return serve(parameters, &mut |count| {
            let begun = Instant::now();
            for _ in 0..count {
                run.save(folder.path(), &description, None)?;
            }
            Ok(begun.elapsed().as_secs_f64())
        });
    }
    run.save(folder.path(), &description, None)?;
    let mut spare = Some(run.into_model());
    serve(parameters, &mut |count| {
        let mut seconds = 0.0;
        for _ in 0..count {
            let run = begin(spare.take().expect("each load gives a model back"));
            let begun = Instant::now();
            let checkpoint = Checkpoint::latest(folder.path())?;
            let run = run.resume(&checkpoint, &description)?;
            finish::<B>(device)?;
            seconds += begun.elapsed().as_secs_f64();
            spare = Some(run.into_model());
        }
        Ok(seconds)
    })
}

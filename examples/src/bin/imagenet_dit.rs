//! Latents of pictures of a chosen class, by a transformer and flow matching: `imagenet_dit FOLDER [STEPS [BATCH [DEPTH]]]`.
//!
//! FOLDER holds ImageNet's latents, 4×32×32 numbers each, in safetensors shards. With 12 blocks it is DiT-B/2, which the
//! reference's example trains for 400,000 steps of 256 on eight GPUs. Prints the mean loss of the last sixth of the
//! training, and the standard deviation of guided samples; to see them takes Stable Diffusion's decoder.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder with the shards");
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch, depth) = (number(400_000), number(256), number(12));
    let (seed, device) = (0, Default::default());

    let latents = Latents::open(folder, LatentsConfig::default())?;
    let batches = Batches::new(latents, batch, seed).flip_horizontally().prefetch(4);
    let sizes = DitConfig { channels: 4, patch_size: 2, depth, num_heads: 12, ..Default::default() };
    let network = DitConfig { sigma_embedding: SigmaEmbedding::Timestep, ..sizes };
    let classes = CondEmbedderLabelConfig::new(1000);
    let network = network.init_conditional::<Autodiff<Flex>>(&classes, seed, &device);
    let config = TrainConfig { lr: 1e-4, ..TrainConfig::new(steps as u64) };
    let config = TrainConfig { ema: EmaConfig::warmup(0.9999), ..config };

    let schedule = LogNormalFlow::default();
    let mut run = train(batches, Diffusion::new(network, FlowPrediction), &schedule, &config);
    let losses: Vec<f64> = run.by_ref().map(|step| Ok(step?.loss())).collect::<Result<_, DataError>>()?;
    let last = &losses[losses.len() * 5 / 6..];
    println!("loss {:.4}", last.iter().sum::<f64>() / last.len() as f64);

    let (model, sigmas) = (run.ema(), Flow::new(1000, 0.04, 1.0).sigmas(10));
    let denoiser = model.given(Labels((0..4).collect())).guided(2.0);
    let samples =
        sample(&denoiser, GradientEstimation::new(1.6, 0.0), &sigmas, 4, Noise::new(seed), &device).last();
    println!("deviation {:.3}", samples.expect("there are 10 steps").var(0).sqrt().mean().into_scalar());
    Ok(())
}

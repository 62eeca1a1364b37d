//! Clothes from noise, by a small diffusion transformer: `fashion_dit [FOLDER [STEPS [BATCH]]]`.
//!
//! FOLDER holds Fashion-MNIST's IDX files. Prints the mean loss of the last sixth of the training: about 0.076 after
//! the 600 steps that it takes by default, some minutes on a CPU.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or("/usr/share/datasets/fashion-mnist".into());
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch) = (number(600), number(64));
    let (seed, device) = (0, Default::default());

    let images = MnistLike::from_folder(folder, Split::Train)?.unlabeled();
    let batches = Batches::new(images, batch, seed).flip_horizontally().prefetch(4);
    let network = DitConfig {
        in_dim: 28,
        channels: 1,
        patch_size: 4,
        depth: 4,
        head_dim: 32,
        num_heads: 4,
        ..Default::default()
    };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), Scaled(EpsPrediction));
    let schedule = Ddpm::default();

    let mut run = train(batches, model, &schedule, &TrainConfig::new(steps as u64));
    let losses: Vec<f64> = run.by_ref().map(|step| Ok(step?.loss())).collect::<Result<_, DataError>>()?;
    let last = &losses[losses.len() * 5 / 6..];
    println!("loss {:.4}", last.iter().sum::<f64>() / last.len() as f64);

    let (model, sigmas) = (run.ema(), schedule.sigmas(20));
    let samples =
        sample(model, GradientEstimation::new(1.6, 0.0), &sigmas, 4, Noise::new(seed), &device).last();
    println!("samples {}", samples.expect("there are 20 steps"));
    Ok(())
}

//! Small colour pictures from noise, by a U-Net: `cifar_unet FOLDER [STEPS [BATCH [CH]]]`.
//!
//! FOLDER holds the binary version of CIFAR-10; CH, a multiple of 32, is the number of channels on the first level. It
//! trains on one schedule and samples through another, as smalldiffusion's example does, whose training takes 196,000
//! steps of 256 on a GPU. Prints the mean loss of the last sixth of the training.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("the folder with data_batch_1.bin to data_batch_5.bin");
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch, ch) = (number(196_000), number(256), number(128));
    let (seed, device) = (0, Default::default());

    let images = Cifar10::from_folder(folder, Split::Train)?.unlabeled();
    let batches = Batches::new(images, batch, seed).flip_horizontally().prefetch(4);
    let network = UnetConfig { ch, ..Default::default() };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), Scaled(EpsPrediction));
    let config = TrainConfig { lr: 2e-4, ..TrainConfig::new(steps as u64) };
    let config = TrainConfig { ema: EmaConfig::warmup(0.9999), ..config };

    let schedule = Sigmoid::default();
    let mut run = train(batches, model, &schedule, &config);
    let losses: Vec<f64> = run.by_ref().map(|step| Ok(step?.loss())).collect::<Result<_, DataError>>()?;
    let last = &losses[losses.len() * 5 / 6..];
    println!("loss {:.4}", last.iter().sum::<f64>() / last.len() as f64);

    let (model, sigmas) = (run.ema(), LogLinear::new(1000, 0.01, 35.0).sigmas(10));
    let samples =
        sample(model, GradientEstimation::new(2.1, 0.0), &sigmas, 4, Noise::new(seed), &device).last();
    println!("samples {}", samples.expect("there are 10 steps"));
    Ok(())
}

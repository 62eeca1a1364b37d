//! Clothes from noise, by a U-Net: `fashion_unet [FOLDER [STEPS [BATCH [CH]]]]`.
//!
//! FOLDER holds Fashion-MNIST's IDX files; CH, a multiple of 32, is the number of channels on the first level: 64 in
//! smalldiffusion's example, 32 here, for a CPU. Prints the mean loss of the last sixth of the training: about 0.20 after the
//! 600 steps that it takes by default.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or("/usr/share/datasets/fashion-mnist".into());
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch, ch) = (number(600), number(32), number(32));
    let (seed, device) = (0, Default::default());

    let images = MnistLike::from_folder(folder, Split::Train)?.unlabeled();
    let batches = Batches::new(images, batch, seed).flip_horizontally().prefetch(4);
    let sizes = UnetConfig { in_dim: 28, in_ch: 1, out_ch: 1, ch, ..Default::default() };
    let levels = UnetConfig { ch_mult: vec![1, 2, 2], attn_resolutions: vec![14], ..sizes };
    let network = UnetConfig { num_res_blocks: 1, ..levels };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), Scaled(EpsPrediction));
    let schedule = LogLinear::new(800, 0.01, 20.0);

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

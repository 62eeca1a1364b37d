//! Clothes of a chosen kind from noise, by a conditional diffusion transformer: `fashion_dit_cond [FOLDER [STEPS [BATCH]]]`.
//!
//! FOLDER holds Fashion-MNIST's IDX files. Prints the mean loss of the last sixth of the training and, for each kind of
//! clothing, how bright a sample of it is on average: trousers and sandals cover little of the picture, coats much. For a
//! CPU it is smaller than smalldiffusion's example, and scaled and guided where that is neither.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or("/usr/share/datasets/fashion-mnist".into());
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch) = (number(600), number(64));
    let (seed, device) = (0, Default::default());

    let images = MnistLike::from_folder(folder, Split::Train)?;
    let classes = CondEmbedderLabelConfig::new(images.num_classes());
    let batches = Batches::new(images, batch, seed).flip_horizontally().prefetch(4);
    let sizes = DitConfig { in_dim: 28, channels: 1, patch_size: 4, depth: 4, ..Default::default() };
    let network = DitConfig { head_dim: 32, num_heads: 4, ..sizes };
    let network = network.init_conditional::<Autodiff<Flex>>(&classes, seed, &device);
    let (model, schedule) = (Diffusion::new(network, Scaled(EpsPrediction)), Ddpm::default());

    let mut run = train(batches, model, &schedule, &TrainConfig::new(steps as u64));
    let losses: Vec<f64> = run.by_ref().map(|step| Ok(step?.loss())).collect::<Result<_, DataError>>()?;
    let last = &losses[losses.len() * 5 / 6..];
    println!("loss {:.4}", last.iter().sum::<f64>() / last.len() as f64);

    let (model, sigmas) = (run.ema(), schedule.sigmas(20));
    let denoiser = model.given(Labels((0..10).collect())).guided(1.0);
    let samples =
        sample(&denoiser, GradientEstimation::new(1.6, 0.0), &sigmas, 10, Noise::new(seed), &device).last();
    let bright = samples.expect("there are 20 steps").flatten::<2>(1, 3).mean_dim(1).into_data();
    bright.iter::<f32>().enumerate().for_each(|(label, mean)| println!("class {label}: {mean:.2}"));
    Ok(())
}

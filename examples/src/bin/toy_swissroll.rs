//! A Swiss roll from noise, smalldiffusion's toy example: `toy_swissroll [STEPS]`.
//!
//! Prints the mean loss of the last sixth of the training: about 0.60 with smalldiffusion's 3,000 steps.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;
use std::f64::consts::PI;

fn main() -> Result<(), DataError> {
    let steps = std::env::args().nth(1).map_or(3_000, |n| n.parse().expect("STEPS is a number"));
    let (seed, device) = (0, Default::default());

    let points = Swissroll::new(PI / 2.0, 5.0 * PI, 100);
    let batches = Batches::new(points, 2048, seed);
    let network = TimeInputMlpConfig { hidden_dims: vec![16, 128, 128, 128, 128, 16], ..Default::default() };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), EpsPrediction);
    let schedule = LogLinear::new(200, 0.005, 10.0);

    let mut run = train(batches, model, &schedule, &TrainConfig::new(steps));
    let losses: Vec<f64> = run.by_ref().map(|step| Ok(step?.loss())).collect::<Result<_, DataError>>()?;
    let last = &losses[losses.len() * 5 / 6..];
    println!("loss {:.3}", last.iter().sum::<f64>() / last.len() as f64);

    let (model, sigmas) = (run.model(), schedule.sigmas(20));
    let samples =
        sample(&model, GradientEstimation::ACCELERATED, &sigmas, 5, Noise::new(seed), &device).last();
    println!("samples {}", samples.expect("there is at least one step"));
    Ok(())
}

//! Points on the branches of a tree, leaf by leaf, with classifier-free guidance: `tree_guidance [STEPS]`.
//!
//! Prints how far, on average, a sample is from the nearest point of its own branch, without guidance and with it.

use burn::backend::{Autodiff, Flex};
use diffusion::prelude::*;

const SEED: u64 = 0;

fn main() -> Result<(), DataError> {
    let steps = std::env::args().nth(1).map_or(6_000, |n| n.parse().expect("STEPS is a number"));
    let device = Default::default();
    let tree = TreeDataset::new(4, 2, 30);
    let classes = CondEmbedderLabelConfig::new(tree.num_classes());
    let network = ConditionalMlpConfig { labels: classes, cond_dim: 16, ..Default::default() };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(SEED, &device), EpsPrediction);
    let schedule = LogLinear::new(200, 0.005, 10.0);

    let mut run = train(Batches::new(tree.clone(), 256, SEED), model, &schedule, &TrainConfig::new(steps));
    for step in &mut run {
        step?;
    }

    let (model, sigmas) = (run.ema(), schedule.sigmas(20));
    let labels = Labels((0..320).map(|i| i % tree.num_classes()).collect());
    for scale in [0.0, 1.0] {
        let denoiser = model.given(labels.clone()).guided(scale);
        let samples =
            sample(&denoiser, GradientEstimation::DDIM, &sigmas, labels.0.len(), Noise::new(SEED), &device)
                .last();
        let samples: Vec<f32> = samples.expect("there are 20 steps").into_data().iter().collect();
        let distances = samples.chunks(2).zip(&labels.0).map(|(p, &label)| distance(&tree, label, p));
        println!("scale {scale}: {:.3}", distances.sum::<f32>() / labels.0.len() as f32);
    }
    Ok(())
}

/// From `point` to the nearest point of the tree with this label.
fn distance(tree: &TreeDataset, label: usize, point: &[f32]) -> f32 {
    let mut q = [0.0; 2];
    let own = (0..tree.len()).filter_map(|i| (tree.read(i, &mut q).ok()? == label).then_some(q));
    own.map(|q| (q[0] - point[0]).hypot(q[1] - point[1])).fold(f32::INFINITY, f32::min)
}

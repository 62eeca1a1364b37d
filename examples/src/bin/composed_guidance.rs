//! Points on two branches of a tree at once, by composed guidance, Karras' levels and UniPC: `composed_guidance [STEPS]`.
//!
//! Prints how far, on average, a sample is from the farther of both branches: about 0.18 if told one leaf alone, 0.07 if both.

use burn::backend::{Autodiff, Flex};
use diffusion::core::guidance::{Interval, ScaleCurve, ScaleSchedule};
use diffusion::prelude::*;

fn main() -> Result<(), DataError> {
    let steps = std::env::args().nth(1).map_or(6_000, |n| n.parse().expect("STEPS is a number"));
    let (seed, count, device) = (0, 200, Default::default());
    let tree = TreeDataset::new(4, 2, 30);
    let classes = CondEmbedderLabelConfig::new(tree.num_classes());
    let network = ConditionalMlpConfig { labels: classes, cond_dim: 16, ..Default::default() };
    let model = Diffusion::new(network.init::<Autodiff<Flex>>(seed, &device), EpsPrediction);
    let schedule = LogLinear::new(200, 0.005, 10.0);
    let mut run = train(Batches::new(tree.clone(), 256, seed), model, &schedule, &TrainConfig::new(steps));
    run.by_ref().try_for_each(|step| step.map(drop))?;

    let (model, sigmas) = (run.ema(), Grid::from(Karras::default()).sigmas(&schedule, 10));
    // Guidance from σ = 2 down, the stronger the nearer to data.
    let stack = (Interval { low: 0.0, high: 2.0 }, ScaleSchedule::new(ScaleCurve::Linear {}));
    let leaf = |label| (1.0, Labels(vec![label; count]));
    for (name, told) in [("one", vec![leaf(0)]), ("both", vec![leaf(0), leaf(1)])] {
        let null = model.network.null_condition(&told[0].1);
        let guided = model.given_all(told).guided_with(null, ClassifierFree::new(0.5).with(stack.clone()));
        let x0 = sample(&guided, UniPc::default(), &sigmas, count, Noise::new(seed), &device).last();
        let x0: Vec<f32> = x0.expect("there are 10 steps").into_data().iter().collect();
        let farther = |p: &[f32]| distance(&tree, 0, p).max(distance(&tree, 1, p));
        println!("told {name}: {:.3}", x0.chunks(2).map(farther).sum::<f32>() / count as f32);
    }
    Ok(())
}

/// From `point` to the nearest point of the branch with this label.
fn distance(tree: &TreeDataset, label: usize, point: &[f32]) -> f32 {
    let mut q = [0.0; 2];
    let own = (0..tree.len()).filter_map(|i| (tree.read(i, &mut q).ok()? == label).then_some(q));
    own.map(|q| (q[0] - point[0]).hypot(q[1] - point[1])).fold(f32::INFINITY, f32::min)
}

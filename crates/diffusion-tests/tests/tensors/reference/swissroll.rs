//! How well smalldiffusion learns: `fixtures/baselines.py swissroll`.

/// Three thousand steps; one backend is enough to show that we learn as well, and this one is the default.
#[cfg(feature = "flex")]
#[test]
fn the_swiss_roll_is_learnt_as_well() {
    use burn::backend::{Autodiff, Flex};
    use diffusion::prelude::*;
    use std::f64::consts::PI;

    let device = Default::default();
    let config =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 128, 128, 128, 128, 16], ..Default::default() };
    let model = Diffusion::new(config.init::<Autodiff<Flex>>(0, &device), EpsPrediction);
    let batches = Batches::new(Swissroll::new(PI / 2.0, 5.0 * PI, 100), 2048, 0);
    let schedule = LogLinear::new(200, 0.005, 10.0);
    let losses: Vec<f64> =
        train(batches, model, &schedule, &TrainConfig::new(3000)).map(|step| step.unwrap().loss()).collect();
    let mean = losses[2500..].iter().sum::<f64>() / 500.0;
    // The mean of smalldiffusion's three seeds.
    let expected = 0.598;
    assert!((mean / expected - 1.0).abs() < 0.03, "the loss ends at {mean}, smalldiffusion's at {expected}");
}

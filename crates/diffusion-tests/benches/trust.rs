//! What it costs to look at every step's numbers, and to make checkpoints and to validate as often as the presets do.
//!
//! `cargo bench -p diffusion-tests --features flex --bench trust`: steps with and without a look alternate in one run,
//! and the medians of their times are compared.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, ModuleDisplay};
use diffusion::prelude::*;
use std::sync::Arc;
use std::time::Instant;

type B = Autodiff<Flex>;

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Alternates `steps` steps of both kinds, and tells what the rest costs per step if it comes `every` so many steps.
fn measure<N, D, const R: usize>(
    name: &str,
    network: impl Fn() -> N,
    data: D,
    batch: usize,
    steps: usize,
    every: f64,
) where
    D: Dataset + Clone,
    N: Network<B, R, Condition = <D::Label as Label>::Condition> + AutodiffModule<B> + ModuleDisplay,
    N::InnerModule: Network<Flex, R, Condition = N::Condition> + ModuleDisplay,
    N::Condition: Condition,
{
    let schedule = LogLinear::new(200, 0.01, 20.0);
    let config = |max_skipped| TrainConfig { max_skipped, ..TrainConfig::new(u64::MAX) };
    let model = || Diffusion::<B, _, _>::new(network(), EpsPrediction);
    let run =
        |max_skipped| train(Batches::new(data.clone(), batch, 0), model(), &schedule, &config(max_skipped));
    let (mut on, mut off) = (run(10), run(0));
    let (mut times_on, mut times_off) = (Vec::new(), Vec::new());
    for i in 0..steps + 3 {
        let begun = Instant::now();
        // The program reads the loss of every step in both.
        on.next().unwrap().unwrap().loss();
        let middle = Instant::now();
        off.next().unwrap().unwrap().loss();
        if i >= 3 {
            times_on.push((middle - begun).as_secs_f64());
            times_off.push(middle.elapsed().as_secs_f64());
        }
    }
    let (on_step, off_step) = (median(times_on), median(times_off));

    let folder = tempfile::tempdir().unwrap();
    let text = String::new;
    let spec = ModelSpec::new(&text(), &text(), &text());
    let begun = Instant::now();
    for _ in 0..3 {
        on.save(folder.path(), &spec, None).unwrap();
    }
    let save = begun.elapsed().as_secs_f64() / 3.0;
    let validation = Validation::new(ValidationConfig::default(), 0, &schedule, data.len(), |indices| {
        data.gather(indices)
    })
    .unwrap();
    let begun = Instant::now();
    validation.evaluate(on.ema(), &Default::default());
    let validating = begun.elapsed().as_secs_f64();
    let share = |seconds: f64| 100.0 * seconds / every / off_step;
    println!(
        "{name:>22}: step {:.2} ms, looking {:+.1} %, checkpoint {:.0} ms {:+.2} %, two validations {:.0} ms {:+.2} %",
        1e3 * off_step,
        100.0 * (on_step / off_step - 1.0),
        1e3 * save,
        share(save),
        2e3 * validating,
        share(2.0 * validating),
    );
}

fn main() {
    let device = Default::default();
    let points = Arc::new(Swissroll::new(std::f64::consts::PI / 2.0, 5.0 * std::f64::consts::PI, 100));
    let many = Arc::new(Swissroll::new(std::f64::consts::PI / 2.0, 5.0 * std::f64::consts::PI, 2048));
    let mlp =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 128, 128, 128, 128, 16], ..Default::default() };
    measure::<_, _, 2>("swissroll, batch 100", || mlp.init::<B>(0, &device), points, 100, 2000, 5000.0);
    measure::<_, _, 2>("swissroll, batch 2048", || mlp.init::<B>(0, &device), many, 2048, 300, 5000.0);
    let pixels = (0..64 * 784).map(|i| (i * 37 % 251) as f32 / 125.0 - 1.0).collect();
    let images = Arc::new(Points::new(pixels, &[1, 28, 28]));
    let dit = DitConfig {
        in_dim: 28,
        channels: 1,
        patch_size: 4,
        depth: 4,
        head_dim: 32,
        num_heads: 4,
        ..DitConfig::default()
    };
    measure::<_, _, 4>("fashion-dit-small, 64", || dit.init::<B>(0, &device), images, 64, 40, 1000.0);
}

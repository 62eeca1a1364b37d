//! The classifier by whose features samples of clothes are judged: `fashion_classifier [FOLDER [OUT [STEPS [BATCH]]]]`.
//!
//! FOLDER holds Fashion-MNIST's IDX files. Writes the weights to OUT, in half precision; without arguments they are, bit
//! for bit, those in `crates/diffusion-eval/weights`. Prints the loss and, at the end, how many images of the test set the
//! weights in the file tell right.

use burn::backend::{Autodiff, Flex};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::activation::log_softmax;
use diffusion::eval::extract::classifier::Classifier;
use diffusion::prelude::*;
use diffusion::weights::{write_atomically, write_half};
use std::error::Error;

/// The probability of the true class that is aimed at; the others share the rest.
const SURE: f32 = 0.9;
const CLASSES: usize = 10;
const SEED: u64 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    diffusion::keep_memory();
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or("/usr/share/datasets/fashion-mnist".into());
    let out = arguments.next().unwrap_or("fashion-mnist.safetensors".into());
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (steps, batch) = (number(7504), number(64)); // 8 epochs
    let device = Default::default();

    let images = MnistLike::from_folder(&folder, Split::Train)?;
    let batches = Batches::new(images, batch as usize, SEED).flip_horizontally().prefetch(4);
    let mut model = Classifier::<Autodiff<Flex>>::untrained(SEED, &device);
    let mut optimizer = AdamWConfig { weight_decay: 0.05, ..Default::default() }.init();
    let rate = LrSchedule { warmup: 200.min(steps / 4), decay: LrDecay::Cosine { floor: 0.0 } };
    let mut recent = 0.0;
    for (step, batch) in (1..=steps).zip(batches) {
        let (images, labels) = batch?;
        let logits = model.logits(Tensor::from_data(images, &device));
        let loss = cross_entropy(logits, &labels.0);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(3e-3 * rate.factor(step, steps), model, gradients);
        recent += loss.into_scalar();
        if step % 100 == 0 {
            println!("step {step} of {steps}: loss {:.4}", recent / 100.0);
            recent = 0.0;
        }
    }

    write_atomically(&out, |file| write_half(&model.valid(), file))?;
    let accuracy = accuracy(&Classifier::open(&out, &device)?, &folder)?;
    println!("accuracy {accuracy:.4}");
    Ok(())
}

/// The mean cross-entropy of `labels` that are [nearly sure](SURE).
fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, labels: &[usize]) -> Tensor<B, 1> {
    let [batch, classes] = logits.dims();
    let mut targets = vec![(1.0 - SURE) / (CLASSES - 1) as f32; batch * classes];
    labels.iter().enumerate().for_each(|(row, label)| targets[row * classes + label] = SURE);
    let targets = Tensor::from_data(TensorData::new(targets, [batch, classes]), &logits.device());
    -(log_softmax(logits, 1) * targets).sum_dim(1).mean()
}

/// The share of the test images that are told right.
fn accuracy(model: &Classifier<Flex>, folder: &str) -> Result<f64, DataError> {
    let images = MnistLike::from_folder(folder, Split::Test)?;
    let (count, mut right) = (images.len(), 0);
    for batch in Batches::new(images, 500, SEED).keep_order().epochs(1) {
        let (images, labels) = batch?;
        let found = model.classify(Tensor::from_data(images, &Default::default()));
        right += found.iter().zip(&labels.0).filter(|(found, label)| found == label).count();
    }
    Ok(right as f64 / count as f64)
}

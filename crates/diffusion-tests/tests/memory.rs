//! The ideal denoiser of a whole image data set stays within bounded memory; alone in its process, to be measured.

#![cfg(all(feature = "flex", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use diffusion::prelude::IdealDenoiser;
use std::fs;

/// The most memory that this process has held, in MiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() / 1024
}

#[test]
fn sixty_thousand_images_need_less_than_a_gibibyte_besides_themselves() {
    let (examples, numbers, queries) = (60_000, 784, 300);
    // Cheap numbers in [−1, 1) that differ between examples.
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as f32 % 1000.0 / 500.0 - 1.0;
    let data =
        TensorData::new((0..examples * numbers).map(value).collect::<Vec<f32>>(), [examples, 1, 28, 28]);
    let first: Vec<f32> = data.iter::<f32>().take(queries * numbers).collect();
    let device = Default::default();
    let ideal = IdealDenoiser::<Flex, 4>::new(&data, &device);
    let before = peak();

    let x = Tensor::from_data(TensorData::new(first.clone(), [queries, 1, 28, 28]), &device);
    let denoised = ideal.denoise(x, Tensor::full([queries], 0.01, &device)).into_data();
    let grown = peak() - before;
    println!("{before} MiB with the data, {grown} MiB more for {queries} queries");
    assert!(before >= 2 * examples * numbers * 4 / (1 << 20), "{before} MiB cannot hold the data twice");
    assert!(grown < 1024, "{grown} MiB more than the data");
    // So little noise leaves no doubt: each query is its own example.
    let error = denoised.iter::<f32>().zip(first).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 1e-4, "{error}");
}

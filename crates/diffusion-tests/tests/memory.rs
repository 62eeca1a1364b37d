//! The ideal denoiser of a whole image data set, and reading weights, stay within bounded memory; one after the other in a
//! process of their own, to be measured.

#![cfg(all(feature = "flex", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[allow(dead_code, reason = "the tests of tensors use the rest")]
#[path = "tensors/support"]
mod support {
    pub mod fixture;
    pub mod folders;
    pub mod formula;
}

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::schedule::LogLinear;
use diffusion::latent::Autoencoder;
use diffusion::prelude::{
    Diffusion, EpsPrediction, IdealDenoiser, TimeInputMlpConfig, export_state_dict, import_state_dict,
};
use diffusion::train::{TrainConfig, train};
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use support::folders::{Folder, Latent};

/// The most memory that this process has held since the last call of [`forget_peak`], in MiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<usize>().unwrap() / 1024
}

/// Where a sandbox forbids it, the bounds below are weaker.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[test]
fn memory_is_bounded() {
    weights_are_read_without_a_second_copy();
    sixty_thousand_images_need_less_than_a_gibibyte_besides_themselves();
    a_step_of_many_batches_holds_one();
    pretrained_models_are_opened_one_tensor_at_a_time();
}

/// Sixty-four batches of 8 MiB: all of them would be half a gibibyte.
fn a_step_of_many_batches_holds_one() {
    let (batch, dim, accumulate) = (512, 4096, 64);
    let device = Default::default();
    let network = TimeInputMlpConfig { dim, hidden_dims: vec![8], ..Default::default() }
        .init::<Autodiff<Flex>>(0, &device);
    let model = Diffusion::new(network, EpsPrediction);
    let batches = std::iter::repeat_with(|| (TensorData::zeros::<f32, _>([batch, dim]), ()));
    let config = TrainConfig { accumulate, ..TrainConfig::new(2) };
    let mut run = train(batches, model, LogLinear::default(), &config);
    forget_peak();
    let before = peak();
    let step = run.next().unwrap().unwrap();
    let grown = peak() - before;
    println!("{before} MiB before, {grown} MiB more for {accumulate} batches of 8 MiB");
    assert!(step.examples == (batch * accumulate) as u64 && step.skipped.is_none());
    assert!(grown < 256, "{grown} MiB more for {accumulate} batches of 8 MiB");
}

/// An autoencoder of 170 MB, of which the largest tensor has 9.
fn pretrained_models_are_opened_one_tensor_at_a_time() {
    let folder = Folder::new("sd1");
    let latent = Latent::read();
    let wider = |size: &usize| if matches!(size, 32 | 64) { size * 8 } else { *size };
    let tensors: Vec<(&String, Vec<usize>)> = latent
        .parameters("sd1", "vae/diffusion_pytorch_model.safetensors")
        .iter()
        .map(|(name, shape)| (name, shape.iter().map(wider).collect()))
        .collect();
    let zeros = vec![0; 4 * 512 * 512 * 9];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let path = folder.join("vae/diffusion_pytorch_model.safetensors");
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    folder.edit("vae/config.json", |text| {
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["block_out_channels"] = serde_json::json!([256, 512]);
        config.to_string()
    });
    let size = fs::metadata(&path).unwrap().len() as usize / (1 << 20);
    assert!((140..180).contains(&size), "{size} MiB");

    forget_peak();
    let before = peak();
    let model = Autoencoder::<Flex>::open(folder.path(), &Default::default()).unwrap();
    let grown = peak() - before;
    println!("{before} MiB before, {grown} MiB more for a pretrained model of {size} MiB");
    assert!(grown < size + 40, "{grown} MiB more for a model of {size} MiB");
    assert_eq!(model.config.factor(), 2);
}

fn weights_are_read_without_a_second_copy() {
    let device = Default::default();
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![4096; 3], ..Default::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    export_state_dict(&config.init::<Flex>(1, &device), &path).unwrap();
    let size = fs::metadata(&path).unwrap().len() as usize / (1 << 20);
    assert!((120..140).contains(&size), "{size} MiB");

    let network = config.init::<Flex>(2, &device);
    forget_peak();
    let before = peak();
    let network = import_state_dict(network, &path).unwrap();
    let grown = peak() - before;
    println!("{before} MiB with the network, {grown} MiB more for a file of {size} MiB");
    // The largest tensor is half of the file, and is held twice while it is converted.
    assert!(grown < size + size / 2, "{grown} MiB more than the network for a file of {size} MiB");
    assert_eq!(network.net[1].weight.dims(), [4096, 4096]);
}

fn sixty_thousand_images_need_less_than_a_gibibyte_besides_themselves() {
    let (examples, numbers, queries) = (60_000, 784, 300);
    // Cheap numbers in [−1, 1) that differ between examples.
    let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as f32 % 1000.0 / 500.0 - 1.0;
    let data =
        TensorData::new((0..examples * numbers).map(value).collect::<Vec<f32>>(), [examples, 1, 28, 28]);
    let first: Vec<f32> = data.iter::<f32>().take(queries * numbers).collect();
    let device = Default::default();
    let ideal = IdealDenoiser::<Flex, 4>::new(&data, &device);
    forget_peak();
    let before = peak();

    let x = Tensor::from_data(TensorData::new(first.clone(), [queries, 1, 28, 28]), &device);
    let denoised = ideal.denoise(x, Tensor::full([queries], 0.01, &device)).into_data();
    let grown = peak() - before;
    println!("{before} MiB with the data, {grown} MiB more for {queries} queries");
    assert!(before >= examples * numbers * 4 / (1 << 20), "{before} MiB cannot hold the data");
    assert!(grown < 1024, "{grown} MiB more than the data");
    // So little noise leaves no doubt: each query is its own example.
    let error = denoised.iter::<f32>().zip(first).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 1e-4, "{error}");
}

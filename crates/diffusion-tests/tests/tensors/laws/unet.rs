//! The U-Net: what a seed stands for, when dropout is active, and sizes that cannot be.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Param};
use burn::tensor::Tensor;
use diffusion::core::layer::{group_norm, group_norm_layer};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::{Network, Noise};
use diffusion::train::state_dict;
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::panic::{AssertUnwindSafe, catch_unwind};

backend_tests!(
    unets_start_from_their_seed,
    dropout_is_active_in_training_only,
    impossible_sizes_panic_with_both_numbers,
    group_norm_is_burn_s,
);

fn small() -> UnetConfig {
    UnetConfig {
        in_dim: 4,
        in_ch: 1,
        out_ch: 1,
        ch: 32,
        ch_mult: vec![1, 2],
        embed_ch_mult: 1,
        num_res_blocks: 1,
        attn_resolutions: vec![2],
        ..UnetConfig::default()
    }
}

/// PyTorch's initial values, and the same network for a seed for good, on every backend.
fn unets_start_from_their_seed<B: TestBackend>(device: &B::Device) {
    let weights = state_dict(&small().init::<B>(3, device));
    let mut hasher = crc32fast::Hasher::new();
    for (name, tensor) in &weights {
        let values: Vec<f32> = tensor.iter::<f32>().collect();
        values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        let is_norm = name.contains("norm") || name.contains("layer1.0") || name.contains("layer2.0");
        if is_norm || name.starts_with("out_layer.0") {
            let expected = if name.ends_with("weight") { 1.0 } else { 0.0 };
            assert!(values.iter().all(|&value| value == expected), "{name}");
            continue;
        }
        let weight = weights.get(&name.replace("bias", "weight")).unwrap();
        let fan_in: usize = weight.shape.iter().skip(1).product();
        let bound = 1.0 / (fan_in as f32).sqrt();
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // Of n uniform numbers the largest is above 1 − 5/n of the bound but for one in 150.
        let low = bound * (1.0 - 7.0 / values.len() as f32);
        assert!((low..=bound).contains(&largest), "{name}: {largest}, expected {low} to {bound}");
    }
    assert_eq!(hasher.finalize(), 1_835_202_017);
}

fn dropout_is_active_in_training_only<B: TestBackend>(device: &B::Device) {
    let output = |dropout: f64, training: bool| {
        let network = UnetConfig { dropout, ..small() }.init::<Autodiff<B>>(0, device);
        let x: Tensor<B, 4> = Noise::new(1).initial([2, 1, 4, 4], device);
        let sigma = Tensor::from_floats([0.5, 2.0], device);
        if training {
            let (x, sigma) = (Tensor::from_inner(x), Tensor::from_inner(sigma));
            network.forward(x, sigma, ()).inner().into_data()
        } else {
            network.valid().forward(x, sigma, ()).into_data()
        }
    };
    let expected = output(0.0, false);
    assert_close("without dropout", output(0.0, true), expected.clone(), B::TOLERANCE);
    assert_close("outside of training", output(0.5, false), expected.clone(), B::TOLERANCE);
    let dropped = output(0.5, true);
    let far = dropped.iter::<f32>().zip(expected.iter::<f32>()).map(|(d, e)| (d - e).abs());
    assert!(far.fold(0f32, f32::max) > 0.01, "dropout of a half changes nothing");
}

fn impossible_sizes_panic_with_both_numbers<B: TestBackend>(device: &B::Device) {
    for (config, expected) in [
        (UnetConfig { in_dim: 7, ..small() }, "in_dim: is 7: images of 7 pixels cannot be halved 1 times"),
        (
            UnetConfig { ch: 48, ..small() },
            "ch: is 48, expected a multiple of 32, the number of groups in the norms",
        ),
        (UnetConfig { ch_mult: vec![], ..small() }, "ch_mult: has 0 levels, expected at least 1"),
        (UnetConfig { dropout: 1.0, ..small() }, "dropout: is 1, expected a probability in [0, 1)"),
    ] {
        let panic = catch_unwind(AssertUnwindSafe(|| config.init::<B>(0, device))).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some(expected));
    }
}

/// With scale and shift for each channel, and without.
fn group_norm_is_burn_s<B: TestBackend>(device: &B::Device) {
    let mut norm = group_norm_layer::<B>(64, device);
    let drawn = |index| Noise::new(index).initial::<B, 2>([1, 64], device).squeeze_dim::<1>(0);
    (norm.gamma, norm.beta) = (Some(Param::from_tensor(drawn(1))), Some(Param::from_tensor(drawn(2))));
    let x: Tensor<B, 4> = Noise::new(3).initial([3, 64, 2, 5], device);
    let expected = norm.forward(x.clone()).into_data();
    assert_close("affine", group_norm(&norm, x.clone()).into_data(), expected, B::TOLERANCE);
    (norm.gamma, norm.beta, norm.affine) = (None, None, false);
    let expected = norm.forward(x.clone()).into_data();
    assert_close("not affine", group_norm(&norm, x).into_data(), expected, B::TOLERANCE);
}

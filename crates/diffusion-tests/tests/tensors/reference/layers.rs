//! Embeddings of σ, times and labels, and attention.

use crate::support::{fixture::Fixture, weights};
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::layer::{
    AttentionConfig, CondEmbedderLabelConfig, Init, SigmaEmbedderSinCosConfig, TimestepEmbedder,
    position_embedding, sigma_embedding, sin_cos, timestep_embedding,
};
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::{Labels, Sigma};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    sigma_embeddings_match,
    sigma_embedder_sin_cos_matches,
    timestep_embedding_matches,
    large_angles_have_sines,
    timestep_embedder_matches,
    label_embedder_matches,
    an_unknown_label_panics,
    attention_matches,
    position_embeddings_match,
);

/// A stream for initial values that are overwritten.
fn stream() -> Stream {
    Stream::new(0, Purpose::PARAMETERS, 0, 0)
}

/// The embeddings of time reach angles of 80000; smalldiffusion, which rounds them to f32, is itself 4.1e-5 away from f64
/// (printed by `make.py`).
const ANGLES: f64 = 2e-6;

/// The inputs of a case: five levels, and one level for five examples.
fn levels<B: Backend>(fixture: &Fixture, device: &B::Device) -> [(&'static str, Tensor<B, 1>); 2] {
    let scalar = Sigma::All(fixture.number("in.sigma_scalar"));
    [("batch", fixture.tensor("in.sigma", device)), ("scalar", scalar.tensor(5, device))]
}

fn sigma_embeddings_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("embeddings").case("sigma_embeds");
    for (scale, log) in [("log", true), ("linear", false)] {
        for (shape, sigma) in levels::<B>(&fixture, device) {
            let name = format!("exact.{scale}_{shape}");
            let found = sigma_embedding(sigma, 0.5, log).into_data();
            assert_close(&name, found, fixture.data(&name), B::TOLERANCE);
        }
    }
}

fn sigma_embedder_sin_cos_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("embeddings").case("sin_cos");
    let mut embedder =
        SigmaEmbedderSinCosConfig::default().init::<B>(8, Init::Torch, Init::Torch, &mut stream(), device);
    embedder.input = weights::linear(&fixture, "mlp.0", device);
    embedder.output = weights::linear(&fixture, "mlp.2", device);
    for (shape, sigma) in levels::<B>(&fixture, device) {
        let name = format!("exact.{shape}");
        assert_close(&name, embedder.forward(sigma).into_data(), fixture.data(&name), B::TOLERANCE);
    }
}

fn timestep_embedding_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("embeddings").case("timestep_embedding");
    for size in [8, 256] {
        let (name, t) = (format!("exact.dim{size}"), fixture.tensor::<B, 1>("in.t", device));
        assert_close(&name, timestep_embedding(t, size).into_data(), fixture.data(&name), ANGLES);
    }
}

/// Sines of angles to 10⁴ are as good as those of small ones.
fn large_angles_have_sines<B: TestBackend>(device: &B::Device) {
    let angles: Vec<f32> = (0..2000).map(|i| i as f32 * 5.03 - 5000.0).collect();
    let exact = |of: fn(f64) -> f64| {
        let values: Vec<f32> = angles.iter().map(|&angle| of(f64::from(angle)) as f32).collect();
        TensorData::new(values, [angles.len()])
    };
    let [sin, cos] = sin_cos(Tensor::<B, 1>::from_floats(&angles[..], device));
    assert_close("sines", sin.into_data(), exact(f64::sin), 2e-6);
    assert_close("cosines", cos.into_data(), exact(f64::cos), 2e-6);
}

fn timestep_embedder_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("embeddings").case("timestep");
    let embedder = TimestepEmbedder::<B> {
        input: wave([256, 1024], device),
        hidden: wave([1024, 8], device),
        output: wave([8, 8], device),
    };
    for (shape, sigma) in levels::<B>(&fixture, device) {
        let name = format!("exact.{shape}");
        assert_close(&name, embedder.forward(sigma).into_data(), fixture.data(&name), ANGLES);
    }
}

/// Weights by formula: `wave` in `fixtures/make.py`, whose row is our column.
fn wave<B: Backend>([inputs, outputs]: [usize; 2], device: &B::Device) -> Linear<B> {
    let weight = |i: f64, j: f64| (0.37 * i + 0.11 * j + 0.013 * i * j).sin() / (inputs as f64).sqrt();
    let weights: Vec<f32> =
        (0..inputs * outputs).map(|at| weight((at % outputs) as f64, (at / outputs) as f64) as f32).collect();
    let bias: Vec<f32> = (0..outputs).map(|i| (0.1 * (0.37 * i as f64 + 0.5).sin()) as f32).collect();
    let param = |data| Param::from_tensor(Tensor::from_data(data, device));
    Linear {
        weight: param(TensorData::new(weights, [inputs, outputs])),
        bias: Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [outputs]), device))),
    }
}

fn label_embedder_matches<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("embeddings").case("label");
    let mut embedder =
        CondEmbedderLabelConfig::new(5).init::<B>(8, Init::Torch, Init::Torch, &mut stream(), device);
    weights::load_label_embedder(&mut embedder, &fixture, device);
    let found = embedder.forward(&fixture.labels("in.labels")).into_data();
    assert_close("embedding", found, fixture.data("exact.embedding"), B::TOLERANCE);
}

fn an_unknown_label_panics<B: TestBackend>(device: &B::Device) {
    let embedder =
        CondEmbedderLabelConfig::new(5).init::<B>(8, Init::Torch, Init::Torch, &mut stream(), device);
    let looked_up = std::panic::AssertUnwindSafe(|| embedder.forward(&Labels(vec![0, 6])));
    let panic = std::panic::catch_unwind(looked_up).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "label 1 is 6, expected one of 0..6");
}

fn attention_matches<B: TestBackend>(device: &B::Device) {
    for (case, qkv_bias) in [("no_bias", false), ("qkv_bias", true)] {
        let fixture = Fixture::open("attention").case(case);
        let config = AttentionConfig { head_dim: 4, num_heads: 3, qkv_bias };
        let mut attention = config.init::<B>(Init::Torch, &mut stream(), device);
        assert_eq!(attention.qkv.bias.is_some(), qkv_bias);
        attention.qkv = weights::linear(&fixture, "qkv", device);
        attention.proj = weights::linear(&fixture, "proj", device);
        let found = attention.forward(fixture.tensor("in.x", device)).into_data();
        assert_close(case, found, fixture.data("out.forward"), B::TOLERANCE);
    }
}

fn position_embeddings_match<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("dit");
    for (pixels, patch, dim) in [(8, 2, 8), (16, 4, 16), (28, 4, 128)] {
        let name = format!("pos_embed.out.{pixels}_{patch}_{dim}");
        let found = position_embedding::<B>(pixels / patch, dim, device).into_data();
        assert_close(&name, found, fixture.data(&name), B::TOLERANCE);
    }
    let sizes = "unconditional.model.pos_embed";
    assert_close(sizes, position_embedding::<B>(4, 8, device).into_data(), fixture.data(sizes), B::TOLERANCE);
}

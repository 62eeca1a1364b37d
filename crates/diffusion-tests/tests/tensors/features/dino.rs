//! A tiny DINOv2 beside that of transformers 4.48.3, by the numbers that `fixtures/dino.py` draws from it.

use crate::support::fixture::{Fixture, path};
use crate::support::formula::{hashed, pictures};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::eval::{Dinov2, Dinov2Config, ExtractError, FeatureExtractor};
use diffusion::weights::{TensorProblem, WeightsError, write_tensors};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::collections::BTreeMap;
use std::fs;
use tempfile::TempDir;

backend_tests!(features_are_those_of_transformers, features_are_those_of_the_published_code);

/// Relative to the largest feature; the offset changes one by 6e-4.
const TOLERANCE: f64 = 1e-4;

const IMAGES: [(&str, [usize; 4]); 2] = [("gray", [2, 1, 28, 28]), ("color", [2, 3, 300, 512])];

fn config(interpolate_offset: f64) -> Dinov2Config {
    Dinov2Config { side: 5, dim: 32, depth: 2, num_heads: 2, interpolate_offset, ..Default::default() }
}

/// The weights under the names of transformers.
fn of_transformers() -> Vec<(String, TensorData)> {
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_slice(&fs::read(path("dino.json")).unwrap()).unwrap();
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let mut values = hashed(&name, &shape);
        if name.ends_with("position_embeddings") {
            values.iter_mut().for_each(|value| *value *= 32.0);
        }
        (name, TensorData::new(values, shape))
    };
    shapes.into_iter().map(tensor).collect()
}

/// The same weights under their published names, queries, keys and values in one.
fn published() -> Vec<(String, TensorData)> {
    const NAMES: [(&str, &str); 9] = [
        ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.", ""),
        ("encoder.layer.", "blocks."),
        ("attention.output.dense", "attn.proj"),
        ("layer_scale", "ls"),
        ("lambda1", "gamma"),
        ("layernorm.", "norm."),
        ("attention.attention.query", "attn.qkv"),
    ];
    let all: BTreeMap<String, TensorData> = of_transformers().into_iter().collect();
    let mut found = Vec::new();
    for (name, tensor) in &all {
        if name.contains("attention.key") || name.contains("attention.value") {
            continue;
        }
        let renamed = NAMES.iter().fold(name.clone(), |name, (old, new)| name.replace(old, new));
        let tensor = if name.contains("attention.query") {
            let parts = ["query", "key", "value"].map(|part| &all[&name.replace("query", part)]);
            let mut shape = tensor.shape.to_vec();
            shape[0] *= 3;
            TensorData::new(parts.iter().flat_map(|part| part.iter::<f32>()).collect(), shape)
        } else {
            tensor.clone()
        };
        found.push((renamed, tensor));
    }
    found
}

fn opened<B: Backend>(
    config: &Dinov2Config,
    weights: &[(String, TensorData)],
    device: &B::Device,
) -> Result<Dinov2<B>, ExtractError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dino.safetensors");
    write_tensors(weights, &file).unwrap();
    Dinov2::open_sized(config, file, device)
}

fn assert_features<B: TestBackend>(network: &Dinov2<B>, case: &str, device: &B::Device) {
    let fixture = Fixture::open("dino");
    for (name, shape) in IMAGES {
        let images = Tensor::<B, 4>::from_data(TensorData::new(pictures(name, shape), shape), device);
        let found = network.extract(images * 2.0 - 1.0).into_data();
        assert_eq!(found.shape[1], network.width());
        assert_close(name, found, fixture.data(&format!("{name}{case}")), TOLERANCE);
    }
}

fn features_are_those_of_transformers<B: TestBackend>(device: &B::Device) {
    let network = opened::<B>(&config(0.0), &of_transformers(), device).unwrap();
    assert_features(&network, "", device);
}

fn features_are_those_of_the_published_code<B: TestBackend>(device: &B::Device) {
    let network = opened::<B>(&config(0.1), &published(), device).unwrap();
    assert_features(&network, ".offset", device);
}

#[cfg(feature = "flex")]
mod refusals {
    use super::*;
    use burn::backend::Flex;
    use diffusion::eval::extract::DINOV2_WEIGHTS;

    /// What does not fit, where one tensor is missing.
    fn without(mut weights: Vec<(String, TensorData)>, name: &str) -> Vec<TensorProblem> {
        weights.retain(|(found, _)| found != name);
        match opened::<Flex>(&config(0.1), &weights, &Default::default()).map(|_| ()) {
            Err(ExtractError::Weights(WeightsError::Tensors { problems, .. })) => problems,
            other => panic!("expected tensors that do not fit, not {other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_named_as_the_file_would_name_it() {
        for (weights, name) in [
            (of_transformers(), "encoder.layer.1.layer_scale2.lambda1"),
            (of_transformers(), "encoder.layer.0.attention.attention.key.bias"),
            (published(), "blocks.1.ls2.gamma"),
        ] {
            let expected = TensorProblem::Missing { name: name.into(), shape: vec![32] };
            assert_eq!(without(weights, name), [expected]);
        }
    }

    #[test]
    fn without_a_file_it_is_said_which_one_belongs_there() {
        let Err(error) = Dinov2::<Flex>::open("nowhere.pth", &Default::default()) else {
            panic!("there is no such file")
        };
        assert!(matches!(&error, ExtractError::Missing { published, .. } if *published == DINOV2_WEIGHTS));
        assert!(error.to_string().contains(DINOV2_WEIGHTS.file), "{error}");
    }

    #[test]
    #[should_panic(expected = "num_heads")]
    fn heads_divide_the_token_dimension() {
        let _ = opened::<Flex>(&Dinov2Config { num_heads: 3, ..config(0.1) }, &[], &Default::default());
    }
}

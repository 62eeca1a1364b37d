//! Beside pytorch-fid 0.3.0, by the numbers that `fixtures/inception.py` draws from it.
//!
//! On one backend: the network has its full size, as there is no smaller one of these names.

use crate::support::fixture::{Fixture, path};
use crate::support::formula::{hashed, pictures};
use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use diffusion::eval::extract::INCEPTION_WEIGHTS;
use diffusion::eval::{
    ExtractError, FeatureExtractor, Features, Gaussian, InceptionV3, Moments, frechet_distance,
};
use diffusion::weights::{TensorProblem, WeightsError, write_tensors};
use diffusion_tests::assert_close;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Of features, relative to the largest.
const FEATURES: f64 = 1e-4;

/// Of the distance, relative.
const DISTANCE: f64 = 1e-3;

type Network = InceptionV3<Flex>;

fn shapes() -> BTreeMap<String, Vec<usize>> {
    serde_json::from_slice(&fs::read(path("inception.json")).unwrap()).unwrap()
}

fn tensor((name, shape): (String, Vec<usize>)) -> (String, TensorData) {
    let values = match name.ends_with("running_var") {
        true => hashed(&format!("{name}.weight"), &shape).iter().map(|value| value / 2.0).collect(),
        false => hashed(&name, &shape),
    };
    (name, TensorData::new(values, shape))
}

/// The network with the weights of these names and shapes.
fn opened(shapes: impl IntoIterator<Item = (String, Vec<usize>)>) -> Result<Network, ExtractError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("inception.safetensors");
    write_tensors(&shapes.into_iter().map(tensor).collect::<Vec<_>>(), &file).unwrap();
    Network::open(file, &Default::default())
}

/// Images with values from −1 to 1.
fn images(name: &str, shape: [usize; 4]) -> Tensor<Flex, 4> {
    let values = TensorData::new(pictures(name, shape), shape);
    Tensor::from_data(values, &Default::default()) * 2.0 - 1.0
}

fn gaussian(features: TensorData) -> Gaussian {
    let width = features.shape[1];
    let mut moments = Moments::new(width);
    moments.add(&Features::new(features.into_vec().unwrap(), width).unwrap()).unwrap();
    moments.gaussian().unwrap()
}

#[test]
fn features_and_their_distance_are_those_of_pytorch_fid() {
    let (network, fixture) = (opened(shapes()).unwrap(), Fixture::open("inception"));
    let features = |name: &str, shape| {
        let found = network.extract(images(name, shape)).into_data();
        assert_close(name, found.clone(), fixture.data(name), FEATURES);
        found
    };
    features("large", [1, 3, 299, 299]);
    features("tall", [1, 3, 310, 200]);
    let gray = features("gray", [6, 1, 28, 28]);
    let color = features("color", [6, 3, 32, 32]);
    assert_eq!(network.width(), gray.shape[1]);
    let (found, expected) =
        (frechet_distance(&gaussian(gray), &gaussian(color)).unwrap(), fixture.number("frechet"));
    assert!((found - expected).abs() <= DISTANCE * expected, "{found} is not {expected}");
}

/// What does not fit of a file with these tensors.
fn problems(tensors: &[(&str, &[usize])]) -> Vec<TensorProblem> {
    let tensors = tensors.iter().map(|(name, shape)| (name.to_string(), shape.to_vec()));
    match opened(tensors).map(|_| ()) {
        Err(ExtractError::Weights(WeightsError::Tensors { problems, .. })) => problems,
        other => panic!("expected tensors that do not fit, not {other:?}"),
    }
}

#[test]
fn what_does_not_fit_is_named() {
    // The classes' own layer is passed over, others are not.
    let found = problems(&[
        ("Conv2d_1a_3x3.conv.weight", &[32, 3, 5, 5]),
        ("Mixed_7c.branch_pool.bn.bias", &[192]),
        ("Mixed_8a.bn.bias", &[3]),
        ("fc.weight", &[1008, 8]),
    ]);
    let is_missing = |problem: &&TensorProblem| matches!(problem, TensorProblem::Missing { .. });
    let (missing, others): (Vec<_>, Vec<_>) = found.iter().partition(is_missing);
    let expected: Vec<String> = shapes()
        .into_keys()
        .filter(|name| {
            !name.starts_with("fc.")
                && name != "Conv2d_1a_3x3.conv.weight"
                && name != "Mixed_7c.branch_pool.bn.bias"
        })
        .collect();
    assert_eq!(missing.iter().map(|problem| problem.name()).collect::<Vec<_>>(), expected);
    let [shape, extra] = others[..] else { panic!("expected two others, not {others:?}") };
    let [inputs, wrong] = [vec![32, 3, 3, 3], vec![32, 3, 5, 5]];
    let name = "Conv2d_1a_3x3.conv.weight".to_string();
    assert_eq!(*shape, TensorProblem::Shape { name, found: wrong, expected: inputs });
    assert_eq!(*extra, TensorProblem::Extra { name: "Mixed_8a.bn.bias".into(), shape: vec![3] });
}

/// Its weights would fit, and its distances would be wrong.
#[test]
fn torchvisions_network_is_refused() {
    for (name, shape) in [("fc.weight", [1000, 8]), ("AuxLogits.conv0.conv.weight", [8, 8])] {
        let mut shapes = shapes();
        shapes.insert(name.to_string(), shape.to_vec());
        let found = opened(shapes);
        assert!(matches!(found, Err(ExtractError::Torchvision { .. })), "{name}");
    }
}

#[test]
fn without_a_file_it_is_said_which_one_belongs_there() {
    let path = Path::new("nowhere/inception.pth");
    let Err(error) = Network::open(path, &Default::default()) else { panic!("there is no such file") };
    assert!(matches!(&error, ExtractError::Missing { path: found, .. } if found == path));
    let text = error.to_string();
    for part in ["nowhere/inception.pth", INCEPTION_WEIGHTS.file, "6726825d", INCEPTION_WEIGHTS.place] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

//! Weights by formula, and fingerprints of gradients, for networks too large to commit; `fixtures/make.py` has the
//! same formulas as `hashed` and `fingerprint`.

use super::fixture::{self, Fixture};
pub use super::formula::{hashed, splitmix};
use burn::module::{AutodiffModule, Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::Network;
use diffusion::train::{load_state_dict, state_dict};
use diffusion::weights::StateDict;
use diffusion_tests::assert_close;
use serde::Deserialize;

/// What `hashed.json` holds.
#[derive(Deserialize)]
pub struct Hashed {
    pub hashes: Vec<Hashes>,
    pub signs: Vec<Signs>,
    parameters: Vec<Parameters>,
}

/// Some hashes of one name, and the weights made of them.
#[derive(Deserialize)]
pub struct Hashes {
    pub name: String,
    pub shape: Vec<usize>,
    pub index: Vec<usize>,
    pub hash: Vec<String>,
    pub f32: Vec<f32>,
}

/// The first signs of one name.
#[derive(Deserialize)]
pub struct Signs {
    pub name: String,
    pub signs: Vec<f64>,
}

/// The trained parameters of one model, sorted by name.
#[derive(Deserialize)]
struct Parameters {
    case: String,
    names: Vec<String>,
    shapes: Vec<Vec<usize>>,
}

impl Hashed {
    pub fn read() -> Self {
        serde_json::from_slice(&std::fs::read(fixture::path("hashed.json")).unwrap()).unwrap()
    }

    /// Names and shapes of the trained parameters of the model `case`.
    pub fn parameters(&self, case: &str) -> Vec<(String, Vec<usize>)> {
        let model = self.parameters.iter().find(|model| model.case == case);
        let model = model.unwrap_or_else(|| panic!("there is no model {case}"));
        model.names.iter().cloned().zip(model.shapes.iter().cloned()).collect()
    }
}

/// The sign of entry `i` in the signed sum of the parameter `name`.
pub fn sign(name: &str, i: usize) -> f64 {
    1.0 - 2.0 * (splitmix(&format!("{name}.sign"), i) & 1) as f64
}

/// `network` with hashed weights: the parameters of the model `case`, which must be exactly its own.
pub fn load<B: Backend, N: Module<B> + Network<B, D>, const D: usize>(case: &str, network: N) -> N {
    let mut dict = StateDict::default();
    for (name, shape) in Hashed::read().parameters(case) {
        let values = hashed(&name, &shape);
        dict.insert(name, TensorData::new(values, shape));
    }
    for (name, buffer) in network.buffers() {
        dict.insert(name, buffer);
    }
    load_state_dict(network, &dict).unwrap()
}

/// The gradients of the parameters of `network`, under smalldiffusion's names and in its layout.
pub fn gradients<B: AutodiffBackend, N, const D: usize>(network: &N, gradients: &GradientsParams) -> StateDict
where
    N: AutodiffModule<B>,
    N::InnerModule: Network<B::InnerBackend, D>,
{
    struct Replace<'a>(&'a GradientsParams);

    impl<B: Backend> ModuleMapper<B> for Replace<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let (id, _, mapper) = param.consume();
            let gradient = self.0.get::<B, D>(id).expect("every parameter has a gradient");
            Param::from_mapped_value(id, gradient, mapper)
        }
    }

    let network = network.valid().map(&mut Replace(gradients));
    let buffers = network.buffers();
    let mut dict = state_dict(&network);
    for (name, _) in buffers {
        dict.remove(name);
    }
    dict
}

/// Panics unless the fingerprints of `found` are those of `expected`, a case with `entries` and `summary`: each entry
/// within `tolerance` of its tensor's largest, the largest and the norm within `tolerance` of themselves, the signed
/// sum within `tolerance` of the norm.
#[track_caller]
pub fn assert_fingerprints(what: &str, found: &StateDict, expected: &Fixture, case: &str, tolerance: f64) {
    let parameters = Hashed::read().parameters(case);
    let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found.names().collect::<Vec<_>>(), names, "{what}: other parameters than expected");
    let (entries, summary) = (expected.numbers("entries"), expected.numbers("summary"));
    assert_eq!((entries.len(), summary.len()), (16 * names.len(), 3 * names.len()));
    let rows = entries.chunks_exact(16).zip(summary.chunks_exact(3));
    for ((name, shape), (entries, summary)) in parameters.iter().zip(rows) {
        let found = found.get(name).unwrap();
        assert_eq!(found.shape.to_vec(), *shape, "{what}: {name}");
        let g: Vec<f64> = found.iter::<f64>().collect();
        let largest = g.iter().fold(0f64, |largest, g| largest.max(g.abs()));
        let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
        let sum: f64 = g.iter().enumerate().map(|(i, g)| sign(name, i) * g).sum();
        // Relative to the largest of the whole tensor, which comes last in both.
        let picked: Vec<f64> = (0..16).map(|j| g[j * g.len() / 16]).chain([largest]).collect();
        let expected: Vec<f64> = entries.iter().copied().chain([summary[0]]).collect();
        assert_close(&format!("{what}: {name}"), data(&picked), data(&expected), tolerance);
        let (found, expected) = (data(&[norm, sum]), data(&summary[1..]));
        assert_close(&format!("{what}: norm and signed sum of {name}"), found, expected, tolerance);
    }
}

fn data(numbers: &[f64]) -> TensorData {
    TensorData::from(numbers)
}

//! smalldiffusion's numbers, read from `fixtures/*.safetensors`; `fixtures/make.py` says what each name means.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::Labels;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// The named tensors of one file, or of one case in it.
pub struct Fixture(HashMap<String, TensorData>);

/// The path of the file `name` in `fixtures`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

impl Fixture {
    /// The tensors of `fixtures/<name>.safetensors`.
    pub fn open(name: &str) -> Self {
        let bytes = fs::read(path(&format!("{name}.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let read = tensors.iter().map(|(key, view)| {
            assert_eq!(view.dtype(), Dtype::F32, "{key}");
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            // Burn has no tensors of rank 0, and its losses have shape [1].
            let shape = if view.shape().is_empty() { vec![1] } else { view.shape().to_vec() };
            (key.to_string(), TensorData::new(values.collect::<Vec<_>>(), shape))
        });
        Self(read.collect())
    }

    /// The tensors whose names begin with `case` and a dot, without these.
    pub fn case(&self, case: &str) -> Self {
        let within = |(key, data): (&String, &TensorData)| {
            Some((key.strip_prefix(case)?.strip_prefix('.')?.to_string(), data.clone()))
        };
        let tensors: HashMap<_, _> = self.0.iter().filter_map(within).collect();
        assert!(!tensors.is_empty(), "there is no case {case}");
        Self(tensors)
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names that begin with `prefix`, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.0.keys().filter_map(|key| key.strip_prefix(prefix)).map(str::to_string).collect()
    }

    pub fn data(&self, name: &str) -> TensorData {
        self.0.get(name).unwrap_or_else(|| panic!("there is no tensor {name}")).clone()
    }

    pub fn tensor<B: Backend, const D: usize>(&self, name: &str, device: &B::Device) -> Tensor<B, D> {
        Tensor::from_data(self.data(name), device)
    }

    pub fn numbers(&self, name: &str) -> Vec<f64> {
        self.data(name).iter::<f64>().collect()
    }

    pub fn number(&self, name: &str) -> f64 {
        let numbers = self.numbers(name);
        assert_eq!(numbers.len(), 1, "{name} is no single number");
        numbers[0]
    }

    pub fn labels(&self, name: &str) -> Labels {
        Labels(self.data(name).iter::<f64>().map(|label| label as usize).collect())
    }
}

//! A small module and what is loaded into it.

mod assemble;
mod checkpoints;
mod hostile;
mod shards;

use super::*;
use burn::backend::Flex;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{TensorData, backend::Backend};
use std::path::Path;

/// The layers of the MLP in `tests/data/mlp.pth`.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    net: Vec<Linear<B>>,
}

fn mlp() -> Mlp<Flex> {
    let layers = [[4, 3], [3, 4], [4, 2]];
    Mlp { net: layers.map(|[from, to]| LinearConfig::new(from, to).init(&Default::default())).to_vec() }
}

fn names() -> NameTable {
    NameTable::pytorch().spaced("Mlp", "net", 2)
}

fn import(module: Mlp<Flex>, path: &Path) -> Result<Mlp<Flex>, WeightsError> {
    import_state_dict(module, &names(), &[], path)
}

fn export(module: &Mlp<Flex>, path: &Path) -> Result<(), WeightsError> {
    export_state_dict(module, &names(), &[], path)
}

#[test]
fn what_is_exported_comes_back_under_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.safetensors");
    let first = mlp();
    let dict = state_dict(&first, &names(), &[]);
    let listed: Vec<(&str, Vec<usize>)> =
        dict.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.to_vec())).collect();
    assert_eq!(
        listed,
        [
            ("net.0.bias", vec![3]),
            ("net.0.weight", vec![3, 4]),
            ("net.2.bias", vec![4]),
            ("net.2.weight", vec![4, 3]),
            ("net.4.bias", vec![2]),
            ("net.4.weight", vec![2, 4]),
        ]
    );
    export(&first, &path).unwrap();
    let back = import(mlp(), &path).unwrap();
    assert_eq!(state_dict(&back, &names(), &[]), dict);
    let loaded = load_state_dict(mlp(), &names(), &[], &dict).unwrap();
    assert_eq!(state_dict(&loaded, &names(), &[]), dict);
}

/// A checkpoint may hold what another library's state dict may not: values that are not finite.
#[test]
fn what_was_written_here_is_restored_whatever_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.safetensors");
    let mut written = mlp();
    let values = [f32::NAN, f32::INFINITY];
    written.net[2].bias = Some(Param::from_data(values, &Default::default()));
    export_state_dict(&written, &NameTable::own_paths(), &[], &path).unwrap();
    let bytes = |module: &Mlp<Flex>| -> Vec<u32> {
        let dict = state_dict(module, &NameTable::own_paths(), &[]);
        dict.iter()
            .flat_map(|(_, tensor)| tensor.iter::<f32>().map(f32::to_bits).collect::<Vec<_>>())
            .collect()
    };
    let restored = restore(mlp(), &TensorFile::open(&path).unwrap()).unwrap();
    assert_eq!(bytes(&restored), bytes(&written));
    let in_memory = TensorFile::from_bytes(&path, std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(bytes(&restore(mlp(), &in_memory).unwrap()), bytes(&written));
    let error = load_state_dict(
        mlp(),
        &NameTable::own_paths(),
        &[],
        &state_dict(&written, &NameTable::own_paths(), &[]),
    );
    assert!(error.unwrap_err().to_string().contains("`net.2.bias` holds NaN at index 0"));

    // Names of PyTorch's are those of another module.
    export(&written, &path).unwrap();
    let error = restore(mlp(), &TensorFile::open(&path).unwrap()).unwrap_err().to_string();
    assert!(error.contains("tensor `net.1.bias` of shape [4] is missing"), "{error}");
}

#[test]
fn a_buffer_is_written_and_compared() {
    let buffer = |by: f32| [("grid", TensorData::from([1.0f32, 2.0 + by]))];
    let dict = state_dict(&mlp(), &names(), &buffer(0.0));
    assert_eq!(dict.get("grid"), Some(&TensorData::from([1.0f32, 2.0])));
    load_state_dict(mlp(), &names(), &buffer(0.0), &dict).unwrap();
    let error = load_state_dict(mlp(), &names(), &buffer(0.5), &dict).unwrap_err().to_string();
    assert!(error.contains("tensor `grid` differs by up to 0.5"), "{error}");
    let error = load_state_dict(mlp(), &names(), &[], &dict).unwrap_err().to_string();
    assert!(error.contains("tensor `grid` of shape [2] is not in the network"), "{error}");
}

#[test]
fn tensors_are_read_by_rows() {
    let file = TensorFile::open(data("mlp.pth")).unwrap();
    let all = file.read("net.2.weight").unwrap();
    assert_eq!(file.shape("net.2.weight"), Some(&[4, 3][..]));
    assert_eq!(file.dtype("net.2.weight"), Some(&Dtype::F32));
    let mut rows = [0.0; 6];
    file.read_rows("net.2.weight", 1..3, &mut rows).unwrap();
    assert_eq!(rows, all[3..9]);
    assert_eq!((file.shape("net.3.weight"), file.names().count()), (None, 6));
}

#[test]
#[should_panic(expected = "the tensor `a` was asked for, expected one that")]
fn a_tensor_that_is_not_there_panics() {
    let _ = TensorFile::open(data("mlp.pth")).unwrap().read("a");
}

#[test]
#[should_panic(expected = "`net.0.bias` is of type F32, expected an integer type")]
fn integers_of_another_type_panic() {
    let _ = TensorFile::open(data("mlp.pth")).unwrap().read_integers("net.0.bias", 0..1);
}

fn data(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

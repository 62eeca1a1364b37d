//! Files that Python wrote, and files for Python.

use super::*;
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::PathBuf;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../diffusion-weights/tests/data").join(name)
}

/// Element `i` of the tensor that is `k`th in PyTorch's order, as `make.py` fills it.
fn pattern(i: usize, k: usize) -> f32 {
    ((7 * i + 13 * k) % 33) as f32 / 16.0 - 1.0
}

/// All tensors of `dict` have their pattern, `order` being PyTorch's order of the names.
fn assert_patterned(dict: &StateDict, order: &str) {
    let order: Vec<&str> =
        order.split_inclusive(']').map(|tensor| tensor.trim().split(' ').next().unwrap()).collect();
    assert_eq!(dict.len(), order.len());
    for (k, name) in order.iter().enumerate().filter(|(_, name)| **name != "pos_embed") {
        for (i, value) in dict.get(name).unwrap().iter::<f32>().enumerate() {
            assert_eq!(value, pattern(i, k), "{name}, element {i}");
        }
    }
}

fn assert_close(output: TensorData, expected: &[f32]) {
    let output: Vec<f32> = output.iter().collect();
    assert_eq!(output.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in output.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5 * largest, "{found}, expected {expected}");
    }
}

const MLP: &str = "net.0.weight [] net.0.bias [] net.2.weight [] net.2.bias [] net.4.weight [] net.4.bias []";

fn small_conditional_mlp(seed: u64) -> ConditionalMlp<Flex> {
    let labels = CondEmbedderLabelConfig::new(2);
    ConditionalMlpConfig { hidden_dims: vec![3], labels, ..Default::default() }.init(seed, &device())
}

fn small_dit(seed: u64) -> Dit<Flex> {
    let config = DitConfig { head_dim: 2, mlp_ratio: 1.0, ..dit_config(SigmaEmbedding::default()) };
    config.init(seed, &device())
}

#[test]
fn an_mlp_from_python_computes_what_it_does_there() {
    let network = import_state_dict(mlp(1), data("mlp.pth")).unwrap();
    assert_patterned(&state_dict(&network), MLP);
    let x = Tensor::from_data([[0.5, -1.0]], &device());
    let output = network.forward(x, Tensor::from_data([2.0], &device()), ());
    assert_close(output.into_data(), &[0.090735, -2.326997]); // printed by make.py
}

#[test]
fn a_pickle_of_protocol_4_is_read() {
    let network = import_state_dict(small_conditional_mlp(1), data("conditional_mlp.pth")).unwrap();
    let order = "net.0.weight [] net.0.bias [] net.2.weight [] net.2.bias [] \
                 cond_embed.embeddings.weight [] cond_embed.mlp.1.weight [] cond_embed.mlp.1.bias []";
    assert_patterned(&state_dict(&network), order);
    let x = Tensor::from_data([[0.5, -1.0]], &device());
    let output = network.forward(x, Tensor::from_data([2.0], &device()), Labels(vec![1]));
    assert_close(output.into_data(), &[-0.516162, -0.241664]); // printed by make.py
}

#[test]
fn a_transformer_from_python_computes_what_it_does_there() {
    let network = import_state_dict(small_dit(1), data("dit.pth")).unwrap();
    let (before_sigma, after) = DIT.split_once(" blocks").unwrap();
    assert_patterned(&state_dict(&network), &format!("{before_sigma}{SIN_COS} blocks{after}"));
    let x: Vec<f32> = (0..16).map(|i| i as f32 / 8.0 - 1.0).collect();
    let x = Tensor::from_data(TensorData::new(x, [1, 1, 4, 4]), &device());
    let output = network.forward(x, Tensor::from_data([2.0], &device()), ());
    #[rustfmt::skip] // printed by make.py
    let expected = [
        2.485697, -3.134684, 1.297976, 0.316453, -1.705426, -2.881251, -2.439412, -3.775009,
        2.348195, -3.10877, 0.207754, 1.073225, -1.534686, -2.774423, -1.5364, -3.325786,
    ];
    assert_close(output.into_data(), &expected);
}

/// Transposed, sliced, expanded, half, bfloat16, double, a parameter; two wrappers' names; inside a checkpoint.
#[test]
fn strides_types_and_checkpoints_are_understood() {
    let dict = state_dict(&import_state_dict(mlp(1), data("odd.pth")).unwrap());
    let mut expected = state_dict(&import_state_dict(mlp(1), data("mlp.pth")).unwrap());
    let counted: Vec<f32> = (0..8).map(|i| i as f32).collect();
    expected.insert("net.4.weight", TensorData::new(counted, [2, 4]));
    expected.insert("net.4.bias", TensorData::from([0.25f32, 0.25]));
    for (name, tensor) in &expected {
        assert_eq!(dict.get(name), Some(tensor), "{name}");
    }
}

#[test]
fn what_is_exported_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    // The name says nothing: it is a safetensors file all the same.
    let path = folder.path().join("weights.pth");
    let mut odd_values = state_dict(&mlp(1));
    odd_values.insert("net.4.bias", TensorData::from([-0.0f32, f32::MIN_POSITIVE / 8.0]));
    let network = load_state_dict(mlp(1), &odd_values).unwrap();
    export_state_dict(&network, &path).unwrap();
    let bits = |dict: &StateDict| -> Vec<u32> {
        dict.iter()
            .flat_map(|(_, tensor)| tensor.iter::<f32>().map(f32::to_bits).collect::<Vec<_>>())
            .collect()
    };
    let back = import_state_dict(mlp(2), &path).unwrap();
    assert_eq!(bits(&state_dict(&back)), bits(&odd_values));

    export_state_dict(&small_dit(3), &path).unwrap();
    assert_eq!(state_dict(&import_state_dict(small_dit(4), &path).unwrap()), state_dict(&small_dit(3)));
    let conditional = small_conditional_mlp;
    export_state_dict(&conditional(3), &path).unwrap();
    let back = import_state_dict(conditional(4), &path).unwrap();
    assert_eq!(state_dict(&back), state_dict(&conditional(3)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_failed_export_names_the_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("folder");
    fs::create_dir_all(occupied.join("full")).unwrap();
    for path in [occupied, folder.path().join("no/such/file")] {
        let error = export_state_dict(&mlp(1), &path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = folder.path().join("none.pth");
    let error = import_state_dict(mlp(1), &missing).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot open {}: ", missing.display())), "{error}");
}

#[test]
fn safetensors_of_other_types_are_converted_or_listed() {
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, tensor) in state_dict(&mlp(1)) {
        let bytes = tensor.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        tensors.insert(name, (Dtype::F32, tensor.shape.to_vec(), bytes));
    }
    let mut put = |name: &str, dtype, bytes: Vec<u8>| {
        let (old_dtype, _, old_bytes) = tensors.get_mut(name).unwrap();
        (*old_dtype, *old_bytes) = (dtype, bytes);
    };
    let values = [1.5f32, -2.0, 0.25, 0.0];
    put(
        "net.0.bias",
        Dtype::F64,
        values[..3].iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect(),
    );
    put(
        "net.2.bias",
        Dtype::F16,
        values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
    );
    put(
        "net.4.bias",
        Dtype::BF16,
        values[..2].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |tensors: &BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>| {
        let view = |(dtype, shape, bytes): &(Dtype, Vec<usize>, Vec<u8>)| {
            let bytes: &'static [u8] = bytes.clone().leak();
            TensorView::new(*dtype, shape.clone(), bytes).unwrap()
        };
        let views = tensors.iter().map(|(name, tensor)| (name.clone(), view(tensor)));
        fs::write(file.path(), safetensors::serialize(views, None).unwrap()).unwrap();
    };
    write(&tensors);
    let dict = state_dict(&import_state_dict(mlp(2), file.path()).unwrap());
    assert_eq!(dict.get("net.0.weight"), state_dict(&mlp(1)).get("net.0.weight"));
    assert_eq!(dict.get("net.0.bias"), Some(&TensorData::from([1.5f32, -2.0, 0.25])));
    assert_eq!(dict.get("net.2.bias"), Some(&TensorData::from(values)));
    assert_eq!(dict.get("net.4.bias"), Some(&TensorData::from([1.5f32, -2.0])));

    tensors.insert("net.4.bias".to_string(), (Dtype::I64, vec![2], vec![0; 16]));
    tensors.remove("net.0.bias");
    write(&tensors);
    let error = import_state_dict(mlp(2), file.path()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{} does not fit the network: tensor `net.0.bias` of shape [3] is missing; \
             tensor `net.4.bias` is of type I64, expected one of type F64, F32, F16 or BF16",
            file.path().display()
        )
    );
}

//! A model in several files, and indexes that are made to do harm.

use super::assemble::{dict, tensor, torch};
use super::*;
use crate::error::MAX_HEADER;
use safetensors::tensor::{TensorView, serialize};
use std::fs;
use tempfile::TempDir;

/// The MLP in two files: its first layer in one of safetensors, with a tensor that the index does not name, and the
/// others in one of `torch.save`.
fn shards(index: &str) -> (TempDir, StateDict) {
    let folder = tempfile::tempdir().unwrap();
    let whole = state_dict(&mlp(), &names(), &[]);
    let mut first: StateDict =
        whole.clone().into_iter().filter(|(name, _)| name.starts_with("net.0.")).collect();
    first.insert("superfluous", TensorData::from([1.0f32]));
    let views = first.iter().map(|(name, tensor)| {
        (name, TensorView::new(safetensors::Dtype::F32, tensor.shape.to_vec(), tensor.as_bytes()).unwrap())
    });
    fs::write(folder.path().join("model-1.safetensors"), serialize(views, None).unwrap()).unwrap();

    let (mut values, mut tensors) = (Vec::new(), Vec::new());
    let second: Vec<_> = whole.iter().filter(|(name, _)| !name.starts_with("net.0.")).collect();
    let count = second.iter().map(|(_, tensor)| tensor.num_elements() as i64).sum();
    for (name, data) in second {
        let shape: Vec<i64> = data.shape.iter().map(|size| *size as i64).collect();
        let stride = if shape.len() == 2 { vec![shape[1], 1] } else { vec![1] };
        tensors.push((name.as_str(), tensor(count, values.len() as i64, &shape, &stride)));
        values.extend(data.iter::<f32>());
    }
    fs::write(folder.path().join("model-2.bin"), torch(&dict(&tensors), &values)).unwrap();
    fs::write(folder.path().join("model.index.json"), index).unwrap();
    (folder, whole)
}

const GOOD: &str = r#"{"metadata": {"total_size": 172}, "weight_map": {
    "net.0.weight": "model-1.safetensors", "net.2.weight": "model-2.bin", "net.4.weight": "model-2.bin",
    "net.0.bias": "model-1.safetensors", "net.2.bias": "model-2.bin", "net.4.bias": "model-2.bin"}}"#;

#[test]
fn an_index_joins_its_files() {
    let (folder, whole) = shards(GOOD);
    let path = folder.path().join("model.index.json");
    let file = TensorFile::open(&path).unwrap();
    assert_eq!((file.path(), file.names().count()), (path.as_path(), 6));
    assert_eq!(state_dict(&import(mlp(), &path).unwrap(), &names(), &[]), whole);
}

#[test]
fn an_index_is_not_believed() {
    let long = format!("{{{}}}", " ".repeat(MAX_HEADER as usize));
    for (index, expected) in [
        (
            GOOD.replace("model-2.bin", "../model-2.bin"),
            "it names the file `../model-2.bin`, expected one beside it",
        ),
        (
            GOOD.replace("model-2.bin", "/etc/passwd"),
            "it names the file `/etc/passwd`, expected one beside it",
        ),
        (
            GOOD.replace("model-2.bin", "..\\\\model"),
            "it names the file `..\\\\model`, expected one beside it",
        ),
        (GOOD.replace("model-2.bin", "C:model"), "expected one beside it"),
        (GOOD.replace("model-2.bin", ""), "it names the file ``, expected one beside it"),
        (GOOD.replace("model-2.bin", "."), "it names the file `.`, expected one beside it"),
        (
            GOOD.replace("net.4.bias", "net.5.bias"),
            "it has no tensor `net.5.bias`, which its index says it has",
        ),
        (GOOD.replace("net.4.bias", "net.2.bias"), "`net.2.bias` stands there twice"),
        (
            GOOD.replace("weight_map", "weights"),
            "it cannot be understood as an index: missing field `weight_map`",
        ),
        (GOOD.replace("\"model-2.bin\"", "[1]"), "it cannot be understood as an index"),
        ("[".repeat(100_000), "it cannot be understood as an index"),
        (String::new(), "it cannot be understood as an index"),
        (long, "it has 8388610 bytes, expected at most 8388608"),
    ] {
        let (folder, _) = shards(&index);
        let error = TensorFile::open(folder.path().join("model.index.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "`{error}` does not say `{expected}`");
    }
    let (folder, _) = shards(&GOOD.replace("model-2.bin", "none.bin"));
    let error = TensorFile::open(folder.path().join("model.index.json")).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot open {}: ", folder.path().join("none.bin").display())),
        "{error}"
    );
}

/// An index may not name another index, which could name it again.
#[test]
fn an_index_of_indexes_is_refused() {
    let (folder, _) = shards(&GOOD.replace("model-2.bin", "model.index.json"));
    let error = TensorFile::open(folder.path().join("model.index.json")).unwrap_err().to_string();
    assert!(error.contains("is not a state dict: it is a text that begins with"), "{error}");
}

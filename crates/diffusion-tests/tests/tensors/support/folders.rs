//! Folders as diffusers saves them, from `fixtures/latent.json` and weights by formula; `fixtures/latent.py` says what is
//! in them.

use super::fixture;
use super::formula::{hashed, splitmix};
use safetensors::{Dtype, tensor::TensorView};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What `latent.json` holds.
#[derive(Deserialize)]
pub struct Latent {
    folders: BTreeMap<String, BTreeMap<String, String>>,
    parameters: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<usize>>>>,
    /// By part, diffusers' names of the tensors by those of a one-file checkpoint.
    pub original: BTreeMap<String, BTreeMap<String, String>>,
    /// By dialect, names and shapes of the tensors in files of LoRA.
    pub lora: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    pub tokens: BTreeMap<String, Vec<(String, Vec<usize>)>>,
    pub texts: Texts,
}

/// Many texts by formula, and what becomes of them.
#[derive(Deserialize)]
pub struct Texts {
    pub length: usize,
    pub pieces: Vec<String>,
    pub ids: BTreeMap<String, Vec<u32>>,
}

impl Texts {
    /// Text `i`.
    pub fn text(&self, i: usize) -> String {
        let hash = |at| splitmix(&format!("text {i}"), at);
        let piece = |at| self.pieces[(hash(at) % self.pieces.len() as u64) as usize].as_str();
        (1..2 + (hash(0) % 40) as usize).map(piece).collect()
    }
}

impl Latent {
    pub fn read() -> Self {
        serde_json::from_slice(&fs::read(fixture::path("latent.json")).unwrap()).unwrap()
    }

    /// Names and shapes of the tensors in a file of a folder.
    pub fn parameters(&self, folder: &str, file: &str) -> &BTreeMap<String, Vec<usize>> {
        &self.parameters[folder][file]
    }
}

/// A folder that is removed in the end.
pub struct Folder(TempDir);

impl Folder {
    /// The folder `name`, as diffusers has written it.
    pub fn new(name: &str) -> Self {
        let (latent, folder) = (Latent::read(), Self(TempDir::new().unwrap()));
        for (file, text) in &latent.folders[name] {
            write(&folder.path().join(file), text.as_bytes());
        }
        for (file, parameters) in latent.parameters.get(name).into_iter().flatten() {
            write_hashed(&folder.path().join(file), parameters, |name| Some(name.to_string()));
        }
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, file: &str) -> PathBuf {
        self.path().join(file)
    }

    /// Changes the text of a file.
    pub fn edit(&self, file: &str, change: impl FnOnce(String) -> String) {
        let path = self.join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
    }
}

/// Writes a file, and the folders that lead to it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes tensors whose values follow from their names, under the names that `rename` gives them.
pub fn write_hashed(
    path: &Path,
    parameters: &BTreeMap<String, Vec<usize>>,
    rename: impl Fn(&str) -> Option<String>,
) {
    let tensors = parameters
        .iter()
        .filter_map(|(name, shape)| Some((rename(name)?, shape.clone(), hashed(name, shape))))
        .collect();
    write_tensors(path, tensors);
}

/// Hashed tensors with so small values before each norm that its ε shows: those of `small` in `latent.py`.
pub fn small(parameters: &BTreeMap<String, Vec<usize>>) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    const LAYERS: [&str; 9] = [
        "conv_in",
        "conv1",
        "conv2",
        "time_emb_proj",
        "proj_in",
        "proj_out",
        "to_out.0",
        "ff.net.2",
        "pos_embed.proj",
    ];
    const BIASES: [&str; 3] = ["downsamplers.0.conv", "upsamplers.0.conv", "conv_shortcut"];
    let tensor = |(name, shape): (&String, &Vec<usize>)| {
        let (layer, kind) = name.rsplit_once('.').unwrap();
        let is_one =
            |layers: &[&str]| layers.iter().any(|end| layer == *end || layer.ends_with(&format!(".{end}")));
        let is_small = is_one(&LAYERS) || (kind == "bias" && is_one(&BIASES));
        let factor = if is_small { 0.01 } else { 1.0 };
        (name.clone(), shape.clone(), hashed(name, shape).into_iter().map(|value| factor * value).collect())
    };
    parameters.iter().map(tensor).collect()
}

/// Writes tensors with their names, shapes and values.
pub fn write_tensors(path: &Path, tensors: Vec<(String, Vec<usize>, Vec<f32>)>) {
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, values)| (name, TensorView::new(Dtype::F32, shape.clone(), values).unwrap()));
    write(path, &safetensors::serialize(views, None).unwrap());
}

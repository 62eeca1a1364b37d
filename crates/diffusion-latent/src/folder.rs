//! A folder as diffusers saves it: parts with their settings and weights.

use crate::config::Settings;
use crate::error::LatentError;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{NameTable, TensorFile, import_tensors};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of `save_pretrained`: a pipeline, with a part in each of its folders, or one part by itself.
///
/// Parts are taken by the folder's name and the class in its settings; which pipeline wrote them does not matter.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    index: Option<Settings>,
    variant: Option<String>,
}

impl Folder {
    /// Opens a folder that has a `model_index.json`, or a `config.json`.
    ///
    /// # Errors
    /// If it has neither, or one of them cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LatentError> {
        let path = path.as_ref().to_path_buf();
        if let Err(source) = fs::read_dir(&path) {
            return Err(LatentError::Io { path, source });
        }
        let index = path.join(INDEX);
        let index = if index.exists() { Some(Settings::read(index)?) } else { None };
        if index.is_none() && !path.join(CONFIG).exists() {
            let part = format!("{INDEX} or {CONFIG}");
            return Err(LatentError::NoPart { found: parts_in(&path), folder: path, part });
        }
        Ok(Self { path, index, variant: None })
    }

    /// Weights are taken from the files of this variant, e.g. `fp16`, and from the ordinary ones where it has none.
    #[must_use]
    pub fn with_variant(self, variant: impl Into<String>) -> Self {
        Self { variant: Some(variant.into()), ..self }
    }

    /// Whether a part, or the folder itself, has weights of this variant.
    pub fn has_variant(&self, variant: &str) -> bool {
        let names: Vec<String> = files_of(Some(variant)).collect();
        let has = |folder: &Path| names.iter().any(|name| folder.join(name).exists());
        let parts = fs::read_dir(&self.path).into_iter().flatten().flatten();
        has(&self.path) || parts.into_iter().any(|part| has(&part.path()))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `model_index.json` says of the whole pipeline, if there is one.
    pub fn index(&self) -> Option<&Settings> {
        self.index.as_ref()
    }

    /// The part `name`, of one of the classes, if there is one; or the folder itself, if it is of one of them.
    ///
    /// # Errors
    /// If the settings of the part cannot be read.
    pub fn find(&self, name: &str, classes: &[&str]) -> Result<Option<Part>, LatentError> {
        for folder in [self.path.join(name), self.path.clone()] {
            let config = folder.join(CONFIG);
            if !config.exists() {
                continue;
            }
            let part = Part { folder, settings: Settings::read(config)?, variant: self.variant.clone() };
            if classes.contains(&part.class()) {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The part `name`, of one of the classes; or the folder itself, if it is of one of them.
    ///
    /// # Errors
    /// If there is none, or its settings cannot be read.
    pub fn part(&self, name: &str, classes: &[&str]) -> Result<Part, LatentError> {
        self.find(name, classes)?.ok_or_else(|| self.none(name, classes))
    }

    /// There is no part `name` of one of the classes, and this is there instead.
    pub(crate) fn none(&self, name: &str, classes: &[&str]) -> LatentError {
        LatentError::NoPart {
            folder: self.path.clone(),
            part: format!("part `{name}` of the class {}", classes.join(" or ")),
            found: parts_in(&self.path),
        }
    }
}

const INDEX: &str = "model_index.json";
const CONFIG: &str = "config.json";

/// The folders in a folder, each with the class of what is in it; or the class of what is in the folder itself.
fn parts_in(path: &Path) -> Vec<String> {
    let class = |folder: &Path| Some(class_of(&Settings::read(folder.join(CONFIG)).ok()?).to_string());
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let part = |entry: fs::DirEntry| {
        Some(format!("{} ({})", entry.file_name().to_string_lossy(), class(&entry.path())?))
    };
    let mut parts: Vec<String> = entries.filter_map(part).collect();
    parts.sort();
    parts.extend(class(path));
    parts
}

/// The class in diffusers' settings, or in those of transformers.
fn class_of(settings: &Settings) -> &str {
    let of_transformers = || settings.get("architectures")?.as_array()?.first()?.as_str();
    settings.text("_class_name").or_else(of_transformers).unwrap_or_default()
}

/// One network of a pretrained model: its settings, and where its weights are.
#[derive(Clone, Debug)]
pub struct Part {
    folder: PathBuf,
    settings: Settings,
    variant: Option<String>,
}

impl Part {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name of the class that it is of in Python.
    pub fn class(&self) -> &str {
        class_of(&self.settings)
    }

    /// Opens the file of weights, or the index of several: of safetensors before PyTorch's pickles, the variant `fp16` only
    /// where there is nothing else or it was [asked for](Folder::with_variant).
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn weights(&self) -> Result<TensorFile, LatentError> {
        let mut tried = Vec::new();
        for variant in [self.variant.as_deref(), None, Some("fp16")] {
            for name in files_of(variant) {
                let path = self.folder.join(&name);
                if path.exists() {
                    return Ok(TensorFile::open(path)?);
                }
                if !tried.contains(&name) {
                    tried.push(name);
                }
            }
        }
        Err(LatentError::NoWeights { folder: self.folder.clone(), tried })
    }

    /// The module with the weights of this part, one tensor at a time: names are those of the file after `rename`, which
    /// leaves out what it gives no name.
    ///
    /// # Errors
    /// If there is no file, it cannot be read, or tensors are missing, superfluous or of another shape: all of them in one
    /// error.
    pub fn load<B: Backend, M: Module<B>>(
        &self,
        module: M,
        rename: impl FnMut(&str) -> Option<String>,
    ) -> Result<M, LatentError> {
        let file = self.weights()?.renamed(rename);
        Ok(import_tensors(module, &names(), &[], &file, None)?.0)
    }
}

/// What files of weights are called, in diffusers and in transformers.
const STEMS: [&str; 3] = ["diffusion_pytorch_model", "model", "pytorch_model"];

/// What the weights of a variant may be called, or those of none: files, and indices of several.
fn files_of(variant: Option<&str>) -> impl Iterator<Item = String> {
    let dotted = variant.map(|variant| format!(".{variant}")).unwrap_or_default();
    STEMS.iter().flat_map(|stem| ["safetensors", "bin"].map(|ending| (stem, ending))).flat_map(
        move |(stem, ending)| {
            [format!("{stem}{dotted}.{ending}"), format!("{stem}.{ending}.index{dotted}.json")]
        },
    )
}

/// The names of diffusers' and transformers' state dicts for the fields here, which mostly are the same.
pub fn names() -> NameTable {
    NameTable::pytorch()
        .with("FeedForward", &[("proj", "net.0.proj"), ("out", "net.2")])
        .with("DitFeedForward", &[("proj", "net.0.proj"), ("out", "net.2")])
        .with("PixelAttention", &[("attention", "")])
}

//! Tensors in a file: names, types and shapes when it is opened, values when they are asked for.

mod contents;
mod entry;
mod index;
mod kind;
mod legacy;
pub(crate) mod npz;
mod part;
mod pickle;
pub(crate) mod safetensors;
mod torch;
mod view;
mod walk;
mod zip;

use crate::Dtype;
use crate::error::{Fault, WeightsError};
use crate::fit::Entry;
use crate::source::Source;
use contents::Contents;
use part::{Part, open, read};
pub use pickle::PickledDict;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use view::View;
pub(crate) use walk::Beside;

/// An open file of tensors, or several that one index joins.
///
/// Nothing that a file says of itself is believed: each tensor lies inside its file, and no two parts of a file overlap
/// that should not. A file of `torch.save` is read by a machine that knows tensors and plain values and nothing else; it
/// runs nothing, and passes over what Python would have to run. Values are read by their position, so several threads can read at the same time.
///
/// ```
/// use diffusion_weights::TensorFile;
///
/// let header = br#"{"net.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
/// let size = (header.len() as u64).to_le_bytes();
/// let values = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
/// let file = TensorFile::from_bytes("net.safetensors", [&size[..], header, &values].concat())?;
/// assert_eq!(file.names().collect::<Vec<_>>(), ["net.bias"]);
/// assert_eq!(file.shape("net.bias"), Some(&[2][..]));
/// assert_eq!(file.read("net.bias")?, [1.5, -2.0]);
/// # Ok::<(), diffusion_weights::WeightsError>(())
/// ```
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    parts: Vec<Part>,
    tensors: BTreeMap<String, (usize, View)>,
    beside: Beside,
}

impl TensorFile {
    /// Opens a file that `torch.save` has written, or a safetensors file, told by its first bytes and not by its name; or,
    /// by a name that ends in `.index.json`, or in `.index.fp16.json` and the like, the index of such files in the same
    /// folder, as Hugging Face's libraries write it.
    ///
    /// A tensor in a dict of a checkpoint is named by all keys that lead to it, as in `model.net.0.weight`; the items of a key
    /// that is a tuple are joined by dots as well. What is no tensor is passed over, and so are two tensors of the same name. The bytes of a file in an archive are compared with their checksum when they are read first.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged or packed in a way that is not read, or holds something else, such as a whole model, whose class Python would
    /// have to import; if an index names a file elsewhere, or a tensor that its file has not.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        match name.ends_with(".json") && name.contains(".index.") {
            true => {
                let (parts, tensors) = index::open_all(path)?;
                Ok(Self { path: path.to_path_buf(), parts, tensors, beside: Beside::default() })
            }
            false => Self::one(path, open(path)?, read),
        }
    }

    /// Opens a safetensors file, and no other.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a safetensors file.
    pub fn open_safetensors(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        Self::one(path.as_ref(), open(path.as_ref())?, safetensors::read)
    }

    /// The tensors in the bytes of a file that were read already, from `path`, which errors then name.
    ///
    /// # Errors
    /// If the bytes are no file of tensors.
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        Self::one(path.as_ref(), Source::Memory(bytes), read)
    }

    fn one(
        path: &Path,
        source: Source,
        read: impl FnOnce(&Source) -> Result<Contents, Fault>,
    ) -> Result<Self, WeightsError> {
        let Contents { tensors, beside } = read(&source).map_err(|fault| fault.at(path))?;
        let tensors = tensors.into_iter().map(|(name, view)| (name, (0, view))).collect();
        let path = path.to_path_buf();
        Ok(Self { parts: vec![Part { path: path.clone(), source }], path, tensors, beside })
    }

    /// The same tensors under the names that `rename` gives for theirs; those that it gives none are left out. Of two that
    /// get the same name, the last in the order of the old ones stays.
    ///
    /// ```
    /// # use diffusion_weights::TensorFile;
    /// # let bytes = safetensors::serialize([("old.weight", safetensors::tensor::TensorView::new(
    /// #     safetensors::Dtype::F32, vec![1], &[0; 4])?)], None)?;
    /// # let file = TensorFile::from_bytes("model.safetensors", bytes)?;
    /// let file = file.renamed(|name| Some(name.replace("old", "new")));
    /// assert_eq!(file.names().collect::<Vec<_>>(), ["new.weight"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn renamed(mut self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        let tensors = std::mem::take(&mut self.tensors);
        self.tensors =
            tensors.into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor))).collect();
        self
    }

    /// The same tensors, but for `name`, in the place of which are as many as `into` has names, of equally many of its rows
    /// each, in this order; as it is if its rows cannot be divided so.
    #[must_use]
    pub fn divided(mut self, name: &str, into: &[String]) -> Self {
        let rows = self.shape(name).and_then(|shape| shape.first().copied()).unwrap_or_default();
        if rows == 0 || into.is_empty() || !rows.is_multiple_of(into.len()) {
            return self;
        }
        if let Some((part, view)) = self.tensors.remove(name) {
            let rows = rows / into.len();
            let piece = |i: usize| (part, view.rows(i * rows..(i + 1) * rows));
            self.tensors.extend(into.iter().enumerate().map(|(i, name)| (name.clone(), piece(i))));
        }
        self
    }

    /// The same tensors, but for `name`, whose axes are in the opposite order, if there is one of this name.
    ///
    /// ```
    /// # use diffusion_weights::TensorFile;
    /// # let values: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    /// # let bytes = safetensors::serialize([("w", safetensors::tensor::TensorView::new(
    /// #     safetensors::Dtype::F32, vec![2, 3], &values)?)], None)?;
    /// # let file = TensorFile::from_bytes("model.safetensors", bytes)?;
    /// assert_eq!(file.read("w")?, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]); // [2, 3]
    /// let file = file.transposed("w");
    /// assert_eq!(file.shape("w"), Some(&[3, 2][..]));
    /// assert_eq!(file.read("w")?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn transposed(mut self, name: &str) -> Self {
        if let Some((part, view)) = self.tensors.remove(name) {
            self.tensors.insert(name.to_string(), (part, view.transposed()));
        }
        self
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The type of a tensor, if there is one of this name.
    pub fn dtype(&self, name: &str) -> Option<&Dtype> {
        self.tensors.get(name).map(|(_, view)| &view.dtype)
    }

    /// The shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, view)| &view.shape[..])
    }

    /// The values of a floating-point tensor, the last axis varying fastest.
    ///
    /// Make sure first that its shape is one you expect: a tensor can repeat one stored value any number of times.
    ///
    /// # Errors
    /// If the file can no longer be read.
    ///
    /// # Panics
    /// If there is no tensor of this name, or it is not of a [floating-point type](Dtype::is_float).
    pub fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (part, view) = self.tensor(name, Dtype::is_float, "a floating-point type");
        view.read(&part.source, Dtype::decode_floats).map_err(|source| part.error(source))
    }

    /// The values of some rows of a floating-point tensor: of its slices along the first axis.
    ///
    /// # Shapes
    /// - `into`: as long as `rows` times the product of the other axes
    ///
    /// # Errors
    /// If the file can no longer be read.
    ///
    /// # Panics
    /// As [`read`](Self::read); or if the tensor has no such rows, or `into` has another length.
    pub fn read_rows(&self, name: &str, rows: Range<usize>, into: &mut [f32]) -> Result<(), WeightsError> {
        let (part, view) = self.tensor(name, Dtype::is_float, "a floating-point type");
        let view = view.rows(rows);
        view.read_into(&part.source, into, Dtype::decode_floats).map_err(|source| part.error(source))
    }

    /// The values of some rows of a tensor of integers, wide enough for every type of them.
    ///
    /// # Errors
    /// If the file can no longer be read.
    ///
    /// # Panics
    /// If there is no tensor of this name, it is not of an [integer type](Dtype::is_integer), or has no such rows.
    pub fn read_integers(&self, name: &str, rows: Range<usize>) -> Result<Vec<i128>, WeightsError> {
        let (part, view) = self.tensor(name, Dtype::is_integer, "an integer type");
        view.rows(rows).read(&part.source, Dtype::decode_integers).map_err(|source| part.error(source))
    }

    /// What is known of all tensors.
    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        let entry =
            |view: &View| Entry { dtype: view.dtype.clone(), shape: view.shape.clone(), home: view.home };
        self.tensors.iter().map(|(name, (_, view))| (name.clone(), entry(view))).collect()
    }

    pub(crate) fn beside(&self) -> &Beside {
        &self.beside
    }

    fn tensor(&self, name: &str, is_right: fn(&Dtype) -> bool, expected: &str) -> (&Part, &View) {
        let Some((part, view)) = self.tensors.get(name) else {
            panic!("the tensor `{name}` was asked for, expected one that {} has", self.path.display());
        };
        assert!(is_right(&view.dtype), "`{name}` is of type {}, expected {expected}", view.dtype);
        (&self.parts[*part], view)
    }
}

//! Files that `torch.save` writes since PyTorch 1.6: a zip archive of a pickle and of the tensors' bytes.

use super::archive::{self, Stored};
use super::element::Element;
use super::error::{Fault, MAX_HEADER, StateDictError, malformed};
use super::load::{Entry, Source};
use super::pickle::{Id, Pickle, Storage, Tensor, Value};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file of `torch.save` whose tensors are known and lie inside it.
pub(super) struct TorchFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, View>,
}

/// A tensor in a file.
#[derive(Clone, Debug)]
struct View {
    element: Element,
    shape: Vec<usize>,
    /// How many numbers lie between neighbours along each axis.
    stride: Vec<usize>,
    /// The byte at which its first number begins.
    start: u64,
    /// How many numbers lie from its first to its last, both included.
    span: usize,
}

impl TorchFile {
    /// Reads what `file`, which has `length` bytes, says of its tensors.
    pub(super) fn open(path: &Path, mut file: File, length: u64) -> Result<Self, StateDictError> {
        let tensors = read_tensors(&mut file, length).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_path_buf(), file, tensors })
    }
}

impl Source for TorchFile {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry = |view: &View| Entry { element: view.element.clone(), shape: view.shape.clone() };
        self.tensors.iter().map(|(name, view)| (name.clone(), entry(view))).collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, StateDictError> {
        let Some(view) = self.tensors.get(name) else { return Ok(Vec::new()) };
        let stored = view
            .element
            .read(&mut self.file, view.start, view.span)
            .map_err(|error| Fault::Read(error).at(&self.path))?;
        Ok(if view.is_contiguous() { stored } else { view.gather(&stored) })
    }
}

impl View {
    /// Checks a tensor of a pickle against its storage and that against its file.
    fn new(tensor: &Tensor, storage: &Storage<'_>, file: Stored) -> Result<Self, Fault> {
        let Tensor { offset, shape, stride, .. } = tensor;
        if storage.count.checked_mul(storage.size).is_none_or(|bytes| bytes > file.size) {
            return malformed(format!(
                "storage `{}` holds {} bytes, expected {} numbers of {} bytes",
                storage.key, file.size, storage.count, storage.size
            ));
        }
        if shape.len() != stride.len() {
            return malformed(format!("a tensor of shape {shape:?} has strides {stride:?}"));
        }
        let axes = || shape.iter().zip(stride);
        let span = if shape.contains(&0) {
            Some(0)
        } else {
            axes().try_fold(1u64, |span, (size, stride)| span.checked_add((size - 1).checked_mul(*stride)?))
        };
        let end = span.and_then(|span| offset.checked_add(span));
        let (Some(span), Some(_)) = (span, end.filter(|&end| end <= storage.count)) else {
            return malformed(format!(
                "a tensor of shape {shape:?}, strides {stride:?} and offset {offset} leaves its storage of {} numbers",
                storage.count
            ));
        };
        let sizes =
            |sizes: &[u64]| sizes.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
        match (sizes(shape), sizes(stride), usize::try_from(span)) {
            (Ok(shape), Ok(stride), Ok(span)) => Ok(Self {
                element: storage.element.clone(),
                shape,
                stride,
                start: file.start + offset * storage.size,
                span,
            }),
            _ => malformed(format!("a tensor of shape {shape:?} is too large for this computer")),
        }
    }

    /// Whether the numbers stand in the file in the order of rows, without gaps.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.span == 0
            || self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected = expected.saturating_mul(size);
                fits
            })
    }

    /// The numbers in the order of rows, `stored` being those from the first to the last.
    ///
    /// Only called for shapes that the network has, so that a tensor repeated by a stride of 0 is never large.
    fn gather(&self, stored: &[f32]) -> Vec<f32> {
        let count = self.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        while values.len() < count {
            values.push(stored[at]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.stride[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= index[axis] * self.stride[axis];
                index[axis] = 0;
            }
        }
        values
    }
}

fn read_tensors(file: &mut File, length: u64) -> Result<BTreeMap<String, View>, Fault> {
    let files = archive::read(file, length)?;
    let pickles: Vec<(&str, Stored)> =
        files.iter().filter_map(|(name, stored)| Some((name.strip_suffix("/data.pkl")?, *stored))).collect();
    let [(prefix, pickle)] = pickles[..] else {
        return Err(Fault::NotAStateDict(format!(
            "it is a zip archive with {} files called data.pkl, expected one",
            pickles.len()
        )));
    };
    if let Some(order) = files.get(&format!("{prefix}/byteorder")) {
        let order = archive::read_at(file, order.start, order.size.min(8), length)?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return malformed(format!("its bytes are in the order {order:?}, expected \"little\""));
        }
    }
    if pickle.size > MAX_HEADER {
        return malformed(format!("its pickle has {} bytes, expected at most {MAX_HEADER}", pickle.size));
    }
    let bytes = archive::read_at(file, pickle.start, pickle.size, length)?;
    let pickle = Pickle::read(&bytes)?;
    let mut tensors = BTreeMap::new();
    for &(name, id) in state_dict(&pickle)? {
        let (&Value::Text(name), Value::Tensor(tensor)) = (pickle.value(name), pickle.value(id)) else {
            continue;
        };
        let Value::Storage(storage) = pickle.value(tensor.storage) else { continue };
        let Some(stored) = files.get(&format!("{prefix}/data/{}", storage.key)) else {
            return malformed(format!(
                "the numbers of `{name}` are missing, expected `data/{}`",
                storage.key
            ));
        };
        let view = View::new(tensor, storage, *stored).map_err(|fault| match fault {
            Fault::Malformed(reason) => Fault::Malformed(format!("in `{name}`, {reason}")),
            other => other,
        })?;
        if tensors.insert(name.to_string(), view).is_some() {
            return malformed(format!("it has the tensor `{name}` twice"));
        }
    }
    Ok(tensors)
}

/// The names and tensors of a pickle's state dict: its one dict or, in a dict that holds no tensor itself, the one
/// value that is a dict of tensors, as in `{"model": …, "optimizer": …, "epoch": 3}`.
fn state_dict<'p>(pickle: &'p Pickle<'_>) -> Result<&'p [(Id, Id)], Fault> {
    let Value::Dict(items) = pickle.value(pickle.root()) else {
        let kind = pickle.value(pickle.root()).kind();
        return Err(Fault::NotAStateDict(format!("it holds {kind}, expected a dict of tensors")));
    };
    let is_tensor = |&(_, value): &(Id, Id)| matches!(pickle.value(value), Value::Tensor(_));
    let mut texts = Vec::new();
    for &(key, _) in items {
        match pickle.value(key) {
            Value::Text(text) => texts.push(*text),
            other => {
                let kind = other.kind();
                return Err(Fault::NotAStateDict(format!("a key of its dict is {kind}, expected a string")));
            }
        }
    }
    if let Some(other) = items.iter().position(|item| !is_tensor(item)) {
        if !items.iter().any(is_tensor) {
            return nested(pickle, items, &texts);
        }
        let kind = pickle.value(items[other].1).kind();
        return Err(Fault::NotAStateDict(format!("`{}` is {kind}, expected a tensor", texts[other])));
    }
    Ok(items)
}

fn nested<'p>(pickle: &'p Pickle<'_>, items: &[(Id, Id)], keys: &[&str]) -> Result<&'p [(Id, Id)], Fault> {
    // Many keys can share a value, which is then looked at once.
    let mut seen: HashMap<Id, Option<&'p [(Id, Id)]>> = HashMap::new();
    let mut found: Vec<(&str, &'p [(Id, Id)])> = Vec::new();
    for (&(_, id), key) in items.iter().zip(keys) {
        let dict = *seen.entry(id).or_insert_with(|| match pickle.value(id) {
            Value::Dict(items) if !items.is_empty() => {
                let is_entry = |&(key, value): &(Id, Id)| {
                    matches!((pickle.value(key), pickle.value(value)), (Value::Text(_), Value::Tensor(_)))
                };
                items.iter().all(is_entry).then_some(&items[..])
            }
            _ => None,
        });
        found.extend(dict.map(|dict| (*key, dict)));
    }
    let list = |keys: &mut dyn Iterator<Item = &str>| {
        keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    };
    match &found[..] {
        [(_, dict)] => Ok(dict),
        [] => {
            let keys = list(&mut keys.iter().copied().take(10));
            Err(Fault::NotAStateDict(format!(
                "none of its values is a dict of tensors; its keys begin with {keys}"
            )))
        }
        several => {
            let keys = list(&mut several.iter().map(|(key, _)| *key).take(10));
            Err(Fault::NotAStateDict(format!(
                "it holds several dicts of tensors, {keys}: save one by itself"
            )))
        }
    }
}

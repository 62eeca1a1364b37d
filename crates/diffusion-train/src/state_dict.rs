//! Weights under the reference's names: to and from PyTorch state dicts of smalldiffusion.
//!
//! A network here and its Python twin have the same parameters, but not the same fields: PyTorch numbers the layers
//! of a `Sequential`, counts activations among them, and keeps the transpose of a linear layer's weight. Names are
//! translated field by field (see `names`), so a network of your own that is made of this library's layers has the
//! names that a Python network of the same fields would have. Integer and boolean parameters are left out.

mod archive;
mod element;
mod error;
mod load;
mod names;
mod pickle;
mod safetensors_file;
mod torch_file;

pub use error::{StateDictError, TensorProblem};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::Network;
use error::{Fault, io_error};
use load::{Entry, Source};
use names::Place;
use safetensors_file::SafetensorsFile;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use torch_file::TorchFile;

/// Tensors under PyTorch's names and in its layout: a linear layer's weight is `[out, in]`, a convolution's
/// `[out, in, height, width]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict(BTreeMap<String, TensorData>);

impl StateDict {
    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorData> {
        self.0.get(name)
    }

    /// Adds a tensor; returns the one that had this name before.
    pub fn insert(&mut self, name: impl Into<String>, tensor: TensorData) -> Option<TensorData> {
        self.0.insert(name.into(), tensor)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<TensorData> {
        self.0.remove(name)
    }

    /// The tensors with their names, in the names' order.
    pub fn iter(&self) -> btree_map::Iter<'_, String, TensorData> {
        self.0.iter()
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> FromIterator<(S, TensorData)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (S, TensorData)>>(tensors: I) -> Self {
        Self(tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect())
    }
}

impl IntoIterator for StateDict {
    type Item = (String, TensorData);
    type IntoIter = btree_map::IntoIter<String, TensorData>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a StateDict {
    type Item = (&'a String, &'a TensorData);
    type IntoIter = btree_map::Iter<'a, String, TensorData>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The network's parameters and [buffers](Network::buffers), in f32.
///
/// # Panics
/// If two parameters have the same name, which a network of your own can bring about with an enum or a field that
/// the reference spells otherwise.
pub fn state_dict<B, N, const D: usize>(network: &N) -> StateDict
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let mut collector = Collector { place: Place::default(), dict: StateDict::default() };
    network.visit(&mut collector);
    for (name, buffer) in network.buffers() {
        collector.add(name.to_string(), buffer.convert::<f32>());
    }
    collector.dict
}

/// The network with the tensors of `dict`, each converted to the type of the parameter that it replaces; ids and the
/// need of a gradient stay as they are.
///
/// The names may all begin with `module.` or `_orig_mod.`, as `DataParallel` and `torch.compile` leave them.
///
/// # Errors
/// If tensors are missing or superfluous, of another shape, not floating-point or not finite, or if a buffer is off
/// by more than 1e-5 of its largest number: all of them listed in one error.
pub fn load_state_dict<B, N, const D: usize>(network: N, dict: &StateDict) -> Result<N, StateDictError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    load::load(network, &mut InMemory(dict))
}

/// The network with the tensors of the file `path`: one that `torch.save` has written since PyTorch 1.6, or a
/// safetensors file, told by its first bytes and not by its name.
///
/// A file of `torch.save` is read by a machine that knows dicts of tensors and nothing else; it runs nothing. Of a
/// checkpoint, a dict that holds no tensor itself, the one value is taken that is a dict of tensors. Tensors are read
/// one at a time, and none that the network does not ask for.
///
/// # Errors
/// As [`load_state_dict`]; if the file cannot be read, is damaged, or holds something else, such as a whole model,
/// whose class Python would have to import.
pub fn import_state_dict<B, N, const D: usize>(network: N, path: &Path) -> Result<N, StateDictError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let length = file.metadata().map_err(io_error("open", path))?.len();
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head).map_err(io_error("read", path))?;
    match Format::of(&head).map_err(|fault| fault.at(path))? {
        Format::Torch => load::load(network, &mut TorchFile::open(path, file, length)?),
        Format::Safetensors => load::load(network, &mut SafetensorsFile::open(path, file, length)?),
    }
}

/// Writes the network's [`state_dict`] as a safetensors file of f32, which `safetensors.torch.load_file` reads. It is
/// written under a temporary name in the same folder, synced, and then renamed, so that a crash never leaves half a
/// file; one that is there is replaced.
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// As [`state_dict`].
pub fn export_state_dict<B, N, const D: usize>(network: &N, path: &Path) -> Result<(), StateDictError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    safetensors_file::write(&state_dict(network), path)
}

/// The kinds of files that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Torch,
    Safetensors,
}

impl Format {
    /// What a file is that begins with `head`.
    fn of(head: &[u8]) -> Result<Self, Fault> {
        if head.starts_with(archive::MAGIC) {
            Ok(Self::Torch)
        } else if head.get(8) == Some(&b'{') {
            Ok(Self::Safetensors)
        } else if head.starts_with(&[0x80]) || head.get(257..262) == Some(b"ustar") {
            Err(Fault::NotAStateDict(
                "it is a bare pickle, as PyTorch wrote before 1.6, and may run anything where it is loaded; if you trust \
                 it, load it with `weights_only=True` and save the state dict again"
                    .to_string(),
            ))
        } else {
            Err(Fault::NotAStateDict(format!(
                "it begins with {:02x?}, expected an archive of torch.save or a safetensors header",
                &head[..head.len().min(9)]
            )))
        }
    }
}

struct InMemory<'a>(&'a StateDict);

impl Source for InMemory<'_> {
    fn path(&self) -> Option<&Path> {
        None
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry =
            |tensor: &TensorData| Entry { element: tensor.dtype.into(), shape: tensor.shape.to_vec() };
        self.0.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, StateDictError> {
        Ok(self.0.get(name).map(|tensor| tensor.iter::<f32>().collect()).unwrap_or_default())
    }
}

/// Gathers a module's parameters.
struct Collector {
    place: Place,
    dict: StateDict,
}

impl Collector {
    fn add(&mut self, name: String, tensor: TensorData) {
        let twice = self.dict.insert(name.clone(), tensor).is_some();
        assert!(!twice, "two parameters are called `{name}` in the reference's words, expected one");
    }
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let data = param.val().into_data().convert::<f32>();
        let mut shape = data.shape.to_vec();
        let mut values: Vec<f32> = data.iter().collect();
        if self.place.is_transposed() {
            values = transpose(values, [shape[0], shape[1]]);
            shape.reverse();
        }
        self.add(self.place.name().to_string(), TensorData::new(values, shape));
    }
}

/// The columns of a matrix one after the other, given its rows.
///
/// # Shapes
/// - `values`: `[rows, columns]`
/// - returns `[columns, rows]`
fn transpose(values: Vec<f32>, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let values = &values;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests;

//! A module's parameters under another library's names: out of the module, into it, from and to files.
//!
//! A module here and its twin elsewhere have the same parameters, but not the same fields: PyTorch numbers the layers of
//! a `Sequential`, counts activations among them, and keeps the transpose of a linear layer's weight. A [`NameTable`]
//! translates. Buffers, tensors that a module computes instead of learning them, are brought by the caller under the
//! names that they have in the state dict. Integer and boolean parameters are left out.

use crate::dict::{StateDict, value};
use crate::error::{WeightsError, io_error};
use crate::file::TensorFile;
use crate::load::{self, Accept, Taken};
use crate::names::{NameTable, Place};
use crate::{write, write_atomically};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::{self, Seek, Write};
use std::path::Path;

/// The module's parameters under the names of `names`, and `buffers`, in f32.
///
/// # Panics
/// If two of them have the same name, which a module of your own can bring about with an enum or a field that the other
/// library spells otherwise.
pub fn state_dict<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
) -> StateDict {
    let mut collector = Collector { place: Place::new(names), dict: StateDict::default() };
    module.visit(&mut collector);
    for (name, buffer) in buffers {
        collector.add((*name).to_string(), buffer.clone().convert::<f32>());
    }
    collector.dict
}

/// The module with the tensors of `dict`, each converted to the type of the parameter that it replaces; ids and the
/// need of a gradient stay as they are.
///
/// The names may have a common prefix, and those of wrappers anywhere, such as `module` and `_orig_mod`, which
/// `DataParallel` and `torch.compile` leave. Tensors of one element that count something, as those of averages do, are
/// passed over.
///
/// # Errors
/// If there are such tensors under several prefixes; if tensors are missing or superfluous, of another shape, not floating-point or not finite, or if one of `buffers` is
/// off by more than 1e-5 of its largest element: all of them listed in one error.
pub fn load_state_dict<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    dict: &StateDict,
) -> Result<M, WeightsError> {
    Ok(load::load(module, names, buffers, dict, (Accept::Foreign, None))?.0)
}

/// The module with the tensors of a file that [`TensorFile::open`] reads, which may be a checkpoint: as
/// [`import_state_dict_at`] without a key.
///
/// # Errors
/// As there.
pub fn import_state_dict<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    path: impl AsRef<Path>,
) -> Result<M, WeightsError> {
    Ok(import_state_dict_at(module, names, buffers, path, None)?.0)
}

/// The module with the tensors of a file that [`TensorFile::open`] reads, and what was taken of the file. Tensors are read
/// one at a time, and none that the module does not ask for.
///
/// A kernel of one pixel, `[outputs, inputs, 1, 1]`, and a matrix are the same and stand for each other.
///
/// Of a checkpoint, the one collection of tensors is taken that has all of the module's names and shapes, wherever it
/// stands; `key` is the path to it where there are several, its keys with dots between, as in `state.ema`, and `.` for
/// those that stand by themselves.
///
/// # Errors
/// As [`TensorFile::open`] and [`load_state_dict`]; if several collections fit and there is no key, or the key leads to
/// no tensors.
pub fn import_state_dict_at<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    path: impl AsRef<Path>,
    key: Option<&str>,
) -> Result<(M, Taken), WeightsError> {
    import_tensors(module, names, buffers, &TensorFile::open(path)?, key)
}

/// As [`import_state_dict_at`], of a file that is open, whose tensors may have been [renamed](TensorFile::renamed).
///
/// # Errors
/// As there.
pub fn import_tensors<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    file: &TensorFile,
    key: Option<&str>,
) -> Result<(M, Taken), WeightsError> {
    load::load(module, names, buffers, file, (Accept::Foreign, key))
}

/// The tensors of these names and `shapes`, in f32, of a file that is open, and what was taken of it: for networks whose
/// tensors are changed before they become parameters. Names and shapes are compared before a value is read; files and `key`
/// are as those of [`import_state_dict_at`].
///
/// # Errors
/// As [`import_tensors`].
pub fn read_tensors(
    shapes: &BTreeMap<String, Vec<usize>>,
    file: &TensorFile,
    key: Option<&str>,
) -> Result<(StateDict, Taken), WeightsError> {
    load::read(shapes, file, (Accept::Foreign, key))
}

/// Writes the module's [`state_dict`] as a safetensors file of f32, which `safetensors.torch.load_file` reads; one that
/// is there is replaced, [whole or not at all](write_atomically). The tensors are written one by one, so that they are
/// not in memory twice.
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// As [`state_dict`].
pub fn export_state_dict<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    path: impl AsRef<Path>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    write_atomically(path, |file| write_state_dict(module, names, buffers, file))
        .map_err(io_error("write", path))
}

/// Writes tensors under their names as a safetensors file of f32; one that is there is replaced, [whole or not at
/// all](write_atomically).
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// If two of them have the same name.
pub fn write_tensors(tensors: &[(String, TensorData)], path: impl AsRef<Path>) -> Result<(), WeightsError> {
    let path = path.as_ref();
    write_atomically(path, |file| write::write_tensors(tensors, file)).map_err(io_error("write", path))
}

/// As [`export_state_dict`], into a file that is open and empty; the same bytes for the same weights.
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// As [`state_dict`].
pub fn write_state_dict<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    file: &mut (impl Write + Seek),
) -> io::Result<()> {
    write::write(module, names, buffers, Dtype::F32, file)
}

/// Writes the module's parameters under their [own paths](NameTable::own_paths) in half precision (F16), into a file that
/// is open and empty.
///
/// # Errors
/// If a value is beyond what 16 bits hold, or the file system refuses.
pub fn write_half<B: Backend, M: Module<B>>(module: &M, file: &mut (impl Write + Seek)) -> io::Result<()> {
    write::write(module, &NameTable::own_paths(), &[], Dtype::F16, file)
}

/// Writes a safetensors file of f32 tensors of these names and shapes, each when `values` has made it, so that one is in
/// memory at a time; a file that is there is replaced, [whole or not at all](write_atomically). `note` is a name and a text
/// that the file says of itself, as [`read_note`](crate::read_note) finds it.
///
/// # Errors
/// The first error of `values`; or if the file system refuses.
///
/// # Panics
/// If `values` are not as many as the shape says.
pub fn write_each(
    path: impl AsRef<Path>,
    shapes: &BTreeMap<String, Vec<usize>>,
    note: (&str, &str),
    values: &mut dyn FnMut(&str) -> Result<Vec<f32>, WeightsError>,
) -> Result<(), WeightsError> {
    let (path, mut failed) = (path.as_ref(), None);
    let mut keep = |name: &str| {
        values(name).map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            io::Error::other(text)
        })
    };
    let written = write_atomically(path, |file| write::write_each(shapes, note, &mut keep, file));
    match failed {
        Some(error) => Err(error),
        None => written.map_err(io_error("write", path)),
    }
}

/// The module with the tensors of a file that was written of the same module here: under its
/// [own paths](NameTable::own_paths), all of them f32, of any values.
///
/// # Errors
/// If tensors are missing or superfluous, of another shape or not f32: all of them listed in one error; if the file
/// cannot be read.
pub fn restore<B: Backend, M: Module<B>>(module: M, file: &TensorFile) -> Result<M, WeightsError> {
    Ok(load::load(module, &NameTable::own_paths(), &[], file, (Accept::Own, None))?.0)
}

/// Gathers a module's parameters.
struct Collector<'a> {
    place: Place<'a>,
    dict: StateDict,
}

impl Collector<'_> {
    fn add(&mut self, name: String, tensor: TensorData) {
        let twice = self.dict.insert(name.clone(), tensor).is_some();
        assert!(!twice, "two parameters are called `{name}` in the state dict, expected one");
    }
}

impl<B: Backend> ModuleVisitor<B> for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.add(self.place.name().to_string(), value(param, &self.place));
    }
}

//! From any source of named tensors into a module: everything is compared, and loaded only if all of it fits.

use crate::Dtype;
use crate::dict::{StateDict, transpose};
use crate::error::{TensorProblem, WeightsError, shown};
use crate::file::TensorFile;
use crate::names::{NameTable, Place};
use crate::shapes::shapes;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::Path;

/// What is known of a tensor before its values are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
}

/// Named tensors whose values are read one tensor at a time.
pub(crate) trait Tensors {
    /// The file, if it is one.
    fn path(&self) -> Option<&Path>;

    /// All tensors, their values unread.
    fn entries(&self) -> BTreeMap<String, Entry>;

    /// The values of one of the [`entries`](Self::entries) that is of a floating-point type, the last axis varying
    /// fastest.
    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError>;
}

impl Tensors for StateDict {
    fn path(&self) -> Option<&Path> {
        None
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry = |tensor: &TensorData| Entry { dtype: tensor.dtype.into(), shape: tensor.shape.to_vec() };
        self.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        Ok(self.get(name).map(|tensor| tensor.iter::<f32>().collect()).unwrap_or_default())
    }
}

impl Tensors for TensorFile {
    fn path(&self) -> Option<&Path> {
        Some(self.path())
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry =
            |name| Some(Entry { dtype: self.dtype(name)?.clone(), shape: self.shape(name)?.to_vec() });
        self.names().filter_map(|name| Some((name.to_string(), entry(name)?))).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        self.read(name)
    }
}

/// Which tensors are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Those that another library may have: of any floating-point type, finite, and under the names of its wrappers.
    Foreign,
    /// Those that were written here: f32, of any value.
    Own,
}

/// The module with the tensors of `source`.
pub(crate) fn load<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    source: &impl Tensors,
    accept: Accept,
) -> Result<M, WeightsError> {
    let expected = shapes(&module, names, buffers);
    let entries = source.entries();
    let prefix = match accept {
        Accept::Foreign => wrappers(&entries, &expected),
        Accept::Own => String::new(),
    };
    let mut problems = compare(&entries, &expected, &prefix, accept);
    let unfit = problems.iter().map(|problem| problem.name().to_string()).collect();
    let mut loader = Loader {
        place: Place::new(names),
        reader: Reader { source, accept, prefix, unfit, problems: Vec::new(), failure: None },
        all_fit: problems.is_empty(),
        backend: PhantomData,
    };
    for (name, ours) in buffers {
        let entry = entries.get(&format!("{}{name}", loader.reader.prefix));
        loader.reader.check_buffer(name, ours, entry.map_or(0.0, |entry| entry.dtype.rounding()));
    }
    let module = module.map(&mut loader);
    let Reader { problems: unread, failure, .. } = loader.reader;
    problems.extend(unread);
    match failure {
        Some(error) => Err(error),
        None if problems.is_empty() => Ok(module),
        None => Err(WeightsError::Tensors { path: source.path().map(Path::to_path_buf), problems }),
    }
}

/// `DataParallel` and `torch.compile` wrap a module in one more module, whose field's name then precedes every other.
///
/// Each is taken off as long as all of the file's names have it and not all of the module's.
fn wrappers(entries: &BTreeMap<String, Entry>, expected: &BTreeMap<String, Vec<usize>>) -> String {
    let mut prefix = String::new();
    if entries.is_empty() {
        return prefix;
    }
    while let Some(wrapper) = ["module.", "_orig_mod."].into_iter().find(|wrapper| {
        entries.keys().all(|name| name[prefix.len()..].starts_with(wrapper))
            && !expected.keys().all(|name| name.starts_with(wrapper))
    }) {
        prefix.push_str(wrapper);
    }
    prefix
}

/// Names, shapes and types that do not fit.
fn compare(
    entries: &BTreeMap<String, Entry>,
    expected: &BTreeMap<String, Vec<usize>>,
    prefix: &str,
    accept: Accept,
) -> Vec<TensorProblem> {
    let types = match accept {
        Accept::Foreign => "F64, F32, F16 or BF16",
        Accept::Own => "F32",
    };
    let is_accepted = |dtype: &Dtype| match accept {
        Accept::Foreign => dtype.is_float(),
        Accept::Own => *dtype == Dtype::F32,
    };
    let mut problems = Vec::new();
    for (name, shape) in expected {
        let (name, shape) = (name.clone(), shape.clone());
        match entries.get(&format!("{prefix}{name}")) {
            None => problems.push(TensorProblem::Missing { name, shape }),
            Some(Entry { shape: found, .. }) if *found != shape => {
                problems.push(TensorProblem::Shape { name, found: found.clone(), expected: shape });
            }
            Some(Entry { dtype, .. }) if !is_accepted(dtype) => {
                problems.push(TensorProblem::Dtype { name, found: dtype.clone(), expected: types });
            }
            Some(_) => {}
        }
    }
    for (name, entry) in entries {
        let name = &name[prefix.len()..];
        if !expected.contains_key(name) {
            problems.push(TensorProblem::Extra { name: shown(name), shape: entry.shape.clone() });
        }
    }
    problems
}

/// Reads tensors that fit, and notes which of them do not after all.
struct Reader<'a, S> {
    source: &'a S,
    accept: Accept,
    prefix: String,
    /// Names that already do not fit.
    unfit: BTreeSet<String>,
    problems: Vec<TensorProblem>,
    /// The first time that the source could not be read; nothing is read after it.
    failure: Option<WeightsError>,
}

impl<S: Tensors> Reader<'_, S> {
    /// The values of a tensor, if they are there and accepted.
    fn read(&mut self, name: &str) -> Option<Vec<f32>> {
        if self.failure.is_some() || self.unfit.contains(name) {
            return None;
        }
        let values = match self.source.read(&format!("{}{name}", self.prefix)) {
            Ok(values) => values,
            Err(error) => {
                self.failure = Some(error);
                return None;
            }
        };
        let is_unfit = |value: &f32| self.accept == Accept::Foreign && !value.is_finite();
        match values.iter().position(is_unfit) {
            None => Some(values),
            Some(index) => {
                let (name, value) = (name.to_string(), values[index]);
                self.problems.push(TensorProblem::NotFinite { name, value, index });
                None
            }
        }
    }

    /// Compares a tensor that the module computes with the one in the file, which may be off by `tolerance` of the
    /// largest element.
    fn check_buffer(&mut self, name: &str, ours: &TensorData, tolerance: f32) {
        let Some(theirs) = self.read(name) else { return };
        let ours = ours.clone().convert::<f32>();
        let largest = ours.iter::<f32>().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let difference = |(a, b): (f32, &f32)| (a - b).abs();
        let difference = ours.iter::<f32>().zip(&theirs).map(difference).fold(0.0, f32::max);
        let allowed = tolerance * largest;
        if difference > allowed {
            self.problems.push(TensorProblem::Buffer { name: name.to_string(), difference, allowed });
        }
    }
}

/// Puts a source's tensors in a module's place.
struct Loader<'a, B, S> {
    place: Place<'a>,
    reader: Reader<'a, S>,
    /// Whether loading can still succeed; if not, tensors are read only to hear what else is wrong.
    all_fit: bool,
    backend: PhantomData<B>,
}

impl<B: Backend, S: Tensors> ModuleMapper<B> for Loader<'_, B, S> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(values) = self.reader.read(self.place.name()).filter(|_| self.all_fit) else { return param };
        let (id, old, mapper) = param.consume();
        let shape = old.dims();
        let values = match self.place.is_transposed() {
            true => transpose(values, [shape[1], shape[0]]),
            false => values,
        };
        let options = (&old.device(), old.dtype());
        let new = Tensor::from_data(TensorData::new(values, shape), options);
        Param::from_mapped_value(id, new.set_require_grad(old.is_require_grad()), mapper)
    }
}

//! From any source of named tensors into a module: everything is compared, and loaded only if all of it fits.

use crate::Dtype;
use crate::blocks::{first_not_finite, transpose};
use crate::dict::StateDict;
use crate::error::{TensorProblem, WeightsError, shown};
use crate::file::{Beside, TensorFile};
use crate::fit::{Entry, Fit, Misfit, Names};
use crate::names::{NameTable, Place};
use crate::shapes::shapes;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::Path;

/// Named tensors whose values are read one tensor at a time.
pub(crate) trait Tensors {
    /// The file, if it is one.
    fn path(&self) -> Option<&Path>;

    /// All tensors, their values unread.
    fn entries(&self) -> BTreeMap<String, Entry>;

    /// What there is besides tensors.
    fn beside(&self) -> &Beside;

    /// The values of one of the [`entries`](Self::entries) that is of a floating-point type, the last axis varying
    /// fastest.
    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError>;
}

impl Tensors for StateDict {
    fn path(&self) -> Option<&Path> {
        None
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry =
            |tensor: &TensorData| Entry { dtype: tensor.dtype.into(), shape: tensor.shape.to_vec(), home: 0 };
        self.iter().map(|(name, tensor)| (name.clone(), entry(tensor))).collect()
    }

    fn beside(&self) -> &Beside {
        static NOTHING: Beside = Beside::NOTHING;
        &NOTHING
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
        self.entries()
    }

    fn beside(&self) -> &Beside {
        self.beside()
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        self.read(name)
    }
}

/// What was taken of a file, and what was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The path of keys to the tensors, with dots between; empty if they stand there by themselves.
    pub key: String,
    /// How many tensors were taken.
    pub tensors: usize,
    /// How many others there are, of an optimizer perhaps.
    pub others: usize,
    /// Some of the classes and functions that Python would run for objects beside the weights; none was run.
    pub not_run: Vec<String>,
}

/// Which tensors are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Those that another library may have: of any floating-point type, finite, and under the names of its wrappers.
    Foreign,
    /// Those that were written here: f32, of any value.
    Own,
}

/// The module with the tensors of `source`, of those under the path `key` where it is given.
pub(crate) fn load<B: Backend, M: Module<B>>(
    module: M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
    source: &impl Tensors,
    choice: (Accept, Option<&str>),
) -> Result<(M, Taken), WeightsError> {
    let expected = shapes(&module, names, buffers);
    let Compared { entries, mut reader, taken, others } = Compared::new(&expected, source, choice)?;
    let all_fit = reader.problems.is_empty();
    for (name, ours) in buffers {
        let entry = reader.names.get(*name).and_then(|name| entries.get(name));
        reader.check_buffer(name, ours, entry.map_or(0.0, |entry| entry.dtype.rounding()));
    }
    let mut loader = Loader { place: Place::new(names), reader, all_fit, backend: PhantomData };
    let module = module.map(&mut loader);
    Ok((module, loader.reader.finish(taken, others)?))
}

/// The tensors of these names and shapes, of those under the path `key` where it is given.
pub(crate) fn read(
    expected: &BTreeMap<String, Vec<usize>>,
    source: &impl Tensors,
    choice: (Accept, Option<&str>),
) -> Result<(StateDict, Taken), WeightsError> {
    let Compared { mut reader, taken, others, .. } = Compared::new(expected, source, choice)?;
    let mut dict = StateDict::default();
    for (name, shape) in expected {
        if let Some(values) = reader.read(name) {
            dict.insert(name, TensorData::new(values, shape.clone()));
        }
    }
    Ok((dict, reader.finish(taken, others)?))
}

/// A source's tensors that were compared with those that are expected, their values unread.
struct Compared<'a, S> {
    entries: BTreeMap<String, Entry>,
    reader: Reader<'a, S>,
    taken: Taken,
    /// The paths to others that could have been meant.
    others: Vec<(String, usize)>,
}

impl<'a, S: Tensors> Compared<'a, S> {
    fn new(
        expected: &BTreeMap<String, Vec<usize>>,
        source: &'a S,
        (accept, key): (Accept, Option<&str>),
    ) -> Result<Self, WeightsError> {
        let entries = source.entries();
        let fit = match accept {
            Accept::Foreign => choose(source, &entries, expected, key)?,
            Accept::Own => own(&entries, expected),
        };
        let problems = compare(&entries, expected, &fit, accept);
        let taken = Taken {
            key: fit.key,
            tensors: fit.names.len(),
            others: entries.len() - fit.names.len(),
            not_run: source.beside().objects.clone(),
        };
        let unfit = problems.iter().map(|problem| problem.name().to_string()).collect();
        let reader = Reader { source, accept, names: fit.names, unfit, problems, failure: None };
        Ok(Self { entries, reader, taken, others: fit.less })
    }
}

/// The tensors that are the module's.
fn choose(
    source: &impl Tensors,
    entries: &BTreeMap<String, Entry>,
    expected: &BTreeMap<String, Vec<usize>>,
    key: Option<&str>,
) -> Result<Fit, WeightsError> {
    let path = || source.path().map(Path::to_path_buf);
    let beside = source.beside();
    match (Names { entries, expected, beside }).choose(key) {
        // Nothing has a name of the module's: what is not read may well have been it.
        Ok(fit) if fit.matched == 0 && !beside.objects.is_empty() => {
            let found = Names { entries, expected, beside }.groups();
            Err(WeightsError::NoneFits { path: path(), found, objects: beside.objects.clone() })
        }
        Ok(fit) => Ok(fit),
        Err(Misfit::Several(fitting)) => Err(WeightsError::Several { path: path(), fitting }),
        Err(Misfit::NoKey(found)) => {
            Err(WeightsError::NoKey { path: path(), key: shown(key.unwrap_or_default()), found })
        }
    }
}

/// All tensors, under the names that they have.
fn own(entries: &BTreeMap<String, Entry>, expected: &BTreeMap<String, Vec<usize>>) -> Fit {
    let (names, extra) = entries
        .keys()
        .map(|name| (name.clone(), name.clone()))
        .partition(|(name, _): &(String, String)| expected.contains_key(name));
    Fit { names, extra, ..Fit::default() }
}

/// Names, shapes and types that do not fit.
fn compare(
    entries: &BTreeMap<String, Entry>,
    expected: &BTreeMap<String, Vec<usize>>,
    fit: &Fit,
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
    let has_shape = |entry: &Entry, shape: &[usize]| match accept {
        Accept::Foreign => entry.has_values_of(shape),
        Accept::Own => entry.shape == shape,
    };
    let mut problems = Vec::new();
    for (name, shape) in expected {
        let (name, shape) = (name.clone(), shape.clone());
        let found = fit.names.get(&name).and_then(|name| entries.get(name));
        match (found, fit.others.get(&name)) {
            (None, Some(found)) => {
                problems.push(TensorProblem::NotATensor { name, found: shown(found) });
            }
            (None, None) => problems.push(TensorProblem::Missing { name, shape }),
            (Some(Entry { dtype: found @ Dtype::Other(_), .. }), _) => {
                problems.push(TensorProblem::Dtype { name, found: found.clone(), expected: types });
            }
            (Some(entry), _) if !has_shape(entry, &shape) => {
                problems.push(TensorProblem::Shape { name, found: entry.shape.clone(), expected: shape });
            }
            (Some(Entry { dtype, .. }), _) if !is_accepted(dtype) => {
                problems.push(TensorProblem::Dtype { name, found: dtype.clone(), expected: types });
            }
            (Some(_), _) => {}
        }
    }
    for (source, name) in &fit.extra {
        let shape = entries.get(source).map(|entry| entry.shape.clone()).unwrap_or_default();
        problems.push(TensorProblem::Extra { name: shown(name), shape });
    }
    problems
}

/// Reads tensors that fit, and notes which of them do not, now or when they are read.
struct Reader<'a, S> {
    source: &'a S,
    accept: Accept,
    /// The source's names by the module's.
    names: BTreeMap<String, String>,
    /// Names that already do not fit.
    unfit: BTreeSet<String>,
    problems: Vec<TensorProblem>,
    /// The first time that the source could not be read; nothing is read after it.
    failure: Option<WeightsError>,
}

impl<S: Tensors> Reader<'_, S> {
    /// What was taken, if all of it could be read and fits.
    fn finish(self, taken: Taken, others: Vec<(String, usize)>) -> Result<Taken, WeightsError> {
        let path = || self.source.path().map(Path::to_path_buf);
        match self.failure {
            Some(error) => Err(error),
            None if self.problems.is_empty() => Ok(taken),
            None => {
                Err(WeightsError::Tensors { path: path(), key: taken.key, others, problems: self.problems })
            }
        }
    }

    /// The values of a tensor, if they are there and accepted.
    fn read(&mut self, name: &str) -> Option<Vec<f32>> {
        if self.failure.is_some() || self.unfit.contains(name) {
            return None;
        }
        let values = match self.source.read(self.names.get(name)?) {
            Ok(values) => values,
            Err(error) => {
                self.failure = Some(error);
                return None;
            }
        };
        let unfit = match self.accept {
            Accept::Foreign => first_not_finite(&values),
            Accept::Own => None,
        };
        match unfit {
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
            true => transpose(&values, [shape[1], shape[0]]),
            false => values,
        };
        let options = (&old.device(), old.dtype());
        let new = Tensor::from_data(TensorData::new(values, shape), options);
        Param::from_mapped_value(id, new.set_require_grad(old.is_require_grad()), mapper)
    }
}

//! From any source of named tensors into a network: everything is compared, and loaded only if all of it fits.

use super::element::Element;
use super::error::{StateDictError, TensorProblem, shown};
use super::names::Place;
use super::transpose;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::path::Path;

/// What a state dict says of a tensor before its numbers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub element: Element,
    pub shape: Vec<usize>,
}

/// Named tensors whose numbers are read one tensor at a time.
pub(super) trait Source {
    /// The file, if it is one.
    fn path(&self) -> Option<&Path>;

    /// All tensors, their numbers unread.
    fn entries(&self) -> BTreeMap<String, Entry>;

    /// The numbers of one of the [`entries`](Self::entries) that is of a floating-point type, in rows.
    fn read(&mut self, name: &str) -> Result<Vec<f32>, StateDictError>;
}

/// The network with the tensors of `source`.
pub(super) fn load<B: Backend, N: Module<B> + Network<B, D>, const D: usize>(
    network: N,
    source: &mut impl Source,
) -> Result<N, StateDictError> {
    let mut expected = Shapes { place: Place::default(), shapes: BTreeMap::new() };
    network.visit(&mut expected);
    let buffers = network.buffers();
    let mut expected = expected.shapes;
    expected.extend(buffers.iter().map(|(name, buffer)| ((*name).to_string(), buffer.shape.to_vec())));

    let entries = source.entries();
    let prefix = wrappers(&entries, &expected);
    let mut problems = compare(&entries, &expected, &prefix);
    let unfit = problems.iter().map(|problem| problem.name().to_string()).collect();
    let mut loader = Loader {
        place: Place::default(),
        reader: Reader { source, prefix, unfit, problems: Vec::new(), failure: None },
        all_fit: problems.is_empty(),
        backend: PhantomData,
    };
    for (name, ours) in buffers {
        let entry = entries.get(&format!("{}{name}", loader.reader.prefix));
        loader.reader.check_buffer(name, ours, entry.map_or(0.0, |entry| entry.element.rounding()));
    }
    let network = network.map(&mut loader);
    let Reader { problems: unread, failure, .. } = loader.reader;
    problems.extend(unread);
    match failure {
        Some(error) => Err(error),
        None if problems.is_empty() => Ok(network),
        None => Err(StateDictError::Tensors { path: source.path().map(Path::to_path_buf), problems }),
    }
}

/// `DataParallel` and `torch.compile` wrap a network in one more module, whose field's name then precedes every other.
///
/// Each is taken off as long as all of the file's names have it and not all of the network's.
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
) -> Vec<TensorProblem> {
    let mut problems = Vec::new();
    for (name, shape) in expected {
        let (name, shape) = (name.clone(), shape.clone());
        match entries.get(&format!("{prefix}{name}")) {
            None => problems.push(TensorProblem::Missing { name, shape }),
            Some(Entry { shape: found, .. }) if *found != shape => {
                problems.push(TensorProblem::Shape { name, found: found.clone(), expected: shape });
            }
            Some(Entry { element: element @ Element::Other(_), .. }) => {
                problems.push(TensorProblem::Dtype { name, found: element.name().to_string() });
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

/// The shapes of a network's parameters in the reference's layout.
struct Shapes {
    place: Place,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl<B: Backend> ModuleVisitor<B> for Shapes {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if self.place.is_transposed() {
            shape.reverse();
        }
        let twice = self.shapes.insert(self.place.name().to_string(), shape).is_some();
        assert!(
            !twice,
            "two parameters are called `{}` in the reference's words, expected one",
            self.place.name()
        );
    }
}

/// Reads tensors that fit, and notes which of them do not after all.
struct Reader<'a, S> {
    source: &'a mut S,
    prefix: String,
    /// Names that already do not fit.
    unfit: BTreeSet<String>,
    problems: Vec<TensorProblem>,
    /// The first time that the source could not be read; nothing is read after it.
    failure: Option<StateDictError>,
}

impl<S: Source> Reader<'_, S> {
    /// The numbers of a tensor, if they are there and finite.
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
        match values.iter().position(|value| !value.is_finite()) {
            None => Some(values),
            Some(index) => {
                let (name, value) = (name.to_string(), values[index]);
                self.problems.push(TensorProblem::NotFinite { name, value, index });
                None
            }
        }
    }

    /// Compares a tensor that the network computes with the one in the file, which may be off by `tolerance` of the
    /// largest number.
    fn check_buffer(&mut self, name: &str, ours: TensorData, tolerance: f32) {
        let Some(theirs) = self.read(name) else { return };
        let ours = ours.convert::<f32>();
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
    place: Place,
    reader: Reader<'a, S>,
    /// Whether loading can still succeed; if not, tensors are read only to hear what else is wrong.
    all_fit: bool,
    backend: PhantomData<B>,
}

impl<B: Backend, S: Source> ModuleMapper<B> for Loader<'_, B, S> {
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

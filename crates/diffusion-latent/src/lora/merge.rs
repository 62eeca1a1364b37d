//! Adding products to weights.

use crate::error::{LatentError, LoraProblem};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_weights::{NameTable, Place};
use std::collections::BTreeSet;

/// The values and shapes of the first matrix of a pair and of the second.
pub(super) type Matrices = [(Vec<f32>, [usize; 2]); 2];

/// Why a pair cannot be had.
#[derive(Debug)]
pub(super) enum Reading {
    /// It does not fit.
    Problem(LoraProblem),
    /// The file can no longer be read.
    Failure(LatentError),
}

/// Where pairs of matrices come from.
pub(super) trait Source {
    /// The key of the pair of a layer, if it has one.
    fn key(&self, layer: &str) -> Option<String>;

    /// The pair for a weight of `shape`, `[outputs, inputs, …]`: `[rank, product of the others]` and `[outputs, rank]`.
    fn read(&self, key: &str, shape: &[usize]) -> Result<Matrices, Reading>;
}

/// Adds the product of each pair of a source to the weight that it is of.
pub(super) struct Merge<'a, S> {
    place: Place<'a>,
    source: S,
    found: BTreeSet<String>,
    problems: Vec<LoraProblem>,
    failure: Option<LatentError>,
}

impl<'a, S: Source> Merge<'a, S> {
    pub(super) fn new(names: &'a NameTable, source: S) -> Self {
        let place = Place::new(names);
        Self { place, source, found: BTreeSet::new(), problems: Vec::new(), failure: None }
    }

    /// The keys that had a place, and what did not fit.
    pub(super) fn finish(self) -> Result<(BTreeSet<String>, Vec<LoraProblem>), LatentError> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok((self.found, self.problems)),
        }
    }

    /// The pair for a weight of this shape, if there is one that fits.
    fn pair(&mut self, shape: &[usize]) -> Option<Matrices> {
        if self.failure.is_some() {
            return None;
        }
        let key = self.source.key(layer(&self.place, shape.len())?)?;
        let pair = self.source.read(&key, shape);
        self.found.insert(key);
        match pair {
            Ok(pair) => return Some(pair),
            Err(Reading::Problem(problem)) => self.problems.push(problem),
            Err(Reading::Failure(error)) => self.failure = Some(error),
        }
        None
    }
}

/// The name of the layer whose weight is at `place`: a linear layer or a convolution, for which there is LoRA.
fn layer<'a>(place: &'a Place<'_>, rank: usize) -> Option<&'a str> {
    let layer = place.name().strip_suffix(".weight")?;
    (place.is_transposed() || rank == 4).then_some(layer)
}

/// The shape in PyTorch's layout.
fn shape_of<B: Backend, const D: usize>(param: &Param<Tensor<B, D>>, place: &Place<'_>) -> Vec<usize> {
    let mut shape = param.lazy_shape().to_vec();
    if place.is_transposed() {
        shape.reverse();
    }
    shape
}

/// The weight with the product of a pair added.
///
/// # Shapes
/// - `weight`, returns: `[inputs, outputs]` if it is transposed, else `[outputs, inputs, …]`
/// - `down`: `[rank, product of the inputs]`
/// - `up`: `[outputs, rank]`
pub(super) fn added<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
    down: Tensor<B, 2>,
    up: Tensor<B, 2>,
    is_transposed: bool,
) -> Tensor<B, D> {
    let product = match is_transposed {
        true => down.transpose().matmul(up.transpose()),
        false => up.matmul(down),
    };
    let shape: [usize; D] = weight.dims();
    weight + product.reshape(shape)
}

impl<B: Backend, S: Source> ModuleMapper<B> for Merge<'_, S> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(pair) = self.pair(&shape_of(&param, &self.place)) else { return param };
        let (id, old, mapper) = param.consume();
        let options = (&old.device(), old.dtype());
        let [down, up] =
            pair.map(|(values, shape)| Tensor::<B, 2>::from_data(TensorData::new(values, shape), options));
        let needs_gradient = old.is_require_grad();
        // What is added to is no part of a graph, and so is the sum.
        let new = added(old.set_require_grad(false), down, up, self.place.is_transposed());
        Param::from_mapped_value(id, new.set_require_grad(needs_gradient), mapper)
    }
}

/// Names and shapes, in PyTorch's layout, of the weights of all layers for which there is LoRA, in the module's order.
pub(super) fn layers<B: Backend, M: Module<B>>(module: &M, names: &NameTable) -> Vec<(String, Vec<usize>)> {
    struct Layers<'a>(Place<'a>, Vec<(String, Vec<usize>)>);

    impl<B: Backend> ModuleVisitor<B> for Layers<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.enter(name, container_type);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.0.leave();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(layer) = layer(&self.0, D) {
                self.1.push((layer.to_string(), shape_of(param, &self.0)));
            }
        }
    }

    let mut layers = Layers(Place::new(names), Vec::new());
    module.visit(&mut layers);
    layers.1
}

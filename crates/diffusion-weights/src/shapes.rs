//! The names and shapes of what a module has, in the layout of a state dict.

use crate::names::{NameTable, Place};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::BTreeMap;

/// The shapes of all floating-point parameters and of `buffers`, by their names in the state dict; no values are read.
///
/// # Panics
/// If two of them have the same name.
pub fn shapes<B: Backend, M: Module<B>>(
    module: &M,
    names: &NameTable,
    buffers: &[(&str, TensorData)],
) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = Shapes { place: Place::new(names), shapes: BTreeMap::new() };
    module.visit(&mut shapes);
    for (name, buffer) in buffers {
        shapes.add((*name).to_string(), buffer.shape.to_vec());
    }
    shapes.shapes
}

struct Shapes<'a> {
    place: Place<'a>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl Shapes<'_> {
    fn add(&mut self, name: String, shape: Vec<usize>) {
        let twice = self.shapes.insert(name.clone(), shape).is_some();
        assert!(!twice, "two parameters are called `{name}` in the state dict, expected one");
    }
}

impl<B: Backend> ModuleVisitor<B> for Shapes<'_> {
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
        self.add(self.place.name().to_string(), shape);
    }
}

//! Tensors by their names, in memory.

use crate::blocks::transpose;
use crate::names::Place;
use burn::module::Param;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::{BTreeMap, btree_map};

/// Tensors under another library's names and in its layout; in PyTorch's, a linear layer's weight is `[out, in]`, a
/// convolution's `[out, in, height, width]`.
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

/// The value of the parameter at `place`, in f32 and in the layout of the state dict.
pub(crate) fn value<B: Backend, const D: usize>(
    param: &Param<Tensor<B, D>>,
    place: &Place<'_>,
) -> TensorData {
    let data = param.val().into_data().convert::<f32>();
    if !place.is_transposed() {
        return data;
    }
    let (rows, columns) = (data.shape[0], data.shape[1]);
    let values = data.into_vec::<f32>().expect("it was converted to f32");
    TensorData::new(transpose(&values, [rows, columns]), [columns, rows])
}

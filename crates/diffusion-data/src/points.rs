//! Examples that the caller already holds in memory.

use crate::dataset::{Dataset, Label, check_index};
use crate::error::DataError;
use diffusion_core::Tokens;
use std::sync::Arc;

/// Examples in memory, unlabeled until [`labeled`](Points::labeled).
#[derive(Clone, Debug)]
pub struct Points<L = ()> {
    values: Vec<f32>,
    shape: Vec<usize>,
    labels: Vec<L>,
}

impl Points {
    /// The examples that lie one after the other in `values`, each in row-major order.
    ///
    /// # Shapes
    /// - `values`: `n` times the product of `shape`, in the units the model shall work in
    /// - `shape`: of one example
    ///
    /// # Panics
    /// If `shape` has an axis of length 0, `values` does not divide into whole examples, or a value is not finite.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        let size: usize = shape.iter().product();
        assert!(size > 0, "examples of shape {shape:?} hold no values, expected at least one");
        assert!(
            values.len().is_multiple_of(size),
            "{} values were given, expected a multiple of {size}, the size of an example of shape {shape:?}",
            values.len(),
        );
        if let Some(i) = values.iter().position(|x| !x.is_finite()) {
            panic!("example {} holds the value {}, expected finite numbers", i / size, values[i]);
        }
        let labels = vec![(); values.len() / size];
        Self { values, shape: shape.to_vec(), labels }
    }

    /// The same examples with one class for each.
    ///
    /// # Panics
    /// If there are not as many labels as examples.
    pub fn labeled(self, labels: Vec<usize>) -> Points<usize> {
        self.with(labels)
    }

    /// The same examples with one encoded text for each, `[1, tokens, width]`, which is the same shape for all.
    ///
    /// # Panics
    /// If there are not as many texts as examples.
    pub fn captioned(self, texts: Vec<Arc<Tokens>>) -> Points<Arc<Tokens>> {
        self.with(texts)
    }

    fn with<L>(self, labels: Vec<L>) -> Points<L> {
        let (found, expected) = (labels.len(), self.labels.len());
        assert!(found == expected, "{found} labels were given, expected {expected}, one for each example");
        Points { values: self.values, shape: self.shape, labels }
    }
}

impl<L: Label + Sync> Dataset for Points<L> {
    type Label = L;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<L, DataError> {
        check_index(index, self.len());
        let size: usize = self.shape.iter().product();
        into.copy_from_slice(&self.values[index * size..(index + 1) * size]);
        Ok(self.labels[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_labels_come_back() {
        let points = Points::new(vec![1., 2., 3., 4.], &[2]);
        let mut row = [0.0; 2];
        points.read(1, &mut row).unwrap();
        assert_eq!((row, points.len(), points.shape()), ([3., 4.], 2, &[2][..]));
        assert_eq!(points.labeled(vec![7, 9]).read(1, &mut row).unwrap(), 9);
    }

    #[test]
    #[should_panic(
        expected = "5 values were given, expected a multiple of 2, the size of an example of shape [2]"
    )]
    fn a_broken_example_panics() {
        Points::new(vec![0.0; 5], &[2]);
    }

    #[test]
    #[should_panic(expected = "examples of shape [2, 0] hold no values")]
    fn an_empty_shape_panics() {
        Points::new(vec![], &[2, 0]);
    }

    #[test]
    #[should_panic(expected = "example 1 holds the value inf, expected finite numbers")]
    fn an_infinite_value_panics() {
        Points::new(vec![0.0, 0.0, 0.0, f32::INFINITY], &[2]);
    }

    #[test]
    #[should_panic(expected = "1 labels were given, expected 2, one for each example")]
    fn a_missing_label_panics() {
        Points::new(vec![0.0; 4], &[2]).labeled(vec![1]);
    }
}

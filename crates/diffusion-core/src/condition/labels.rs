//! A class for each example.

use super::Condition;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

/// One class label per example, on the host, where a wrong one is found before it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub Vec<usize>);

impl Labels {
    /// The labels as a tensor.
    ///
    /// # Shapes
    /// - returns `[batch]`
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn tensor<B: Backend>(&self, classes: usize, device: &B::Device) -> Tensor<B, 1, Int> {
        for (i, &label) in self.0.iter().enumerate() {
            assert!(label < classes, "label {i} is {label}, expected one of 0..{classes}");
        }
        let labels: Vec<i32> = self.0.iter().map(|&label| label as i32).collect();
        Tensor::from_data(TensorData::new(labels, [self.0.len()]), device)
    }
}

impl Condition for Labels {
    fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.0.len(), batch, "labels and examples differ in number");
    }

    fn classes(&self) -> Option<&[usize]> {
        Some(&self.0)
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        Some(Self(rows.iter().map(|&row| self.0[row]).collect()))
    }
}

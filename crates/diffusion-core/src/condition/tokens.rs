//! A sequence of vectors for each example.

use super::Condition;
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// A sequence of vectors per example, e.g. the embedded words of a text, on the host.
///
/// Those of an example can be forgotten: then its values are zeros, and a network that has learned what stands for "no
/// tokens" puts that in their place.
/// ```
/// use diffusion_core::Tokens;
///
/// let tokens = Tokens::new(vec![1.0, 2.0, 3.0, 4.0], [2, 1, 2]).forget(|example| example == 0);
/// assert_eq!(tokens.forgotten(), [true, false]);
/// assert_eq!(tokens.values(), [0.0, 0.0, 3.0, 4.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    values: Vec<f32>,
    shape: [usize; 3],
    forgotten: Vec<bool>,
}

impl Tokens {
    /// The tokens with these values, in the order of `shape`, which is `[batch, tokens, width]`.
    ///
    /// # Panics
    /// If there are more or fewer values than the shape has.
    pub fn new(values: Vec<f32>, shape: [usize; 3]) -> Self {
        let expected = shape.iter().product::<usize>();
        assert_eq!(values.len(), expected, "values and shape {shape:?} of tokens differ in size");
        Self { values, shape, forgotten: vec![false; shape[0]] }
    }

    /// The tokens of `shape`, which is `[batch, tokens, width]`, all of them forgotten.
    pub fn none(shape: [usize; 3]) -> Self {
        Self { values: vec![0.0; shape.iter().product()], shape, forgotten: vec![true; shape[0]] }
    }

    /// These tokens without those of the examples that `which` names; it is asked once for each, in their order.
    pub fn forget(mut self, mut which: impl FnMut(usize) -> bool) -> Self {
        let size = self.shape[1] * self.shape[2];
        for (example, forgotten) in self.forgotten.iter_mut().enumerate() {
            if which(example) {
                *forgotten = true;
                self.values[example * size..][..size].fill(0.0);
            }
        }
        self
    }

    /// Whether the tokens of each example are forgotten.
    pub fn forgotten(&self) -> &[bool] {
        &self.forgotten
    }

    /// Their shape, `[batch, tokens, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Their values, in the order of the shape.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The tokens as a tensor, with zeros for those that are forgotten.
    ///
    /// # Shapes
    /// - returns `[batch, tokens, width]`
    pub fn tensor<B: Backend>(&self, device: &B::Device) -> Tensor<B, 3> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device)
    }
}

impl Condition for Tokens {
    /// # Panics
    /// If the examples of both differ in shape.
    fn join(mut self, other: Self) -> Self {
        assert_eq!(self.shape[1..], other.shape[1..], "the tokens of both conditions differ in shape");
        self.values.extend(other.values);
        self.forgotten.extend(other.forgotten);
        self.shape[0] += other.shape[0];
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.shape[0], batch, "tokens and examples differ in number");
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        let [_, tokens, width] = self.shape;
        let size = tokens * width;
        Some(Self {
            values: rows.iter().flat_map(|&row| &self.values[row * size..][..size]).copied().collect(),
            shape: [rows.len(), tokens, width],
            forgotten: rows.iter().map(|&row| self.forgotten[row]).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forgotten leaves nothing behind, and stays forgotten in the joined batch.
    #[test]
    fn tokens_are_forgotten_by_example() {
        let tokens = || Tokens::new((1..=6).map(|i| i as f32).collect(), [3, 1, 2]);
        let mut asked = Vec::new();
        let found = tokens().forget(|example| {
            asked.push(example);
            example == 1
        });
        assert_eq!(asked, [0, 1, 2]);
        assert_eq!(found.forgotten(), [false, true, false]);
        assert_eq!(found.values(), [1.0, 2.0, 0.0, 0.0, 5.0, 6.0]);
        let all = tokens().forget(|_| true);
        assert_eq!(all, Tokens::none([3, 1, 2]));
        assert_ne!(all, Tokens::new(vec![0.0; 6], [3, 1, 2]));
        assert_eq!(found.clone().forget(|example| example == 0).forgotten(), [true, true, false]);
        assert_eq!(found.join(all).forgotten(), [false, true, false, true, true, true]);
    }
}

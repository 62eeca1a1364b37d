//! What an objective learns from the losses of training.

use super::batch::Drawn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Numbers that an objective remembers from step to step, by their names; a checkpoint holds them. Empty where it learns
/// nothing.
///
/// ```
/// use diffusion_core::objective::Memory;
///
/// let new = Memory::default().with("mean", vec![0.0; 3]);
/// let stored = Memory::default().with("mean", vec![1.0, 2.0, 3.0]).with("other", vec![4.0]);
/// // What belongs to another objective is left behind.
/// assert_eq!(new.clone().restored(&stored).get("mean"), [1.0, 2.0, 3.0]);
/// assert_eq!(new.restored(&stored).get("other"), [0.0; 0]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memory(BTreeMap<String, Vec<f64>>);

impl Memory {
    /// This memory and `values` under `name`, in the place of what was there.
    pub fn with(mut self, name: &str, values: Vec<f64>) -> Self {
        self.0.insert(name.to_string(), values);
        self
    }

    /// Both memories.
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers under `name`; none if there are none.
    pub fn get(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The same, to change them.
    pub fn get_mut(&mut self, name: &str) -> &mut [f64] {
        self.0.get_mut(name).map_or(&mut [], Vec::as_mut_slice)
    }

    /// This memory with the numbers of `stored`, where that has as many under the same name.
    pub fn restored(mut self, stored: &Self) -> Self {
        for (name, values) in &mut self.0 {
            if let Some(found) = stored.0.get(name).filter(|found| found.len() == values.len()) {
                values.clone_from(found);
            }
        }
        self
    }
}

/// What an objective learns from: the levels of a step and their losses, in the order of their places.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The level of each example, as it was drawn.
    pub levels: &'a [Drawn],
    /// The loss of each example, as the objective weighs it at its noise level; not times [`Drawn::factor`].
    pub losses: &'a [f64],
    /// How parameters of the objective's own are trained: as those of the model are.
    pub optimizer: Adam,
}

/// A step of Adam (Kingma & Ba 2015, arXiv:1412.6980, Alg. 1) on the host, for the few parameters of an objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// The decay of the mean gradient.
    pub beta_1: f64,
    /// The decay of the mean squared gradient.
    pub beta_2: f64,
    /// ε in the denominator.
    pub epsilon: f64,
}

impl Adam {
    /// The number under which `name`'s updates are counted.
    fn names(name: &str) -> [String; 3] {
        ["first", "second", "updates"].map(|part| format!("{name}.{part}"))
    }

    /// The memory of `values` that are to be trained under `name`.
    pub fn memory(name: &str, values: Vec<f64>) -> Memory {
        let [first, second, updates] = Self::names(name);
        let zeros = vec![0.0; values.len()];
        let memory = Memory::default().with(name, values).with(&updates, vec![0.0]);
        memory.with(&first, zeros.clone()).with(&second, zeros)
    }

    /// Moves the values under `name` against their `gradient`.
    pub fn step(&self, memory: &mut Memory, name: &str, gradient: &[f64]) {
        let Self { lr, beta_1, beta_2, epsilon } = *self;
        let [first, second, updates] = Self::names(name);
        let mut toward = |moment: &str, beta: f64, power: i32| {
            for (mean, g) in memory.get_mut(moment).iter_mut().zip(gradient) {
                *mean = beta * *mean + (1.0 - beta) * g.powi(power);
            }
        };
        toward(&first, beta_1, 1);
        toward(&second, beta_2, 2);
        let mut time = 1.0;
        if let [updates] = memory.get_mut(&updates) {
            *updates += 1.0;
            time = *updates;
        }
        let corrected = |moment: &[f64], beta: f64| -> Vec<f64> {
            moment.iter().map(|m| m / (1.0 - beta.powf(time))).collect()
        };
        let means = corrected(memory.get(&first), beta_1);
        let squares = corrected(memory.get(&second), beta_2);
        for ((value, mean), square) in memory.get_mut(name).iter_mut().zip(means).zip(squares) {
            *value -= lr * mean / (square.sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first step is the learning rate long, whatever the gradient is, and a quadratic's minimum is found.
    #[test]
    fn adam_descends() {
        let adam = Adam { lr: 0.1, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
        let mut memory = Adam::memory("x", vec![3.0, -2.0]);
        adam.step(&mut memory, "x", &[10.0, -1e-3]);
        for (found, expected) in memory.get("x").iter().zip([2.9, -1.9]) {
            assert!((found - expected).abs() < 1e-5, "{found}");
        }
        for _ in 0..2_000 {
            let gradient: Vec<f64> = memory.get("x").iter().map(|x| x - 1.0).collect();
            adam.step(&mut memory, "x", &gradient);
        }
        assert!(memory.get("x").iter().all(|x| (x - 1.0).abs() < 1e-3), "{memory:?}");
    }

    #[test]
    fn what_has_another_size_starts_anew() {
        let new = Memory::default().with("a", vec![0.0; 2]).with("b", vec![0.0]);
        let stored = Memory::default().with("a", vec![1.0; 3]).with("b", vec![2.0]);
        let restored = new.restored(&stored);
        assert_eq!((restored.get("a"), restored.get("b")), (&[0.0, 0.0][..], &[2.0][..]));
    }
}

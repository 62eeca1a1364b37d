//! Whether a step's numbers are finite, how long its gradients are, and, where something is not finite, what.

use crate::moments::paths;
use crate::sum::sum;
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Why a step was skipped: the earliest number in its way from the data to the gradients that is not finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NonFinite {
    /// The data: this number of this example of the batch.
    #[error("the data are {value} in example {example} of the batch, at its number {position}")]
    Data {
        /// The example's place in the batch, from 0.
        example: usize,
        /// The number's place in the example, from 0, in row-major order.
        position: usize,
        /// NaN, inf or -inf.
        value: String,
    },
    /// The weights under these paths, in the order of the module.
    #[error("the weights of {} are not finite", list(.0))]
    Weights(Vec<String>),
    /// The loss, though data and weights are finite.
    #[error("the loss is {0}, though data and weights are finite")]
    Loss(String),
    /// The gradients of the parameters under these paths, though the loss is finite; or they are so large that their
    /// squares have no sum in f32.
    #[error("the gradients of {} are not finite, though the loss is", list(.0))]
    Gradients(Vec<String>),
}

impl NonFinite {
    /// The first value of `x0`, `[batch, …]`, that is not finite; its first example is the number `first` of the step.
    pub(crate) fn of_data(x0: &TensorData, first: usize) -> Option<Self> {
        let row: usize = x0.shape[1..].iter().product();
        let bad = |(_, value): &(usize, f32)| !value.is_finite();
        let (i, value) = match x0.as_slice::<f32>() {
            Ok(values) => values.iter().copied().enumerate().find(bad)?,
            Err(_) => x0.iter::<f32>().enumerate().find(bad)?,
        };
        Some(Self::Data { example: first + i / row, position: i % row, value: value.to_string() })
    }
}

/// The first few of `paths`.
pub(crate) fn list(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text: Vec<String> = paths.iter().take(SHOWN).map(|path| format!("`{path}`")).collect();
    if paths.len() > SHOWN {
        text.push(format!("{} more", paths.len() - SHOWN));
    }
    text.join(", ")
}

/// The loss of a step and the lengths of its gradients, read from the device at once.
pub(crate) struct Measured {
    pub loss: f64,
    /// The square of each gradient's norm.
    squares: Vec<(ParamId, f64)>,
}

impl Measured {
    /// Reads `loss`, `[1]`, and the gradients' norms.
    pub(crate) fn read<B, M>(loss: Tensor<B::InnerBackend, 1>, model: &M, gradients: &GradientsParams) -> Self
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        let mut squares = Squares::<B> { gradients, squares: Vec::new(), numbers: vec![loss] };
        model.visit(&mut squares);
        let Squares { squares, mut numbers, .. } = squares;
        let numbers = if numbers.len() == 1 { numbers.remove(0) } else { Tensor::cat(numbers, 0) };
        let data = numbers.into_data();
        let mut numbers = data.iter::<f64>();
        let mut next = || numbers.next().expect("as many numbers as were asked for");
        let loss = next();
        let squares = squares.into_iter().map(|(id, known)| (id, known.unwrap_or_else(&mut next)));
        Self { loss, squares: squares.collect() }
    }

    /// The norm of all gradients together.
    pub(crate) fn norm(&self) -> f64 {
        self.squares.iter().map(|(_, square)| square).sum::<f64>().sqrt()
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.squares.iter().all(|(_, square)| square.is_finite())
    }

    /// What is wrong with a step of `model` that is not finite though its data are.
    pub(crate) fn diagnose<B, M>(&self, model: &M) -> NonFinite
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        let weights = not_finite(&model.valid());
        if !weights.is_empty() {
            return NonFinite::Weights(weights);
        }
        if !self.loss.is_finite() {
            return NonFinite::Loss(self.loss.to_string());
        }
        let names: HashMap<ParamId, String> = paths::<B, M>(model).into_iter().collect();
        let bad = self.squares.iter().filter(|(_, square)| !square.is_finite());
        NonFinite::Gradients(bad.filter_map(|(id, _)| names.get(id).cloned()).collect())
    }
}

/// The paths of the parameters of `module` that hold a number which is not finite. Reads them all from the device.
pub(crate) fn not_finite<B: Backend, M: Module<B>>(module: &M) -> Vec<String> {
    let mut bad = Bad(Vec::new());
    module.visit(&mut bad);
    paths(module).into_iter().filter(|(id, _)| bad.0.contains(id)).map(|(_, path)| path).collect()
}

struct Bad(Vec<ParamId>);

impl<B: Backend> ModuleVisitor<B> for Bad {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if param.val().into_data().iter::<f32>().any(|value| !value.is_finite()) {
            self.0.push(param.id);
        }
    }
}

struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    /// The square of each gradient's norm, where it is known at once.
    squares: Vec<(ParamId, Option<f64>)>,
    /// The loss, then the other squares, on the device.
    numbers: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let known = match diffusion_kernels::sum_of_squares(gradient) {
                Ok(square) => Some(f64::from(square)),
                Err(gradient) => {
                    self.numbers.push(sum(gradient.clone() * gradient));
                    None
                }
            };
            self.squares.push((param.id, known));
        }
    }
}

/// Multiplies all gradients of `model` by `factor`.
pub(crate) fn scale<B, M>(model: &M, gradients: &mut GradientsParams, factor: f64)
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
{
    model.visit(&mut Scale { gradients, factor });
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

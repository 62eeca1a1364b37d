//! An oracle: the exact denoiser of data in two classes, each normally distributed, with and without the class.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::{
    AnyPrediction, Condition, Denoiser, DenoiserOutput, Network, Parameterization, Path, Tracer,
};
use std::cell::RefCell;

/// The standard deviation within a class.
const STD: f64 = 0.6;
/// The means of the two classes, which are equally frequent.
pub const MEANS: [[f64; 3]; 2] = [[1.0, -0.5, 0.3], [-0.7, 0.8, 0.1]];

/// What is known of an example.
#[derive(Clone, Copy, Debug)]
pub enum Class {
    /// That it is of one of the two classes.
    Any,
    /// The mean of its class.
    One([f64; 3]),
    /// The example itself.
    Exactly([f64; 3]),
}

impl Class {
    /// The estimate of x₀ given `x` at noise level `sigma`, in f64.
    fn denoised(self, path: &impl Path, x: [f64; 3], sigma: f64) -> [f64; 3] {
        let alpha = path.alpha(sigma);
        let variance = (alpha * STD).powi(2) + sigma * sigma;
        let of = |mean: [f64; 3]| {
            let weight = alpha * STD * STD / variance;
            let estimate: [f64; 3] =
                std::array::from_fn(|axis| mean[axis] + weight * (x[axis] - alpha * mean[axis]));
            estimate
        };
        match self {
            Self::Exactly(x0) => x0,
            Self::One(mean) => of(mean),
            Self::Any => {
                let [first, second] = MEANS.map(|mean| {
                    let square: f64 = (0..3).map(|axis| (x[axis] - alpha * mean[axis]).powi(2)).sum();
                    -0.5 * square / variance
                });
                let share = 1.0 / (1.0 + (second - first).exp());
                let [first, second] = MEANS.map(of);
                std::array::from_fn(|axis| share * first[axis] + (1.0 - share) * second[axis])
            }
        }
    }
}

/// The denoiser that knows the class of each example, or does not, and notes where it is asked.
pub struct Classes<P> {
    known: Vec<Class>,
    path: P,
    asked: RefCell<Vec<f64>>,
}

impl<P: Path + Default> Classes<P> {
    pub fn new(known: Vec<Class>) -> Self {
        Self { known, path: P::default(), asked: RefCell::default() }
    }

    /// The estimate of the example `i` given `x`, in f64.
    pub fn denoised(&self, i: usize, x: [f64; 3], sigma: f64) -> [f64; 3] {
        self.known[i].denoised(&self.path, x, sigma)
    }

    /// The noise levels at which it was asked so far.
    pub fn asked(&self) -> Vec<f64> {
        self.asked.borrow().clone()
    }
}

impl<B: Backend, P: Path + Default> Denoiser<B, 2> for Classes<P> {
    type Path = P;

    fn path(&self) -> P {
        self.path.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 3]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        self.asked.borrow_mut().push(sigma);
        let found = rows(x.clone()).into_iter().enumerate().map(|(i, x)| self.denoised(i, x, sigma));
        let denoised = tensor(&found.collect::<Vec<_>>(), &x.device());
        DenoiserOutput::from_denoised(&self.path, x, denoised, sigma)
    }
}

/// What is known of each example of a batch, as the condition of a network.
#[derive(Clone, Debug)]
pub struct Known(pub Vec<Class>);

impl Condition for Known {
    fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.0.len(), batch, "classes and examples differ in number");
    }
}

/// A network that outputs what follows from the oracle's estimate in a mode of prediction, and notes the size of each batch.
pub struct Told {
    mode: AnyPrediction,
    pub batches: RefCell<Vec<usize>>,
}

impl Told {
    pub fn new(mode: AnyPrediction) -> Self {
        Self { mode, batches: RefCell::default() }
    }
}

impl<B: Backend> Network<B, 2> for Told {
    type Condition = Known;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 3]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        Known(known): Known,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        self.batches.borrow_mut().push(known.len());
        let sigma = f64::from(sigma.to_data().convert::<f32>().iter::<f32>().next().unwrap());
        let (path, target, device) = (self.mode.path(), self.mode.target(sigma), x.device());
        let output = rows(x / self.mode.c_in(sigma)).into_iter().zip(known).map(|(x, class)| {
            let denoised = class.denoised(&path, x, sigma);
            std::array::from_fn(|axis| {
                let noise = (x[axis] - path.alpha(sigma) * denoised[axis]) / sigma;
                target.x0 * denoised[axis] + target.eps * noise
            })
        });
        tracer.layer(&"network", tensor(&output.collect::<Vec<_>>(), &device))
    }
}

/// The rows of a tensor.
///
/// # Shapes
/// - `x`: `[batch, 3]`
pub fn rows<B: Backend>(x: Tensor<B, 2>) -> Vec<[f64; 3]> {
    let values: Vec<f64> = x.into_data().iter::<f64>().collect();
    values.chunks_exact(3).map(|row| [row[0], row[1], row[2]]).collect()
}

/// The tensor of these rows.
pub fn tensor<B: Backend>(rows: &[[f64; 3]], device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), 3]).convert::<f32>(), device)
}

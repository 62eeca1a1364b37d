//! The best possible denoiser of a finite data set, in closed form.

use super::Network;
use crate::denoiser::{Denoiser, DenoiserOutput};
use crate::path::VarianceExploding;
use crate::trace::Tracer;
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// The mean of a data set's posterior, D(x, σ) = Σ softmaxᵢ(−‖x − dᵢ‖²/2σ²)·dᵢ (Karras et al. 2022,
/// arXiv:2206.00364, eq. 57): what a perfectly trained network would compute.
///
/// It has no parameters. Sampled from, it returns the data; its loss is a floor for every trained model's. As a
/// [`Network`] it predicts ε, like smalldiffusion's, so pair it with [`EpsPrediction`](crate::EpsPrediction); as a
/// [`Denoiser`] it can be sampled from as it is.
///
/// Data and queries are visited in blocks with a running maximum, so that memory besides the data on the
/// device stays below 100 MB for any size of either, and nothing overflows for small σ.
#[derive(Module, Debug)]
pub struct IdealDenoiser<B: Backend, const D: usize> {
    /// The mean example, `[1, size]`, taken from all others: distances far from the origin would cancel.
    center: Tensor<B, 2>,
    /// Blocks of flattened, centered examples, `[rows, size]` each.
    blocks: Vec<Tensor<B, 2>>,
    /// ‖dᵢ‖² of the rows of each block, `[1, rows]`.
    norms: Vec<Tensor<B, 2>>,
    shape: [usize; D],
}

/// The largest number of f32 values in a block of data: 16 MiB.
const BLOCK_VALUES: usize = 1 << 22;
/// The largest number of rows in a block of data.
const BLOCK_ROWS: usize = 8192;
/// The largest number of queries that are compared with a block at once.
const QUERIES: usize = 256;

impl<B: Backend, const D: usize> IdealDenoiser<B, D> {
    /// The ideal denoiser of the examples in `data`.
    ///
    /// # Shapes
    /// - `data`: `[examples, …]`, f32 on the host
    ///
    /// # Panics
    /// If `data` has no example, is not of rank `D` or does not hold f32.
    pub fn new(data: &TensorData, device: &B::Device) -> Self {
        let shape: [usize; D] = data.shape.dims();
        let values = data.as_slice::<f32>().expect("the ideal denoiser's data are f32");
        let (examples, size) = (shape[0], shape[1..].iter().product::<usize>());
        assert!(examples > 0 && size > 0, "data of shape {shape:?} was given, expected at least one value");
        let mut sums = vec![0.0; size];
        for (i, &value) in values.iter().enumerate() {
            sums[i % size] += f64::from(value);
        }
        let center: Vec<f32> = sums.iter().map(|sum| (sum / examples as f64) as f32).collect();
        let center = Tensor::from_data(TensorData::new(center, [1, size]), device);
        let rows = (BLOCK_VALUES / size).clamp(1, BLOCK_ROWS);
        let blocks: Vec<Tensor<B, 2>> = values
            .chunks(rows * size)
            .map(|block| -> Tensor<B, 2> {
                let block = TensorData::new(block.to_vec(), [block.len() / size, size]);
                Tensor::from_data(block, device) - center.clone()
            })
            .collect();
        let norms = blocks.iter().map(|block| block.clone().square().sum_dim(1).transpose()).collect();
        Self { center, blocks, norms, shape }
    }

    /// The posterior mean D(x, σ).
    ///
    /// # Shapes
    /// - `x`, returns: `[batch, …]`
    /// - `sigma`: `[batch]`, positive
    ///
    /// # Panics
    /// If an example of `x` has another shape than one of the data.
    pub fn denoise(&self, x: Tensor<B, D>, sigma: Tensor<B, 1>) -> Tensor<B, D> {
        let dims = x.dims();
        assert_eq!(dims[1..], self.shape[1..], "input and data differ in shape");
        let batch = dims[0];
        let x = x.reshape([batch as i32, -1]) - self.center.clone(); // [batch, size]
        let precision = (sigma.ones_like() / (sigma.square() * 2.0)).unsqueeze_dim::<2>(1); // [batch, 1], 1/2σ²
        let parts = (0..batch).step_by(QUERIES).map(|start| {
            let rows = QUERIES.min(batch - start);
            self.posterior_mean(x.clone().narrow(0, start, rows), precision.clone().narrow(0, start, rows))
        });
        (Tensor::cat(parts.collect(), 0) + self.center.clone()).reshape(dims)
    }

    /// The softmax-weighted mean over all blocks, rescaled whenever a block raises the maximum.
    ///
    /// ‖x‖² is left out of the logits, being the same for all examples.
    fn posterior_mean(&self, x: Tensor<B, 2>, precision: Tensor<B, 2>) -> Tensor<B, 2> {
        let logits = |block: &Tensor<B, 2>, norms: &Tensor<B, 2>| {
            (x.clone().matmul(block.clone().transpose()) * 2.0 - norms.clone()) * precision.clone()
        };
        if let ([block], [norms]) = (&self.blocks[..], &self.norms[..]) {
            return softmax(logits(block, norms), 1).matmul(block.clone());
        }
        let mut state: Option<(Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 2>)> = None;
        for (block, norms) in self.blocks.iter().zip(&self.norms) {
            let logits = logits(block, norms); // [queries, rows]
            let highest = logits.clone().max_dim(1);
            let highest = match &state {
                Some((before, ..)) => before.clone().max_pair(highest),
                None => highest,
            };
            let weights = (logits - highest.clone()).exp();
            let (total, sum) = (weights.clone().sum_dim(1), weights.matmul(block.clone()));
            state = Some(match state {
                Some((before, total_before, sum_before)) => {
                    let fade = (before - highest.clone()).exp(); // [queries, 1]
                    (highest, total_before * fade.clone() + total, sum_before * fade + sum)
                }
                None => (highest, total, sum),
            });
        }
        let (_, total, sum) = state.expect("there is at least one block");
        sum / total
    }
}

impl<B: Backend, const D: usize> Network<B, D> for IdealDenoiser<B, D> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; D] {
        let mut shape = self.shape;
        shape[0] = batch;
        shape
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, D> {
        let mut per_example = [1; D];
        per_example[0] = x.dims()[0];
        let denoised = self.denoise(x.clone(), sigma.clone());
        tracer.layer(&"network", (x - denoised) / sigma.reshape(per_example))
    }
}

impl<B: Backend, const D: usize> Denoiser<B, D> for IdealDenoiser<B, D> {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        Network::input_shape(self, batch)
    }

    fn evaluate(&self, x: Tensor<B, D>, sigma: f64) -> DenoiserOutput<B, D> {
        let levels = Tensor::full([x.dims()[0]], sigma, &x.device());
        let denoised = self.denoise(x.clone(), levels);
        DenoiserOutput::from_denoised(&VarianceExploding, x, denoised, sigma)
    }
}

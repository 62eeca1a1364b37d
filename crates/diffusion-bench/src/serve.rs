//! How work is handed to whoever measures it.

use crate::error::BenchError;
use burn::tensor::backend::Backend;

/// Does so many steps and tells the seconds that they took, all together.
pub type Steps<'a> = dyn FnMut(u64) -> Result<f64, BenchError> + 'a;

/// Is given the number of weights that are trained and the means to do steps, and returns when no more are wanted.
pub type Serve<'a> = dyn FnMut(usize, &mut Steps<'_>) -> Result<(), BenchError> + 'a;

/// Waits until everything that was asked for is computed.
pub fn finish<B: Backend>(device: &B::Device) -> Result<(), BenchError> {
    B::sync(device).map_err(|error| BenchError::Device(format!("{error:?}")))
}

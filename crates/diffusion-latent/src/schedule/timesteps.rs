//! From noise levels to the timesteps that a network was trained with.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::invalid::Invalid;
use std::sync::Arc;

/// The timesteps of noise levels: the index of each level of a table, and between two of them linear in ln σ.
///
/// A level's timestep is its index to the last bit where division is exact; between levels f32 keeps about 1e-4 of a
/// timestep. Noise levels beyond the table have its first or its last timestep.
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::Tensor;
/// use diffusion_core::schedule::{Ldm, Schedule};
/// use diffusion_latent::schedule::Timesteps;
///
/// let levels = Ldm::default();
/// let timesteps = Timesteps::new(levels.levels())?;
/// let sigma = Tensor::<Flex, 1>::full([1], levels.levels()[437], &Default::default());
/// assert_eq!(timesteps.of(sigma).into_scalar(), 437.0);
/// # Ok::<(), diffusion_core::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Timesteps {
    levels: Arc<[f32]>,
}

impl Timesteps {
    /// The timesteps of `levels`, which increase.
    ///
    /// # Errors
    /// If there are fewer than two, or one is not positive, or their logarithms do not increase in f32.
    pub fn new(levels: &[f64]) -> Result<Self, Invalid> {
        Invalid::unless(levels.len() >= 2, "levels", || {
            format!("are {}, expected at least 2", levels.len())
        })?;
        let levels: Arc<[f32]> = levels.iter().map(|&level| level as f32).collect();
        let is_apart = |pair: &[f32]| pair[0] > 0.0 && pair[1].is_finite() && pair[0].ln() < pair[1].ln();
        let near = levels.windows(2).position(|pair| !is_apart(pair));
        match near {
            None => Ok(Self { levels }),
            Some(i) => Err(Invalid::new(
                "levels",
                format!(
                    "{i} and {} are {:?} and {:?}, expected positive numbers that increase in f32",
                    i + 1,
                    levels[i],
                    levels[i + 1]
                ),
            )),
        }
    }

    /// The timesteps of noise levels, each for itself; a few operations on a table of `batch` rows.
    ///
    /// # Shapes
    /// - `sigma`, returns: `[batch]`
    pub fn of<B: Backend>(&self, sigma: Tensor<B, 1>) -> Tensor<B, 1> {
        let n = self.levels.len();
        let levels = TensorData::new(self.levels.to_vec(), [1, n]);
        // By the logarithm that σ gets, so that a level is found where it stands.
        let logs = Tensor::<B, 2>::from_data(levels, &sigma.device()).log(); // [1, n]
        let (low, high) = (logs.clone().narrow(1, 0, n - 1), logs.narrow(1, 1, n - 1));
        let place = (sigma.log().unsqueeze_dim::<2>(1) - low.clone()) / (high - low); // [batch, n − 1]
        place.clamp(0.0, 1.0).sum_dim(1).squeeze_dim(1)
    }
}

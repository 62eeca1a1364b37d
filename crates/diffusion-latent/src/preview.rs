//! A glance at latents, without their decoder.

use crate::autoencoder::Autoencoder;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::Noise;

/// Pictures of a pixel for each latent: the linear function of a latent's values that comes closest to its decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// For each color the factor of each channel, and what is added.
    colors: Vec<Vec<f64>>,
}

/// Height and width of the latents from which a [`Preview`] is found.
const SIDE: usize = 16;

/// How many of them.
const COUNT: usize = 4;

/// Latents that are neighbors and alike, along each axis.
const BLOCK: usize = 4;

/// What is added to the squares, against latents that do not vary.
const RIDGE: f64 = 1e-3;

impl Preview {
    /// Finds the function from what the decoder makes of a few random latents, by least squares.
    pub fn of<B: Backend>(autoencoder: &Autoencoder<B>, device: &B::Device) -> Self {
        let (channels, factor) = (autoencoder.config.latent_channels, autoencoder.config.factor());
        let side = SIDE / BLOCK;
        let coarse: Tensor<B, 4> = Noise::new(0).initial([COUNT, channels, side, side], device);
        let latents = crate::layer::nearest_to(coarse, [SIDE, SIDE]);
        let pictures = autoencoder.decode(latents.clone());
        let colors = pictures.dims()[1];
        // The mean of the pixels of each latent.
        let means = pictures
            .reshape([COUNT * colors * SIDE, factor, SIDE * factor])
            .mean_dim(1)
            .reshape([COUNT * colors * SIDE * SIDE, factor])
            .mean_dim(1);
        let means: Vec<f64> = means.into_data().iter::<f64>().collect();
        let latents: Vec<f64> = latents.into_data().iter::<f64>().collect();
        let pixels = SIDE * SIDE;
        let row = |at: usize| -> Vec<f64> {
            let (example, pixel) = (at / pixels, at % pixels);
            let channel = |c: usize| latents[(example * channels + c) * pixels + pixel];
            (0..channels).map(channel).chain([1.0]).collect()
        };
        let rows: Vec<Vec<f64>> = (0..COUNT * pixels).map(row).collect();
        let color = |color: usize| {
            let target = |at: usize| means[(at / pixels * colors + color) * pixels + at % pixels];
            least_squares(&rows, target)
        };
        Self { colors: (0..colors).map(color).collect() }
    }

    /// The pictures of latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, channels, height, width]`
    /// - returns `[batch, colors, height, width]`, mostly in [−1, 1]
    pub fn pictures<B: Backend>(&self, latents: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, channels, height, width] = latents.dims();
        let colors = self.colors.len();
        let device = latents.device();
        let part = |range: std::ops::Range<usize>| -> Vec<f32> {
            self.colors.iter().flat_map(|color| &color[range.clone()]).map(|&x| x as f32).collect()
        };
        let factors = TensorData::new(part(0..channels), [1, colors, channels]);
        let added = TensorData::new(part(channels..channels + 1), [1, colors, 1]);
        let factors = Tensor::<B, 3>::from_data(factors, &device).expand([batch, colors, channels]);
        let pixels = factors.matmul(latents.flatten::<3>(2, 3));
        (pixels + Tensor::from_data(added, &device)).reshape([batch, colors, height, width])
    }
}

/// The factors with which the sum of each row is closest to its target.
fn least_squares(rows: &[Vec<f64>], target: impl Fn(usize) -> f64) -> Vec<f64> {
    let n = rows[0].len();
    // The normal equations, with their right side as a last column.
    let mut equations = vec![vec![0.0; n + 1]; n];
    for (at, row) in rows.iter().enumerate() {
        for (equation, x) in equations.iter_mut().zip(row) {
            for (sum, y) in equation.iter_mut().zip(row.iter().copied().chain([target(at)])) {
                *sum += x * y;
            }
        }
    }
    for (i, equation) in equations.iter_mut().enumerate() {
        equation[i] += RIDGE;
    }
    // Positive definite, so that no pivot is zero.
    for i in 0..n {
        let pivot = equations[i].clone();
        for (j, equation) in equations.iter_mut().enumerate() {
            if j != i {
                let factor = equation[i] / pivot[i];
                equation.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
            }
        }
    }
    (0..n).map(|i| equations[i][n] / equations[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoencoder::AutoencoderConfig;
    use burn::backend::Flex;

    #[test]
    fn linear_functions_are_found() {
        let rows: Vec<Vec<f64>> =
            (0..50).map(|i| vec![f64::from(i).sin(), f64::from(i).cos(), 1.0]).collect();
        let found = least_squares(&rows, |at| 2.0 * rows[at][0] - 0.5 * rows[at][1] + 0.25);
        let largest = found.iter().zip([2.0, -0.5, 0.25]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 1e-3, "{found:?}");
    }

    /// Closer to the means of the decoder's pixels than their mean color is.
    #[test]
    fn previews_are_like_small_pictures() {
        let device = Default::default();
        let config = AutoencoderConfig { block_out_channels: vec![32, 32], ..Default::default() };
        let autoencoder = config.init::<Flex>(1, &device);
        let preview = Preview::of(&autoencoder, &device);
        let coarse: Tensor<Flex, 4> = Noise::new(5).initial([2, 4, 4, 4], &device);
        let latents = crate::layer::nearest_to(coarse, [16, 16]);
        let small = autoencoder.decode(latents.clone()).reshape([2 * 3 * 16, 2, 32]).mean_dim(1);
        let small = small.reshape([2 * 3 * 256, 2]).mean_dim(1).reshape([2, 3, 16, 16]);
        let error = |found: Tensor<Flex, 4>| (found - small.clone()).square().mean().into_scalar();
        let plain = error(small.clone().mean_dim(3).mean_dim(2).mean_dim(0).expand([2, 3, 16, 16]));
        let found = error(preview.pictures(latents));
        // A decoder of drawn weights is far from linear.
        assert!(found < 0.85 * plain, "{found} against {plain}");
    }
}

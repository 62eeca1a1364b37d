//! Images of the size and the channels that a network sees: each pixel of the result is a sum of pixels along one axis, then along the other.
//!
//! As PyTorch's `interpolate` with `align_corners=False`. Which pixels are added, and by which weights, follows from the
//! sizes alone, so that it is computed on the host and the rest is two products of matrices.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Square images of `side` pixels. `weights` gives those of the old pixels for the new ones along one axis, for the numbers of
/// old and new pixels: `[new, old]`, row by row.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - returns `[batch, channels, side, side]`
pub(super) fn resize<B: Backend>(
    x: Tensor<B, 4>,
    side: usize,
    weights: &dyn Fn(usize, usize) -> Vec<f32>,
) -> Tensor<B, 4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == [side, side] {
        return x;
    }
    let columns = along_last(x, side, weights);
    along_last(columns.swap_dims(2, 3), side, weights).swap_dims(2, 3)
}

/// The last axis of another size.
fn along_last<B: Backend>(
    x: Tensor<B, 4>,
    new: usize,
    weights: &dyn Fn(usize, usize) -> Vec<f32>,
) -> Tensor<B, 4> {
    let [batch, channels, rows, old] = x.dims();
    let matrix = TensorData::new(weights(old, new), [new, old]);
    let matrix = Tensor::<B, 2>::from_data(matrix, &x.device()).transpose();
    x.reshape([batch * channels * rows, old]).matmul(matrix).reshape([batch, channels, rows, new])
}

/// Images of three channels, all the same where there was one.
///
/// # Panics
/// If there are neither one nor three.
pub(super) fn three_channels<B: Backend>(images: Tensor<B, 4>) -> Tensor<B, 4> {
    match images.dims()[1] {
        1 => images.repeat_dim(1, 3),
        3 => images,
        channels => panic!("images of {channels} channels, expected 1 or 3"),
    }
}

/// Between the two nearest pixels; those at the border are repeated beyond it, and nothing is smoothed where images become
/// smaller. Computed in f32, as PyTorch computes it.
pub(super) fn bilinear(old: usize, new: usize) -> Vec<f32> {
    let scale = old as f32 / new as f32;
    let mut weights = vec![0.0; new * old];
    for (i, row) in weights.chunks_exact_mut(old).enumerate() {
        let place = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (place as usize).min(old - 1);
        let share = (place - first as f32).clamp(0.0, 1.0);
        row[first] += 1.0 - share;
        row[(first + 1).min(old - 1)] += share;
    }
    weights
}

/// By cubic polynomials of the four nearest pixels (Keys 1981, with a = −0.75); those at the border are repeated beyond it,
/// and nothing is smoothed. `scale` is the distance of two new pixels in old ones.
pub(super) fn bicubic(old: usize, new: usize, scale: f64) -> Vec<f32> {
    let mut weights = vec![0.0; new * old];
    for (i, row) in weights.chunks_exact_mut(old).enumerate() {
        let place = scale * (i as f64 + 0.5) - 0.5;
        let first = place.floor();
        for pixel in -1..=2 {
            let at = first + f64::from(pixel);
            row[at.clamp(0.0, (old - 1) as f64) as usize] += cubic(place - at, -0.75) as f32;
        }
    }
    weights
}

/// By cubic polynomials of the nearest pixels (Keys 1981, with a = −0.5), of more of them where images become smaller, and of
/// those only that there are: as Pillow does it, and PyTorch with `antialias=True`.
pub(super) fn bicubic_antialiased(old: usize, new: usize) -> Vec<f32> {
    let scale = old as f64 / new as f64;
    let stretch = scale.max(1.0);
    let mut weights = vec![0.0; new * old];
    for (i, row) in weights.chunks_exact_mut(old).enumerate() {
        let center = scale * (i as f64 + 0.5);
        let first = (center - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((center + 2.0 * stretch + 0.5) as usize).min(old);
        let weight = |pixel: usize| cubic((pixel as f64 - center + 0.5) / stretch, -0.5);
        let sum: f64 = (first..end).map(weight).sum();
        (first..end).for_each(|pixel| row[pixel] = (weight(pixel) / sum) as f32);
    }
    weights
}

/// The weight of a pixel at this distance.
fn cubic(distance: f64, a: f64) -> f64 {
    match distance.abs() {
        x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    const SIZES: [(usize, usize); 4] = [(28, 299), (37, 16), (512, 224), (1, 5)];

    #[test]
    fn one_color_stays() {
        for (old, new) in SIZES {
            let scale = old as f64 / new as f64;
            for weights in [bilinear(old, new), bicubic(old, new, scale), bicubic_antialiased(old, new)] {
                assert_eq!(weights.len(), new * old);
                for row in weights.chunks_exact(old) {
                    let sum: f32 = row.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{old} to {new}: {sum}");
                }
            }
        }
    }

    #[test]
    fn two_pixels_become_four() {
        assert_eq!(bilinear(2, 4), [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
    }

    #[test]
    fn rows_and_columns_are_not_confused() {
        let x = Tensor::<Flex, 4>::from_floats([[[[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]]], &Default::default());
        let found = resize(x, 4, &bilinear).into_data();
        found.assert_eq(&TensorData::new([0.0f32, 0.25, 0.75, 1.0].repeat(4), [1, 1, 4, 4]), false);
    }
}

//! Where a token is.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Sines and cosines of a token's column, then of its row. On another grid than the one of the training, `native` patches
/// along each axis, positions are stretched to that.
///
/// # Shapes
/// - returns `[1, rows · columns, dim]`
pub(super) fn embedding<B: Backend>(
    [rows, columns]: [usize; 2],
    native: usize,
    dim: usize,
    device: &B::Device,
) -> Tensor<B, 3> {
    let half = dim / 2;
    let axis = |count: usize| Tensor::<B, 2>::from_data(along(count, native, half), device);
    let of_columns = axis(columns).unsqueeze_dim::<3>(0).expand([rows, columns, half]);
    let of_rows = axis(rows).unsqueeze_dim::<3>(1).expand([rows, columns, half]);
    Tensor::cat(vec![of_columns, of_rows], 2).reshape([1, rows * columns, dim])
}

/// # Shapes
/// - returns `[count, size]`, in each row first the sines
fn along(count: usize, native: usize, size: usize) -> TensorData {
    let quarter = size / 2;
    let frequency = |i: usize| 10_000f64.powf(-(i as f64) / quarter as f64);
    let angles = |position: usize| {
        let position = (position * native) as f64 / count as f64;
        (0..quarter).map(move |i| position * frequency(i))
    };
    let values: Vec<f32> = (0..count)
        .flat_map(|position| angles(position).map(f64::sin).chain(angles(position).map(f64::cos)))
        .map(|value| value as f32)
        .collect();
    TensorData::new(values, [count, size])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use diffusion_core::layer::position_embedding;

    #[test]
    fn on_the_native_grid_it_is_that_of_other_transformers() {
        let device = Default::default();
        let found = embedding::<Flex>([5, 5], 5, 24, &device).into_data();
        assert_eq!(found, position_embedding::<Flex>(5, 24, &device).into_data());
    }

    #[test]
    fn another_grid_is_stretched_to_the_native_one() {
        let device = Default::default();
        let wide = embedding::<Flex>([2, 8], 4, 8, &device);
        let native = embedding::<Flex>([4, 4], 4, 8, &device);
        // Row 1 of 2 is row 2 of 4; column 6 of 8 is column 3 of 4.
        let [found, expected] =
            [(wide, 8 + 6), (native, 2 * 4 + 3)].map(|(x, i)| x.narrow(1, i, 1).into_data());
        assert_eq!(found, expected);
    }
}

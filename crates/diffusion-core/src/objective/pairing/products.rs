//! The scalar products of examples and noise.

/// The scalar products of each example of a batch with each draw of noise: by them the nearest are known, since
/// ‖x − ε‖² = ‖x‖² + ‖ε‖² − 2·x·ε and the norms are the same for all pairings.
#[derive(Clone, Debug, PartialEq)]
pub struct Products {
    values: Vec<f64>,
    examples: usize,
}

impl Products {
    /// Those of `examples` examples and as many draws of noise, both `[examples, values]` in row-major order.
    ///
    /// # Panics
    /// If the two differ in size.
    pub fn new(x0: &[f32], noise: &[f32], examples: usize) -> Self {
        assert_eq!(x0.len(), noise.len(), "data and noise differ in size");
        let size = (x0.len() / examples.max(1)).max(1);
        let values = x0.chunks(size).flat_map(|x| noise.chunks(size).map(move |e| dot(x, e))).collect();
        Self { values, examples }
    }

    /// The number of examples.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// The product of the example `i` and the noise `j`.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.values[i * self.examples + j]
    }

    /// The products of the example `i` with all noise.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.examples..(i + 1) * self.examples]
    }

    /// The sum of the products of `pairs`, the number of the noise for each example.
    pub fn sum(&self, pairs: &[usize]) -> f64 {
        pairs.iter().enumerate().map(|(i, &j)| self.at(i, j)).sum()
    }

    /// The largest size of a product; not a number where one is none.
    pub fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |largest: f64, value| {
            if value.is_nan() || largest.is_nan() { f64::NAN } else { largest.max(value.abs()) }
        })
    }
}

/// In lanes, which processors add at once; always in the same order.
fn dot(x: &[f32], y: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f64 =
        xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    let mut sums = [0f32; LANES];
    for (x, y) in xs.zip(ys) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    rest + sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_scalar_products() {
        let x: Vec<f32> = (0..40).map(|i| i as f32 - 7.0).collect();
        let y: Vec<f32> = (0..40).map(|i| (i % 7) as f32).collect();
        let products = Products::new(&x, &y, 2);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let expected: f32 = (0..20).map(|k| x[20 * i + k] * y[20 * j + k]).sum();
            assert_eq!(products.at(i, j), f64::from(expected));
        }
        assert_eq!(products.sum(&[1, 0]), products.at(0, 1) + products.row(1)[0]);
        assert!(Products::new(&[f32::NAN, 1.0], &[1.0, 2.0], 2).largest().is_nan());
    }
}

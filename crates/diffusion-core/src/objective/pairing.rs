//! Which noise goes with which example of a batch.

mod any;
mod products;

pub use any::*;
pub use products::Products;

use super::batch::{BatchPlace, PAIRING};
use crate::random::Stream;
use burn::tensor::TensorData;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Which noise goes with which example of a batch: minibatch optimal transport pairs those that are near each other, so
/// that the paths between them cross less and are straighter (Tong et al. 2024, arXiv:2302.00482; Pooladian et al. 2023,
/// arXiv:2304.14772).
///
/// A pairing of your own: each example takes the nearest noise that is left.
/// ```
/// use diffusion_core::objective::{Pairing, Products};
/// use diffusion_core::random::{Purpose, Stream};
///
/// #[derive(Clone, Debug)]
/// struct Greedy;
///
/// impl Pairing for Greedy {
///     fn pair(&self, products: &Products, _stream: &mut Stream) -> Vec<usize> {
///         let mut left: Vec<usize> = (0..products.examples()).collect();
///         let nearest = |i: usize, left: &mut Vec<usize>| {
///             let of = |&j: &usize| products.at(i, j);
///             let best = (0..left.len()).max_by(|&a, &b| of(&left[a]).total_cmp(&of(&left[b])));
///             left.remove(best.unwrap())
///         };
///         (0..products.examples()).map(|i| nearest(i, &mut left)).collect()
///     }
/// }
///
/// // Two points on a line, and two draws of noise that lie the other way round.
/// let products = Products::new(&[-1.0, 1.0], &[0.5, -0.5], 2);
/// let stream = &mut Stream::new(0, Purpose(1000), 0, 0);
/// assert_eq!(Greedy.pair(&products, stream), [1, 0]);
/// ```
pub trait Pairing: Clone + Debug + Send + Sync + 'static {
    /// The number of the noise for each example, a permutation. Near are those whose product is large: of all
    /// permutations, the one of the least distances ½‖x₀ − ε‖² has the largest sum of products.
    fn pair(&self, products: &Products, stream: &mut Stream) -> Vec<usize>;
}

/// The rows of `noise` in the order of their pairs: of all examples together, or class by class where `classes` are the
/// examples' labels, so that each class has all of the noise.
///
/// # Shapes
/// - `noise`, `x0`, returns: `[batch, …]`
pub(super) fn paired(
    pairing: &impl Pairing,
    noise: &TensorData,
    x0: &TensorData,
    classes: Option<&[usize]>,
    place: &BatchPlace,
) -> TensorData {
    let n = noise.shape[0];
    let labels = classes.map_or(n, <[usize]>::len);
    assert_eq!(labels, n, "labels and examples differ in number");
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in 0..n {
        groups.entry(classes.map_or(0, |classes| classes[i])).or_default().push(i);
    }
    let drawn: Vec<f32> = noise.iter::<f32>().collect();
    let data: Vec<f32> = x0.iter::<f32>().collect();
    let row = drawn.len() / n.max(1);
    let mut values = drawn.clone();
    for (number, members) in groups.into_values().enumerate() {
        let rows = |values: &[f32]| -> Vec<f32> {
            members.iter().flat_map(|&i| &values[i * row..(i + 1) * row]).copied().collect()
        };
        let products = Products::new(&rows(&data), &rows(&drawn), members.len());
        let stream = &mut Stream::new(place.seed, PAIRING, place.step, place.first + number as u64);
        for (&i, j) in members.iter().zip(pairing.pair(&products, stream)) {
            let j = members[j];
            values[i * row..(i + 1) * row].copy_from_slice(&drawn[j * row..(j + 1) * row]);
        }
    }
    TensorData::new(values, noise.shape.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal_data};

    fn place(n: usize) -> BatchPlace {
        BatchPlace { seed: 1, step: 2, first: 0, examples: n, total: n }
    }

    fn sorted_rows(data: &TensorData) -> Vec<Vec<u32>> {
        let values: Vec<f32> = data.to_vec().unwrap();
        let mut rows: Vec<Vec<u32>> =
            values.chunks(3).map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        rows.sort();
        rows
    }

    fn cost(x0: &TensorData, noise: &TensorData) -> f64 {
        x0.iter::<f32>().zip(noise.iter::<f32>()).map(|(x, e)| f64::from(x - e).powi(2)).sum()
    }

    fn data(n: usize, seed: u64) -> TensorData {
        normal_data(seed, Purpose(1000), 0, 0, [n, 3])
    }

    /// Every draw of noise is used once, none is changed, and no pair is farther than at random, in sum.
    #[test]
    fn noise_is_permuted_and_nearer() {
        for pairing in [AnyPairing::from(Assignment {}), Sinkhorn::default().into()] {
            for seed in 0..20 {
                let (x0, noise) = (data(17, seed), data(17, seed + 100));
                let found = paired(&pairing, &noise, &x0, None, &place(17));
                assert_eq!(sorted_rows(&found), sorted_rows(&noise), "{pairing:?}");
                assert!(cost(&x0, &found) <= cost(&x0, &noise), "{pairing:?}");
                assert!(cost(&x0, &found) < 0.8 * cost(&x0, &noise), "{pairing:?} gains too little");
            }
        }
    }

    /// Within classes the noise of each class stays there, and the pairs are those of its examples alone.
    #[test]
    fn classes_keep_their_noise() {
        let (x0, noise) = (data(12, 1), data(12, 2));
        let classes: Vec<usize> = (0..12).map(|i| [3, 0, 7][i % 3]).collect();
        let of = |data: &TensorData, class: usize| {
            let values: Vec<f32> = data.to_vec().unwrap();
            let rows = values.chunks(3).enumerate().filter(|(i, _)| classes[*i] == class);
            let rows: Vec<f32> = rows.flat_map(|(_, row)| row.to_vec()).collect();
            TensorData::new(rows, [4, 3])
        };
        let pairing = Assignment {};
        let found = paired(&pairing, &noise, &x0, Some(&classes), &place(12));
        for class in [0, 3, 7] {
            assert_eq!(sorted_rows(&of(&found, class)), sorted_rows(&of(&noise, class)));
            let alone = paired(&pairing, &of(&noise, class), &of(&x0, class), None, &place(4));
            assert_eq!(of(&found, class), alone, "{class}");
        }
        assert_ne!(found, paired(&pairing, &noise, &x0, None, &place(12)));
    }
}

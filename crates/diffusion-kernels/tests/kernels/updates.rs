//! Steps of AdamW, EMA updates and sums of squares are those of Burn's operations.

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use diffusion_kernels::Activation::Gelu;
use diffusion_kernels::{self as kernels, AdamW};

use crate::case::Case::Activate;
use crate::case::Inputs;
use crate::case::Layout::{self, Contiguous, Narrowed, Second, Transposed};
use crate::run::{host, leaf, noise, off};

/// Tensors as they are, and as parts of larger ones: too few to share between threads, one more than that, and more.
fn tensors(seeds: [u64; 4]) -> Vec<[Tensor<Flex, 2>; 4]> {
    let make = |(layout, shape): (Layout, [usize; 2])| {
        seeds.map(|seed| {
            let case = Activate(Gelu, shape);
            let values = case.values(layout).remove(0);
            let moved =
                noise(seed, values.len()).iter().zip(&values).map(|(a, b)| a + b / 8.0).collect::<Vec<_>>();
            Inputs { leaves: vec![leaf(&moved)], shapes: case.shapes(), layout }.get(0)
        })
    };
    let shapes = [[3, 7], [32_769, 1], [5, 1 << 15]];
    let layouts = [Contiguous, Transposed, Narrowed, Second];
    layouts.iter().flat_map(|&layout| shapes.map(|shape| make((layout, shape)))).collect()
}

fn distance(found: &Tensor<Flex, 2>, expected: &Tensor<Flex, 2>) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let [found, expected] = [found, expected].map(|x| host(x.clone().reshape([-1])));
    off(&found, &expected)
}

#[test]
fn steps_of_adamw_are_burns() {
    for time in [1, 7] {
        let (lr, beta_1, beta_2, epsilon, weight_decay) = (0.02, 0.9, 0.99, 1e-3, 0.1);
        let step = AdamW { lr, beta_1, beta_2, epsilon, weight_decay, time };
        for [weight, gradient, first, second] in tensors([1, 2, 3, 4]) {
            let second = second.abs();
            let held = [&weight, &gradient, &first, &second].map(|x| host(x.clone().reshape([-1])));
            let moments = [first.clone(), second.clone()];
            let found = kernels::adamw(&step, weight.clone(), gradient.clone(), moments).unwrap();
            let new = [&weight, &gradient, &first, &second].map(|x| host(x.clone().reshape([-1])));
            assert!(held == new, "what others hold stays as it is");

            let first = first * beta_1 + gradient.clone() * (1.0 - beta_1);
            let second = second * beta_2 + gradient.clone() * gradient * (1.0 - beta_2);
            let time = time as i32;
            let update = first.clone() / (1.0 - beta_1.powi(time));
            let update = update / ((second.clone() / (1.0 - beta_2.powi(time))).sqrt() + epsilon);
            let weight = weight * (1.0 - lr * weight_decay) - update * lr;
            for (found, expected) in found.iter().zip([weight, first, second]) {
                let distance = distance(found, &expected);
                assert!(distance < 5e-7, "{distance:e}");
            }
        }
    }
}

#[test]
fn ema_updates_and_sums_are_burns() {
    for [a, b, ..] in tensors([1, 2, 3, 4]) {
        let held = host(a.clone().reshape([-1]));
        let found = kernels::ema_update(a.clone(), b.clone(), 0.3).unwrap();
        assert_eq!(held, host(a.clone().reshape([-1])), "what others hold stays as it is");
        assert!(distance(&found, &(a.clone() * 0.7 + b.clone() * 0.3)) < 2e-7);
        for (rate, expected) in [(0.0, &a), (1.0, &b)] {
            let found = kernels::ema_update(a.clone(), b.clone(), rate).unwrap();
            assert_eq!(distance(&found, expected), 0.0, "at rate {rate}");
        }
        let found = kernels::ema_update(a.clone(), b.clone(), 0.9).unwrap();
        assert!(distance(&found, &(a.clone() * 0.1 + b * 0.9)) < 2e-7);
        let total: f64 = held.iter().map(|x| f64::from(*x).powi(2)).sum();
        let found = [kernels::sum_of_squares(a).unwrap()];
        assert!(off(&found, &[total as f32]) < 1e-6);
    }
    let found = kernels::sum_of_squares(leaf::<Flex>(&[1.0, f32::NAN])).unwrap();
    assert!(found.is_nan());
    assert!(kernels::sum_of_squares(leaf::<Autodiff<Flex>>(&[1.0])).is_err());
}

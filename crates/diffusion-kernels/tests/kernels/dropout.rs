//! Dropout draws from the backend's generator, with the probability that it is given.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use diffusion_kernels as kernels;
use rayon::ThreadPoolBuilder;

use crate::run::{host, leaf, noise, same_bits};

#[test]
fn dropout_is_of_the_seed() {
    type B = Autodiff<Flex>;
    let device = Default::default();
    // Several streams, of which the last is short.
    let values: Vec<f32> = noise(1, 200_003).iter().map(|x| x + 2.0).collect();
    let weights = noise(2, values.len());
    let drop = |probability: f64| {
        let x = leaf::<B>(&values).require_grad();
        let out = kernels::dropout(&x, probability).unwrap();
        let gradients = (out.clone() * leaf(&weights)).sum().backward();
        (host(out), host(x.grad(&gradients).unwrap()))
    };
    let seeded = |seed, probability| {
        B::seed(&device, seed);
        drop(probability)
    };
    for probability in [0.0, 0.1, 0.75] {
        let (out, gradients) = seeded(7, probability);
        let factor = (1.0 / (1.0 - probability)) as f32;
        let mut dropped = 0;
        for (((out, gradient), x), weight) in out.iter().zip(&gradients).zip(&values).zip(&weights) {
            let kept = if *out == 0.0 { 0.0 } else { factor };
            dropped += usize::from(*out == 0.0);
            assert_eq!([*out, *gradient], [x * kept, weight * kept]);
        }
        let share = dropped as f64 / values.len() as f64;
        // Five standard deviations of the mean of that many draws.
        let deviation = (probability * (1.0 - probability) / values.len() as f64).sqrt();
        assert!((share - probability).abs() <= 5.0 * deviation, "{share} of the values are dropped");
        assert!(same_bits(&out, &seeded(7, probability).0), "the seed decides");
    }
    let halves = [seeded(7, 0.5).0, drop(0.5).0, seeded(8, 0.5).0];
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let both = halves[i].iter().zip(&halves[j]).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        let share = both as f64 / values.len() as f64;
        assert!((share - 0.25).abs() < 0.005, "draws {i} and {j} are not independent: {share}");
    }
    let streams: Vec<Vec<bool>> =
        halves[0].chunks_exact(1 << 12).map(|chunk| chunk.iter().map(|x| *x == 0.0).collect()).collect();
    assert!(
        (1..streams.len()).all(|i| !streams[..i].contains(&streams[i])),
        "parts have streams of their own"
    );
    let pools = [1, 3].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let [one, three] = pools.map(|pool| pool.install(|| seeded(9, 0.5)));
    assert!(same_bits(&one.0, &three.0) && same_bits(&one.1, &three.1), "threads change nothing");
    let bad = kernels::dropout(&leaf::<Flex>(&[f32::NAN; 9]), 0.9).unwrap();
    assert!(host(bad).iter().all(|x| x.is_nan()), "NaNs stay visible");
}

//! Every fused operation against the same thing made of Burn's own operations: results, and gradients of every input.

#![allow(clippy::unwrap_used)]

mod case;

use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor, TensorData};
use case::Case::{
    self, Activate, Attention, Conv, Gated, GroupNorm, Join, LayerNorm, Linear, Shift, Transpose, Upsample,
};
use case::Layout::{self, Contiguous, Narrowed, Second, Transposed};
use case::{Inputs, noise};
use diffusion_kernels::Activation::{Gelu, GeluTanh, Silu};
use diffusion_kernels::{self as kernels, AdamW};
use rayon::ThreadPoolBuilder;
use std::panic::catch_unwind;

fn leaf<B: Backend>(numbers: &[f32]) -> Tensor<B, 1> {
    Tensor::from_data(TensorData::from(numbers), &B::Device::default())
}

fn host<B: Backend>(tensor: Tensor<B, 1>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The operation without a gradient.
fn result(case: Case, numbers: &[Vec<f32>], layout: Layout, fused: bool) -> Vec<f32> {
    let leaves = numbers.iter().map(|x| leaf(x)).collect();
    let inputs = Inputs::<Flex> { leaves, shapes: case.shapes(), layout };
    host(if fused { case.fused(&inputs).unwrap() } else { case.plain(&inputs) })
}

/// The operation's result, and the gradient of every input that is `tracked`, of the result's sum with the `weights`.
struct Slopes {
    result: Vec<f32>,
    gradients: Vec<Option<Vec<f32>>>,
}

fn slopes(
    case: Case,
    numbers: &[Vec<f32>],
    layout: Layout,
    fused: bool,
    tracked: impl Fn(usize) -> bool,
    weights: &[f32],
) -> Slopes {
    let track = |(i, x): (usize, &Vec<f32>)| leaf(x).set_require_grad(tracked(i));
    let leaves: Vec<Tensor<Autodiff<Flex>, 1>> = numbers.iter().enumerate().map(track).collect();
    let inputs = Inputs { leaves: leaves.clone(), shapes: case.shapes(), layout };
    let out = if fused { case.fused(&inputs).unwrap() } else { case.plain(&inputs) };
    let gradients = (out.clone() * leaf(weights)).sum().backward();
    let gradients = leaves.iter().map(|leaf| leaf.grad(&gradients).map(host)).collect();
    Slopes { result: host(out), gradients }
}

/// The greatest difference, relative to the largest number.
fn off(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |top, x| f64::max(top, f64::from(x.abs())));
    let differences = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // A difference that is no number counts.
    differences.fold(0.0, |top, x| if x <= top { top } else { x }) / largest
}

fn check(case: Case, layout: Layout) {
    let numbers = case.numbers(layout);
    let expected = result(case, &numbers, layout, false);
    let weights = noise(99, expected.len());
    let expected_slopes = slopes(case, &numbers, layout, false, |_| true, &weights);
    let found = slopes(case, &numbers, layout, true, |_| true, &weights);
    let [tolerance, tolerance_of_gradients] = case.tolerance();

    let distance = off(&found.result, &expected);
    let pairs = found.gradients.iter().zip(&expected_slopes.gradients);
    let distances: Vec<f64> = pairs.map(|(a, b)| off(a.as_ref().unwrap(), b.as_ref().unwrap())).collect();
    assert!(distance <= tolerance, "{case:?}, {layout:?}: the result is off by {distance:e}");
    for &distance in &distances {
        assert!(
            distance <= tolerance_of_gradients,
            "{case:?}, {layout:?}: gradients are off by {distances:?}"
        );
    }
    let alone = result(case, &numbers, layout, true);
    assert!(same_bits(&alone, &found.result), "{case:?}: without a gradient, the result is the same");
}

fn check_everywhere(cases: &[Case]) {
    for &case in cases {
        for layout in [Contiguous, Transposed, Narrowed, Second] {
            check(case, layout);
        }
    }
}

fn activations() -> Vec<Case> {
    // Few, the most that one thread does, one more than those, and several chunks of which none is short.
    let shapes = [[3, 7], [256, 128], [32_769, 1], [3, 1 << 14]];
    let of = |which| shapes.map(|shape| Activate(which, shape));
    [Gelu, GeluTanh, Silu].map(of).concat()
}

const LINEAR: &[Case] = &[
    Linear { x: &[5, 3], outputs: 4, bias: true },
    Linear { x: &[1, 1], outputs: 1, bias: true },
    Linear { x: &[2, 3, 17], outputs: 9, bias: true },
    Linear { x: &[2, 3, 17], outputs: 9, bias: false },
    // As many rows as one thread sums, and more.
    Linear { x: &[256, 3], outputs: 19, bias: true },
    Linear { x: &[257, 3], outputs: 19, bias: true },
    Linear { x: &[3, 250, 2], outputs: 5, bias: true },
    // More rows than one thread multiplies: 256, and 419.
    Linear { x: &[600, 130], outputs: 131, bias: true },
    Linear { x: &[2, 300, 130], outputs: 131, bias: false },
    Linear { x: &[1000, 100], outputs: 100, bias: true },
];

const LAYER_NORM: &[Case] = &[
    LayerNorm([2, 5, 24]),
    LayerNorm([3, 1, 37]),
    LayerNorm([1, 9, 130]),
    LayerNorm([2, 3, 16]),
    LayerNorm([4, 2, 3]),
];

const GATED: &[Case] = &[Gated([2, 5, 24]), Gated([3, 1, 37]), Gated([1, 7, 1]), Gated([4, 3, 16])];

const ATTENTION: &[Case] = &[
    Attention { batch: 2, tokens: 7, heads: 1, size: 5 },
    Attention { batch: 2, tokens: 1, heads: 3, size: 4 },
    Attention { batch: 3, tokens: 16, heads: 2, size: 8 },
    Attention { batch: 1, tokens: 65, heads: 3, size: 16 },
];

const GROUP_NORM: &[Case] = &[
    GroupNorm { x: [2, 6, 3, 5], groups: 2, silu: false },
    GroupNorm { x: [2, 6, 3, 5], groups: 2, silu: true },
    GroupNorm { x: [3, 6, 4, 4], groups: 6, silu: true },
    GroupNorm { x: [1, 6, 7, 5], groups: 1, silu: false },
    GroupNorm { x: [2, 10, 1, 1], groups: 2, silu: true },
    GroupNorm { x: [1, 64, 9, 8], groups: 32, silu: true },
];

const fn conv(
    x: [usize; 4],
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
) -> Case {
    Conv { x, outputs, kernel, stride, padding }
}

const CONV: &[Case] = &[
    conv([2, 5, 4, 7], 3, [1, 1], [1, 1], [0; 4]),
    conv([2, 3, 6, 5], 4, [3, 3], [1, 1], [1; 4]),
    conv([1, 1, 3, 3], 1, [3, 3], [1, 1], [0; 4]),
    // Patches, and the U-Net's way down.
    conv([3, 4, 6, 8], 5, [2, 2], [2, 2], [0; 4]),
    conv([2, 3, 6, 8], 4, [3, 3], [2, 2], [0, 0, 1, 1]),
    // Rectangles.
    conv([2, 3, 5, 9], 4, [1, 3], [1, 1], [0, 2, 0, 1]),
    conv([2, 3, 9, 5], 4, [3, 2], [1, 1], [2, 1, 0, 0]),
    conv([2, 3, 8, 9], 4, [3, 2], [2, 1], [1, 0, 0, 1]),
    conv([2, 2, 7, 11], 3, [2, 3], [1, 3], [0, 1, 1, 2]),
    // Pixels that no kernel meets.
    conv([2, 3, 7, 6], 4, [1, 1], [2, 3], [0; 4]),
    conv([2, 3, 8, 7], 4, [2, 2], [3, 3], [0; 4]),
    // Borders as wide as the kernel.
    conv([2, 3, 4, 5], 4, [1, 1], [1, 1], [1, 0, 2, 1]),
    conv([2, 3, 4, 5], 4, [2, 3], [1, 1], [2, 1, 0, 3]),
    // Sums over pairs of images, of which the last is one, and over threes.
    conv([17, 2, 5, 4], 3, [3, 3], [1, 1], [1; 4]),
    conv([17, 2, 6, 4], 3, [2, 2], [2, 2], [0; 4]),
    conv([35, 2, 3, 4], 3, [1, 1], [1, 1], [0; 4]),
    // Images in several parts: 40 rows and 20, 17, 17 and 16, 17 and 8.
    conv([1, 40, 60, 80], 3, [1, 1], [1, 1], [0; 4]),
    conv([2, 16, 50, 50], 17, [3, 3], [1, 1], [1; 4]),
    conv([2, 32, 50, 52], 3, [3, 3], [2, 2], [0, 0, 1, 1]),
    // Channels enough for tiles: images of even and odd sides, of one pixel, with a wide border and with an uneven one.
    conv([2, 16, 8, 10], 17, [3, 3], [1, 1], [1; 4]),
    conv([3, 17, 7, 7], 16, [3, 3], [1, 1], [1; 4]),
    conv([2, 16, 3, 3], 16, [3, 3], [1, 1], [0; 4]),
    conv([2, 16, 4, 5], 18, [3, 3], [1, 1], [3, 1, 0, 4]),
    conv([2, 16, 6, 9], 16, [3, 3], [1, 1], [0, 2, 1, 0]),
    // Products of several images, of which the last has fewer, and sums over several products of one.
    conv([5, 17, 4, 6], 16, [3, 3], [1, 1], [1; 4]),
    conv([35, 16, 15, 13], 18, [3, 3], [1, 1], [1; 4]),
    conv([17, 16, 28, 26], 16, [3, 3], [1, 1], [1; 4]),
    // As many channels, and no tiles.
    conv([2, 16, 6, 8], 16, [3, 3], [2, 2], [0, 0, 1, 1]),
];

/// What is not a number spreads over a tile.
const IN_TILES: Case = conv([1, 16, 4, 4], 16, [3, 3], [1, 1], [1; 4]);

const SHIFT: &[Case] = &[Shift([2, 3, 4, 5]), Shift([1, 1, 1, 1]), Shift([3, 2, 7, 6])];

const JOIN: &[Case] = &[
    Join { x: [2, 3, 4, 5], second: 2 },
    Join { x: [1, 1, 1, 1], second: 1 },
    Join { x: [3, 2, 3, 2], second: 5 },
];

const TRANSPOSE: &[Case] =
    &[Transpose([2, 3, 5]), Transpose([1, 1, 7]), Transpose([3, 17, 16]), Transpose([2, 40, 33])];

const UPSAMPLE: &[Case] = &[Upsample([2, 3, 4, 5]), Upsample([1, 1, 1, 1]), Upsample([3, 2, 7, 6])];

fn cases() -> Vec<Case> {
    let moved = [SHIFT, JOIN, TRANSPOSE, UPSAMPLE].concat();
    [&activations(), LINEAR, LAYER_NORM, GATED, ATTENTION, GROUP_NORM, CONV, &moved].concat()
}

#[test]
fn activations_are_burns() {
    check_everywhere(&activations());
}

#[test]
fn linear_layers_are_burns() {
    check_everywhere(LINEAR);
}

#[test]
fn layer_norms_are_burns() {
    check_everywhere(LAYER_NORM);
}

#[test]
fn gates_are_burns() {
    check_everywhere(GATED);
}

#[test]
fn attention_is_burns() {
    check_everywhere(ATTENTION);
}

#[test]
fn group_norms_are_burns() {
    check_everywhere(GROUP_NORM);
}

#[test]
fn convolutions_are_burns() {
    check_everywhere(CONV);
}

#[test]
fn shifts_are_burns() {
    check_everywhere(SHIFT);
}

#[test]
fn joined_channels_are_burns() {
    check_everywhere(JOIN);
}

#[test]
fn transposed_matrices_are_burns() {
    check_everywhere(TRANSPOSE);
}

#[test]
fn larger_images_are_burns() {
    check_everywhere(UPSAMPLE);
}

#[test]
fn dropout_is_of_the_seed() {
    type B = Autodiff<Flex>;
    let device = Default::default();
    // Several streams, of which the last is short.
    let numbers: Vec<f32> = noise(1, 200_003).iter().map(|x| x + 2.0).collect();
    let weights = noise(2, numbers.len());
    let drop = |probability: f64| {
        let x = leaf::<B>(&numbers).require_grad();
        let out = kernels::dropout(&x, probability).unwrap();
        let gradients = (out.clone() * leaf(&weights)).sum().backward();
        (host(out), host(x.grad(&gradients).unwrap()))
    };
    let seeded = |seed, probability| {
        B::seed(&device, seed);
        drop(probability)
    };
    for probability in [0.0, 0.1, 0.75] {
        let (out, slopes) = seeded(7, probability);
        let factor = (1.0 / (1.0 - probability)) as f32;
        let mut lost = 0;
        for (((out, slope), x), weight) in out.iter().zip(&slopes).zip(&numbers).zip(&weights) {
            let kept = if *out == 0.0 { 0.0 } else { factor };
            lost += usize::from(*out == 0.0);
            assert_eq!([*out, *slope], [x * kept, weight * kept]);
        }
        let share = lost as f64 / numbers.len() as f64;
        // Five deviations of a mean of so many draws.
        let deviation = (probability * (1.0 - probability) / numbers.len() as f64).sqrt();
        assert!((share - probability).abs() <= 5.0 * deviation, "{share} of the numbers are lost");
        assert!(same_bits(&out, &seeded(7, probability).0), "the seed decides");
    }
    let halves = [seeded(7, 0.5).0, drop(0.5).0, seeded(8, 0.5).0];
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let both = halves[i].iter().zip(&halves[j]).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        let share = both as f64 / numbers.len() as f64;
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
    assert!(host(bad).iter().all(|x| x.is_nan()), "what is no number stays visible");
}

/// One case of every operation that no threshold is near, and the others whose gradients have ways of their own.
fn small() -> Vec<Case> {
    let mut cases = [Gelu, GeluTanh, Silu].map(|which| Activate(which, [3, 7])).to_vec();
    cases.extend([LINEAR[2], LINEAR[3], LAYER_NORM[0], GATED[0], ATTENTION[0], ATTENTION[2]]);
    cases.extend([GROUP_NORM[0], GROUP_NORM[1], CONV[0], CONV[1], CONV[4], CONV[12]]);
    cases.extend([SHIFT[0], JOIN[0], TRANSPOSE[0], UPSAMPLE[0], IN_TILES]);
    cases
}

#[test]
fn an_input_may_be_all_that_has_a_gradient() {
    for case in cases() {
        let numbers = case.numbers(Contiguous);
        let weights = noise(99, result(case, &numbers, Contiguous, true).len());
        let all = slopes(case, &numbers, Contiguous, true, |_| true, &weights).gradients;
        for input in 0..numbers.len() {
            let found = slopes(case, &numbers, Contiguous, true, |i| i == input, &weights).gradients;
            for (i, (found, all)) in found.iter().zip(&all).enumerate() {
                match found {
                    Some(found) => assert!(i == input && same_bits(found, all.as_ref().unwrap()), "{case:?}"),
                    None => assert!(i != input, "{case:?}: input {input} has no gradient"),
                }
            }
        }
    }
}

#[test]
fn an_input_may_come_twice() {
    let [x, gate] = [noise(1, 30), noise(2, 10)].map(|x| leaf::<Autodiff<Flex>>(&x).require_grad());
    let whole = x.clone().reshape([2, 3, 5]);
    let out = kernels::gated(&whole, &whole, &gate.clone().reshape([2, 5])).unwrap();
    let weights = leaf(&noise(3, 30)).reshape([2, 3, 5]);
    let gradients = (out * weights.clone()).sum().backward();
    let expected = weights * (gate.reshape([2, 1, 5]) + 1.0);
    assert!(off(&host(x.grad(&gradients).unwrap()), &host(expected.reshape([-1]).inner())) < 2e-7);
}

#[test]
fn threads_change_nothing() {
    let pools = [1, 3].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for case in cases() {
        let numbers = case.numbers(Contiguous);
        let weights = noise(99, result(case, &numbers, Contiguous, true).len());
        let run = || slopes(case, &numbers, Contiguous, true, |_| true, &weights);
        let [one, three] = pools.each_ref().map(|pool| pool.install(run));
        assert!(same_bits(&one.result, &three.result), "{case:?}");
        for (one, three) in one.gradients.iter().zip(&three.gradients) {
            assert!(same_bits(one.as_ref().unwrap(), three.as_ref().unwrap()), "{case:?}");
        }
    }
    let numbers = leaf::<Flex>(&noise(1, 200_000));
    let sum = || [kernels::sum_of_squares(numbers.clone()).unwrap()];
    let [one, three] = pools.each_ref().map(|pool| pool.install(sum));
    assert!(same_bits(&one, &three), "a sum of squares");
}

/// Whatever becomes of `bad` in Burn's result and gradients, a number must not be in its place here.
fn stays_visible(case: Case, bad: f32, numbers: &[Vec<f32>], weights: &[f32]) {
    let plain = slopes(case, numbers, Contiguous, false, |_| true, weights);
    let fused = slopes(case, numbers, Contiguous, true, |_| true, weights);
    let gone = |plain: &[f32], fused: &[f32]| {
        let lost = |(plain, fused): (&f32, &f32)| !plain.is_finite() && fused.is_finite();
        plain.iter().zip(fused).any(lost)
    };
    assert!(!gone(&plain.result, &fused.result), "{case:?}: {bad} became a number");
    for (plain, fused) in plain.gradients.iter().zip(&fused.gradients) {
        assert!(!gone(plain.as_ref().unwrap(), fused.as_ref().unwrap()), "{case:?}: {bad} became a gradient");
    }
    if bad.is_nan() && case != IN_TILES {
        let same = plain.result.iter().zip(&fused.result).all(|(a, b)| a.is_nan() == b.is_nan());
        assert!(same, "{case:?}: NaN is where Burn has it");
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    for case in small() {
        let numbers = case.numbers(Contiguous);
        let weights = noise(99, result(case, &numbers, Contiguous, true).len());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for input in 0..numbers.len() {
                for place in [0, numbers[input].len() / 2, numbers[input].len() - 1] {
                    let mut numbers = numbers.clone();
                    numbers[input][place] = bad;
                    stays_visible(case, bad, &numbers, &weights);
                }
            }
            let mut weights = weights.clone();
            weights[1] = bad;
            stays_visible(case, bad, &numbers, &weights);
        }
    }
}

#[test]
fn attention_stands_large_scores() {
    // Scores of ±2e4 that are exact, and so near each other that many tokens have a weight.
    let case = Attention { batch: 2, tokens: 9, heads: 2, size: 4 };
    let mut numbers = case.numbers(Contiguous);
    for (i, token) in numbers[0].chunks_exact_mut(24).enumerate() {
        let (queries, keys) = token[..16].split_at_mut(8);
        queries.fill(if i % 2 == 0 { 100.0 } else { -100.0 });
        keys.fill(100.0);
        keys[i % 4] += i as f32 / 64.0;
    }
    let weights = noise(99, 2 * 9 * 8);
    let [plain, fused] =
        [false, true].map(|fused| slopes(case, &numbers, Contiguous, fused, |_| true, &weights));
    let distance = off(&fused.result, &plain.result);
    let [plain, fused] = [plain, fused].map(|mut slopes| slopes.gradients.remove(0).unwrap());
    let distance_of_gradients = off(&fused, &plain);
    assert!(distance < 3e-7 && distance_of_gradients < 1e-6, "{distance:e}, {distance_of_gradients:e}");
}

#[test]
fn other_backends_and_types_are_left_to_burn() {
    fn is_left<B: Backend>(dtype: DType) -> bool {
        let x = Tensor::<B, 1>::zeros([4], (&B::Device::default(), dtype));
        let result = kernels::activation(Silu, &x);
        result.is_none()
    }
    assert!(!is_left::<Flex>(DType::F32) && !is_left::<Autodiff<Flex>>(DType::F32));
    assert!(is_left::<Flex>(DType::F64) && is_left::<Autodiff<Flex>>(DType::F64));
    assert!(is_left::<Autodiff<Autodiff<Flex>>>(DType::F32));
}

#[test]
fn checkpointing_changes_nothing() {
    fn gradient<B: AutodiffBackend>() -> Vec<f32> {
        let x = leaf::<B>(&noise(1, 30)).require_grad();
        // What exp needs is made again, of what the kernel gave.
        let y = kernels::activation(Silu, &x.clone().exp()).unwrap().exp();
        let y = kernels::activation(Gelu, &y).unwrap().exp();
        let gradients = y.sum().backward();
        host(x.grad(&gradients).unwrap())
    }
    let kept = gradient::<Autodiff<Flex>>();
    let made_again = gradient::<Autodiff<Flex, BalancedCheckpointing>>();
    assert!(kept.iter().all(|x| x.is_finite()) && same_bits(&kept, &made_again));
}

#[test]
fn no_images_are_no_trouble() {
    type B = Autodiff<Flex>;
    let none = || Tensor::<B, 4>::zeros([0, 16, 4, 4], &Default::default()).require_grad();
    let weight = Tensor::<B, 4>::ones([16, 16, 3, 3], &Default::default()).require_grad();
    let bias = Tensor::<B, 1>::ones([16], &Default::default()).require_grad();
    let gradients = {
        let x = kernels::conv2d(&none(), &weight, &bias, [1, 1], [1; 4]).unwrap();
        let x = kernels::join_channels(&x, &none()).unwrap();
        let x = kernels::shift_channels(&x, &Tensor::zeros([0, 32], &Default::default())).unwrap();
        let x = kernels::upsample(&kernels::dropout(&x, 0.5).unwrap()).unwrap();
        assert_eq!(x.dims(), [0, 32, 8, 8]);
        kernels::transpose(&x.flatten::<3>(2, 3)).unwrap().sum().backward()
    };
    assert!(host(weight.grad(&gradients).unwrap().reshape([-1])).iter().all(|x| *x == 0.0));
    assert_eq!(host(bias.grad(&gradients).unwrap()), [0.0; 16]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
        Tensor::zeros(shape, &Default::default())
    }
    let norm = |scale, shift| {
        kernels::modulated_layer_norm(&zeros([2, 3, 4]), &zeros(scale), &zeros(shift), 1e-5).is_some()
    };
    let gated = |h, gate| kernels::gated(&zeros([2, 3, 4]), &zeros(h), &zeros(gate)).is_some();
    let group = |gamma, beta, groups| {
        let x = zeros([2, 6, 3, 3]);
        kernels::group_norm(&x, &zeros([gamma]), &zeros([beta]), groups, 1e-5, false).is_some()
    };
    let conv = |inputs, bias| {
        let weight = zeros([5, inputs, 2, 2]);
        kernels::conv2d(&zeros([2, 6, 3, 3]), &weight, &zeros([bias]), [1, 1], [0; 4]).is_some()
    };
    let linear =
        |inputs, bias| kernels::linear(&zeros([2, 6]), &zeros([inputs, 5]), Some(&zeros([bias]))).is_some();
    let attention = |heads| kernels::attention(&zeros([2, 3, 24]), heads).is_some();
    let shift = |shift| kernels::shift_channels(&zeros([2, 6, 3, 3]), &zeros(shift)).is_some();
    let join = |second| kernels::join_channels(&zeros([2, 6, 3, 4]), &zeros(second)).is_some();
    let dropout = |probability| kernels::dropout(&zeros([2, 6]), probability).is_some();
    assert!(norm([2, 4], [2, 4]) && gated([2, 3, 4], [2, 4]) && group(6, 6, 3) && conv(6, 5));
    assert!(linear(6, 5) && attention(4) && shift([2, 6]) && join([2, 5, 3, 4]) && dropout(0.0));
    let refused: [&dyn Fn() -> bool; 21] = [
        &|| norm([1, 4], [2, 4]),
        &|| norm([2, 4], [2, 1]),
        &|| gated([2, 3, 4], [1, 4]),
        &|| gated([2, 1, 4], [2, 4]),
        &|| group(6, 6, 4),
        &|| group(7, 6, 3),
        &|| group(6, 5, 3),
        &|| conv(5, 5),
        &|| conv(7, 5),
        &|| conv(6, 4),
        &|| linear(7, 5),
        &|| linear(6, 4),
        &|| linear(6, 6),
        &|| attention(5),
        &|| shift([1, 6]),
        &|| shift([2, 1]),
        &|| join([1, 6, 3, 4]),
        &|| join([2, 6, 4, 4]),
        &|| join([2, 6, 3, 3]),
        &|| dropout(1.0),
        &|| dropout(-0.1),
    ];
    for (i, call) in refused.iter().enumerate() {
        assert!(catch_unwind(std::panic::AssertUnwindSafe(call)).is_err(), "call {i} is not refused");
    }
}

#[test]
fn activations_of_large_numbers_are_their_limits() {
    for (which, limit) in [(Gelu, 0.0), (GeluTanh, 1e-30), (Silu, 1e-30)] {
        let x = leaf::<Flex>(&[-1e6, -1e4, -100.0, 100.0, 1e4, 1e6]);
        let found = host(kernels::activation(which, &x).unwrap());
        assert!(found[..3].iter().all(|x| x.abs() <= limit), "{which:?}: {found:?}");
        assert_eq!(found[3..], [100.0, 1e4, 1e6], "{which:?}");
    }
}

/// Tensors as they are, and as parts of larger ones: too few to share between threads, one more than that, and more.
fn tensors(seeds: [u64; 4]) -> Vec<[Tensor<Flex, 2>; 4]> {
    let make = |(layout, shape): (Layout, [usize; 2])| {
        seeds.map(|seed| {
            let case = Activate(Gelu, shape);
            let numbers = case.numbers(layout).remove(0);
            let moved =
                noise(seed, numbers.len()).iter().zip(&numbers).map(|(a, b)| a + b / 8.0).collect::<Vec<_>>();
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
            let slope = first.clone() / (1.0 - beta_1.powi(time));
            let slope = slope / ((second.clone() / (1.0 - beta_2.powi(time))).sqrt() + epsilon);
            let weight = weight * (1.0 - lr * weight_decay) - slope * lr;
            for (found, expected) in found.iter().zip([weight, first, second]) {
                let distance = distance(found, &expected);
                assert!(distance < 5e-7, "{distance:e}");
            }
        }
    }
}

#[test]
fn averages_and_sums_are_burns() {
    for [a, b, ..] in tensors([1, 2, 3, 4]) {
        let held = host(a.clone().reshape([-1]));
        let found = kernels::average(a.clone(), b.clone(), 0.3).unwrap();
        assert_eq!(held, host(a.clone().reshape([-1])), "what others hold stays as it is");
        assert!(distance(&found, &(a.clone() * 0.7 + b.clone() * 0.3)) < 2e-7);
        for (rate, expected) in [(0.0, &a), (1.0, &b)] {
            let found = kernels::average(a.clone(), b.clone(), rate).unwrap();
            assert_eq!(distance(&found, expected), 0.0, "at rate {rate}");
        }
        let found = kernels::average(a.clone(), b.clone(), 0.9).unwrap();
        assert!(distance(&found, &(a.clone() * 0.1 + b * 0.9)) < 2e-7);
        let total: f64 = held.iter().map(|x| f64::from(*x).powi(2)).sum();
        let found = [kernels::sum_of_squares(a).unwrap()];
        assert!(off(&found, &[total as f32]) < 1e-6);
    }
    let found = kernels::sum_of_squares(leaf::<Flex>(&[1.0, f32::NAN])).unwrap();
    assert!(found.is_nan());
    assert!(kernels::sum_of_squares(leaf::<Autodiff<Flex>>(&[1.0])).is_err());
}

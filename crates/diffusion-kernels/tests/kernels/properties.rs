//! What holds for every operation beside its values: tracking, threads, NaNs, shapes, backends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use diffusion_kernels as kernels;
use diffusion_kernels::Activation::{Gelu, GeluTanh, Silu};
use rayon::ThreadPoolBuilder;

use crate::case::Case::{self, Attention};
use crate::case::Layout::Contiguous;
use crate::cases::{IN_TILES, cases, small};
use crate::run::{gradients, host, leaf, noise, off, result, same_bits};

#[test]
fn an_input_may_be_all_that_has_a_gradient() {
    for case in cases() {
        let values = case.values(Contiguous);
        let weights = noise(99, result(case, &values, Contiguous, true).len());
        let all = gradients(case, &values, Contiguous, true, |_| true, &weights).gradients;
        for input in 0..values.len() {
            let found = gradients(case, &values, Contiguous, true, |i| i == input, &weights).gradients;
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
        let values = case.values(Contiguous);
        let weights = noise(99, result(case, &values, Contiguous, true).len());
        let run = || gradients(case, &values, Contiguous, true, |_| true, &weights);
        let [one, three] = pools.each_ref().map(|pool| pool.install(run));
        assert!(same_bits(&one.result, &three.result), "{case:?}");
        for (one, three) in one.gradients.iter().zip(&three.gradients) {
            assert!(same_bits(one.as_ref().unwrap(), three.as_ref().unwrap()), "{case:?}");
        }
    }
    let values = leaf::<Flex>(&noise(1, 200_000));
    let sum = || [kernels::sum_of_squares(values.clone()).unwrap()];
    let [one, three] = pools.each_ref().map(|pool| pool.install(sum));
    assert!(same_bits(&one, &three), "a sum of squares");
}

/// Where Burn's result and gradients are not finite because of `bad`, those of the kernel are not finite either.
fn stays_visible(case: Case, bad: f32, values: &[Vec<f32>], weights: &[f32]) {
    let plain = gradients(case, values, Contiguous, false, |_| true, weights);
    let fused = gradients(case, values, Contiguous, true, |_| true, weights);
    let gone = |plain: &[f32], fused: &[f32]| {
        let lost = |(plain, fused): (&f32, &f32)| !plain.is_finite() && fused.is_finite();
        plain.iter().zip(fused).any(lost)
    };
    assert!(!gone(&plain.result, &fused.result), "{case:?}: {bad} became finite");
    for (plain, fused) in plain.gradients.iter().zip(&fused.gradients) {
        assert!(
            !gone(plain.as_ref().unwrap(), fused.as_ref().unwrap()),
            "{case:?}: {bad} became a finite gradient"
        );
    }
    if bad.is_nan() && case != IN_TILES {
        let same = plain.result.iter().zip(&fused.result).all(|(a, b)| a.is_nan() == b.is_nan());
        assert!(same, "{case:?}: NaN is where Burn has it");
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    for case in small() {
        let values = case.values(Contiguous);
        let weights = noise(99, result(case, &values, Contiguous, true).len());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for input in 0..values.len() {
                for place in [0, values[input].len() / 2, values[input].len() - 1] {
                    let mut values = values.clone();
                    values[input][place] = bad;
                    stays_visible(case, bad, &values, &weights);
                }
            }
            let mut weights = weights.clone();
            weights[1] = bad;
            stays_visible(case, bad, &values, &weights);
        }
    }
}

#[test]
fn attention_stands_large_scores() {
    // Scores of ±2e4 that are exact, and so near each other that many tokens have a weight.
    let case = Attention { batch: 2, tokens: 9, heads: 2, size: 4 };
    let mut values = case.values(Contiguous);
    for (i, token) in values[0].chunks_exact_mut(24).enumerate() {
        let (queries, keys) = token[..16].split_at_mut(8);
        queries.fill(if i % 2 == 0 { 100.0 } else { -100.0 });
        keys.fill(100.0);
        keys[i % 4] += i as f32 / 64.0;
    }
    let weights = noise(99, 2 * 9 * 8);
    let [plain, fused] =
        [false, true].map(|fused| gradients(case, &values, Contiguous, fused, |_| true, &weights));
    let distance = off(&fused.result, &plain.result);
    let [plain, fused] = [plain, fused].map(|mut found| found.gradients.remove(0).unwrap());
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
        // What exp needs is recomputed from the result of the kernel.
        let y = kernels::activation(Silu, &x.clone().exp()).unwrap().exp();
        let y = kernels::activation(Gelu, &y).unwrap().exp();
        let gradients = y.sum().backward();
        host(x.grad(&gradients).unwrap())
    }
    let saved = gradient::<Autodiff<Flex>>();
    let recomputed = gradient::<Autodiff<Flex, BalancedCheckpointing>>();
    assert!(saved.iter().all(|x| x.is_finite()) && same_bits(&saved, &recomputed));
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
    let attend =
        |k, v, heads| kernels::attend(&zeros([2, 3, 24]), &zeros(k), &zeros(v), heads, false).is_some();
    let shift = |shift| kernels::shift_channels(&zeros([2, 6, 3, 3]), &zeros(shift)).is_some();
    let join = |second| kernels::join_channels(&zeros([2, 6, 3, 4]), &zeros(second)).is_some();
    let dropout = |probability| kernels::dropout(&zeros([2, 6]), probability).is_some();
    assert!(norm([2, 4], [2, 4]) && gated([2, 3, 4], [2, 4]) && group(6, 6, 3) && conv(6, 5));
    assert!(
        linear(6, 5)
            && attention(4)
            && attend([2, 5, 24], [2, 5, 24], 4)
            && shift([2, 6])
            && join([2, 5, 3, 4])
            && dropout(0.0)
    );
    let refused: [&dyn Fn() -> bool; 27] = [
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
        &|| attend([2, 5, 24], [2, 5, 24], 5),
        &|| attend([2, 5, 24], [2, 4, 24], 4),
        &|| attend([1, 5, 24], [1, 5, 24], 4),
        &|| attend([2, 5, 12], [2, 5, 12], 4),
        &|| attend([2, 0, 24], [2, 0, 24], 4),
        &|| kernels::geglu(&zeros([2, 3])).is_some(),
        &|| shift([1, 6]),
        &|| shift([2, 1]),
        &|| join([1, 6, 3, 4]),
        &|| join([2, 6, 4, 4]),
        &|| join([2, 6, 3, 3]),
        &|| dropout(1.0),
        &|| dropout(-0.1),
    ];
    for (i, call) in refused.iter().enumerate() {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "call {i} is not refused");
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

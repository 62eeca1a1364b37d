//! Results and gradients are those of Burn's operations, for inputs in every memory layout.

use crate::case::Case;
use crate::case::Layout::{self, Contiguous, Narrowed, Second, Transposed};
use crate::cases::{
    ATTEND, ATTENTION, CONV, GATED, GEGLU, GROUP_NORM, JOIN, LAYER_NORM, LINEAR, SHIFT, TRANSPOSE, UPSAMPLE,
    activations,
};
use crate::run::{gradients, noise, off, result, same_bits};

fn check(case: Case, layout: Layout) {
    let values = case.values(layout);
    let expected = result(case, &values, layout, false);
    let weights = noise(99, expected.len());
    let expected_gradients = gradients(case, &values, layout, false, |_| true, &weights);
    let found = gradients(case, &values, layout, true, |_| true, &weights);
    let [tolerance, tolerance_of_gradients] = case.tolerance();

    let distance = off(&found.result, &expected);
    let pairs = found.gradients.iter().zip(&expected_gradients.gradients);
    let distances: Vec<f64> = pairs.map(|(a, b)| off(a.as_ref().unwrap(), b.as_ref().unwrap())).collect();
    assert!(distance <= tolerance, "{case:?}, {layout:?}: the result is off by {distance:e}");
    for &distance in &distances {
        assert!(
            distance <= tolerance_of_gradients,
            "{case:?}, {layout:?}: gradients are off by {distances:?}"
        );
    }
    let alone = result(case, &values, layout, true);
    assert!(same_bits(&alone, &found.result), "{case:?}: without a gradient, the result is the same");
}

fn check_everywhere(cases: &[Case]) {
    for &case in cases {
        for layout in [Contiguous, Transposed, Narrowed, Second] {
            check(case, layout);
        }
    }
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
fn attention_to_others_is_burns() {
    check_everywhere(ATTEND);
}

#[test]
fn gated_linear_units_are_burns() {
    check_everywhere(GEGLU);
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

//! Comparing numbers: by the largest deviation, relative to the largest expected value.

#![allow(clippy::print_stderr, reason = "for the test harness, which shows it on demand")]

use burn::tensor::TensorData;
use std::thread;

/// Panics unless `found` has the shape of `expected` and lies within `tolerance` of it.
///
/// The measure is the largest absolute difference divided by the largest absolute value in `expected`, or by
/// nothing where that is all zero: a zero among ones may be missed by `tolerance`, and signed errors cannot cancel.
/// A value that is not finite never passes. With the environment variable `DIFFUSION_DEVIATIONS` set, every deviation is
/// told on stderr, which the test harness shows with `--nocapture`.
///
/// # Panics
/// With `what`, both values and their place, if they differ.
#[track_caller]
pub fn assert_close(what: &str, found: TensorData, expected: TensorData, tolerance: f64) {
    assert_eq!(found.shape, expected.shape, "{what}: found and expected differ in shape");
    let pairs: Vec<(f64, f64)> = found.iter::<f64>().zip(expected.iter::<f64>()).collect();
    let largest = pairs.iter().fold(0.0f64, |largest, (_, e)| largest.max(e.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    // Not a number is the worst deviation of all; `total_cmp` sorts it after infinity.
    let deviation = |&(f, e): &(f64, f64)| ((f - e) / scale).abs();
    let worst = pairs.iter().enumerate().max_by(|(_, a), (_, b)| deviation(a).total_cmp(&deviation(b)));
    let Some((at, pair)) = worst else { return };
    if std::env::var_os("DIFFUSION_DEVIATIONS").is_some() {
        eprintln!("{}: {what} deviates by {:.1e}", thread::current().name().unwrap_or("?"), deviation(pair));
    }
    let within = deviation(pair) <= tolerance;
    assert!(
        within,
        "{what}: entry {at} of shape {} is {:e}, expected {:e}; they differ by {:.1e} of the largest, {largest:e}, \
         and the tolerance is {tolerance:.1e}",
        found.shape,
        pair.0,
        pair.1,
        deviation(pair),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], expected: &[f32]) {
        assert_close("test", TensorData::from(found), TensorData::from(expected), 1e-3);
    }

    #[test]
    fn deviations_count_relative_to_the_largest_value() {
        close(&[], &[]);
        close(&[1000.0, 0.9], &[1000.0, 0.0]);
        close(&[0.0009], &[0.0]);
    }

    #[test]
    #[should_panic(expected = "entry 1 of shape [2] is 1.125e0, expected 0e0")]
    fn a_deviation_panics_with_both_values_and_their_place() {
        close(&[1000.0, 1.125], &[1000.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "entry 0 of shape [2]")]
    fn errors_of_opposite_sign_do_not_cancel() {
        close(&[1.25, 0.9], &[1.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "is NaN, expected 1e0")]
    fn not_a_number_found_panics() {
        close(&[1.0, f32::NAN], &[1.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "is NaN, expected NaN")]
    fn not_a_number_is_no_equal_of_itself() {
        close(&[f32::NAN], &[f32::NAN]);
    }

    #[test]
    #[should_panic(expected = "is inf, expected inf")]
    fn infinity_is_no_equal_of_itself() {
        close(&[f32::INFINITY], &[f32::INFINITY]);
    }

    #[test]
    #[should_panic(expected = "differ in shape")]
    fn a_shape_that_would_broadcast_panics() {
        let one = |shape: &[usize]| TensorData::new(vec![1.0f32; 1], shape.to_vec());
        assert_close("test", one(&[1]), one(&[1, 1]), 1.0);
    }
}

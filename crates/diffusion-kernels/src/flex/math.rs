//! Functions and sums over slices that the compiler vectorizes.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Elements of one task.
const CHUNK: usize = 1 << 14;
/// Elements that are summed side by side.
const LANES: usize = 16;

/// Runs `work` compiled for the widest SIMD instructions that this processor has.
///
/// Loops in it must be written as `for`: the iterators' own `for_each` and `fold` are compiled separately, without them.
#[inline(always)]
pub fn simd<F: FnOnce() -> R, R>(work: F) -> R {
    struct Work<F>(F);
    impl<F: FnOnce() -> R, R> NullaryFnOnce for Work<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// `len` zeros, written by all threads: memory that was used before has to be cleared, and a single thread would keep
/// the others waiting.
pub fn zeros(len: usize) -> Vec<f32> {
    if len <= 2 * CHUNK { vec![0.0; len] } else { rayon::iter::repeat_n(0.0, len).collect() }
}

/// `function` of every element.
pub fn map(x: &[f32], function: impl Fn(f32) -> f32 + Copy + Sync + Send) -> Vec<f32> {
    let mut out = zeros(x.len());
    let chunks = |(out, x): (&mut [f32], &[f32])| {
        simd(
            #[inline(always)]
            || {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = function(x);
                }
            },
        );
    };
    if x.len() <= 2 * CHUNK {
        chunks((&mut out, x));
    } else {
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(chunks);
    }
    out
}

/// `function` of every pair of elements.
pub fn zip(x: &[f32], y: &[f32], function: impl Fn(f32, f32) -> f32 + Copy + Sync + Send) -> Vec<f32> {
    assert_eq!(x.len(), y.len(), "slices of one length");
    let mut out = zeros(x.len());
    let chunks = |((out, x), y): ((&mut [f32], &[f32]), &[f32])| {
        simd(
            #[inline(always)]
            || {
                for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                    *out = function(x, y);
                }
            },
        );
    };
    if x.len() <= 2 * CHUNK {
        chunks(((&mut out, x), y));
    } else {
        out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(y.par_chunks(CHUNK)).for_each(chunks);
    }
    out
}

/// `Σ term(i)` for `i` below `len`, in an order that depends on `len` alone.
#[inline(always)]
pub fn sum(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += term(start + lane);
        }
    }
    for i in whole..len {
        lanes[i - whole] += term(i);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// The largest element; NaNs are ignored.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for lane in 0..LANES {
            lanes[lane] = if x[lane] > lanes[lane] { x[lane] } else { lanes[lane] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top })
}

/// eˣ, to 1 unit in the last place; x is clamped to [-87, 88].
///
/// A polynomial around the nearest multiple of ln 2 (Moshier's Cephes).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5·2²³ leaves the nearest integer in the lowest bits.
    let magic = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = magic - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    (p * r * r + r + 1.0) * f32::from_bits((magic.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// 1/(1 + e⁻ˣ), to 3 units in the last place.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, to 4e-7: a quotient of polynomials between -4 and 4 (the one of Eigen and XLA), and ±1 beyond,
/// where the quotient would not be.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142e-10;
    p = p * s + 2.770_681_5e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_3e-5;
    p = p * s - 7.349_906_5e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5;
    q = q * s - 2.133_740_5e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_33e-3;
    q = q * s - 1.426_474e-2;
    if x.abs() == 4.0 { 0.25 * x } else { (x * p / q).clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_2_SQRT_PI;

    /// `count` values from `first` to `last`.
    fn grid(first: f32, last: f32, count: u32) -> impl Iterator<Item = f32> {
        (0..=count).map(move |i| first + (last - first) * (i as f32 / count as f32))
    }

    /// How far `found` is from `expected`, in units of the last place of an f32 of that size.
    fn units(found: f32, expected: f64) -> f64 {
        let unit = 2.0_f64.powi(expected.abs().log2().floor().max(-126.0) as i32 - 23);
        (f64::from(found) - expected).abs() / unit
    }

    /// The error function by its series of positive terms, `2/√π·e^(-x²)·Σ (2x²)ⁿ·x/(2n+1)!!`.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut total) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            total += term;
        }
        FRAC_2_SQRT_PI * (-x * x).exp() * total
    }

    #[test]
    fn exp_is_exact_to_its_last_places() {
        let worst = grid(-87.0, 88.0, 300_000).map(|x| units(exp(x), f64::from(x).exp())).fold(0.0, f64::max);
        assert!(worst < 1.0, "{worst}");
        assert_eq!([exp(0.0), exp(-0.0)], [1.0; 2]);
        assert_eq!([exp(-1000.0), exp(f32::NEG_INFINITY)], [exp(-87.0); 2]);
        assert_eq!([exp(1000.0), exp(f32::INFINITY)], [exp(88.0); 2]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_exact_to_its_last_places() {
        let exact = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
        let worst = grid(-87.0, 87.0, 300_000).map(|x| units(sigmoid(x), exact(x))).fold(0.0, f64::max);
        assert!(worst < 3.0, "{worst}");
        assert_eq!([sigmoid(0.0), sigmoid(100.0), sigmoid(f32::INFINITY)], [0.5, 1.0, 1.0]);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-38 && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_near_the_exact_one() {
        let off = |x: f32| (f64::from(erf(x)) - exact_erf(f64::from(x))).abs();
        let worst = grid(-5.0, 5.0, 100_000).map(off).fold(0.0, f64::max);
        assert!(worst < 4e-7, "{worst:e}");
        assert!(grid(-5.0, 5.0, 100_000).all(|x| erf(x).abs() <= 1.0));
        assert_eq!([erf(0.0), erf(4.0), erf(100.0), erf(f32::NEG_INFINITY)], [0.0, 1.0, 1.0, -1.0]);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sums_take_every_term_once() {
        for len in [0, 1, 15, 16, 17, 100] {
            assert_eq!(sum(len, |i| i as f32), (0..len).sum::<usize>() as f32);
        }
    }
}

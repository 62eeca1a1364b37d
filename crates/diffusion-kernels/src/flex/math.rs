//! Functions and sums over slices that compilers turn into vector instructions.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// How many numbers a thread takes at once.
const CHUNK: usize = 1 << 14;
/// Numbers that are summed side by side.
const LANES: usize = 16;

/// Runs `work` with the widest vectors that this processor has.
///
/// Loops in it are to be written as `for`: the iterators' own `for_each` and `fold` are compiled apart, without them.
#[inline(always)]
pub fn wide<F: FnOnce() -> R, R>(work: F) -> R {
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

/// `function` of every number.
pub fn map(x: &[f32], function: impl Fn(f32) -> f32 + Copy + Sync + Send) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let chunks = |(out, x): (&mut [f32], &[f32])| {
        wide(
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

/// `function` of every pair of numbers.
pub fn zip(x: &[f32], y: &[f32], function: impl Fn(f32, f32) -> f32 + Copy + Sync + Send) -> Vec<f32> {
    assert_eq!(x.len(), y.len(), "slices go together");
    let mut out = vec![0.0; x.len()];
    let chunks = |((out, x), y): ((&mut [f32], &[f32]), &[f32])| {
        wide(
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

/// The largest number; one that is none is passed over.
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

/// eˣ, to 2 units in the last place; x is held between -87 and 88.
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

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, to 1e-7: a quotient of polynomials between -4 and 4 (the one of Eigen and XLA).
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
    x * p / q
}

//! Distances by the means of kernels: KID and the maximum mean discrepancy.

use crate::error::MetricError;
use crate::features::Features;
use crate::pairs::{Pairs, Piece, squared_distance};
use diffusion_core::random::{Purpose, Stream};
use diffusion_core::watch::{Stopped, Watch};
use serde::{Deserialize, Serialize};

/// The subsets of KID.
pub const KID_SUBSET: Purpose = Purpose(42);

/// Of how many examples at most the median distance is taken.
const MEDIAN_OF: usize = 2_000;

/// How [`kid`] draws its subsets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KidConfig {
    /// How many subsets are drawn; at least 2.
    pub subsets: usize,
    /// How many examples of each set a subset has; at least 2, and at most half of the smaller set.
    pub size: usize,
}

/// 100 subsets of 1,000, as everywhere.
impl Default for KidConfig {
    fn default() -> Self {
        Self { subsets: 100, size: 1_000 }
    }
}

/// The kernel distance over subsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kid {
    /// The mean over the subsets. It is unbiased, so that of a perfect model it is 0 on average, and below 0 half of the time.
    pub mean: f64,
    /// The standard deviation over the subsets, which other programs print behind a ±. It is that of one subset, and much larger
    /// than the error of the mean.
    pub std: f64,
    /// The standard error of the mean, by subsets that share no example: at most so large, however often the same examples
    /// are drawn again.
    pub error: f64,
}

/// The kernel distance (KID, Bińkowski et al. 2018): the mean of [`kernel_distance`] over random subsets.
///
/// Subsets are drawn in rounds: a round divides both sets at random into as many subsets as they have.
///
/// # Errors
/// If the sets differ in their dimensions, there are fewer than 2 subsets, or these are larger than half of the smaller set
/// or have fewer than 2 examples; or if `watch` stops it.
pub fn kid(
    samples: &Features,
    real: &Features,
    config: &KidConfig,
    seed: u64,
    watch: &Watch,
) -> Result<Kid, MetricError> {
    let &KidConfig { subsets, size } = config;
    samples.check_dimensions(real)?;
    let count = samples.count().min(real.count());
    if size < 2 || size > count / 2 {
        return Err(MetricError::SubsetSize { size, count });
    }
    if subsets < 2 {
        return Err(MetricError::Subsets { found: subsets });
    }
    let (per_round, quiet) = (count / size, Watch::default());
    let mut values = Vec::with_capacity(subsets);
    for round in 0..subsets.div_ceil(per_round) as u64 {
        let [left, right] = [(samples, 0), (real, 1)].map(|(set, which)| shuffled(set, seed, round, which));
        for (left, right) in
            left.chunks_exact(size).zip(right.chunks_exact(size)).take(subsets - values.len())
        {
            watch.report("comparing subsets", values.len() as u64, Some(subsets as u64))?;
            values.push(kernel_distance(&samples.select(left), &real.select(right), &quiet)?);
        }
    }
    let mean = mean(&values);
    let squares = |values: &[f64], mean: f64| values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let rounds = values.chunks(per_round).filter(|round| round.len() > 1);
    let (within, freedom) = rounds.fold((0.0, 0), |(sum, freedom), round| {
        (sum + squares(round, self::mean(round)), freedom + round.len() - 1)
    });
    let independent = per_round.min(subsets) as f64;
    Ok(Kid {
        mean,
        std: (squares(&values, mean) / values.len() as f64).sqrt(),
        error: (within / freedom as f64 / independent).sqrt(),
    })
}

/// The places in a set, in the random order of a round.
fn shuffled(set: &Features, seed: u64, round: u64, which: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..set.count()).collect();
    Stream::new(seed, KID_SUBSET, round, which).shuffle(&mut order);
    order
}

/// The unbiased squared maximum mean discrepancy of two sets under KID's kernel, (x·y/d + 1)³ in d dimensions.
///
/// # Errors
/// If the sets differ in their dimensions, one has fewer than 2 examples, or `watch` stops it.
pub fn kernel_distance(samples: &Features, real: &Features, watch: &Watch) -> Result<f64, MetricError> {
    let scale = 1.0 / samples.dimensions() as f64;
    unbiased(samples, real, |rows, columns, is_same| {
        let pairs = Pairs { rows, columns, watch, work: "comparing features" };
        pairs
            .products(|| 0.0, |sum, piece| *sum += kernel_sum(&piece, is_same, |x| (x * scale + 1.0).powi(3)))
    })
}

/// The unbiased squared maximum mean discrepancy of two sets under the Gaussian kernel exp(−‖x − y‖² / (2·bandwidth²))
/// (Gretton et al. 2012): 0 on average for draws of one distribution. [`median_distance`] of the data is the usual
/// bandwidth; figures of different bandwidths cannot be compared.
///
/// # Errors
/// If the sets differ in their dimensions, one has fewer than 2 examples, the bandwidth is not a positive number, or
/// `watch` stops it.
pub fn mmd(samples: &Features, real: &Features, bandwidth: f64, watch: &Watch) -> Result<f64, MetricError> {
    if !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(MetricError::Bandwidth { found: bandwidth });
    }
    let scale = -0.5 / (bandwidth * bandwidth);
    unbiased(samples, real, |rows, columns, is_same| {
        let pairs = Pairs { rows, columns, watch, work: "comparing features" };
        pairs.distances(|| 0.0, |sum, piece| *sum += kernel_sum(&piece, is_same, |x| (x * scale).exp()))
    })
}

/// The median distance between two examples of a set, of which 2,000 at most are taken, evenly spread.
///
/// # Errors
/// If there are fewer than 2 examples.
pub fn median_distance(set: &Features) -> Result<f64, MetricError> {
    set.check_count(2)?;
    let taken = set.count().min(MEDIAN_OF);
    let rows: Vec<&[f32]> = (0..taken).map(|i| set.row(i * set.count() / taken)).collect();
    let below = |(i, row): (usize, &&[f32])| -> Vec<f64> {
        rows[..i].iter().map(|other| squared_distance(row, other)).collect()
    };
    let mut squares: Vec<f64> = rows.iter().enumerate().flat_map(below).collect();
    let middle = squares.len() / 2;
    let is_even = squares.len().is_multiple_of(2);
    let (lower, &mut upper, _) = squares.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = upper.sqrt();
    match lower.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if is_even => Ok(0.5 * (lower.sqrt() + upper)),
        _ => Ok(upper),
    }
}

/// E k(x, x′) + E k(y, y′) − 2·E k(x, y), without an example's kernel with itself. `sums` gives the sums of the kernel over
/// each row, and is told whether both sets are one, of which a row has a column of its own that does not count.
fn unbiased(
    samples: &Features,
    real: &Features,
    sums: impl Fn(&Features, &Features, bool) -> Result<Vec<f64>, Stopped>,
) -> Result<f64, MetricError> {
    samples.check_dimensions(real)?;
    samples.check_count(2)?;
    real.check_count(2)?;
    let within = |set: &Features| -> Result<f64, Stopped> {
        let n = set.count() as f64;
        Ok(sums(set, set, true)?.iter().sum::<f64>() / (n * (n - 1.0)))
    };
    let pairs = samples.count() as f64 * real.count() as f64;
    let between = sums(samples, real, false)?.iter().sum::<f64>() / pairs;
    Ok(within(samples)? + within(real)? - 2.0 * between)
}

/// The sum of a kernel over a part of a row, without the row's own column if it has one.
fn kernel_sum(piece: &Piece<'_>, has_own: bool, kernel: impl Fn(f64) -> f64) -> f64 {
    piece.columns().filter(|&(column, _)| !(has_own && column == piece.row)).map(|(_, x)| kernel(x)).sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(count: usize, mean: f64, seed: u64) -> Features {
        let mut stream = Stream::new(seed, Purpose(1000), 0, 0);
        let values = std::iter::repeat_with(|| (mean + stream.normal()) as f32).take(count * 2);
        Features::new(values.collect(), 2).unwrap()
    }

    fn quiet() -> Watch {
        Watch::default()
    }

    /// Of E(x·y/d + 1)³ between two sets of one example each, twice.
    #[test]
    fn the_kernel_of_two_points_is_spelled_out() {
        let at = |x: f32| Features::new(vec![x, x], 1).unwrap();
        let kernel = |x: f64, y: f64| (x * y + 1.0).powi(3);
        let expected = kernel(2.0, 2.0) + kernel(-1.0, -1.0) - 2.0 * kernel(2.0, -1.0);
        assert!((kernel_distance(&at(2.0), &at(-1.0), &quiet()).unwrap() - expected).abs() < 1e-12);
        let expected = 2.0 - 2.0 * (-9.0f64 / 8.0).exp();
        assert!((mmd(&at(2.0), &at(-1.0), 2.0, &quiet()).unwrap() - expected).abs() < 1e-12);
        assert!(mmd(&at(2.0), &at(2.0), 2.0, &quiet()).unwrap().abs() < 1e-12);
    }

    /// Pairs of an example with itself count between the sets, and not within them: whether the copy is the set or not.
    #[test]
    fn a_set_and_its_copy_are_alike() {
        let set = normal(50, 0.0, 0);
        let found = mmd(&set, &set, 1.0, &quiet()).unwrap();
        assert_eq!(found, mmd(&set, &set.clone(), 1.0, &quiet()).unwrap());
        let kernel = |i: usize, j: usize| (-0.5 * squared_distance(set.row(i), set.row(j))).exp();
        let all: f64 = (0..2500).map(|at| kernel(at / 50, at % 50)).sum();
        let expected = 2.0 * (all - 50.0) / (50.0 * 49.0) - 2.0 * all / 2500.0;
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    /// The error that is told is that of other draws of both sets.
    #[test]
    fn the_error_of_kid_is_its_scatter() {
        let config = KidConfig { subsets: 40, size: 20 };
        let draws: Vec<Kid> = (0..60)
            .map(|i| {
                kid(&normal(100, 0.4, 2 * i), &normal(100, 0.0, 2 * i + 1), &config, i, &quiet()).unwrap()
            })
            .collect();
        let means: Vec<f64> = draws.iter().map(|kid| kid.mean).collect();
        let center = mean(&means);
        let scatter = (means.iter().map(|x| (x - center).powi(2)).sum::<f64>() / 59.0).sqrt();
        let told = mean(&draws.iter().map(|kid| kid.error.powi(2)).collect::<Vec<_>>()).sqrt();
        assert!((0.75..1.5).contains(&(told / scatter)), "{told} is told, {scatter} is right");
        let one = mean(&draws.iter().map(|kid| kid.std).collect::<Vec<_>>());
        assert!(one > 1.5 * told, "{one} is that of one subset");
    }

    #[test]
    fn subsets_are_those_of_the_seed() {
        let (samples, real) = (normal(30, 0.0, 0), normal(40, 0.0, 1));
        let of = |seed| kid(&samples, &real, &KidConfig { subsets: 3, size: 10 }, seed, &quiet()).unwrap();
        assert_eq!(of(0), of(0));
        assert_ne!(of(0).mean, of(1).mean);
    }

    #[test]
    fn subsets_must_fit() {
        let (samples, real) = (normal(30, 0.0, 0), normal(21, 0.0, 1));
        let of = |subsets, size| kid(&samples, &real, &KidConfig { subsets, size }, 0, &quiet()).map(|_| ());
        assert!(of(2, 10).is_ok());
        assert!(matches!(of(2, 11), Err(MetricError::SubsetSize { size: 11, count: 21 })));
        assert!(matches!(of(2, 1), Err(MetricError::SubsetSize { size: 1, count: 21 })));
        assert!(matches!(of(1, 10), Err(MetricError::Subsets { found: 1 })));
        let one = samples.select(&[0]);
        let error = kernel_distance(&one, &real, &quiet()).unwrap_err();
        assert!(matches!(error, MetricError::TooFew { found: 1, needed: 2 }));
        assert!(matches!(median_distance(&one), Err(MetricError::TooFew { found: 1, needed: 2 })));
    }

    #[test]
    fn the_median_is_between_the_middle_two() {
        let of = |values: &[f32]| median_distance(&Features::new(values.to_vec(), 1).unwrap()).unwrap();
        assert_eq!(of(&[0.0, 3.0]), 3.0);
        assert_eq!(of(&[0.0, 1.0, 5.0]), 4.0);
        // 1, 2, 3, 5, 6, 8.
        assert_eq!(of(&[0.0, 2.0, 3.0, 8.0]), (3.0 + 5.0) / 2.0);
    }

    #[test]
    fn a_kernel_has_a_width() {
        let same = Features::new(vec![0.5; 8], 2).unwrap();
        for bandwidth in [median_distance(&same).unwrap(), -1.0, f64::NAN, f64::INFINITY] {
            let error = mmd(&same, &same, bandwidth, &quiet()).unwrap_err();
            assert!(
                matches!(error, MetricError::Bandwidth { found } if found.to_bits() == bandwidth.to_bits())
            );
        }
    }
}

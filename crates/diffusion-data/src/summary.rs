//! What the values of a data set look like, to be seen before a model is trained on them.

use diffusion_core::watch::Watch;

use crate::{DataError, Dataset, dataset::read_each};

/// The values of some examples at a glance: their range, their spread, and what may be wrong with them.
///
/// The moments and the range are those of all finite values together, whatever their position in an example; each is
/// not a number where there is no finite one.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSummary {
    /// How many examples the data set has.
    pub examples: usize,
    /// How many of them were read.
    pub read: usize,
    /// How many values an example has.
    pub positions: usize,
    /// The mean, in the units of the data.
    pub mean: f64,
    /// The root of the mean squared distance from the mean, in the units of the data.
    pub standard_deviation: f64,
    /// The least value.
    pub min: f32,
    /// The greatest value.
    pub max: f32,
    /// How many values are infinite or not a number.
    pub non_finite: usize,
    /// The first of those: the index of the example, and the position in it in row-major order.
    pub first_non_finite: Option<(usize, usize)>,
    /// How many positions hold one and the same finite value in all examples that were read.
    pub constant: usize,
    /// The first of those, at most eight, in row-major order.
    pub first_constant: Vec<usize>,
}

/// The most positions that a summary names.
const NAMED: usize = 8;

impl DataSummary {
    /// Reads `at_most` examples, evenly spaced from the first to the last one, or all if they are fewer.
    ///
    /// Each is read once. In memory are one example, or a few for each of several readers, and two values for each position.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    ///
    /// # Panics
    /// If `at_most` is zero or the data set is empty.
    pub fn of<D: Dataset + ?Sized>(dataset: &D, at_most: usize) -> Result<Self, DataError> {
        Self::watched(dataset, at_most, &Watch::default())
    }

    /// The same; `watch` is told how far it is, and may stop it.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    ///
    /// # Panics
    /// As [`of`](Self::of).
    pub fn watched<D: Dataset + ?Sized>(
        dataset: &D,
        at_most: usize,
        watch: &Watch,
    ) -> Result<Self, DataError> {
        assert!(at_most > 0, "a summary of {at_most} examples was asked for, expected at least 1");
        assert!(!dataset.is_empty(), "the data set has {} examples, expected at least 1", dataset.len());
        let positions = dataset.shape().iter().product();
        let (mut moments, mut constant) = (Moments::default(), Constant::default());
        let (mut read, mut non_finite, mut first_non_finite) = (0, 0, None);
        let indices: Vec<usize> = evenly_spaced(dataset.len(), at_most).collect();
        let total = Some(indices.len() as u64);
        let report = |read: usize| watch.report("looking at the data", read as u64, total);
        report(0)?;
        read_each(dataset, &indices, |index, example| {
            let finite = moments.add(example);
            constant.add(example);
            read += 1;
            non_finite += example.len() - finite;
            if first_non_finite.is_none() && finite < example.len() {
                first_non_finite = example.iter().position(|x| !x.is_finite()).map(|at| (index, at));
            }
            Ok(report(read)?)
        })?;
        let constant = constant.positions();
        Ok(Self {
            examples: dataset.len(),
            read,
            positions,
            mean: moments.mean,
            standard_deviation: (moments.squares / moments.count as f64).sqrt(),
            min: moments.min,
            max: moments.max,
            non_finite,
            first_non_finite,
            first_constant: constant.iter().copied().take(NAMED).collect(),
            constant: constant.len(),
        })
    }
}

/// `n` indices below `len`, the first and the last among them; all if `n` is not less than `len`.
pub fn evenly_spaced(len: usize, n: usize) -> impl Iterator<Item = usize> {
    let n = n.min(len);
    let (last, gaps) = ((len as u128).saturating_sub(1), (n as u128).saturating_sub(1).max(1));
    (0..n as u128).map(move |i| (i * last / gaps) as usize)
}

/// Mean, sum of squared distances from it, and range of the values so far.
struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
    min: f32,
    max: f32,
}

impl Default for Moments {
    /// Those of no values; of `f32::NAN` and a number, `f32::min` and `f32::max` take the number.
    fn default() -> Self {
        Self { count: 0, mean: f64::NAN, squares: 0.0, min: f32::NAN, max: f32::NAN }
    }
}

impl Moments {
    /// Takes the finite values of an example in, and returns how many they are.
    ///
    /// The example's own moments are joined with those so far as of Chan, Golub and LeVeque, *Updating Formulae and a
    /// Pairwise Algorithm for Computing Sample Variances*, 1979: `S = S₁ + S₂ + (μ₂ − μ₁)² · n₁ n₂ / (n₁ + n₂)`. No
    /// difference of great sums is taken, so that a mean far from zero costs few digits.
    fn add(&mut self, example: &[f32]) -> usize {
        let (mut count, mut sum) = (0, 0.0);
        for &x in example.iter().filter(|x| x.is_finite()) {
            count += 1;
            sum += f64::from(x);
            self.min = self.min.min(x);
            self.max = self.max.max(x);
        }
        if count == 0 {
            return 0;
        }
        let mean = sum / count as f64;
        let square = |x: &f32| (f64::from(*x) - mean).powi(2);
        let squares: f64 = example.iter().filter(|x| x.is_finite()).map(square).sum();
        if self.count == 0 {
            (self.mean, self.squares) = (mean, squares);
        } else {
            let (n1, n2) = (self.count as f64, count as f64);
            let distance = mean - self.mean;
            self.squares += squares + distance.powi(2) * n1 * n2 / (n1 + n2);
            self.mean += distance * n2 / (n1 + n2);
        }
        self.count += count as u64;
        count
    }
}

/// The first example, and at which positions all examples so far agree with it.
#[derive(Default)]
struct Constant {
    first: Vec<f32>,
    agree: Vec<bool>,
}

impl Constant {
    fn add(&mut self, example: &[f32]) {
        if self.first.is_empty() {
            self.first = example.to_vec();
            self.agree = example.iter().map(|x| x.is_finite()).collect();
        }
        for ((agree, first), x) in self.agree.iter_mut().zip(&self.first).zip(example) {
            *agree &= first == x;
        }
    }

    fn positions(&self) -> Vec<usize> {
        (0..self.agree.len()).filter(|&at| self.agree[at]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Write, stderr},
        path::Path,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{MnistLike, Points, Split};

    /// Any values, which [`Points`] does not take.
    struct Rows<const N: usize>(Vec<[f32; N]>);

    impl<const N: usize> Dataset for Rows<N> {
        type Label = ();

        fn len(&self) -> usize {
            self.0.len()
        }

        fn shape(&self) -> &[usize] {
            const { &[N] }
        }

        fn read(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
            into.copy_from_slice(&self.0[index]);
            Ok(())
        }
    }

    /// Of 2, 4, 4, 4, 5, 5, 7, 9 the mean is 40 / 8 = 5, and 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32 are the squares.
    #[test]
    fn moments_and_range_are_exact() {
        let numbers = vec![2., 4., 4., 4., 5., 5., 7., 9.];
        for shape in [&[1][..], &[2], &[2, 2], &[8]] {
            let found = DataSummary::of(&Points::new(numbers.clone(), shape), 100).unwrap();
            assert_eq!((found.mean, found.standard_deviation, found.min, found.max), (5.0, 2.0, 2.0, 9.0));
            let positions = shape.iter().product();
            assert_eq!(
                (found.examples, found.read, found.positions),
                (8 / positions, 8 / positions, positions)
            );
            assert_eq!((found.non_finite, found.first_non_finite), (0, None));
        }
    }

    /// Of 2²⁴ + {0, 2, 4, 6}, in equal numbers, the variance is (9 + 1 + 1 + 9) / 4 = 5. The mean square less the
    /// squared mean, about 2.8 · 10¹⁴ each, would leave hardly a digit of that.
    #[test]
    fn a_mean_far_from_zero_costs_few_digits() {
        let numbers = (0..4000).map(|i| 16_777_216.0 + 2.0 * (i % 4) as f32).collect::<Vec<_>>();
        for size in [1, 4, 5, 4000] {
            let found = DataSummary::of(&Points::new(numbers.clone(), &[size]), 4000).unwrap();
            assert!((found.mean - 16_777_219.0).abs() < 1e-7, "{}", found.mean);
            assert!((found.standard_deviation - 5_f64.sqrt()).abs() < 1e-8, "{}", found.standard_deviation);
        }
    }

    /// One number that outweighs all others, first or last, and the greatest that there are.
    #[test]
    fn great_numbers_are_no_matter() {
        let n = 1001_f64;
        // One of 1001 numbers is x, the others are 0: the mean is x / n, the variance x² / n − x² / n².
        let deviation = 1e30 * ((n - 1.0) / (n * n)).sqrt();
        for at in [0, 1000] {
            let mut numbers = vec![0.0; 1001];
            numbers[at] = 1e30_f32;
            let found = DataSummary::of(&Points::new(numbers, &[1]), 1001).unwrap();
            assert!((found.standard_deviation / deviation - 1.0).abs() < 1e-6, "{found:?}");
            assert!((found.mean / (1e30 / n) - 1.0).abs() < 1e-6, "{found:?}");
        }
        let found = DataSummary::of(&Points::new(vec![f32::MAX, f32::MIN], &[1]), 2).unwrap();
        assert_eq!((found.mean, found.standard_deviation), (0.0, f64::from(f32::MAX)));
        assert_eq!((found.min, found.max), (f32::MIN, f32::MAX));
    }

    #[test]
    fn numbers_that_are_not_finite_are_counted_and_left_out() {
        let (nan, infinite) = (f32::NAN, f32::INFINITY);
        let rows = Rows(vec![[1.0, 1.0, 3.0], [1.0, 3.0, nan], [1.0, -infinite, nan], [nan, infinite, 5.0]]);
        let found = DataSummary::of(&rows, 4).unwrap();
        assert_eq!((found.non_finite, found.first_non_finite), (5, Some((1, 2))));
        // Those left are 1, 1, 3, 1, 3, 1 and 5: their mean is 15 / 7, the mean of their squares 47 / 7.
        let deviation = (47_f64 / 7.0 - (15_f64 / 7.0).powi(2)).sqrt();
        assert!((found.mean - 15.0 / 7.0).abs() < 1e-12, "{found:?}");
        assert!((found.standard_deviation - deviation).abs() < 1e-12, "{found:?}");
        assert_eq!((found.min, found.max), (1.0, 5.0));
        // Every position has something that is not finite, even if the rest agrees.
        assert_eq!((found.constant, found.first_constant), (0, vec![]));
    }

    #[test]
    fn infinite_numbers_are_not_the_range_and_not_constant() {
        let infinite = f32::INFINITY;
        let found = DataSummary::of(&Rows(vec![[infinite, 2.0, -infinite]; 2]), 2).unwrap();
        assert_eq!((found.min, found.max, found.mean, found.standard_deviation), (2.0, 2.0, 2.0, 0.0));
        assert_eq!((found.non_finite, found.first_non_finite), (4, Some((0, 0))));
        assert_eq!((found.constant, found.first_constant), (1, vec![1]));
    }

    #[test]
    fn of_nothing_finite_there_are_no_moments() {
        let found = DataSummary::of(&Rows(vec![[f32::NAN, f32::INFINITY]; 3]), 3).unwrap();
        assert!(found.mean.is_nan() && found.standard_deviation.is_nan(), "{found:?}");
        assert!(found.min.is_nan() && found.max.is_nan(), "{found:?}");
        assert_eq!((found.non_finite, found.first_non_finite, found.constant), (6, Some((0, 0)), 0));
    }

    /// The two zeros are the same number.
    #[test]
    fn constant_positions_are_counted_and_named() {
        let rows = Rows(vec![[7.0, 1.0, 0.0, 5.0], [7.0, 2.0, -0.0, 5.0], [7.0, 1.0, 0.0, 5.0]]);
        let found = DataSummary::of(&rows, 3).unwrap();
        assert_eq!((found.constant, found.first_constant), (3, vec![0, 2, 3]));
        let found = DataSummary::of(&rows, 1).unwrap();
        assert_eq!((found.read, found.constant), (1, 4));
        assert_eq!(DataSummary::of(&Rows(vec![[1.0], [2.0]]), 2).unwrap().constant, 0);
    }

    /// Images of 5 × 4 pixels with a border of −1: all but 3 × 2 pixels, and 7 is the first inside the second row.
    #[test]
    fn the_border_of_images_is_constant() {
        let image = |i: usize| {
            (0..20).map(move |at| match (at / 4, at % 4) {
                (1..=3, 1..=2) => (i * 20 + at) as f32 / 100.0,
                _ => -1.0,
            })
        };
        let found = DataSummary::of(&Points::new((0..5).flat_map(image).collect(), &[1, 5, 4]), 5).unwrap();
        assert_eq!((found.positions, found.constant), (20, 14));
        assert_eq!(found.first_constant, [0, 1, 2, 3, 4, 7, 8, 11]);
        assert_eq!((found.min, found.max), (-1.0, 0.94));
    }

    #[test]
    fn examples_are_read_evenly_from_the_first_to_the_last() {
        let all = |len, n| Vec::from_iter(evenly_spaced(len, n));
        assert_eq!(all(10, 4), [0, 3, 6, 9]);
        assert_eq!(all(11, 4), [0, 3, 6, 10]);
        assert_eq!(all(10, 9), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
        assert_eq!((all(10, 10), all(10, 11)), (Vec::from_iter(0..10), Vec::from_iter(0..10)));
        assert_eq!((all(10, 1), all(1, 5), all(10, 2)), (vec![0], vec![0], vec![0, 9]));
        let of_many = all(usize::MAX, 3);
        assert_eq!(of_many, [0, usize::MAX / 2, usize::MAX - 1]);
    }

    /// What is wrong with the last example is seen in a part as small as two.
    #[test]
    fn the_first_and_the_last_example_are_always_read() {
        let mut rows = vec![[0.0]; 1000];
        (rows[0], rows[999]) = ([-3.0], [f32::NAN]);
        for at_most in [2, 7, 999, 1000, 2000] {
            let found = DataSummary::of(&Rows(rows.clone()), at_most).unwrap();
            assert_eq!((found.examples, found.read), (1000, at_most.min(1000)));
            assert_eq!((found.min, found.first_non_finite), (-3.0, Some((999, 0))));
        }
    }

    /// Counts how often it is read.
    struct Counting(AtomicUsize);

    impl Dataset for Counting {
        type Label = ();

        fn len(&self) -> usize {
            1 << 40
        }

        fn shape(&self) -> &[usize] {
            &[2]
        }

        fn read(&self, _: usize, into: &mut [f32]) -> Result<(), DataError> {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            into.fill(count as f32);
            Ok(())
        }
    }

    #[test]
    fn no_example_is_read_twice() {
        let data = Counting(AtomicUsize::new(0));
        let found = DataSummary::of(&data, 50).unwrap();
        assert_eq!((found.read, found.max, data.0.into_inner()), (50, 49.0, 50));
    }

    /// Mean and standard deviation of the training pixels, in [0, 1], are known to every tutorial as 0.2860 and 0.3530.
    #[test]
    fn fashion_mnist_has_its_moments() {
        let folder = Path::new("/usr/share/datasets/fashion-mnist");
        if !folder.exists() {
            // Not `eprintln!`, which the test harness hides when a test passes.
            writeln!(stderr(), "skipped fashion_mnist_has_its_moments: there is no {}", folder.display())
                .unwrap();
            return;
        }
        let found = DataSummary::of(&MnistLike::from_folder(folder, Split::Train).unwrap(), 60_000).unwrap();
        assert_eq!((found.read, found.positions, found.non_finite, found.constant), (60_000, 784, 0, 0));
        assert!((found.mean - (2.0 * 0.2860 - 1.0)).abs() < 2e-4, "{found:?}");
        assert!((found.standard_deviation - 2.0 * 0.3530).abs() < 2e-4, "{found:?}");
        assert_eq!((found.min, found.max), (-1.0, 1.0));
    }

    #[test]
    fn a_look_can_be_stopped() {
        let watch = Watch::new(|progress| assert_eq!(progress.total, Some(50)));
        let data = Counting(AtomicUsize::new(0));
        assert_eq!(DataSummary::watched(&data, 50, &watch).unwrap().read, 50);
        watch.stop();
        let error = DataSummary::watched(&data, 50, &watch).unwrap_err();
        assert!(matches!(error.problem, crate::Problem::Stopped) && data.0.into_inner() == 50, "{error}");
    }

    #[test]
    #[should_panic(expected = "a summary of 0 examples was asked for, expected at least 1")]
    fn a_summary_of_nothing_panics() {
        DataSummary::of(&Points::new(vec![1.0], &[1]), 0).unwrap();
    }

    #[test]
    #[should_panic(expected = "the data set has 0 examples, expected at least 1")]
    fn a_summary_of_an_empty_data_set_panics() {
        DataSummary::of(&Points::new(vec![], &[1]), 1).unwrap();
    }
}

//! A schedule says which noise levels training visits and which ones sampling steps through.
//!
//! Everything here is f64 on the host. The discrete schedules are tables of σ, as in the reference, and defined by
//! it or by the paper that it names; their values agree with the reference's to its own rounding (it computes in
//! f32, which costs it up to 1e-3 relative where σ² = 1/ᾱ − 1 cancels; the tables here do not cancel).

use crate::path::{Path, Straight, VarianceExploding};
use crate::random::Stream;
use std::f64::consts::PI;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Deref;

/// Noise levels for training and for sampling, on one path.
///
/// A schedule is used with models of its own path,
/// ```
/// # use diffusion_core::{FlowPrediction, Parameterization, schedule::{Flow, Schedule}};
/// # fn both_on_one_path<P: Parameterization, S: Schedule<Path = P::Path>>(_: P, _: S) {}
/// both_on_one_path(FlowPrediction, Flow::default());
/// ```
/// and cannot be used with others:
/// ```compile_fail,E0271
/// # use diffusion_core::{FlowPrediction, Parameterization, schedule::{Ddpm, Schedule}};
/// # fn both_on_one_path<P: Parameterization, S: Schedule<Path = P::Path>>(_: P, _: S) {}
/// both_on_one_path(FlowPrediction, Ddpm::default());
/// ```
pub trait Schedule: Debug {
    /// The path that the noise levels belong to.
    type Path: Path;

    /// The noise levels of training, increasing.
    fn levels(&self) -> &[f64];

    /// `steps + 1` noise levels for sampling, from the largest to the smallest.
    ///
    /// Trailing spacing (Lin et al. 2023, arXiv:2305.08891, Table 2): of N levels those at
    /// `round(N·(1 − i/steps)) − 1` for i < steps, halves rounded to even, and then the first. They end at the
    /// smallest level, not at 0, as in the reference; see [`Sigmas::to_zero`]. More steps than levels repeat
    /// levels, and a repeated level changes nothing. (From about 2N steps on some of the reference's last indices
    /// become −1, which Python reads as the largest level; here they are the first.)
    ///
    /// # Panics
    /// If `steps` is 0.
    fn sigmas(&self, steps: usize) -> Sigmas<Self::Path> {
        Sigmas::new(trailing(self.levels().len(), steps).into_iter().map(|i| self.levels()[i]).collect())
    }

    /// One noise level for a training example; a level of the table, each as likely as any other.
    fn draw(&self, stream: &mut Stream) -> f64 {
        self.levels()[stream.below(self.levels().len())]
    }
}

/// The indices of `steps + 1` sampling levels among `n`, as [`Schedule::sigmas`] describes them.
///
/// # Panics
/// If `steps` is 0.
pub fn trailing(n: usize, steps: usize) -> Vec<usize> {
    assert!(steps > 0, "sampling in 0 steps was asked for, expected at least 1");
    let at = |i: usize| (n as f64 * (1.0 - i as f64 / steps as f64)).round_ties_even() as usize;
    (0..steps).map(|i| at(i).saturating_sub(1)).chain([0]).collect()
}

/// The noise levels of one sampling run, never increasing, tied to their path.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmas<P> {
    levels: Vec<f64>,
    path: PhantomData<fn() -> P>,
}

impl<P: Path> Sigmas<P> {
    /// A grid of the caller's own.
    ///
    /// # Panics
    /// If there are fewer than two levels, or one is not finite, larger than the one before or than the path allows,
    /// or not positive; the last may be 0.
    pub fn new(levels: Vec<f64>) -> Self {
        assert!(levels.len() >= 2, "{} noise levels were given, sampling needs at least 2", levels.len());
        for (i, &level) in levels.iter().enumerate() {
            let before = if i == 0 { P::MAX_SIGMA } else { levels[i - 1] };
            assert!(
                level.is_finite() && level <= before,
                "noise level {i} is {level}, expected at most {before}"
            );
            let last = i + 1 == levels.len();
            assert!(
                level > 0.0 || last && level == 0.0,
                "noise level {i} is {level}, expected a positive number"
            );
        }
        Self { levels, path: PhantomData }
    }

    /// The same grid with a last step to σ = 0, where no noise is left.
    pub fn to_zero(mut self) -> Self {
        if self.levels.last() != Some(&0.0) {
            self.levels.push(0.0);
        }
        self
    }

    /// The number of steps, one less than the number of levels.
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }
}

impl Sigmas<VarianceExploding> {
    /// `steps` levels from `max` down to `min`, evenly spaced in σ^(1/`rho`), and then 0 (Karras et al. 2022,
    /// arXiv:2206.00364, eq. 5; the paper uses 0.002, 80 and ρ = 7).
    ///
    /// # Panics
    /// If `steps` is 0 or not 0 < `min` ≤ `max`.
    pub fn karras(steps: usize, min: f64, max: f64, rho: f64) -> Self {
        let (low, high) = (min.powf(rho.recip()), max.powf(rho.recip()));
        Self::spaced(steps, min, max, |t| (high + t * (low - high)).powf(rho))
    }

    /// `steps` levels from `max` down to `min`, evenly spaced in ln σ, and then 0.
    ///
    /// # Panics
    /// If `steps` is 0 or not 0 < `min` ≤ `max`.
    pub fn exponential(steps: usize, min: f64, max: f64) -> Self {
        Self::spaced(steps, min, max, |t| (max.ln() + t * (min.ln() - max.ln())).exp())
    }

    /// `level(t)` for `steps` values of t from 0 to 1, with exact ends, and then 0.
    fn spaced(steps: usize, min: f64, max: f64, level: impl Fn(f64) -> f64) -> Self {
        assert!(steps > 0, "a grid of 0 steps was asked for, expected at least 1");
        assert!(
            0.0 < min && min <= max,
            "noise levels from {max} down to {min} were asked for, expected 0 < min ≤ max"
        );
        let mut levels: Vec<f64> =
            linspace(0.0, 1.0, steps).into_iter().map(|t| level(t).clamp(min, max)).collect();
        levels[steps - 1] = min;
        levels[0] = max;
        levels.push(0.0);
        Self::new(levels)
    }
}

impl<P> Deref for Sigmas<P> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.levels
    }
}

/// A schedule from the user's own list of noise levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels<P> {
    levels: Vec<f64>,
    path: PhantomData<fn() -> P>,
}

impl<P: Path> Levels<P> {
    /// The schedule of `levels`, which must increase.
    ///
    /// # Panics
    /// If the list is empty, or a level is not positive, not finite, larger than the path allows or not larger than
    /// the one before.
    pub fn new(levels: Vec<f64>) -> Self {
        assert!(!levels.is_empty(), "0 noise levels were given, a schedule needs at least 1");
        let mut before = 0.0;
        for (i, &level) in levels.iter().enumerate() {
            assert!(
                level.is_finite() && level > before && level <= P::MAX_SIGMA,
                "noise level {i} is {level}, expected a finite number above {before} and up to {}",
                P::MAX_SIGMA
            );
            before = level;
        }
        Self { levels, path: PhantomData }
    }

    /// The levels σ = √(1/∏(1−β) − 1) of a discrete diffusion with variances β (Ho et al. 2020, §2).
    fn from_betas(betas: impl Iterator<Item = f64>) -> Self {
        let log_alpha_bar = betas.scan(0.0, |sum, beta| {
            *sum += f64::ln_1p(-beta);
            Some(*sum)
        });
        Self::new(log_alpha_bar.map(|l| (-l).exp_m1().sqrt()).collect())
    }
}

impl<P: Path> Schedule for Levels<P> {
    type Path = P;

    fn levels(&self) -> &[f64] {
        &self.levels
    }
}

macro_rules! discrete {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty = $default:expr),*) $body:block)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(Levels<VarianceExploding>);

        impl $name {
            #[doc = concat!("The schedule of `n` levels; the parameters are those of [`", stringify!($name), "`].")]
            ///
            /// # Panics
            /// If the parameters give no increasing list of noise levels.
            pub fn new($($argument: $type),*) -> Self {
                Self($body)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new($($default),*)
            }
        }

        impl Schedule for $name {
            type Path = VarianceExploding;

            fn levels(&self) -> &[f64] {
                self.0.levels()
            }
        }
    )*};
}

discrete! {
    /// σ evenly spaced in ln σ between `sigma_min` and `sigma_max`; simple, and good for many models.
    ///
    /// The reference gives `n` no default; here it is 100.
    LogLinear(n: usize = 100, sigma_min: f64 = 0.02, sigma_max: f64 = 10.0) {
        assert!(
            0.0 < sigma_min && sigma_min < sigma_max,
            "noise levels from {sigma_min} to {sigma_max} were asked for, expected 0 < sigma_min < sigma_max"
        );
        let (low, high) = (sigma_min.ln(), sigma_max.ln());
        Levels::new(linspace(low, high, n).into_iter().map(f64::exp).collect())
    }

    /// β linear from `beta_start` to `beta_end` (Ho et al. 2020, arXiv:2006.11239, §4).
    Ddpm(n: usize = 1000, beta_start: f64 = 1e-4, beta_end: f64 = 0.02) {
        Levels::from_betas(linspace(beta_start, beta_end, n).into_iter())
    }

    /// √β linear from √`beta_start` to √`beta_end`, as in most latent diffusion models (Rombach et al. 2022,
    /// arXiv:2112.10752), Stable Diffusion among them.
    Ldm(n: usize = 1000, beta_start: f64 = 0.00085, beta_end: f64 = 0.012) {
        Levels::from_betas(linspace(beta_start.sqrt(), beta_end.sqrt(), n).into_iter().map(|root| root * root))
    }

    /// β a sigmoid from `beta_start` to `beta_end` (GeoDiff, Xu et al. 2022, arXiv:2203.02923).
    Sigmoid(n: usize = 1000, beta_start: f64 = 1e-4, beta_end: f64 = 0.02) {
        let betas = linspace(-6.0, 6.0, n).into_iter();
        Levels::from_betas(betas.map(|t| sigmoid(t) * (beta_end - beta_start) + beta_start))
    }

    /// ᾱ(t) = cos²((t + 0.008)/1.008·π/2) with β at most `max_beta` (Nichol & Dhariwal 2021, arXiv:2102.09672,
    /// eq. 17).
    ///
    /// The reference's version takes two βs as well and ignores them; this one has no such arguments.
    Cosine(n: usize = 1000, max_beta: f64 = 0.999) {
        let alpha_bar = |i: usize| ((i as f64 / n as f64 + 0.008) / 1.008 * PI / 2.0).cos().powi(2);
        Levels::from_betas((0..n).map(|i| (1.0 - alpha_bar(i + 1) / alpha_bar(i)).min(max_beta)))
    }
}

/// Flow matching with times σ drawn uniformly from a table between `t_min` and `t_max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow(Levels<Straight>);

impl Flow {
    /// `n` times evenly spaced from `t_min` to `t_max`.
    ///
    /// # Panics
    /// Unless 0 < `t_min` < `t_max` ≤ 1 and `n` ≥ 2.
    pub fn new(n: usize, t_min: f64, t_max: f64) -> Self {
        assert!(
            0.0 < t_min && t_min < t_max && t_max <= 1.0 && n >= 2,
            "{n} times from {t_min} to {t_max} were asked for, expected at least 2 with 0 < t_min < t_max ≤ 1"
        );
        Self(Levels::new(linspace(t_min, t_max, n)))
    }

    fn range(&self) -> (f64, f64) {
        let levels = self.levels();
        (levels[0], levels[levels.len() - 1])
    }
}

impl Default for Flow {
    /// 1000 times from 0.001 to 1, as in the reference.
    fn default() -> Self {
        Self::new(1000, 0.001, 1.0)
    }
}

impl Schedule for Flow {
    type Path = Straight;

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    /// `steps` times evenly spaced from `t_max` to `t_min`, and then 0.
    ///
    /// # Panics
    /// If `steps` is 0.
    fn sigmas(&self, steps: usize) -> Sigmas<Straight> {
        assert!(steps > 0, "sampling in 0 steps was asked for, expected at least 1");
        let (t_min, t_max) = self.range();
        Sigmas::new(linspace(t_max, t_min, steps).into_iter().chain([0.0]).collect())
    }
}

/// Flow matching with logit-normal times: training draws σ = sigmoid(N(0, 1)), clamped to [`t_min`, `t_max`]
/// (Esser et al. 2024, arXiv:2403.03206, §3.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogNormalFlow(Flow);

impl LogNormalFlow {
    /// The schedule whose sampling times are those of [`Flow::new`].
    ///
    /// # Panics
    /// Unless 0 < `t_min` < `t_max` ≤ 1 and `n` ≥ 2.
    pub fn new(n: usize, t_min: f64, t_max: f64) -> Self {
        Self(Flow::new(n, t_min, t_max))
    }
}

impl Schedule for LogNormalFlow {
    type Path = Straight;

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    fn sigmas(&self, steps: usize) -> Sigmas<Straight> {
        self.0.sigmas(steps)
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        let (t_min, t_max) = self.0.range();
        sigmoid(stream.normal()).clamp(t_min, t_max)
    }
}

/// `n` evenly spaced numbers from `start` to `end`, both included; `start` alone if `n` is 1.
fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    // Counted from the nearer end, so that both ends are exact.
    (0..n)
        .map(|i| if 2 * i < n { start + step * i as f64 } else { end - step * (n - 1 - i) as f64 })
        .collect()
}

fn sigmoid(t: f64) -> f64 {
    1.0 / (1.0 + (-t).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn sampling_visits_every_level_once_when_steps_equal_levels() {
        let mut expected: Vec<usize> = (0..10).rev().collect();
        expected.push(0);
        assert_eq!(trailing(10, 10), expected);
    }

    #[test]
    fn more_steps_than_levels_repeat_the_first() {
        assert_eq!(trailing(2, 5), [1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn halves_are_rounded_to_even() {
        // 10·(1 − 3/4) = 2.5, which NumPy rounds to 2: index 1.
        assert_eq!(trailing(10, 4), [9, 7, 4, 1, 0]);
    }

    #[test]
    fn grids_have_exact_ends() {
        for grid in [Sigmas::karras(40, 0.002, 80.0, 7.0), Sigmas::exponential(40, 0.002, 80.0)] {
            assert_eq!((grid.len(), grid[0], grid[39], grid[40]), (41, 80.0, 0.002, 0.0));
        }
        assert_eq!(&Sigmas::karras(1, 0.002, 80.0, 7.0)[..], [80.0, 0.0]);
    }

    #[test]
    fn a_grid_can_end_at_zero_once() {
        let grid = Ddpm::default().sigmas(3).to_zero().to_zero();
        assert_eq!((grid.steps(), grid[4]), (4, 0.0));
        assert_eq!(Flow::default().sigmas(3).to_zero().len(), 4);
    }

    #[test]
    fn draws_cover_the_table_evenly() {
        let schedule = LogLinear::new(10, 0.1, 10.0);
        let mut counts = [0; 10];
        let mut stream = Stream::new(1, Purpose::TrainingSigma, 0, 0);
        for _ in 0..10_000 {
            let sigma = schedule.draw(&mut stream);
            counts[schedule.levels().iter().position(|&l| l == sigma).expect("a level of the table")] += 1;
        }
        // Five standard deviations of a count are 150.
        assert!(counts.iter().all(|c: &i32| (c - 1000).abs() < 150), "{counts:?}");
    }

    #[test]
    fn logit_normal_times_have_their_median_and_spread() {
        let schedule = LogNormalFlow::default();
        let mut stream = Stream::new(2, Purpose::TrainingSigma, 0, 0);
        let mut draws: Vec<f64> = (0..20_000).map(|_| schedule.draw(&mut stream)).collect();
        draws.sort_by(f64::total_cmp);
        // The quartiles of a unit normal are ±0.6745.
        for (quantile, expected) in [(5_000, sigmoid(-0.6745)), (10_000, 0.5), (15_000, sigmoid(0.6745))] {
            assert!((draws[quantile] - expected).abs() < 0.01, "{} at {quantile}", draws[quantile]);
        }
    }

    #[test]
    fn a_grid_of_one_level_is_no_exception() {
        // 0.1^(1/7)^7 is not 0.1.
        assert_eq!(&Sigmas::karras(3, 0.1, 0.1, 7.0)[..], [0.1, 0.1, 0.1, 0.0]);
        assert_eq!(&Sigmas::exponential(3, 3.0, 3.0)[..], [3.0, 3.0, 3.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "noise level 0 is 2, expected at most 1")]
    fn a_level_beyond_the_path_is_refused() {
        Sigmas::<Straight>::new(vec![2.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "noise level 1 is 0, expected a positive number")]
    fn a_zero_inside_a_grid_is_refused() {
        Sigmas::<VarianceExploding>::new(vec![1.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "noise level 1 is 2, expected at most 1")]
    fn an_increasing_grid_is_refused() {
        Sigmas::<VarianceExploding>::new(vec![1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "expected a finite number above 0.5 and up to 1")]
    fn a_decreasing_table_is_refused() {
        Levels::<Straight>::new(vec![0.5, 0.25]);
    }
}

//! A schedule says which noise levels training visits and which ones sampling steps through.
//!
//! Everything here is f64 on the host. The discrete schedules are tables of σ, as in smalldiffusion, and defined by
//! it or by the paper that it names; their values agree with smalldiffusion's to its own rounding (it computes in
//! f32, which costs it up to 1e-3 relative where σ² = 1/ᾱ − 1 cancels; the tables here do not cancel).

mod any;
mod cosine;
mod ddpm;
mod flow;
mod grid;
mod ldm;
mod levels;
mod log_linear;
mod log_normal_flow;
mod sequence;
mod sigmas;
mod sigmoid;
mod spacing;
mod zero_terminal_snr;

pub use any::{AnySchedule, ScheduleConfig};
pub use cosine::Cosine;
pub use ddpm::Ddpm;
pub use flow::Flow;
pub use grid::{Grid, GridEnd, Shift};
pub use ldm::Ldm;
pub use levels::Levels;
pub use log_linear::LogLinear;
pub use log_normal_flow::LogNormalFlow;
pub use sigmas::Sigmas;
pub use sigmoid::Sigmoid;
pub use spacing::{
    AlignYourSteps, AnySpacing, BetaQuantiles, Exponential, Karras, LevelList, PolyExponential,
    PublishedSteps, Spacing, TimestepSpacing, Timesteps, Vp,
};
pub use zero_terminal_snr::{PURE_NOISE, ZeroTerminalSnr};

use crate::invalid::{Invalid, MAX_SIZE, Number};
use crate::path::Path;
use crate::precision::{MAX_SIGMA, MIN_SIGMA, check_level, is_level};
use crate::random::Stream;
use std::fmt::Debug;

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
///
/// A schedule of your own needs its path and its levels. This one draws the levels of training as EDM does (Karras et al.
/// 2022, arXiv:2206.00364, Table 1), ln σ from a normal distribution:
/// ```
/// use diffusion_core::random::{Purpose, Stream};
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::VarianceExploding;
///
/// #[derive(Debug)]
/// struct LogNormal(LogLinear);
///
/// impl Schedule for LogNormal {
///     type Path = VarianceExploding;
///
///     fn path(&self) -> VarianceExploding {
///         VarianceExploding
///     }
///
///     fn levels(&self) -> &[f64] {
///         self.0.levels()
///     }
///
///     fn draw(&self, stream: &mut Stream) -> f64 {
///         (1.2 * stream.normal() - 1.2).exp().clamp(0.002, 80.0)
///     }
/// }
///
/// let schedule = LogNormal(LogLinear::new(100, 0.002, 80.0));
/// let sigmas = schedule.sigmas(4);
/// assert_eq!((sigmas.steps(), sigmas.first()), (4, schedule.levels().last()));
/// let sigma = schedule.draw(&mut Stream::new(0, Purpose(100), 0, 0));
/// assert!((0.002..=80.0).contains(&sigma));
/// ```
pub trait Schedule: Debug {
    /// The path that the noise levels belong to.
    type Path: Path;

    /// The path itself.
    fn path(&self) -> Self::Path;

    /// The noise levels of training, increasing.
    fn levels(&self) -> &[f64];

    /// `steps + 1` noise levels for sampling, from the largest to the smallest.
    ///
    /// Trailing spacing (Lin et al. 2023, arXiv:2305.08891, Table 2): of N levels those at
    /// `round(N·(1 − i/steps)) − 1` for i < steps, halves rounded to even, and then the first. They end at the
    /// smallest level, not at 0, as in smalldiffusion; see [`Sigmas::to_zero`]. More steps than levels repeat
    /// levels, and a repeated level changes nothing. (From about 2N steps on some of smalldiffusion's last indices
    /// become −1, which Python reads as the largest level; here they are the first.)
    ///
    /// # Panics
    /// If `steps` is 0.
    fn sigmas(&self, steps: usize) -> Sigmas<Self::Path> {
        let indices = trailing(self.levels().len(), steps);
        Sigmas::on(self.path(), indices.into_iter().map(|i| self.levels()[i]).collect())
    }

    /// One noise level for a training example; a level of the table, each as likely as any other.
    fn draw(&self, stream: &mut Stream) -> f64 {
        self.levels()[stream.below(self.levels().len())]
    }

    /// The noise level below which a share `u`, in [0, 1), of the draws lies. A schedule that draws otherwise than from
    /// its table says so here as well, so that its draws can be stratified.
    fn quantile(&self, u: f64) -> f64 {
        let last = self.levels().len() - 1;
        self.levels()[((u * self.levels().len() as f64) as usize).min(last)]
    }
}

macro_rules! forward_to_pointee {
    ($($pointer:ty),*) => {$(
        impl<S: Schedule + ?Sized> Schedule for $pointer {
            type Path = S::Path;

            fn path(&self) -> S::Path {
                (**self).path()
            }

            fn levels(&self) -> &[f64] {
                (**self).levels()
            }

            fn sigmas(&self, steps: usize) -> Sigmas<S::Path> {
                (**self).sigmas(steps)
            }

            fn draw(&self, stream: &mut Stream) -> f64 {
                (**self).draw(stream)
            }

            fn quantile(&self, u: f64) -> f64 {
                (**self).quantile(u)
            }
        }
    )*};
}

forward_to_pointee!(&S, Box<S>, std::sync::Arc<S>);

/// The indices of `steps + 1` sampling levels among `n`, as [`Schedule::sigmas`] describes them.
///
/// # Panics
/// If `steps` is 0.
pub fn trailing(n: usize, steps: usize) -> Vec<usize> {
    assert!(steps > 0, "sampling in 0 steps was asked for, expected at least 1");
    let at = |i: usize| (n as f64 * (1.0 - i as f64 / steps as f64)).round_ties_even() as usize;
    (0..steps).map(|i| at(i).saturating_sub(1)).chain([0]).collect()
}

/// Refuses a table of less than 2 or too many levels.
fn check_count(n: usize) -> Result<(), Invalid> {
    Invalid::unless((2..=MAX_SIZE).contains(&n), "n", || {
        format!("is {n}, expected 2 to {MAX_SIZE} noise levels")
    })
}

/// Refuses levels that make no schedule on `path`: those that f32 or the path does not hold, and those that do not
/// increase. The setting `low` is named where one is too small, `high` where one is too large.
fn check_levels(path: &impl Path, table: &[f64], low: &str, high: &str) -> Result<(), Invalid> {
    Invalid::unless(!table.is_empty(), low, || "are 0 noise levels, expected at least 1".into())?;
    let most = path.max_sigma().min(MAX_SIGMA);
    let mut before = None;
    for (i, &level) in table.iter().enumerate() {
        let setting = if level > most || level.is_nan() { high } else { low };
        Invalid::unless(is_level(level) && level <= most, setting, || {
            let [level, least, most] = [level, MIN_SIGMA, most].map(Number);
            format!("noise level {i} is {level}, expected {least} to {most}, whose squares f32 holds")
        })?;
        if let Some(before) = before {
            Invalid::unless(level > before, setting, || {
                let [level, before] = [level, before].map(Number);
                format!("noise level {i} is {level}, expected a number above {before}, the one before it")
            })?;
        }
        before = Some(level);
    }
    Ok(())
}

/// Refuses ends of an increasing table that leave no room for `n` levels between them: neighbors must differ in f64.
fn check_ends(n: usize, [low, high]: [(&str, f64); 2]) -> Result<(), Invalid> {
    check_level(low.0, low.1)?;
    check_level(high.0, high.1)?;
    Invalid::unless(low.1 * (1.0 + 1e-9 * n as f64) < high.1, low.0, || {
        format!("is {}, expected a number well below {}, which is {}", low.1, high.0, high.1)
    })
}

/// Refuses what no variances β can begin and end with; which noise levels they give is checked when they are known.
fn check_betas(n: usize, beta_start: f64, beta_end: f64) -> Result<(), Invalid> {
    check_count(n)?;
    Invalid::unless(beta_start > 0.0 && beta_start <= beta_end, "beta_start", || {
        format!("is {beta_start:?}, expected a number above 0 and up to beta_end, which is {beta_end:?}")
    })?;
    Invalid::unless(beta_end < 1.0, "beta_end", || format!("is {beta_end:?}, expected a number below 1"))
}

#[cfg(test)]
mod tests {
    use super::sequence::sigmoid;
    use super::*;
    use crate::path::{Straight, VarianceExploding};
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
        let mut stream = Stream::new(1, Purpose(5), 0, 0);
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
        let mut stream = Stream::new(2, Purpose(5), 0, 0);
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

    /// f32 holds 1e30, but not its square; and from β of 0.2 on a thousand levels reach 1e23.
    #[test]
    fn levels_that_f32_does_not_square_are_named_by_their_setting() {
        let log_linear = |sigma_min, sigma_max| LogLinear::validate(100, sigma_min, sigma_max);
        let flow = |t_min, t_max| Flow::validate(100, t_min, t_max);
        let exploding = |levels: &[f64]| Levels::validate(&VarianceExploding, levels);
        for (found, setting) in [
            (log_linear(0.02, 1e30), "sigma_max"),
            (log_linear(1e-30, 10.0), "sigma_min"),
            (log_linear(0.02, f64::NAN), "sigma_max"),
            (log_linear(f64::NAN, 10.0), "sigma_min"),
            (Ddpm::validate(1000, 1e-4, 0.5), "beta_end"),
            (Ddpm::validate(1000, 1e-4, 0.2), "beta_end"),
            (Ddpm::validate(1000, 1e-40, 0.02), "beta_start"),
            (Ldm::validate(1000, 0.00085, 0.5), "beta_end"),
            (Ldm::validate(1000, 1e-40, 0.012), "beta_start"),
            (Sigmoid::validate(100, 1e-4, 0.99), "beta_end"),
            (Sigmoid::validate(100, 0.0, 0.02), "beta_start"),
            (Cosine::validate(1000, 1e-40), "max_beta"),
            (Cosine::validate(1000, f64::NAN), "max_beta"),
            (flow(1e-30, 1.0), "t_min"),
            (flow(0.001, 2.0), "t_max"),
            (exploding(&[1.0, 1e30]), "levels"),
            (exploding(&[1e-30, 1.0]), "levels"),
            (exploding(&[1.0, f64::NAN]), "levels"),
        ] {
            assert_eq!(found.map_err(|invalid| invalid.setting), Err(setting.to_string()));
        }
        for fine in [
            log_linear(1e-15, 1e15),
            log_linear(1e-3, 2e-3),
            Ddpm::validate(1000, 1e-30, 0.02),
            Ddpm::validate(100, 1e-4, 0.8),
            Cosine::validate(MAX_SIZE, 0.999),
            Cosine::validate(2, 0.999),
            flow(1e-15, 1.0),
            exploding(&[1e-15, 1e15]),
        ] {
            assert_eq!(fine, Ok(()));
        }
    }

    #[test]
    #[should_panic(expected = "noise level 0 is 1e30, expected at most 1e15")]
    fn a_grid_beyond_f32_is_refused() {
        Sigmas::karras(10, 0.002, 1e30, 7.0);
    }

    #[test]
    #[should_panic(expected = "e-16, expected at least 1e-15")]
    fn a_grid_that_vanishes_in_f32_is_refused() {
        Sigmas::exponential(10, 1e-30, 80.0);
    }

    #[test]
    #[should_panic(expected = "noise level 0 is 2, expected at most 1")]
    fn a_level_beyond_the_path_is_refused() {
        Sigmas::<Straight>::new(vec![2.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "noise level 1 is 0, expected at least")]
    fn a_zero_inside_a_grid_is_refused() {
        Sigmas::<VarianceExploding>::new(vec![1.0, 0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "noise level 1 is 2, expected at most 1")]
    fn an_increasing_grid_is_refused() {
        Sigmas::<VarianceExploding>::new(vec![1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "expected a number above 0.5, the one before it")]
    fn a_decreasing_table_is_refused() {
        Levels::<Straight>::new(vec![0.5, 0.25]);
    }
}

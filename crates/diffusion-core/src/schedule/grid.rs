//! The noise levels of a sampling run: how they lie, where they end, and how far they are shifted.

mod shift;

pub use shift::Shift;

use super::spacing::{AnySpacing, Spacing};
use super::{Schedule, Sigmas};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path as _;
use serde::{Deserialize, Serialize};

/// The noise levels of a sampling run, e.g. from a configuration file.
///
/// ```
/// use diffusion_core::schedule::{Grid, GridEnd, Karras, LogLinear, Schedule};
///
/// let schedule = LogLinear::new(100, 0.002, 80.0);
/// let grid = Grid::from(Karras::default());
/// assert_eq!(grid.sigmas(&schedule, 20).len(), 21);
/// // It ends at 0, so that no noise is left, or at the smallest level of training.
/// let to_min = Grid { end: GridEnd::SigmaMin, ..grid };
/// assert_eq!(to_min.sigmas(&schedule, 20).last(), schedule.levels().first());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// How the levels lie.
    pub spacing: AnySpacing,
    /// Where the last step ends; at 0 by default.
    #[serde(default)]
    pub end: GridEnd,
    /// By how much more steps there are at high noise levels; on the straight path only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

/// Where the last step of a sampling run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GridEnd {
    /// At σ = 0, where no noise is left.
    #[default]
    Zero,
    /// At the smallest noise level of training, as in smalldiffusion.
    SigmaMin,
}

impl<S: Into<AnySpacing>> From<S> for Grid {
    fn from(spacing: S) -> Self {
        Self { spacing: spacing.into(), end: GridEnd::Zero, shift: None }
    }
}

impl Grid {
    /// Whether there is such a grid.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.spacing.validate().map_err(|invalid| invalid.within("spacing"))?;
        self.shift.as_ref().map_or(Ok(()), Shift::validate).map_err(|invalid| invalid.within("shift"))
    }

    /// Whether the grid suits the noise levels of training.
    ///
    /// # Errors
    /// If [`validate`](Self::validate) refuses the grid, it has a shift and the schedule is not on the straight path, or levels of
    /// its own are beyond the path.
    pub fn check<S: Schedule + ?Sized>(&self, schedule: &S) -> Result<(), Invalid> {
        self.validate()?;
        let most = schedule.path().max_sigma();
        Invalid::unless(self.shift.is_none() || most == 1.0, "shift", || {
            "is for flow matching: on the variance-exploding path it would only multiply σ".into()
        })?;
        Sigmas::validate(&schedule.path(), &self.raw(schedule, self.spacing.least_steps())).map_err(
            |invalid| Invalid::new("spacing", format!("has levels that are no grid: {}", invalid.reason)),
        )
    }

    /// The noise levels of `steps` steps for a model that was trained at those of `schedule`.
    ///
    /// # Panics
    /// If `steps` is 0, or [`check`](Self::check) refuses the grid.
    pub fn sigmas<S: Schedule + ?Sized>(&self, schedule: &S, steps: usize) -> Sigmas<S::Path> {
        assert!(steps > 0, "a grid of 0 steps was asked for, expected at least 1");
        expect_valid(self.check(schedule));
        Sigmas::on(schedule.path(), self.raw(schedule, steps))
    }

    fn raw<S: Schedule + ?Sized>(&self, schedule: &S, steps: usize) -> Vec<f64> {
        let table = schedule.levels();
        let least = table[0];
        let mut levels = self.spacing.levels(table, steps);
        match self.end {
            GridEnd::Zero => levels.push(0.0),
            GridEnd::SigmaMin if levels[steps - 1] > least => levels.push(least),
            // They reach it by themselves.
            GridEnd::SigmaMin => levels = self.spacing.levels(table, steps + 1),
        }
        let shift = |level: f64| self.shift.as_ref().map_or(level, |shift| shift.apply(level));
        levels.into_iter().map(shift).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Straight, VarianceExploding};
    use crate::schedule::spacing::*;
    use crate::schedule::{Ddpm, Flow, Levels, LogLinear};

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{found:?}, {expected:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{found}, {expected}");
        }
    }

    #[test]
    fn every_spacing_makes_a_grid_on_both_paths() {
        let (ddpm, flow) = (Ddpm::default(), Flow::default());
        for name in AnySpacing::NAMES {
            let grid = Grid::from(AnySpacing::from_name(name).unwrap());
            for end in [GridEnd::Zero, GridEnd::SigmaMin] {
                let grid = Grid { end, ..grid.clone() };
                for steps in [1, 2, 7, 50] {
                    let sigmas = grid.sigmas(&ddpm, steps);
                    assert_eq!(sigmas.steps(), steps, "{name}");
                    let last = if end == GridEnd::Zero { 0.0 } else { ddpm.levels()[0] };
                    assert_eq!(sigmas[steps], last, "{name}");
                    assert!(sigmas.windows(2).all(|pair| pair[1] < pair[0]), "{name}: {:?}", &sigmas[..]);
                    if !matches!(name, "align-your-steps" | "vp") {
                        assert_eq!(grid.sigmas(&flow, steps).steps(), steps, "{name}");
                    }
                }
            }
        }
    }

    /// Three steps by hand: σ^(1/7) evenly spaced; ln σ evenly spaced; ln σ = ln σmin + r^ρ·(ln σmax − ln σmin).
    #[test]
    fn grids_follow_their_formulas() {
        let schedule = LogLinear::new(50, 0.01, 100.0);
        let sigmas = |grid: Grid| grid.sigmas(&schedule, 3).to_vec();
        let middle = ((0.01f64.powf(1.0 / 7.0) + 100f64.powf(1.0 / 7.0)) / 2.0).powi(7);
        close(&sigmas(Karras::default().into()), &[100.0, middle, 0.01, 0.0]);
        close(&sigmas(Exponential::default().into()), &[100.0, 1.0, 0.01, 0.0]);
        let polynomial = PolyExponential { rho: 2.0, ..PolyExponential::default() };
        close(&sigmas(polynomial.into()), &[100.0, 0.01 * 1e4f64.powf(0.25), 0.01, 0.0]);
        let vp = |t: f64| ((19.9 * t * t / 2.0 + 0.1 * t).exp() - 1.0).sqrt();
        close(&sigmas(Vp::default().into()), &[vp(1.0), vp((1.0 + 1e-3) / 2.0), vp(1e-3), 0.0]);
    }

    /// With α = β = 1 the quantiles are even; with others they are those of SciPy 1.17.1's `beta.ppf`.
    #[test]
    fn beta_quantiles_are_places_in_the_table() {
        let table: Vec<f64> = (0..101).map(|i| 10f64.powf(f64::from(i) / 50.0 - 1.0)).collect();
        let even = BetaQuantiles { alpha: 1.0, beta: 1.0 };
        close(&even.levels(&table, 4), &[10.0, 10f64.powf(0.5), 1.0, 10f64.powf(-0.5)]);
        let found = BetaQuantiles::default().levels(&table, 4);
        let place = |level: &f64| (level.log10() + 1.0) / 2.0;
        // scipy.stats.beta.ppf([1, 0.75, 0.5, 0.25], 0.6, 0.6)
        close(
            &found.iter().map(place).collect::<Vec<f64>>(),
            &[1.0, 0.824_319_621_347_305, 0.5, 0.175_680_378_652_695],
        );
    }

    #[test]
    fn a_list_is_taken_as_it_is_or_interpolated() {
        let schedule = LogLinear::new(50, 0.01, 100.0);
        let list = LevelList { levels: vec![64.0, 4.0, 1.0] };
        assert_eq!(&Grid::from(list.clone()).sigmas(&schedule, 3)[..], [64.0, 4.0, 1.0, 0.0]);
        close(&Grid::from(list).sigmas(&schedule, 5), &[64.0, 16.0, 4.0, 2.0, 1.0, 0.0]);
        let published = Grid::from(AlignYourSteps { model: PublishedSteps::StableDiffusion });
        close(
            &published.sigmas(&schedule, 10),
            &[14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0],
        );
    }

    #[test]
    fn timesteps_are_spaced_as_in_the_paper() {
        let table: Vec<f64> = (1..=10).map(f64::from).collect();
        let levels = |spacing| Timesteps { spacing, offset: 0 }.levels(&table, 3);
        assert_eq!(levels(TimestepSpacing::Leading), [7.0, 4.0, 1.0]);
        assert_eq!(levels(TimestepSpacing::Trailing), [10.0, 7.0, 3.0]);
        assert_eq!(levels(TimestepSpacing::Linspace), [10.0, 5.0, 1.0]);
        assert_eq!(
            Timesteps { spacing: TimestepSpacing::Leading, offset: 1 }.levels(&table, 3),
            [8.0, 5.0, 2.0]
        );
    }

    /// t' = k·t/(1 + (k−1)·t) is σ' = k·σ where σ is noise over data; by resolution k is the root of the ratio of pixels.
    #[test]
    fn a_shift_multiplies_noise_over_data() {
        let flow = Flow::new(100, 0.01, 1.0);
        let plain = Grid::from(Timesteps::default());
        let ratio = |t: f64| t / (1.0 - t);
        for (shift, factor) in [
            (Shift::Factor(3.0), 3.0),
            (Shift::Resolution { pixels: 1024 * 1024, base: 256 * 256 }, 4.0),
            (Shift::Tokens { tokens: 4096 }, 1.15f64.exp()),
            (Shift::Tokens { tokens: 256 }, 0.5f64.exp()),
        ] {
            let shifted = Grid { shift: Some(shift), ..plain.clone() };
            let (found, before) = (shifted.sigmas(&flow, 10), plain.sigmas(&flow, 10));
            assert_eq!((found[0], found[10]), (1.0, 0.0));
            for i in 1..10 {
                let (found, expected) = (ratio(found[i]), factor * ratio(before[i]));
                assert!((found / expected - 1.0).abs() < 1e-12, "{found}, {expected}");
            }
        }
        let shifted = Grid { shift: Some(Shift::Factor(3.0)), ..plain };
        assert_eq!(shifted.check(&Ddpm::default()).unwrap_err().setting, "shift");
    }

    #[test]
    fn impossible_grids_are_named() {
        let karras = |rho, sigma_min, sigma_max| Grid::from(Karras { rho, sigma_min, sigma_max });
        let flow = Flow::default();
        for (grid, setting) in [
            (karras(0.0, None, None), "spacing.rho"),
            (karras(7.0, Some(3.0), Some(2.0)), "spacing.sigma_min"),
            (karras(7.0, None, Some(2.0)), "spacing"),
            (Grid::from(LevelList { levels: vec![] }), "spacing.levels"),
            (Grid::from(LevelList { levels: vec![0.5, 0.7] }), "spacing.levels"),
            (Grid::from(LevelList { levels: vec![3.0, 0.7] }), "spacing"),
            (Grid::from(BetaQuantiles { alpha: 0.0, beta: 1.0 }), "spacing.alpha"),
            (Grid::from(Vp { beta_d: -1.0, ..Vp::default() }), "spacing.beta_d"),
            (Grid { shift: Some(Shift::Factor(0.0)), ..Timesteps::default().into() }, "shift.factor"),
        ] {
            assert_eq!(grid.check(&flow).unwrap_err().setting, setting, "{grid:?}");
        }
        let levels = Levels::on(VarianceExploding, vec![1.0, 2.0]);
        assert!(karras(7.0, None, None).check(&levels).is_ok());
        let straight = Levels::on(Straight, vec![0.5, 1.0]);
        assert!(karras(7.0, None, None).check(&straight).is_ok());
    }

    #[test]
    fn files_say_kind_and_end() {
        let parse = serde_json::from_str::<Grid>;
        assert_eq!(parse(r#"{"spacing": {"kind": "karras"}}"#).unwrap(), Karras::default().into());
        let text = r#"{"spacing": {"kind": "timesteps", "spacing": "leading"}, "end": "sigma-min", "shift": {"factor": 3}}"#;
        let timesteps = Timesteps { spacing: TimestepSpacing::Leading, offset: 0 };
        let expected =
            Grid { spacing: timesteps.into(), end: GridEnd::SigmaMin, shift: Some(Shift::Factor(3.0)) };
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse(r#"{"spacing": {"kind": "karras", "gam": 1}}"#).is_err());
        assert!(parse(r#"{"spacing": {"kind": "karras"}, "begin": "zero"}"#).is_err());
    }
}

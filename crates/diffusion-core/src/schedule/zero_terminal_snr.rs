//! A schedule whose last level has no data left in it.

use super::{Levels, Schedule};
use crate::invalid::{Invalid, expect_valid};
use crate::path::VarianceExploding;

/// The noise level that stands for an infinite one, the last of a schedule with zero terminal SNR: data of unit variance are
/// below f32's rounding there.
pub const PURE_NOISE: f64 = 1e8;

/// A discrete diffusion whose levels are moved so that the last has no data left in it, and the first stays as it is (Lin et
/// al. 2023, arXiv:2305.08891, Alg. 1): with r = √ᾱ it is `r ← (r − r_T)·r_1/(r_1 − r_T)`.
///
/// A model that is trained so makes pictures that are dark or bright as a whole. The last level, in truth infinite, is
/// [`PURE_NOISE`]; ε-prediction has no estimate of the data there, and networks need a scaled input.
#[derive(Clone, Debug, PartialEq)]
pub struct ZeroTerminalSnr(Levels<VarianceExploding>);

impl ZeroTerminalSnr {
    /// The levels of `schedule`, moved.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses it.
    pub fn new<S: Schedule<Path = VarianceExploding> + ?Sized>(schedule: &S) -> Self {
        expect_valid(Self::validate(schedule.levels()));
        Self(Levels::new(moved(schedule.levels())))
    }

    /// Whether the levels `levels` can be moved so.
    ///
    /// # Errors
    /// If there are fewer than two, or they no longer increase when they are moved.
    pub fn validate(levels: &[f64]) -> Result<(), Invalid> {
        Invalid::unless(levels.len() >= 2, "levels", || {
            format!("are {} noise levels, expected at least 2", levels.len())
        })?;
        Levels::validate(&VarianceExploding, &moved(levels))
    }
}

fn moved(levels: &[f64]) -> Vec<f64> {
    let kept = |level: &f64| 1.0 / level.hypot(1.0);
    let (first, last) = (levels.first().map_or(1.0, kept), levels.last().map_or(0.0, kept));
    let moved = levels.iter().map(|level| {
        let moved = (kept(level) - last) * first / (first - last);
        (1.0 / (moved * moved) - 1.0).sqrt().min(PURE_NOISE)
    });
    moved.collect()
}

impl Schedule for ZeroTerminalSnr {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Ddpm;

    #[test]
    fn the_last_level_has_no_data_and_the_first_stays() {
        let (before, after) = (Ddpm::default(), ZeroTerminalSnr::new(&Ddpm::default()));
        let (before, after) = (before.levels(), after.levels());
        assert_eq!((after.len(), after[999]), (1000, PURE_NOISE));
        assert!((after[0] / before[0] - 1.0).abs() < 1e-9);
        let kept = |level: f64| 1.0 / level.hypot(1.0);
        let expected =
            (kept(before[500]) - kept(before[999])) * kept(before[0]) / (kept(before[0]) - kept(before[999]));
        assert!((kept(after[500]) - expected).abs() < 1e-12);
    }

    #[test]
    fn one_level_cannot_be_moved() {
        assert_eq!(ZeroTerminalSnr::validate(&[1.0]).unwrap_err().setting, "levels");
    }
}

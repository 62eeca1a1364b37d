//! The Swiss roll: a spiral in the plane.

use diffusion_core::precision::is_level;
use diffusion_core::watch::Watch;
use serde::{Deserialize, Serialize};

use crate::{
    any_dataset::AnyDataset,
    data_kind::{DataKind, MAX_EXAMPLES, ModelInput},
    dataset::{Dataset, check_index},
    error::{DataError, Problem},
};

/// `n` points along the spiral `center + scale · t/tmax · (cos t, sin t)`.
///
/// The angle `t` runs in equal steps from `tmin` to `tmin + tmax`, both ends included, as in smalldiffusion's
/// `Swissroll` (not to `tmax`, as the names suggest). Equal to it up to the rounding of f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Swissroll {
    tmin: f64,
    tmax: f64,
    n: usize,
    center: [f64; 2],
    scale: f64,
}

impl Swissroll {
    /// A spiral around the origin that starts at the angle `tmin`, in radians, and covers `tmax` radians.
    ///
    /// # Panics
    /// If `tmin` is not finite, or `tmax` is zero or not finite.
    pub fn new(tmin: f64, tmax: f64, n: usize) -> Self {
        if let Err(error) = check_angles(tmin, tmax) {
            panic!("{error}");
        }
        Self { tmin, tmax, n, center: [0.0; 2], scale: 1.0 }
    }

    /// The same spiral around `center`.
    ///
    /// # Panics
    /// If a coordinate is not finite.
    pub fn with_center(self, center: [f64; 2]) -> Self {
        let is_held = center.iter().all(|&c| (c as f32).is_finite());
        assert!(is_held, "center is {center:?}, expected numbers that are finite in f32");
        Self { center, ..self }
    }

    /// The same spiral, `scale` times as large.
    ///
    /// # Panics
    /// If `scale` is not finite in f32.
    pub fn with_scale(self, scale: f64) -> Self {
        assert!((scale as f32).is_finite(), "scale is {scale}, expected a number that is finite in f32");
        Self { scale, ..self }
    }
}

impl Dataset for Swissroll {
    type Label = ();

    fn len(&self) -> usize {
        self.n
    }

    fn shape(&self) -> &[usize] {
        &[2]
    }

    fn read(&self, index: usize, into: &mut [f32]) -> Result<(), DataError> {
        check_index(index, self.n);
        // A single point lies at the start, which the lower bound of 1 also makes free of 0/0.
        let t = self.tmin + index as f64 / (self.n - 1).max(1) as f64 * self.tmax;
        let radius = self.scale * t / self.tmax;
        into.copy_from_slice(&[
            (self.center[0] + radius * t.cos()) as f32,
            (self.center[1] + radius * t.sin()) as f32,
        ]);
        Ok(())
    }
}

fn check_angles(tmin: f64, tmax: f64) -> Result<(), DataError> {
    if !tmin.is_finite() {
        return Err(Problem::invalid("tmin", format!("{tmin}, expected a finite number")).into());
    }
    if !tmax.is_finite() || tmax == 0.0 {
        return Err(Problem::invalid("tmax", format!("{tmax}, expected a finite number other than 0")).into());
    }
    // The radius at the spiral's end is 1 + tmin/tmax; networks see it as f32.
    if !is_level(1.0 + (tmin / tmax).abs()) {
        let reason = format!("{tmax:?} with tmin = {tmin:?}, expected angles whose points f32 holds");
        return Err(Problem::invalid("tmax", reason).into());
    }
    Ok(())
}

/// A [`Swissroll`], as a configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwissrollConfig {
    /// The angle at which the spiral starts, in radians.
    pub tmin: f64,
    /// The angle that it covers, in radians.
    pub tmax: f64,
    /// The number of points, 1 to 10⁸.
    pub n: usize,
}

impl DataKind for SwissrollConfig {
    fn validate(&self) -> Result<(), DataError> {
        check_angles(self.tmin, self.tmax)?;
        if !(1..=MAX_EXAMPLES).contains(&self.n) {
            return Err(Problem::invalid("n", format!("{}, expected 1 to {MAX_EXAMPLES}", self.n)).into());
        }
        Ok(())
    }

    fn open(&self, _: &ModelInput, _: &Watch) -> Result<AnyDataset, DataError> {
        Ok(AnyDataset::unlabeled(Swissroll::new(self.tmin, self.tmax, self.n)))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_PI_2, PI};

    use super::*;

    fn point(data: Swissroll, index: usize) -> [f32; 2] {
        let mut into = [0.0; 2];
        data.read(index, &mut into).unwrap();
        into
    }

    /// At quarter turns sine and cosine are 0 or ±1, so the points are known without computing any.
    #[test]
    fn quarter_turns_lie_on_the_axes() {
        // t = π/2, π, 3π/2, 2π, 5π/2, with tmax = 2π.
        let roll = Swissroll::new(FRAC_PI_2, 2.0 * PI, 5);
        let expected = [[0.0, 0.25], [-0.5, 0.0], [0.0, -0.75], [1.0, 0.0], [0.0, 1.25]];
        for (i, p) in expected.iter().enumerate() {
            let [x, y] = point(roll, i);
            assert!((x - p[0]).abs() < 1e-6 && (y - p[1]).abs() < 1e-6, "{i}: {x}, {y}");
        }
    }

    /// From smalldiffusion 0.5.0:
    /// `[float(v) for v in Swissroll(1.0, 2.0, 5, center=(3, -1), scale=2.0)[i]]`.
    #[test]
    fn center_and_scale_match_smalldiffusion() {
        let roll = Swissroll::new(1.0, 2.0, 5).with_center([3.0, -1.0]).with_scale(2.0);
        let expected = [
            [3.540302276611328, -0.15852904319763184],
            [3.1061058044433594, 0.4962425231933594],
            [2.167706251144409, 0.8185948133468628],
            [0.9971411228179932, 0.49618029594421387],
            [0.030022621154785156, -0.5766400098800659],
        ];
        for (i, p) in expected.iter().enumerate() {
            let [x, y] = point(roll, i).map(f64::from);
            assert!((x - p[0]).abs() < 5e-7 && (y - p[1]).abs() < 5e-7, "{i}: {x}, {y}");
        }
    }

    #[test]
    fn one_point_lies_at_the_start() {
        assert_eq!(point(Swissroll::new(PI, 2.0 * PI, 1), 0)[0], -0.5);
    }

    #[test]
    #[should_panic(expected = "tmax: 0, expected a finite number other than 0")]
    fn a_roll_without_length_panics() {
        Swissroll::new(1.0, 0.0, 3);
    }
}

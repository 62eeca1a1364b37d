//! The distribution that is chosen while the program runs: the list of all distributions.

mod log_normal;
mod log_uniform;
mod logit_normal;
mod mode;
mod schedule_levels;
mod uniform;

pub use log_normal::LogNormal;
pub use log_uniform::LogUniform;
pub use logit_normal::LogitNormal;
pub use mode::Mode;
pub use schedule_levels::ScheduleLevels;
pub use uniform::Uniform;

use super::SigmaDistribution;
use crate::invalid::Invalid;
use crate::random::Stream;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// [`AnySigmas`] from the types of all distributions.
macro_rules! distributions {
    ($($kind:ident($type:ty),)+) => {
        /// A distribution of noise levels that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnySigmas {
            $(
                #[doc = concat!("[`", stringify!($type), "`]")]
                $kind($type),
            )+
        }

        impl AnySigmas {
            /// Whether there is such a distribution.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(sigmas) => sigmas.validate(),)+
                }
            }
        }

        $(
            impl From<$type> for AnySigmas {
                fn from(sigmas: $type) -> Self {
                    Self::$kind(sigmas)
                }
            }
        )+

        impl SigmaDistribution for AnySigmas {
            fn quantile<S: Schedule + ?Sized>(&self, schedule: &S, u: f64) -> f64 {
                match self {
                    $(Self::$kind(sigmas) => sigmas.quantile(schedule, u),)+
                }
            }

            fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
                match self {
                    $(Self::$kind(sigmas) => sigmas.draw(schedule, stream),)+
                }
            }

            fn resolution<S: Schedule + ?Sized>(&self, schedule: &S) -> f64 {
                match self {
                    $(Self::$kind(sigmas) => sigmas.resolution(schedule),)+
                }
            }
        }
    };
}

distributions! {
    Schedule(ScheduleLevels),
    LogNormal(LogNormal),
    LogitNormal(LogitNormal),
    Mode(Mode),
    Uniform(Uniform),
    LogUniform(LogUniform),
}

impl Default for AnySigmas {
    fn default() -> Self {
        ScheduleLevels {}.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Flow, Levels, LogLinear, LogNormalFlow};
    use crate::{Path, Straight, VarianceExploding};

    fn any(text: &str) -> AnySigmas {
        serde_json::from_str(text).unwrap()
    }

    /// A schedule of so wide a range that nothing is clamped.
    fn wide() -> Levels<VarianceExploding> {
        Levels::new(vec![1e-12, 1.0, 1e12])
    }

    fn straight() -> Levels<Straight> {
        Levels::new(vec![1e-12, 0.5, 1.0])
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found}, expected {expected}");
    }

    /// Quartiles of a unit normal, and its values at one standard deviation.
    const NORMAL: [(f64, f64); 4] = [
        (0.25, -0.674_489_750_196_081_7),
        (0.5, 0.0),
        (0.75, 0.674_489_750_196_081_7),
        (0.975, 1.959_963_984_540_054),
    ];

    #[test]
    fn log_normal_levels_have_their_quantiles() {
        let sigmas = any(r#"{"kind":"log-normal","mean":-1.2,"std":1.2}"#);
        assert_eq!(sigmas, LogNormal::default().into());
        for (u, z) in NORMAL {
            let ratio = (1.2 * z - 1.2_f64).exp();
            assert_near(sigmas.quantile(&wide(), u), ratio);
            assert_near(sigmas.quantile(&straight(), u), ratio / (1.0 + ratio));
        }
    }

    /// On the straight path t = σ is the logit-normal of SD3, whose shift is that of time; on the exploding path it is
    /// the log-normal of the same parameters.
    #[test]
    fn logit_normal_times_are_log_normal_levels() {
        let (plain, shifted) = (
            any(r#"{"kind":"logit-normal","mean":0.5,"std":0.8}"#),
            any(r#"{"kind":"logit-normal","mean":0.5,"std":0.8,"shift":3.0}"#),
        );
        for (u, z) in NORMAL {
            let t = 1.0 / (1.0 + (-(0.5 + 0.8 * z)).exp());
            assert_near(plain.quantile(&straight(), u), t);
            assert_near(shifted.quantile(&straight(), u), 3.0 * t / (1.0 + 2.0 * t));
            let log_normal = AnySigmas::from(LogNormal { mean: 0.5, std: 0.8 });
            assert_near(plain.quantile(&wide(), u), log_normal.quantile(&wide(), u));
        }
    }

    /// The formula of SD3 runs from noise to data.
    #[test]
    fn mode_has_the_published_quantiles() {
        for scale in [-1.0, 0.0, 1.29, 1.75] {
            let sigmas = AnySigmas::from(Mode { scale, shift: 1.0 });
            assert_eq!(sigmas.validate(), Ok(()));
            let mut before = 0.0;
            for u in [0.05, 0.3, 0.5, 0.9] {
                let v: f64 = 1.0 - u;
                let cosine = (std::f64::consts::FRAC_PI_2 * v).cos().powi(2);
                let t = 1.0 - v - scale * (cosine - 1.0 + v);
                assert_near(sigmas.quantile(&straight(), u), t);
                assert_near(sigmas.quantile(&wide(), u), t / (1.0 - t));
                assert!(t > before);
                before = t;
            }
        }
        let shifted = AnySigmas::from(Mode { scale: 0.0, shift: 3.0 });
        assert_near(shifted.quantile(&straight(), 0.5), 0.75);
    }

    #[test]
    fn uniform_levels_are_lines() {
        let schedule = LogLinear::new(7, 0.1, 10.0);
        for u in [0.0, 0.25, 0.5, 0.999] {
            assert_near(any(r#"{"kind":"uniform"}"#).quantile(&schedule, u), 0.1 + 9.9 * u);
            assert_near(any(r#"{"kind":"log-uniform"}"#).quantile(&schedule, u), 0.1 * 100f64.powf(u));
        }
    }

    /// Of a table each level takes an equal share; of logit-normal times the schedule knows the quantiles.
    #[test]
    fn the_schedule_has_its_own_quantiles() {
        let sigmas = any(r#"{"kind":"schedule"}"#);
        let schedule = LogLinear::new(4, 0.1, 10.0);
        let found: Vec<f64> =
            [0.0, 0.24, 0.26, 0.6, 0.99].iter().map(|&u| sigmas.quantile(&schedule, u)).collect();
        let levels = schedule.levels();
        assert_eq!(found, [levels[0], levels[0], levels[1], levels[2], levels[3]]);
        for (u, z) in NORMAL {
            let t = 1.0 / (1.0 + (-z).exp());
            assert_near(sigmas.quantile(&LogNormalFlow::default(), u), t);
        }
        assert_eq!(AnySigmas::default(), sigmas);
    }

    #[test]
    fn levels_stay_within_the_schedule() {
        for kind in ["schedule", "log-normal", "logit-normal", "mode", "uniform", "log-uniform"] {
            let sigmas = any(&format!(r#"{{"kind":"{kind}"}}"#));
            for u in [0.0, 1e-9, 0.5, 1.0 - f64::EPSILON] {
                for (low, high, found) in [
                    (0.3, 0.7, sigmas.quantile(&LogLinear::new(5, 0.3, 0.7), u)),
                    (0.3, 0.7, sigmas.quantile(&Flow::new(5, 0.3, 0.7), u)),
                    (0.001, 1.0, sigmas.quantile(&Flow::default(), u)),
                ] {
                    assert!((low..=high).contains(&found), "{kind}: {found} at {u}");
                }
            }
        }
    }

    /// 1 for levels whose logarithms are uniform on a range of e; by hand for others.
    #[test]
    fn slopes_are_the_derivatives_of_the_logarithm() {
        let e = std::f64::consts::E;
        let log_uniform = AnySigmas::from(LogUniform {});
        assert!((log_uniform.log_slope(&LogLinear::new(9, 1.0, e), 0.3) - 1.0).abs() < 1e-9);
        // d ln σ/du = (1 − e⁻¹)·e/σ of a uniform σ.
        let found = AnySigmas::from(Uniform {}).log_slope(&LogLinear::new(9, 1.0, e), 0.5);
        assert!((found - (e - 1.0) / (0.5 * (1.0 + e))).abs() < 1e-6, "{found}");
        // Of a table whose logarithms are evenly spaced, as well.
        let found = AnySigmas::default().log_slope(&LogLinear::new(101, 1.0, e), 0.4);
        assert!((found - 1.01).abs() < 1e-9, "{found}");
        // ln(σ/α) of t: its slope is 1/(t(1−t)).
        let found = AnySigmas::from(Uniform {}).log_slope(&Flow::new(9, 1e-9, 1.0), 0.25);
        assert!((found - 1.0 / (0.25 * 0.75)).abs() < 1e-5, "{found}");
        assert!(log_uniform.log_slope(&Flow::default(), 1.0 - f64::EPSILON).is_finite());
    }

    #[test]
    fn bad_values_are_named() {
        for (sigmas, setting) in [
            (AnySigmas::from(LogNormal { mean: f64::NAN, std: 1.0 }), "mean"),
            (LogNormal { mean: 0.0, std: 0.0 }.into(), "std"),
            (LogitNormal { std: -1.0, ..LogitNormal::default() }.into(), "std"),
            (LogitNormal { shift: 0.0, ..LogitNormal::default() }.into(), "shift"),
            (Mode { scale: 1.76, ..Mode::default() }.into(), "scale"),
            (Mode { scale: -1.01, ..Mode::default() }.into(), "scale"),
            (Mode { shift: f64::INFINITY, ..Mode::default() }.into(), "shift"),
        ] {
            assert_eq!(sigmas.validate().unwrap_err().setting, setting, "{sigmas:?}");
        }
        for text in
            [r#"{"kind":"log-normal","men":1.0}"#, r#"{"kind":"uniform","low":1.0}"#, r#"{"kind":"other"}"#]
        {
            assert!(serde_json::from_str::<AnySigmas>(text).is_err(), "{text}");
        }
        for kind in ["schedule", "log-normal", "logit-normal", "mode", "uniform", "log-uniform"] {
            let sigmas = any(&format!(r#"{{"kind":"{kind}"}}"#));
            assert_eq!(any(&serde_json::to_string(&sigmas).unwrap()), sigmas);
            assert_eq!(sigmas.validate(), Ok(()));
        }
        assert_eq!(VarianceExploding.alpha(1.0), 1.0);
    }
}

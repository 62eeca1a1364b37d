//! The schedule that is chosen while the program runs.

use super::{
    Cosine, Ddpm, Flow, Ldm, Levels, LogLinear, LogNormalFlow, Schedule, Sigmas, Sigmoid, ZeroTerminalSnr,
};
use crate::invalid::{Invalid, expect_valid};
use crate::path::{AnyPath, VarianceExploding};
use crate::random::Stream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which noise levels, e.g. from a configuration file. The settings are those of the schedule of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is the parameter of the same name of the schedule's `new`")]
pub enum ScheduleConfig {
    /// [`LogLinear`]
    LogLinear { n: usize, sigma_min: f64, sigma_max: f64 },
    /// [`Ddpm`]
    Ddpm { n: usize, beta_start: f64, beta_end: f64 },
    /// [`Ldm`]
    Ldm { n: usize, beta_start: f64, beta_end: f64 },
    /// [`Sigmoid`]
    Sigmoid { n: usize, beta_start: f64, beta_end: f64 },
    /// [`Cosine`]
    Cosine { n: usize, max_beta: f64 },
    /// [`Levels`] on the variance-exploding path
    Levels { levels: Vec<f64> },
    /// [`ZeroTerminalSnr`]
    ZeroTerminalSnr { of: Box<ScheduleConfig> },
    /// [`Flow`]
    Flow { n: usize, t_min: f64, t_max: f64 },
    /// [`LogNormalFlow`]
    LogNormalFlow { n: usize, t_min: f64, t_max: f64 },
}

impl ScheduleConfig {
    /// Whether there is such a schedule.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        match *self {
            Self::LogLinear { n, sigma_min, sigma_max } => LogLinear::validate(n, sigma_min, sigma_max),
            Self::Ddpm { n, beta_start, beta_end } => Ddpm::validate(n, beta_start, beta_end),
            Self::Ldm { n, beta_start, beta_end } => Ldm::validate(n, beta_start, beta_end),
            Self::Sigmoid { n, beta_start, beta_end } => Sigmoid::validate(n, beta_start, beta_end),
            Self::Cosine { n, max_beta } => Cosine::validate(n, max_beta),
            Self::Levels { ref levels } => Levels::validate(&VarianceExploding, levels),
            Self::ZeroTerminalSnr { ref of } => {
                let within = |invalid: Invalid| invalid.within("of");
                of.validate().map_err(within)?;
                let is_straight = of.path() == AnyPath::Straight;
                Invalid::unless(!is_straight, "of", || {
                    "is flow matching, whose last time has no data in it anyway".into()
                })?;
                ZeroTerminalSnr::validate(of.init().levels()).map_err(within)
            }
            Self::Flow { n, t_min, t_max } | Self::LogNormalFlow { n, t_min, t_max } => {
                Flow::validate(n, t_min, t_max)
            }
        }
    }

    /// The schedule.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init(&self) -> AnySchedule {
        expect_valid(self.validate());
        match *self {
            Self::LogLinear { n, sigma_min, sigma_max } => {
                AnySchedule::new(LogLinear::new(n, sigma_min, sigma_max))
            }
            Self::Ddpm { n, beta_start, beta_end } => AnySchedule::new(Ddpm::new(n, beta_start, beta_end)),
            Self::Ldm { n, beta_start, beta_end } => AnySchedule::new(Ldm::new(n, beta_start, beta_end)),
            Self::Sigmoid { n, beta_start, beta_end } => {
                AnySchedule::new(Sigmoid::new(n, beta_start, beta_end))
            }
            Self::Cosine { n, max_beta } => AnySchedule::new(Cosine::new(n, max_beta)),
            Self::Levels { ref levels } => AnySchedule::new(Levels::<VarianceExploding>::new(levels.clone())),
            Self::ZeroTerminalSnr { ref of } => {
                let levels = Levels::<VarianceExploding>::new(of.init().levels().to_vec());
                AnySchedule::new(ZeroTerminalSnr::new(&levels))
            }
            Self::Flow { n, t_min, t_max } => AnySchedule::new(Flow::new(n, t_min, t_max)),
            Self::LogNormalFlow { n, t_min, t_max } => AnySchedule::new(LogNormalFlow::new(n, t_min, t_max)),
        }
    }

    /// The path of the noise levels.
    pub fn path(&self) -> AnyPath {
        match self {
            Self::LogLinear { .. }
            | Self::Ddpm { .. }
            | Self::Ldm { .. }
            | Self::Sigmoid { .. }
            | Self::Cosine { .. }
            | Self::Levels { .. }
            | Self::ZeroTerminalSnr { .. } => AnyPath::VarianceExploding,
            Self::Flow { .. } | Self::LogNormalFlow { .. } => AnyPath::Straight,
        }
    }
}

/// Any schedule, on a path that is chosen while the program runs.
#[derive(Clone, Debug)]
pub struct AnySchedule(Arc<dyn Schedule<Path = AnyPath> + Send + Sync>);

impl AnySchedule {
    /// The schedule `schedule`, which may also be one of your own.
    pub fn new<S>(schedule: S) -> Self
    where
        S: Schedule + Send + Sync + 'static,
        AnyPath: From<S::Path>,
    {
        Self(Arc::new(OnAnyPath(schedule)))
    }
}

impl Schedule for AnySchedule {
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        self.0.path()
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    fn sigmas(&self, steps: usize) -> Sigmas<AnyPath> {
        self.0.sigmas(steps)
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        self.0.draw(stream)
    }

    fn quantile(&self, u: f64) -> f64 {
        self.0.quantile(u)
    }
}

/// A schedule whose path has been made a value.
#[derive(Debug)]
struct OnAnyPath<S>(S);

impl<S: Schedule> Schedule for OnAnyPath<S>
where
    AnyPath: From<S::Path>,
{
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        self.0.path().into()
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    fn sigmas(&self, steps: usize) -> Sigmas<AnyPath> {
        self.0.sigmas(steps).into_any()
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        self.0.draw(stream)
    }

    fn quantile(&self, u: f64) -> f64 {
        self.0.quantile(u)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    /// Every kind, with its path.
    fn all() -> [(ScheduleConfig, AnyPath); 9] {
        let (n, beta_start, beta_end, t_min, t_max) = (12, 1e-3, 0.2, 0.01, 0.9);
        let (exploding, straight) = (AnyPath::VarianceExploding, AnyPath::Straight);
        [
            (ScheduleConfig::LogLinear { n, sigma_min: 0.02, sigma_max: 10.0 }, exploding),
            (ScheduleConfig::Ddpm { n, beta_start, beta_end }, exploding),
            (ScheduleConfig::Ldm { n, beta_start, beta_end }, exploding),
            (ScheduleConfig::Sigmoid { n, beta_start, beta_end }, exploding),
            (ScheduleConfig::Cosine { n, max_beta: 0.999 }, exploding),
            (ScheduleConfig::Levels { levels: vec![0.5, 1.0, 3.0] }, exploding),
            (
                ScheduleConfig::ZeroTerminalSnr {
                    of: Box::new(ScheduleConfig::Ddpm { n, beta_start, beta_end }),
                },
                exploding,
            ),
            (ScheduleConfig::Flow { n, t_min, t_max }, straight),
            (ScheduleConfig::LogNormalFlow { n, t_min, t_max }, straight),
        ]
    }

    #[test]
    fn a_schedule_has_the_path_that_its_settings_say() {
        for (config, path) in all() {
            let schedule = config.init();
            assert_eq!((config.path(), schedule.path()), (path, path), "{config:?}");
            assert_eq!(schedule.sigmas(3).path(), path, "{config:?}");
            let back: ScheduleConfig =
                serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
            assert_eq!(back, config);
        }
    }

    /// A schedule that is chosen at run time draws and steps as the one that it stands for.
    #[test]
    fn a_schedule_is_the_one_that_it_stands_for() {
        let (any, one) = (all()[8].0.init(), LogNormalFlow::new(12, 0.01, 0.9));
        assert_eq!(any.levels(), one.levels());
        assert_eq!(&any.sigmas(5)[..], &one.sigmas(5)[..]);
        let stream = || Stream::new(3, Purpose(5), 0, 0);
        assert_eq!(any.draw(&mut stream()), one.draw(&mut stream()));
        assert_eq!(any.quantile(0.3), one.quantile(0.3));
    }

    #[test]
    fn impossible_settings_are_named() {
        let zero_snr = |of| ScheduleConfig::ZeroTerminalSnr { of: Box::new(of) };
        for (config, setting) in [
            (ScheduleConfig::LogLinear { n: 1, sigma_min: 0.1, sigma_max: 1.0 }, "n"),
            (ScheduleConfig::LogLinear { n: 9, sigma_min: 1.0, sigma_max: 1.0 }, "sigma_min"),
            (ScheduleConfig::LogLinear { n: 9, sigma_min: 1.0, sigma_max: 1e300 }, "sigma_max"),
            (ScheduleConfig::Ddpm { n: 9, beta_start: 0.2, beta_end: 0.1 }, "beta_start"),
            (ScheduleConfig::Ldm { n: 9, beta_start: 0.2, beta_end: 1.0 }, "beta_end"),
            (ScheduleConfig::Cosine { n: 9, max_beta: 1.0 }, "max_beta"),
            (ScheduleConfig::Levels { levels: vec![1.0, 1.0] }, "levels"),
            (ScheduleConfig::Flow { n: 9, t_min: 0.1, t_max: 1.5 }, "t_max"),
            (zero_snr(ScheduleConfig::Flow { n: 9, t_min: 0.1, t_max: 1.0 }), "of"),
            (zero_snr(ScheduleConfig::Levels { levels: vec![1.0] }), "of.levels"),
            (ScheduleConfig::LogNormalFlow { n: 9, t_min: f64::NAN, t_max: 1.0 }, "t_min"),
        ] {
            assert_eq!(config.validate().unwrap_err().setting, setting, "{config:?}");
        }
    }
}

//! The settings of diffusers' schedulers.

use super::class::{Class, EndBy, State, Timesteps};
use super::grid::{Curve, End, Grid, Spacing, Start};
use crate::config::Settings;
use crate::error::LatentError;
use crate::original::{Family, Predicts};
use diffusion_core::invalid::{Invalid, MAX_SIZE};
use diffusion_core::schedule::{
    Cosine, Ddpm, Ldm, Levels, PURE_NOISE, Schedule, ScheduleConfig, Sigmoid, ZeroTerminalSnr,
};
use diffusion_core::{AnyPrediction, VarianceExploding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The settings of a scheduler, with the names of diffusers; what its file does not state is the default of its class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// The name of the class in Python.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// N, the number of levels.
    pub num_train_timesteps: usize,
    /// The first variance.
    pub beta_start: f64,
    /// The last variance.
    pub beta_end: f64,
    /// How the variances lie between the two: `linear`, `scaled_linear`, `squaredcos_cap_v2` or `sigmoid`.
    pub beta_schedule: String,
    /// The variances themselves, in place of the others.
    pub trained_betas: Option<Vec<f64>>,
    /// What the network predicts: `epsilon`, `v_prediction` or `sample`.
    pub prediction_type: String,
    /// `leading`, `trailing` or `linspace`.
    pub timestep_spacing: String,
    /// What is added to leading timesteps.
    pub steps_offset: usize,
    /// Whether a run that goes on behind the first level goes to σ = 0, and not to the smallest level.
    pub set_alpha_to_one: bool,
    /// `zero` or `sigma_min`.
    pub final_sigmas_type: String,
    /// Whether the last level has no data left in it.
    pub rescale_betas_zero_snr: bool,
    /// Whether estimates of the data are cut to a range.
    pub clip_sample: bool,
    /// Whether they are cut by their quantiles.
    pub thresholding: bool,
    /// Whether levels between the first and the last are Karras'.
    pub use_karras_sigmas: bool,
    /// Whether they are evenly spaced in ln σ.
    pub use_exponential_sigmas: bool,
    /// Of `PNDMScheduler`: whether a run begins without steps of Runge and Kutta.
    pub skip_prk_steps: bool,
    /// Of `DDPMScheduler`: which variance the noise of a step has.
    pub variance_type: String,
    /// Of `DPMSolverMultistepScheduler`: `dpmsolver++`, `sde-dpmsolver++`, or another.
    pub algorithm_type: String,
    /// Of the same: `midpoint` or `heun`; of `UniPCMultistepScheduler`: `bh1` or `bh2`, which others stand for.
    pub solver_type: String,
    /// Of methods of several steps: how many a step looks at.
    pub solver_order: usize,
    /// Of the same: whether the last steps look at fewer.
    pub lower_order_final: bool,
    /// Of `UniPCMultistepScheduler`: whether it goes on from estimates of the data, and not of the noise.
    pub predict_x0: bool,
    /// Of the same: the steps after which nothing is corrected.
    pub disable_corrector: Vec<usize>,
}

impl SchedulerConfig {
    /// The settings in a `scheduler_config.json`.
    ///
    /// # Errors
    /// If a value is of another type, or the class is not known and does not state its variances.
    pub fn from_settings(settings: &Settings) -> Result<Self, LatentError> {
        let class = Class::of(settings.text("_class_name").unwrap_or_default());
        let states_levels =
            settings.get("beta_schedule").is_some() || settings.get("trained_betas").is_some();
        if !class.is_known() && !states_levels {
            return Err(settings.unsupported("_class_name", "a scheduler that states its `beta_schedule`"));
        }
        let stated: Stated = settings.parse()?;
        let text = |stated: Option<String>, default: &str| stated.unwrap_or_else(|| default.to_string());
        Ok(Self {
            class_name: stated.class_name.unwrap_or_default(),
            num_train_timesteps: stated.num_train_timesteps.unwrap_or(1000),
            beta_start: stated.beta_start.unwrap_or(class.beta_start),
            beta_end: stated.beta_end.unwrap_or(class.beta_end),
            beta_schedule: text(stated.beta_schedule, class.beta_schedule),
            trained_betas: stated.trained_betas,
            prediction_type: text(stated.prediction_type, "epsilon"),
            timestep_spacing: text(stated.timestep_spacing, class.timestep_spacing),
            steps_offset: stated.steps_offset.unwrap_or(0),
            set_alpha_to_one: stated.set_alpha_to_one.unwrap_or(class.set_alpha_to_one),
            final_sigmas_type: text(stated.final_sigmas_type, "zero"),
            rescale_betas_zero_snr: stated.rescale_betas_zero_snr.unwrap_or(false),
            clip_sample: stated.clip_sample.unwrap_or(class.clip_sample),
            thresholding: stated.thresholding.unwrap_or(false),
            use_karras_sigmas: stated.use_karras_sigmas.unwrap_or(false),
            use_exponential_sigmas: stated.use_exponential_sigmas.unwrap_or(false),
            skip_prk_steps: stated.skip_prk_steps.unwrap_or(false),
            variance_type: text(stated.variance_type, "fixed_small"),
            algorithm_type: text(stated.algorithm_type, "dpmsolver++"),
            solver_type: text(stated.solver_type, "midpoint"),
            solver_order: stated.solver_order.unwrap_or(2),
            lower_order_final: stated.lower_order_final.unwrap_or(true),
            predict_x0: stated.predict_x0.unwrap_or(true),
            disable_corrector: stated.disable_corrector.unwrap_or_default(),
        })
    }

    /// The settings as `StableDiffusionPipeline` changes them, whatever the file says: an offset of 1, and no clipping.
    #[must_use]
    pub fn for_text(self) -> Self {
        Self { steps_offset: 1, clip_sample: false, ..self }
    }

    /// Refuses what cannot be honored; `settings` are the file that these come from.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), LatentError> {
        for key in ["use_beta_sigmas", "use_flow_sigmas", "use_lu_lambdas"] {
            settings.expect(key, &["false"])?;
        }
        settings.expect("interpolation_type", &[r#""linear""#])?;
        settings.expect("timestep_type", &[r#""discrete""#])?;
        for key in ["sigma_min", "sigma_max", "lambda_min_clipped"] {
            if settings.get(key).is_some() {
                return Err(settings.unsupported(key, "null"));
            }
        }
        let refuse = |refused: bool, key: &str, expected: &str| match refused {
            true => Err(settings.unsupported(key, expected)),
            false => Ok(()),
        };
        refuse(self.thresholding, "thresholding", "false")?;
        // What is missing has the class's default, which for two classes is true.
        refuse(self.clip_sample, "clip_sample", "false")?;
        refuse(self.prediction().is_none(), "prediction_type", "epsilon, v_prediction or sample")?;
        refuse(self.spacing().is_none(), "timestep_spacing", "leading, trailing or linspace")?;
        let ends = ["zero", "sigma_min"];
        refuse(!ends.contains(&&*self.final_sigmas_type), "final_sigmas_type", "zero or sigma_min")?;
        if self.rescale_betas_zero_snr {
            let is_eps = self.prediction() == Some(AnyPrediction::ScaledEps);
            refuse(
                is_eps,
                "rescale_betas_zero_snr",
                "false where the noise is predicted: there is no estimate of the data",
            )?;
            let is_curved = self.curve() != Curve::Levels;
            refuse(
                is_curved,
                "rescale_betas_zero_snr",
                "false where levels are spaced by themselves: the last is infinite",
            )?;
        }
        Ok(())
    }

    /// The levels; the last is [`PURE_NOISE`] where there are no data left in it.
    pub(super) fn levels(&self) -> Result<Levels<VarianceExploding>, Invalid> {
        let (n, start, end) = (self.num_train_timesteps, self.beta_start, self.beta_end);
        if !(2..=MAX_LEVELS).contains(&n) {
            return Err(Invalid::new("num_train_timesteps", format!("is {n}, expected 2 to {MAX_LEVELS}")));
        }
        let levels = match (&self.trained_betas, &*self.beta_schedule) {
            (Some(betas), _) => {
                Invalid::unless(betas.len() == n, "trained_betas", || {
                    format!("are {}, expected as many as `num_train_timesteps`, {n}", betas.len())
                })?;
                Levels::from_betas(betas.iter().copied(), "trained_betas", "trained_betas")?.levels().to_vec()
            }
            (None, "linear") => valid(Ddpm::validate(n, start, end), || Ddpm::new(n, start, end))?,
            (None, "scaled_linear") => valid(Ldm::validate(n, start, end), || Ldm::new(n, start, end))?,
            (None, "squaredcos_cap_v2") => valid(Cosine::validate(n, MAX_BETA), || Cosine::new(n, MAX_BETA))?,
            (None, "sigmoid") => valid(Sigmoid::validate(n, start, end), || Sigmoid::new(n, start, end))?,
            (None, other) => {
                let reason =
                    format!("is {other:?}, expected linear, scaled_linear, squaredcos_cap_v2 or sigmoid");
                return Err(Invalid::new("beta_schedule", reason));
            }
        };
        let at_fault = |invalid| Invalid { setting: "beta_end".into(), ..invalid };
        Levels::validate(&VarianceExploding, &levels).map_err(at_fault)?;
        let levels = Levels::new(levels);
        if !self.rescale_betas_zero_snr {
            return Ok(levels);
        }
        ZeroTerminalSnr::validate(levels.levels()).map_err(at_fault)?;
        Ok(Levels::new(ZeroTerminalSnr::new(&levels).levels().to_vec()))
    }

    /// The schedule of the same `levels`, without a last one that is [`PURE_NOISE`].
    pub(super) fn schedule_config(&self, levels: &[f64]) -> ScheduleConfig {
        let (n, beta_start, beta_end) = (self.num_train_timesteps, self.beta_start, self.beta_end);
        match (&*self.beta_schedule, &self.trained_betas, self.rescale_betas_zero_snr) {
            ("linear", None, false) => ScheduleConfig::Ddpm { n, beta_start, beta_end },
            ("scaled_linear", None, false) => ScheduleConfig::Ldm { n, beta_start, beta_end },
            ("squaredcos_cap_v2", None, false) => ScheduleConfig::Cosine { n, max_beta: MAX_BETA },
            ("sigmoid", None, false) => ScheduleConfig::Sigmoid { n, beta_start, beta_end },
            _ => {
                let levels = levels.iter().copied().filter(|&level| level < PURE_NOISE).collect();
                ScheduleConfig::Levels { levels }
            }
        }
    }

    /// What the network's output means.
    pub(super) fn prediction(&self) -> Option<AnyPrediction> {
        match &*self.prediction_type {
            "epsilon" => Some(AnyPrediction::ScaledEps),
            "v_prediction" => Some(AnyPrediction::ScaledV),
            "sample" => Some(AnyPrediction::ScaledX0),
            _ => None,
        }
    }

    pub(super) fn class(&self) -> &'static Class {
        Class::of(&self.class_name)
    }

    fn spacing(&self) -> Option<Spacing> {
        match &*self.timestep_spacing {
            "leading" => Some(Spacing::Leading { offset: self.steps_offset }),
            "trailing" => Some(Spacing::Trailing),
            "linspace" if self.class().timesteps == Timesteps::Broken => Some(Spacing::Broken),
            "linspace" => Some(Spacing::Linspace),
            _ => None,
        }
    }

    pub(super) fn curve(&self) -> Curve {
        match (self.use_karras_sigmas, self.use_exponential_sigmas) {
            (true, _) => Curve::Karras,
            (_, true) => Curve::Exponential,
            _ => Curve::Levels,
        }
    }

    /// The grid of the class.
    pub fn grid(&self) -> Grid {
        let (spacing, curve) = (self.spacing().unwrap_or(Spacing::Trailing), self.curve());
        // These take the ends of the whole table.
        let is_whole = self.class().timesteps == Timesteps::OneMore && curve != Curve::Levels;
        Grid { spacing: if is_whole { Spacing::Linspace } else { spacing }, curve, end: self.end() }
    }

    /// Whether the grid is that of one step more, without the last timestep.
    pub(super) fn has_one_more(&self) -> bool {
        self.class().timesteps == Timesteps::OneMore
            && self.curve() == Curve::Levels
            && self.spacing() != Some(Spacing::Trailing)
    }

    fn end(&self) -> End {
        let is_zero = match self.class().end {
            EndBy::SetAlphaToOne => self.set_alpha_to_one,
            EndBy::FinalSigmasType => self.final_sigmas_type == "zero",
            EndBy::Zero => true,
            EndBy::Lowest => false,
        };
        if is_zero { End::Zero } else { End::Lowest }
    }

    /// What a run of the class begins with.
    pub(super) fn start(&self) -> Start {
        match (self.class().state, &*self.timestep_spacing) {
            (State::Exploding, "trailing" | "linspace") => Start::Sigma,
            _ => Start::Preserving,
        }
    }

    /// What the result of a run of the class is, times the state at the level `end`.
    pub(super) fn result(&self, end: f64) -> f64 {
        match self.class().state {
            State::Preserving => 1.0 / end.hypot(1.0),
            State::Exploding => 1.0,
        }
    }
}

/// The largest variance of `squaredcos_cap_v2`.
const MAX_BETA: f64 = 0.999;

/// The settings in the folders of the published models of Stable Diffusion.
pub(super) fn of_stable_diffusion(family: Family, predicts: Predicts) -> Map<String, Value> {
    let class = match (family, predicts) {
        (Family::StableDiffusionXl, _) => "EulerDiscreteScheduler",
        (_, Predicts::Noise) => "PNDMScheduler",
        (_, Predicts::Velocity) => "DDIMScheduler",
    };
    let prediction = match predicts {
        Predicts::Noise => "epsilon",
        Predicts::Velocity => "v_prediction",
    };
    let settings = [
        ("_class_name", json!(class)),
        ("beta_schedule", json!("scaled_linear")),
        ("beta_start", json!(0.00085)),
        ("beta_end", json!(0.012)),
        ("num_train_timesteps", json!(1000)),
        ("prediction_type", json!(prediction)),
        ("timestep_spacing", json!("leading")),
        ("steps_offset", json!(1)),
        ("set_alpha_to_one", json!(false)),
        ("skip_prk_steps", json!(true)),
        ("clip_sample", json!(false)),
    ];
    settings.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// The most levels of a table: a network looks through all of them.
const MAX_LEVELS: usize = MAX_SIZE / 10;

fn valid<S: Schedule>(found: Result<(), Invalid>, schedule: impl FnOnce() -> S) -> Result<Vec<f64>, Invalid> {
    found.map(|()| schedule().levels().to_vec())
}

/// What a file states.
#[derive(Deserialize)]
struct Stated {
    #[serde(rename = "_class_name")]
    class_name: Option<String>,
    num_train_timesteps: Option<usize>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    beta_schedule: Option<String>,
    trained_betas: Option<Vec<f64>>,
    prediction_type: Option<String>,
    timestep_spacing: Option<String>,
    steps_offset: Option<usize>,
    set_alpha_to_one: Option<bool>,
    final_sigmas_type: Option<String>,
    rescale_betas_zero_snr: Option<bool>,
    clip_sample: Option<bool>,
    thresholding: Option<bool>,
    use_karras_sigmas: Option<bool>,
    use_exponential_sigmas: Option<bool>,
    skip_prk_steps: Option<bool>,
    variance_type: Option<String>,
    algorithm_type: Option<String>,
    solver_type: Option<String>,
    solver_order: Option<usize>,
    lower_order_final: Option<bool>,
    predict_x0: Option<bool>,
    disable_corrector: Option<Vec<usize>>,
}

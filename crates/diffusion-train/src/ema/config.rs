//! The kinds of averages, as settings.

use super::power::{WIDEST, exponent};
use diffusion_core::Invalid;
use serde::{Deserialize, Serialize};

/// Where in its training a model is when its average takes in its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmaStep {
    /// The number of the step, from 1.
    pub step: u64,
    /// The examples seen so far, those of this step included.
    pub examples: u64,
    /// The examples of this step.
    pub batch: u64,
}

/// How slowly an [`Ema`](crate::Ema) forgets: β of `ema ← β·ema + (1 − β)·weights`, for each step.
///
/// In a configuration a table with `kind`; one without is of the kind `warmup`.
/// ```
/// use diffusion_train::{EmaConfig, EmaStep};
///
/// let at = EmaStep { step: 1000, examples: 64_000, batch: 64 };
/// // γ of the width 0.1 is 6.94.
/// let beta = EmaConfig::Power { width: 0.1 }.decay_at(at);
/// assert!((beta - (1.0 - 64.0 / 64_000.0f64).powf(7.94)).abs() < 1e-5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum EmaConfig {
    /// β = min(decay, 1 − (1 + step)^(−power)), as in k-diffusion. Without the warm-up the EMA of a short run is still
    /// full of the first weights. The default.
    Warmup {
        /// The largest β, 0.999 by default.
        decay: f64,
        /// The power of the warm-up, 2/3 by default as there; an infinite one turns it off.
        warmup_power: f64,
    },
    /// The same β at each step.
    Constant {
        /// β, 0.999 by default.
        decay: f64,
    },
    /// β = 0.5^(batch / min(half-life, ramp-up·n)) after n examples (Karras et al. 2022, arXiv:2206.00364, appendix F.2).
    HalfLife {
        /// After how many examples half of the average is new, 500 000 by default.
        examples: f64,
        /// The largest half-life as a share of the examples so far, 0.05 by default; an infinite one is no bound.
        ramp_up: f64,
    },
    /// β = (1 − batch/n)^(γ + 1) after n examples, this step's included (Karras et al. 2024, arXiv:2312.02696, §3): the
    /// average reaches back over the same share of the training however long it is. γ follows from the width. Averages
    /// of widths that were not tracked can be had afterwards, see [`Snapshot`](crate::Snapshot).
    Power {
        /// The standard deviation of what it takes in, as a share of the training so far: 0.05 to 0.15 are usual, 0.1
        /// by default.
        width: f64,
    },
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self::warmup(DECAY)
    }
}

const DECAY: f64 = 0.999;
const WARMUP_POWER: f64 = 2.0 / 3.0;
/// That of CIFAR-10 in arXiv:2206.00364, table 6.
const HALF_LIFE: f64 = 500_000.0;
const RAMP_UP: f64 = 0.05;
const WIDTH: f64 = 0.1;
/// The widths that have a meaning: of a narrower one the profile is a single step of most runs.
const WIDTHS: [f64; 2] = [0.001, 0.28];

impl EmaConfig {
    /// With the usual warm-up, up to β = `decay`.
    pub const fn warmup(decay: f64) -> Self {
        Self::Warmup { decay, warmup_power: WARMUP_POWER }
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless decays are in [0, 1), the power of the warm-up at least 0, half-life and ramp-up positive, and widths from
    /// 0.001 to 0.28.
    pub fn validate(&self) -> Result<(), Invalid> {
        let check_decay = |decay: f64| {
            let reason = || format!("is {decay}, expected a number in [0, 1)");
            Invalid::unless((0.0..1.0).contains(&decay), "decay", reason)
        };
        match *self {
            Self::Constant { decay } => check_decay(decay),
            Self::Warmup { decay, warmup_power } => {
                check_decay(decay)?;
                let reason = || format!("is {warmup_power}, expected at least 0, e.g. 0.667");
                Invalid::unless(warmup_power >= 0.0, "warmup_power", reason)
            }
            Self::HalfLife { examples, ramp_up } => {
                let reason = || format!("is {examples}, expected a positive number of examples, e.g. 500000");
                Invalid::unless(examples > 0.0, "examples", reason)?;
                let reason = || format!("is {ramp_up}, expected a positive share, e.g. 0.05");
                Invalid::unless(ramp_up > 0.0, "ramp_up", reason)
            }
            Self::Power { width } => check_width(width),
        }
    }

    /// β of the update after a step.
    pub fn decay_at(&self, at: EmaStep) -> f64 {
        let EmaStep { step, examples: seen, batch } = at;
        let (seen, batch) = (seen as f64, batch as f64);
        match *self {
            Self::Warmup { decay, warmup_power } => decay.min(1.0 - (1.0 + step as f64).powf(-warmup_power)),
            Self::Constant { decay } => decay,
            Self::HalfLife { examples, ramp_up } => 0.5f64.powf(batch / examples.min(ramp_up * seen)),
            Self::Power { width } => (1.0 - batch / seen).powf(exponent(width) + 1.0),
        }
    }

    /// The width, of the kind that has one.
    pub fn width(&self) -> Option<f64> {
        match *self {
            Self::Power { width } => Some(width),
            _ => None,
        }
    }
}

/// Whether there is a power-function average of this width, as [`EmaConfig::Power`] has it.
///
/// # Errors
/// Unless it is from 0.001 to 0.28.
pub(crate) fn check_width(width: f64) -> Result<(), Invalid> {
    const { assert!(WIDTHS[1] < WIDEST) }
    let [narrowest, widest] = WIDTHS;
    let reason = || format!("is {width}, expected a number from {narrowest} to {widest}, e.g. 0.1");
    Invalid::unless((narrowest..=widest).contains(&width), "width", reason)
}

/// An average of the weights beside the first one, which has no name.
///
/// In a configuration a table of [`EmaConfig`]'s settings with `name`; of the kind `power`, the width is the name where
/// there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct NamedEma {
    /// What it is called: in the options of the program, and in its file `ema-NAME.safetensors` of every checkpoint.
    pub name: String,
    /// How slowly it forgets.
    pub ema: EmaConfig,
}

impl NamedEma {
    /// The power-function average of a width, which is its name.
    pub fn of_width(width: f64) -> Self {
        Self { name: width.to_string(), ema: EmaConfig::Power { width } }
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless the name is one that a file can have: up to 64 letters, digits, `-`, `_` and `.`, a letter or digit first; or
    /// if the settings cannot.
    pub fn validate(&self) -> Result<(), Invalid> {
        let reason = || {
            format!(
                "is {:?}, expected up to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`",
                self.name
            )
        };
        Invalid::unless(is_name(&self.name), "name", reason)?;
        self.ema.validate()
    }
}

/// Whether an average can have this name, which is part of a file's.
pub(crate) fn is_name(name: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_good)
}

/// An average as it stands in a file: the settings of all kinds.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decay: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup_power: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    examples: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramp_up: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<f64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Warmup,
    Constant,
    HalfLife,
    Power,
}

impl Written {
    /// The average, if it has no settings of another kind.
    fn config(&self) -> Result<EmaConfig, String> {
        let (kind, known, config) = match self.kind {
            None | Some(Kind::Warmup) => {
                let (decay, power) = (self.decay.unwrap_or(DECAY), self.warmup_power.unwrap_or(WARMUP_POWER));
                ("warmup", &["decay", "warmup_power"][..], EmaConfig::Warmup { decay, warmup_power: power })
            }
            Some(Kind::Constant) => {
                ("constant", &["decay"][..], EmaConfig::Constant { decay: self.decay.unwrap_or(DECAY) })
            }
            Some(Kind::HalfLife) => {
                let examples = self.examples.unwrap_or(HALF_LIFE);
                let ramp_up = self.ramp_up.unwrap_or(RAMP_UP);
                ("half-life", &["examples", "ramp_up"][..], EmaConfig::HalfLife { examples, ramp_up })
            }
            Some(Kind::Power) => {
                ("power", &["width"][..], EmaConfig::Power { width: self.width.unwrap_or(WIDTH) })
            }
        };
        let given = [
            ("decay", self.decay),
            ("warmup_power", self.warmup_power),
            ("examples", self.examples),
            ("ramp_up", self.ramp_up),
            ("width", self.width),
        ];
        match given.iter().find(|(name, value)| value.is_some() && !known.contains(name)) {
            Some((name, _)) => {
                let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                Err(format!("unknown field `{name}` of an average of the kind `{kind}`, expected {known}"))
            }
            None => Ok(config),
        }
    }
}

impl TryFrom<Written> for EmaConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written.name {
            Some(_) => Err("unknown field `name`: only further averages have one".to_string()),
            None => written.config(),
        }
    }
}

impl TryFrom<Written> for NamedEma {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let ema = written.config()?;
        let width = ema.width().map(|width| width.to_string());
        let name = written.name.or(width).ok_or("missing field `name` of a further average")?;
        Ok(Self { name, ema })
    }
}

impl From<EmaConfig> for Written {
    /// The first kind is written as it was before there were others.
    fn from(config: EmaConfig) -> Self {
        let of = |kind| Self { kind: Some(kind), ..Self::default() };
        match config {
            EmaConfig::Warmup { decay, warmup_power } => {
                Self { decay: Some(decay), warmup_power: Some(warmup_power), ..Self::default() }
            }
            EmaConfig::Constant { decay } => Self { decay: Some(decay), ..of(Kind::Constant) },
            EmaConfig::HalfLife { examples, ramp_up } => {
                Self { examples: Some(examples), ramp_up: Some(ramp_up), ..of(Kind::HalfLife) }
            }
            EmaConfig::Power { width } => Self { width: Some(width), ..of(Kind::Power) },
        }
    }
}

impl From<NamedEma> for Written {
    fn from(NamedEma { name, ema }: NamedEma) -> Self {
        Self { name: Some(name), ..ema.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> EmaStep {
        EmaStep { step, examples: 100 * step, batch: 100 }
    }

    #[test]
    fn the_warm_up_ends_at_the_decay() {
        let config = EmaConfig::Warmup { decay: 0.999, warmup_power: 1.0 };
        assert_eq!(config.decay_at(at(1)), 0.5);
        assert_eq!(config.decay_at(at(999)), 0.999);
        assert_eq!(config.decay_at(at(100_000)), 0.999);
        assert_eq!(EmaConfig::Constant { decay: 0.75 }.decay_at(at(1)), 0.75);
    }

    #[test]
    fn half_of_the_average_is_new_after_the_half_life() {
        let config = EmaConfig::HalfLife { examples: 1000.0, ramp_up: 0.05 };
        // Ten steps of 100 examples, long after the ramp-up.
        let kept: f64 = (1001..=1010).map(|step| config.decay_at(at(step))).product();
        assert!((kept - 0.5).abs() < 1e-12, "{kept}");
        // In the ramp-up the half-life is a twentieth of what was seen.
        assert!((config.decay_at(at(100)) - 0.5f64.powf(100.0 / 500.0)).abs() < 1e-15);
        let without = EmaConfig::HalfLife { examples: 1000.0, ramp_up: f64::INFINITY };
        assert!((without.decay_at(at(1)) - 0.5f64.powf(0.1)).abs() < 1e-15);
    }

    /// By a power function the weights after the step j of k weigh (j/k)^(γ+1) − ((j−1)/k)^(γ+1), also where batches differ.
    #[test]
    fn a_power_function_weighs_every_step_by_its_profile() {
        let config = EmaConfig::Power { width: 0.1 };
        let batches: Vec<u64> = (0..50).map(|i| 10 + 7 * (i % 3)).collect();
        let (mut examples, mut weights) = (0, Vec::new());
        for (i, &batch) in batches.iter().enumerate() {
            examples += batch;
            let decay = config.decay_at(EmaStep { step: 1 + i as u64, examples, batch });
            weights.iter_mut().for_each(|weight| *weight *= decay);
            weights.push(1.0 - decay);
        }
        let (mut seen, power) = (0, exponent(0.1) + 1.0);
        for (weight, batch) in weights.iter().zip(&batches) {
            let share = |n: u64| (n as f64 / examples as f64).powf(power);
            let expected = share(seen + batch) - share(seen);
            assert!((weight - expected).abs() < 1e-12, "{weight}, expected {expected}");
            seen += batch;
        }
    }

    fn read(text: &str) -> Result<EmaConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_string())
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for (config, text) in [
            (EmaConfig::default(), "decay = 0.999\nwarmup_power = 0.6666666666666666\n"),
            (EmaConfig::Constant { decay: 0.5 }, "kind = \"constant\"\ndecay = 0.5\n"),
            (
                EmaConfig::HalfLife { examples: 2e3, ramp_up: 0.05 },
                "kind = \"half-life\"\nexamples = 2000.0\nramp_up = 0.05\n",
            ),
            (EmaConfig::Power { width: 0.2 }, "kind = \"power\"\nwidth = 0.2\n"),
        ] {
            assert_eq!(toml::to_string(&config).unwrap(), text);
            assert_eq!(read(text), Ok(config));
            let named = NamedEma { name: "other".to_string(), ema: config };
            assert_eq!(toml::from_str::<NamedEma>(&toml::to_string(&named).unwrap()).unwrap(), named);
        }
        assert_eq!(read("kind = \"warmup\""), Ok(EmaConfig::default()));
        assert_eq!(read("decay = 0.5"), Ok(EmaConfig::Warmup { decay: 0.5, warmup_power: WARMUP_POWER }));
    }

    #[test]
    fn settings_of_another_kind_are_unknown() {
        for (text, named) in [
            ("width = 0.1", "`width`"),
            ("kind = \"power\"\ndecay = 0.9", "`decay`"),
            ("kind = \"constant\"\nwarmup_power = 1.0", "`warmup_power`"),
            ("kind = \"half-life\"\nwidth = 0.1", "`width`"),
            ("kind = \"median\"", "`median`"),
            ("name = \"a\"", "`name`"),
            ("speed = 1", "`speed`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_width_is_a_name() {
        let read = |text| toml::from_str::<NamedEma>(text);
        assert_eq!(read("kind = \"power\"\nwidth = 0.05").unwrap(), NamedEma::of_width(0.05));
        assert!(read("kind = \"constant\"").unwrap_err().to_string().contains("`name`"));
        for (name, is_good) in
            [("0.05", true), ("wide_2", true), ("", false), (".a", false), ("a/b", false), ("ä", false)]
        {
            let named = NamedEma { name: name.to_string(), ema: EmaConfig::default() };
            assert_eq!(named.validate().is_ok(), is_good, "{name}");
        }
    }
}

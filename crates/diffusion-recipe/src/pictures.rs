//! Pictures of a run while it trains: when they are due, and of which samples.

use diffusion::core::Invalid;
use diffusion::core::invalid::MAX_SIZE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// How many pictures a run has at most where no interval is set.
const ABOUT: u64 = 10;

fn yes() -> bool {
    true
}

/// Which pictures are drawn of a run while it trains. No step depends on them.
///
/// ```
/// use diffusion_recipe::{PictureInterval, RunConfig, SampleRequest};
///
/// let mut config = RunConfig::preset("fashion-dit-small")?;
/// assert_eq!(config.pictures.every, PictureInterval::Auto);
/// config.set_all(["pictures.every=500", "pictures.count=16"])?;
/// assert_eq!(config.pictures.every, PictureInterval::Steps(500));
/// assert_eq!(SampleRequest::of_pictures(&config).sampling.count, 16);
/// # Ok::<(), diffusion_recipe::RecipeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PicturesConfig {
    /// The steps between two pictures; `auto` by default.
    #[serde(default)]
    pub every: PictureInterval,
    /// How many samples each shows; where this is absent as many as are sampled at the end, but at most 64 images or 2,000
    /// points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Whether an animation is made of them at the end of training; by default it is.
    #[serde(default = "yes")]
    pub animation: bool,
}

impl Default for PicturesConfig {
    fn default() -> Self {
        Self { every: PictureInterval::Auto, count: None, animation: true }
    }
}

impl PicturesConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.every == PictureInterval::Steps(0) {
            return Err(Invalid::new("every", "is 0, expected at least 1 step, auto or never"));
        }
        self.count.map_or(Ok(()), |count| Invalid::unless_positive("count", count, MAX_SIZE))
    }

    /// Whether a picture is due after the step `step` of a run of `steps` steps: every so many and after the last of a run
    /// that is long enough for one; of `auto` after each tenth of the run, if the time is not too dear.
    pub fn is_due(&self, step: u64, steps: u64) -> bool {
        let tenth = |step: u64| (u128::from(step) * u128::from(ABOUT)) / u128::from(steps.max(1));
        match self.every {
            PictureInterval::Never => false,
            PictureInterval::Steps(every) => {
                every > 0 && (step.is_multiple_of(every) || step == steps && step > every)
            }
            PictureInterval::Auto => step > 0 && tenth(step) > tenth(step - 1),
        }
    }
}

/// How often pictures are drawn: `auto`, `never`, or every so many steps, written `500`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureInterval {
    /// About ten times in a run, and more rarely where drawing would take more than 1.5 % of its time.
    #[default]
    Auto,
    /// Not before its end.
    Never,
    /// Every so many steps, however long it takes.
    Steps(u64),
}

impl FromStr for PictureInterval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            _ => text.parse().ok().filter(|&steps| steps > 0).map(Self::Steps).ok_or_else(|| {
                format!("found `{text}`, expected a number of steps, e.g. 500, or auto or never")
            }),
        }
    }
}

impl Display for PictureInterval {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Never => f.write_str("never"),
            Self::Steps(steps) => write!(f, "{steps}"),
        }
    }
}

impl Serialize for PictureInterval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            name => serializer.collect_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for PictureInterval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of steps, e.g. 500, or \"auto\" or \"never\"")]
        enum Text {
            Steps(u64),
            Name(String),
        }
        match Text::deserialize(deserializer)? {
            Text::Steps(steps) => Ok(Self::Steps(steps)),
            Text::Name(name) => name.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(every: PictureInterval, steps: u64) -> Vec<u64> {
        let pictures = PicturesConfig { every, ..PicturesConfig::default() };
        (0..=steps).filter(|&step| pictures.is_due(step, steps)).collect()
    }

    #[test]
    fn pictures_are_due_every_so_many_steps_and_at_the_end() {
        assert_eq!(due(PictureInterval::Steps(4), 10), [0, 4, 8, 10]);
        assert_eq!(due(PictureInterval::Steps(20), 10), [0]);
        assert_eq!(due(PictureInterval::Never, 10), [0; 0]);
    }

    #[test]
    fn where_no_interval_is_set_there_are_ten_at_most() {
        assert_eq!(due(PictureInterval::Auto, 3_000), Vec::from_iter((1..=10).map(|i| 300 * i)));
        for steps in [1, 3, 10, 11, 19, 25, 1_005] {
            let due = due(PictureInterval::Auto, steps);
            assert!(due.len() as u64 == steps.min(10) && due.last() == Some(&steps), "{steps}: {due:?}");
        }
    }

    #[test]
    fn intervals_are_words_or_numbers() {
        let read = |text: &str| text.parse::<PictureInterval>();
        assert_eq!(read("auto"), Ok(PictureInterval::Auto));
        assert_eq!(read("never"), Ok(PictureInterval::Never));
        assert_eq!(read("500"), Ok(PictureInterval::Steps(500)));
        for bad in ["", "0", "-1", "1.5", "10m", "always"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

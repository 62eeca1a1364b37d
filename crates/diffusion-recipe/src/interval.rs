//! How often: every so many steps, or every so many minutes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// Between two checkpoints: steps, written `500`, or minutes, written `10m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interval {
    /// So many steps.
    Steps(u64),
    /// So many minutes.
    Minutes(f64),
}

impl Interval {
    /// Whether it is time after the step `step`, `since` having passed after the last time.
    pub fn is_due(self, step: u64, since: Duration) -> bool {
        match self {
            Self::Steps(steps) => step.is_multiple_of(steps),
            Self::Minutes(minutes) => since.as_secs_f64() >= 60.0 * minutes,
        }
    }

    /// Whether it is positive and finite.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Steps(steps) => steps > 0,
            Self::Minutes(minutes) => minutes.is_finite() && minutes > 0.0,
        }
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("found `{text}`, expected a number of steps, e.g. 500, or of minutes, e.g. 10m");
        let interval = match text.strip_suffix('m') {
            Some(minutes) => Self::Minutes(minutes.trim().parse().map_err(|_| bad())?),
            None => Self::Steps(text.parse().map_err(|_| bad())?),
        };
        if interval.is_valid() { Ok(interval) } else { Err(bad()) }
    }
}

impl Display for Interval {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Minutes(minutes) => write!(f, "{minutes}m"),
        }
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps),
            Self::Minutes(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of steps, e.g. 500, or of minutes, e.g. \"10m\"")]
        enum Text {
            Steps(u64),
            Minutes(String),
        }
        match Text::deserialize(deserializer)? {
            Text::Steps(steps) => Ok(Self::Steps(steps)),
            Text::Minutes(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_minutes_are_told_apart() {
        let read = |text: &str| text.parse::<Interval>();
        assert_eq!(read("500"), Ok(Interval::Steps(500)));
        assert_eq!(read("2.5m"), Ok(Interval::Minutes(2.5)));
        for bad in ["", "0", "-1", "1.5", "m", "0m", "nanm", "infm", "10s", "m10"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_due_after_so_many_steps_or_minutes() {
        let minute = Duration::from_secs(60);
        assert!(
            Interval::Steps(10).is_due(20, Duration::ZERO) && !Interval::Steps(10).is_due(25, 100 * minute)
        );
        assert!(Interval::Minutes(2.0).is_due(7, 2 * minute) && !Interval::Minutes(2.0).is_due(10, minute));
    }
}

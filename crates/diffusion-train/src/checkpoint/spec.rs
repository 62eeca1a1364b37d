//! What a checkpoint belongs to: network, prediction and schedule as TOML, with every default filled in.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use toml::Value;

/// What weights belong to: they mean nothing under another network, prediction or schedule.
///
/// Each part is the TOML of its configuration. A stored part is read through the type of the part that it is compared
/// with, which fills in the defaults of settings that were added since it was stored; so old checkpoints stay readable.
/// ```
/// use diffusion_core::{AnyPrediction, network::mlp::TimeInputMlpConfig, schedule::ScheduleConfig};
/// use diffusion_train::ModelSpec;
///
/// let schedule = ScheduleConfig::LogLinear { n: 200, sigma_min: 0.005, sigma_max: 10.0 };
/// let spec = ModelSpec::new(&TimeInputMlpConfig::default(), &AnyPrediction::Eps, &schedule);
/// assert_eq!(spec.prediction.as_str(), Some("eps"));
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// What the network's output means.
    pub prediction: Value,
    /// The network and its sizes.
    pub network: Value,
    /// The noise levels that it was trained on.
    pub schedule: Value,
    /// For each part, how a stored one is read and written again, in the order of [`PARTS`].
    #[serde(skip, default = "verbatim")]
    canonical: [fn(&Value) -> Option<Value>; 3],
}

/// The parts by their names in messages.
const PARTS: [&str; 3] = ["prediction", "network", "schedule"];

/// The first part in which two specifications differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub part: &'static str,
    pub found: String,
    pub expected: String,
}

impl ModelSpec {
    /// The specification of weights of `network` under `prediction`, trained on the levels of `schedule`.
    ///
    /// # Panics
    /// If a part cannot be written as TOML, e.g. because it is a map whose keys are no strings.
    pub fn new<N, P, S>(network: &N, prediction: &P, schedule: &S) -> Self
    where
        N: Serialize + DeserializeOwned,
        P: Serialize + DeserializeOwned,
        S: Serialize + DeserializeOwned,
    {
        Self {
            prediction: to_value(prediction),
            network: to_value(network),
            schedule: to_value(schedule),
            canonical: [canonical::<P>, canonical::<N>, canonical::<S>],
        }
    }

    /// Where `stored`, read through the types of this specification, differs from it.
    pub(crate) fn difference(&self, stored: &Self) -> Option<Difference> {
        let found = [&stored.prediction, &stored.network, &stored.schedule];
        let expected = [&self.prediction, &self.network, &self.schedule];
        (0..PARTS.len())
            .find(|&i| self.canonical[i](found[i]).as_ref() != Some(expected[i]))
            .map(|i| Difference { part: PARTS[i], found: inline(found[i]), expected: inline(expected[i]) })
    }
}

fn to_value<T: Serialize>(part: &T) -> Value {
    Value::try_from(part)
        .unwrap_or_else(|error| panic!("a part of a model cannot be written as TOML: {error}"))
}

/// The value as it stands in a sentence.
fn inline(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// `stored` as a `T` writes it, or nothing if it is no `T`.
fn canonical<T: Serialize + DeserializeOwned>(stored: &Value) -> Option<Value> {
    Value::try_from(stored.clone().try_into::<T>().ok()?).ok()
}

/// A specification that was read from a file knows no types; it is compared as it stands.
fn verbatim() -> [fn(&Value) -> Option<Value>; 3] {
    [|value| Some(value.clone()); 3]
}

impl fmt::Debug for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prediction, network, schedule, canonical: _ } = self;
        let mut parts = f.debug_struct("ModelSpec");
        parts.field("prediction", prediction).field("network", network).field("schedule", schedule);
        parts.finish()
    }
}

impl PartialEq for ModelSpec {
    /// Whether all parts are the same, literally.
    fn eq(&self, other: &Self) -> bool {
        (&self.prediction, &self.network, &self.schedule)
            == (&other.prediction, &other.network, &other.schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration as a later version may have it: `depth` is new.
    #[derive(Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Network {
        width: usize,
        depth: usize,
    }

    impl Default for Network {
        fn default() -> Self {
            Self { width: 8, depth: 2 }
        }
    }

    fn spec(network: &Network) -> ModelSpec {
        ModelSpec::new(network, &"eps".to_string(), &"loglinear".to_string())
    }

    /// What an older version stored, which had no `depth`.
    fn stored(text: &str) -> ModelSpec {
        let text = format!("prediction = 'eps'\nschedule = 'loglinear'\n[network]\n{text}");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_setting_that_was_stored_before_it_existed_has_its_default() {
        assert_eq!(spec(&Network::default()).difference(&stored("width = 8")), None);
    }

    #[test]
    fn another_value_is_another_model() {
        for (network, text) in [
            (Network::default(), "width = 9"),
            (Network { depth: 3, ..Network::default() }, "width = 8"),
            (Network::default(), "width = 8\nheight = 1"),
        ] {
            let found = spec(&network).difference(&stored(text)).unwrap();
            assert_eq!(found.part, "network", "{text}");
            assert!(found.expected.contains("width = 8"), "{}", found.expected);
        }
        let other = ModelSpec::new(&Network::default(), &"v".to_string(), &"loglinear".to_string());
        assert_eq!(other.difference(&stored("width = 8")).unwrap().part, "prediction");
    }
}

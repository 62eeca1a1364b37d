//! The mean squared error of the prediction, every noise level weighing the same.

use crate::invalid::Invalid;
use crate::objective::{Objective, Weight};
use crate::parameterization::Parameterization;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// The mean squared error of the prediction, `‖F − (a·x₀ + b·ε)‖²`, with noise levels as the schedule draws them:
/// smalldiffusion's loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PredictionMse;

impl PredictionMse {
    /// Whether there is such an objective; without parameters there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl Objective for PredictionMse {
    fn weight<P: Parameterization>(&self, _parameterization: &P, _sigma: f64) -> Weight {
        Weight::OnOutput(1.0)
    }
}

/// Whoever gives it a setting means the objective that has some, and is told so.
impl<'de> Deserialize<'de> for PredictionMse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WithoutSettings)
    }
}

struct WithoutSettings;

impl<'de> Visitor<'de> for WithoutSettings {
    type Value = PredictionMse;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no settings")
    }

    fn visit_unit<E: Error>(self) -> Result<PredictionMse, E> {
        Ok(PredictionMse)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PredictionMse, A::Error> {
        let Some(name) = map.next_key::<String>()? else { return Ok(PredictionMse) };
        let reason = "the objective prediction-mse has no settings; those of the kind weighted are its parts";
        Err(A::Error::custom(format!("unknown field `{name}`: {reason}")))
    }
}

//! The objective that is chosen while the program runs: the list of all objectives.

mod consistency_distillation;
mod consistency_training;
mod mean_flow;
mod prediction_mse;
mod weighted;

pub use consistency_distillation::ConsistencyDistillation;
pub use consistency_training::ConsistencyTraining;
pub use mean_flow::MeanFlow;
pub use prediction_mse::PredictionMse;
pub use weighted::Weighted;

use super::batch::{BatchPlace, Drawn};
use super::memory::{Memory, Seen};
use super::trained_model::{NoisyBatch, TrainedModel};
use super::{Objective, Weight};
use crate::invalid::Invalid;
use crate::parameterization::Parameterization;
use crate::random::Stream;
use crate::schedule::Schedule;
use crate::sigma::Sigma;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// [`AnyObjective`] from the types of all objectives.
macro_rules! objectives {
    ($($kind:ident,)+) => {
        /// An objective that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyObjective {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                $kind($kind),
            )+
        }

        impl AnyObjective {
            /// Whether there is such an objective.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(objective) => objective.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnyObjective {
                fn from(objective: $kind) -> Self {
                    Self::$kind(objective)
                }
            }
        )+

        impl Objective for AnyObjective {
            fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
                match self {
                    $(Self::$kind(objective) => objective.draw(schedule, stream),)+
                }
            }

            fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
                match self {
                    $(Self::$kind(objective) => objective.weight(parameterization, sigma),)+
                }
            }

            fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
                match self {
                    $(Self::$kind(objective) => objective.penalty(error),)+
                }
            }

            fn losses<P: Parameterization, B: Backend, const D: usize>(
                &self,
                parameterization: &P,
                sigma: &Sigma,
                error: Tensor<B, D>,
            ) -> Tensor<B, D> {
                match self {
                    $(Self::$kind(objective) => objective.losses(parameterization, sigma, error),)+
                }
            }

            fn levels<S: Schedule + ?Sized>(
                &self,
                schedule: &S,
                place: &BatchPlace,
                memory: &Memory,
            ) -> Vec<Drawn> {
                match self {
                    $(Self::$kind(objective) => objective.levels(schedule, place, memory),)+
                }
            }

            fn level_at<S: Schedule + ?Sized>(&self, schedule: &S, rank: f64) -> Option<Drawn> {
                match self {
                    $(Self::$kind(objective) => objective.level_at(schedule, rank),)+
                }
            }

            fn noise(
                &self,
                noise: TensorData,
                x0: &TensorData,
                classes: Option<&[usize]>,
                place: &BatchPlace,
            ) -> TensorData {
                match self {
                    $(Self::$kind(objective) => objective.noise(noise, x0, classes, place),)+
                }
            }

            fn batch_losses<B: AutodiffBackend, M: TrainedModel<B, D>, S: Schedule + ?Sized, const D: usize>(
                &self,
                model: &M,
                schedule: &S,
                batch: &NoisyBatch<B, D>,
                place: &BatchPlace,
            ) -> Option<Tensor<B, 1>> {
                match self {
                    $(Self::$kind(objective) => objective.batch_losses(model, schedule, batch, place),)+
                }
            }

            fn memory(&self) -> Memory {
                match self {
                    $(Self::$kind(objective) => objective.memory(),)+
                }
            }

            fn observe(&self, memory: &mut Memory, seen: &Seen<'_>) {
                match self {
                    $(Self::$kind(objective) => objective.observe(memory, seen),)+
                }
            }
        }
    };
}

objectives! {
    PredictionMse,
    Weighted,
    ConsistencyTraining,
    ConsistencyDistillation,
    MeanFlow,
}

impl AnyObjective {
    /// Whether examples get other noise than unit normal noise that is independent of them.
    pub fn changes_noise(&self) -> bool {
        match self {
            Self::PredictionMse(_)
            | Self::ConsistencyTraining(_)
            | Self::ConsistencyDistillation(_)
            | Self::MeanFlow(_) => false,
            Self::Weighted(weighted) => weighted.offset_noise.is_some() || weighted.pairing.is_some(),
        }
    }
}

impl AnyObjective {
    /// Whether the model is compared with itself, so that its estimate of the data is a sample, and no error of a
    /// prediction is what it is known by.
    pub fn is_consistency(&self) -> bool {
        matches!(self, Self::ConsistencyTraining(_) | Self::ConsistencyDistillation(_))
    }

    /// Whether the network must be one that can be asked for mean velocities.
    pub fn needs_mean_velocity(&self) -> bool {
        matches!(self, Self::MeanFlow(_))
    }

    /// Whether it learns from a teacher.
    pub fn needs_teacher(&self) -> bool {
        matches!(self, Self::ConsistencyDistillation(_))
    }
}

impl Default for AnyObjective {
    fn default() -> Self {
        PredictionMse.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_the_kind() {
        let text = r#"{"kind":"prediction-mse"}"#;
        assert_eq!(serde_json::from_str::<AnyObjective>(text).unwrap(), AnyObjective::default());
        assert_eq!(serde_json::to_string(&AnyObjective::default()).unwrap(), text);
        let more = serde_json::from_str::<AnyObjective>(r#"{"kind":"prediction-mse","weight":{}}"#);
        let error = more.unwrap_err().to_string();
        assert!(error.contains("weight") && error.contains("weighted"), "{error}");
    }
}

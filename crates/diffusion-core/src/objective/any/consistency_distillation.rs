//! Consistency distillation.

use super::consistency_training::ConsistencyTraining;
use crate::invalid::Invalid;
use crate::objective::{BatchPlace, Drawn, Memory, NoisyBatch, Objective, TrainedModel, Weight};
use crate::parameterization::Parameterization;
use crate::random::Stream;
use crate::schedule::Schedule;
use crate::sigma::{Sigma, mix};
use burn::tensor::{Tensor, backend::AutodiffBackend};
use serde::{Deserialize, Serialize};

/// Consistency distillation (Song et al. 2023, arXiv:2303.01469, Alg. 2): as [`ConsistencyTraining`], but the noisy example
/// at the lower of two levels is where a trained model, the teacher, takes that at the upper one, by a step of Heun's
/// method. So the model is trained to jump to the end of the teacher's ways.
///
/// Levels, weights and loss are those of improved consistency training; the target is the model's own, without the average
/// of the paper.
///
/// ```
/// use diffusion_core::objective::{AnyObjective, ConsistencyDistillation, ConsistencyTraining};
///
/// let text = r#"{"kind": "consistency-distillation", "intervals": 40, "most_intervals": 40}"#;
/// let settings = ConsistencyTraining { intervals: 40, most_intervals: 40, ..Default::default() };
/// assert_eq!(serde_json::from_str::<AnyObjective>(text)?, ConsistencyDistillation(settings).into());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsistencyDistillation(pub ConsistencyTraining);

impl ConsistencyDistillation {
    /// Whether there is such an objective.
    ///
    /// # Errors
    /// The first number that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.0.validate()
    }
}

/// # Panics
/// [`batch_losses`](Objective::batch_losses) panics where there is no teacher.
impl Objective for ConsistencyDistillation {
    fn draw<S: Schedule + ?Sized>(&self, schedule: &S, stream: &mut Stream) -> f64 {
        self.0.draw(schedule, stream)
    }

    fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
        self.0.weight(parameterization, sigma)
    }

    fn levels<S: Schedule + ?Sized>(&self, schedule: &S, place: &BatchPlace, memory: &Memory) -> Vec<Drawn> {
        self.0.levels(schedule, place, memory)
    }

    fn batch_losses<B: AutodiffBackend, M: TrainedModel<B, D>, S: Schedule + ?Sized, const D: usize>(
        &self,
        model: &M,
        schedule: &S,
        batch: &NoisyBatch<B, D>,
        place: &BatchPlace,
    ) -> Option<Tensor<B, 1>> {
        let teach = |x, sigmas: &[f64]| {
            let velocity = model.taught_velocity(x, sigmas);
            velocity.expect("consistency distillation needs a teacher")
        };
        let heun = |x: Tensor<B::InnerBackend, D>, lowers: &[f64]| {
            let ways = batch.sigmas.iter().zip(lowers).map(|(upper, lower)| lower - upper);
            let ways = Sigma::Each(ways.collect());
            let one = || ways.map(|_| 1.0);
            let here = teach(x.clone(), &batch.sigmas);
            let euler = mix((one(), x.clone()), (ways.clone(), here.clone()));
            let there = teach(euler, lowers);
            mix((one(), x), (ways.map(|way| 0.5 * way), here + there))
        };
        Some(self.0.compared(model, schedule, batch, place, heun))
    }
}

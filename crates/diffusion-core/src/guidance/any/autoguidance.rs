//! Guidance by a weaker model.

use super::classifier_free::ClassifierFree;
use crate::guidance::Guidance;
use crate::guidance::estimate::GuidedEstimate;
use crate::guidance::modifier::{AnyModifier, Modifier, validate};
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use crate::precision::check_factor;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Autoguidance (Karras et al. 2024, arXiv:2406.02507): `D + scale·(D − D_weak)`, the rule of [`ClassifierFree`]
/// guidance between a model and a weaker one, smaller or less trained, under the same condition.
///
/// The two are any two denoisers, [`Guided::new`](crate::Guided::new). Which one is the weaker is data here, for a program
/// that opens files: this crate opens none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoguidance {
    /// How far to go beyond the model's own estimate: the paper's w − 1, of 0.7 to 1.9.
    pub scale: f64,
    /// What changes it, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<AnyModifier>,
    /// The step of the weaker model's checkpoint. It is one of the same run, unless `run` names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
    /// The folder of the weaker model's run, of which the latest checkpoint is taken where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
}

impl Autoguidance {
    /// That of a scale, whose weaker model is still to be named.
    pub fn new(scale: f64) -> Self {
        Self { scale, modifiers: Vec::new(), checkpoint: None, run: None }
    }

    /// Whether there is such guidance.
    ///
    /// # Errors
    /// If the scale is not finite in f32, a modifier's parameter is out of its range, or no weaker model is named.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_factor("scale", self.scale)?;
        validate(self.scale, &self.modifiers)?;
        match &self.run {
            Some(run) => Invalid::unless(!run.as_os_str().is_empty(), "run", || {
                "is empty, expected the folder of a weaker model's run".to_string()
            }),
            None => Invalid::unless(self.checkpoint.is_some(), "checkpoint", || {
                "is absent, expected the step of an earlier checkpoint, or `run`, the folder of another run"
                    .to_string()
            }),
        }
    }

    fn rule(&self) -> ClassifierFree<&Vec<AnyModifier>> {
        ClassifierFree { scale: self.scale, modifiers: &self.modifiers }
    }
}

impl Guidance for Autoguidance {
    type State<B: Backend, const D: usize> = <Vec<AnyModifier> as Modifier>::State<B, D>;

    fn start<B: Backend, const D: usize>(&self) -> Self::State<B, D> {
        self.modifiers.start()
    }

    fn is_active(&self, at: &GuidancePoint) -> bool {
        self.rule().is_active(at)
    }

    fn guide<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        at: &GuidancePoint,
        state: &mut Self::State<B, D>,
    ) -> GuidedEstimate<B, D> {
        self.rule().guide(estimate, at, state)
    }
}

//! Published lists of levels that were found by optimization.

use crate::invalid::Invalid;
use crate::schedule::sequence::linspace;
use crate::schedule::spacing::{Spacing, level_at};
use serde::{Deserialize, Serialize};

/// The levels that Sabour et al. 2024 (arXiv:2404.14507, "Align Your Steps") found and published for ten steps of a model;
/// for other numbers of steps they are interpolated evenly, linear in ln σ, as the authors advise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignYourSteps {
    /// For which model.
    pub model: PublishedSteps,
}

/// The models that levels were published for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishedSteps {
    /// Stable Diffusion 1.5
    #[default]
    StableDiffusion,
    /// Stable Diffusion XL
    StableDiffusionXl,
    /// Stable Video Diffusion
    StableVideoDiffusion,
}

impl AlignYourSteps {
    /// Whether there is such a spacing; there always is.
    ///
    /// # Errors
    /// Never.
    pub fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

impl PublishedSteps {
    /// The levels of ten steps, and the smallest one, at which they end.
    fn levels(self) -> [f64; 11] {
        match self {
            Self::StableDiffusion => {
                [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
            }
            Self::StableDiffusionXl => {
                [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
            }
            Self::StableVideoDiffusion => {
                [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002]
            }
        }
    }
}

impl Spacing for AlignYourSteps {
    fn levels(&self, _table: &[f64], steps: usize) -> Vec<f64> {
        let levels = self.model.levels();
        let places = linspace(0.0, 10.0, steps + 1);
        places[..steps].iter().map(|&place| level_at(&levels, place)).collect()
    }
}

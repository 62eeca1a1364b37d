//! The weaker model that autoguidance leads away from.

use crate::config::RunConfig;
use crate::network::SampledNetwork;
use burn::tensor::backend::Backend;
use diffusion::core::guidance::GivenAll;
use diffusion::core::{
    AnyCondition, AnyGuidance, AnyPath, AnyPrediction, Denoiser, Diffusion, Invalid, Parameterization,
};
use std::any::Any;
use std::fmt;

/// The model of a run, which takes part in the sampling of another one; see [`Run::guide_by`](crate::Run::guide_by).
pub struct WeakerModel(Box<dyn Any>);

impl fmt::Debug for WeakerModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakerModel")
    }
}

/// A model that can be told conditions, whatever its network.
pub(crate) trait Tellable<B: Backend, const D: usize> {
    /// The model under these conditions, each with its weight, without guidance.
    fn told(&self, conditions: Vec<(f64, AnyCondition)>) -> Box<dyn Denoiser<B, D, Path = AnyPath> + '_>;
}

impl<B: Backend, N: SampledNetwork<B, D>, const D: usize> Tellable<B, D> for Diffusion<B, N, AnyPrediction> {
    fn told(&self, conditions: Vec<(f64, AnyCondition)>) -> Box<dyn Denoiser<B, D, Path = AnyPath> + '_> {
        let null = self.network.null_condition(&conditions[0].1);
        let told: GivenAll<'_, _, _> = self.given_all(conditions);
        Box::new(told.guided_with(null, AnyGuidance::None))
    }
}

impl WeakerModel {
    pub(crate) fn new<B: Backend, const D: usize>(model: Box<dyn Tellable<B, D>>) -> Self {
        Self(Box::new(model))
    }

    /// The model, if it is one for such inputs on this backend.
    pub(crate) fn into_tellable<B: Backend, const D: usize>(self) -> Option<Box<dyn Tellable<B, D>>> {
        self.0.downcast().ok().map(|model| *model)
    }
}

/// Refuses a weaker model whose inputs or conditions are not those of the run that it is to guide.
pub(crate) fn check_alike(config: &RunConfig, weaker: &RunConfig) -> Result<(), Invalid> {
    let [own, other] = [config, weaker].map(|config| {
        let RunConfig { network, prediction, .. } = config;
        (network.input_shape(), network.classes(), network.text(), prediction.path())
    });
    Invalid::unless(own == other, SETTING, || {
        let say =
            |(shape, classes, text, path): &(Vec<usize>, Option<usize>, Option<[usize; 2]>, AnyPath)| {
                let classes = classes.map_or(String::new(), |classes| format!(", {classes} classes"));
                let text = text.map_or(String::new(), |text| format!(", texts of {text:?}"));
                format!("inputs of {shape:?}{classes}{text} on the path {path:?}")
            };
        format!("has a model for {}, expected one for {}", say(&other), say(&own))
    })
}

/// Where the weaker model's run is named.
pub(crate) const SETTING: &str = "sampling.guidance.run";

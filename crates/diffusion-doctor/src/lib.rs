//! Does this device compute what a CPU computes?
//!
//! Every layer is examined by itself, forward and backward, on the inputs and the gradients that the baseline backend
//! has there; then ten training steps are compared with the baseline's. A wrong layer makes no other look wrong.
//!
//! Run it while no other thread of the process trains: Burn 0.21 may lose gradients here then, as
//! `docs/reproducibility.md` says.
//!
//! ```
//! use burn::backend::Flex;
//! # let device = Default::default();
//! let config = &diffusion_doctor::models()[0];
//! let reference = diffusion_doctor::Reference::record::<Flex>(config, &device)?;
//! let report = reference.compare::<Flex>(&[], &device)?; // on the backend in question
//! println!("{report}");
//! assert!(diffusion_doctor::verdict(&[report]).is_ok());
//! # Ok::<(), diffusion_recipe::RecipeError>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod compare;
mod examine;
#[cfg(test)]
mod tests;

pub use compare::{
    BACKWARD_TOLERANCE, FORWARD_TOLERANCE, LOSS_TOLERANCE, PARAMETER_TOLERANCE, Report, Row, verdict,
};

use burn::tensor::backend::Backend;
use diffusion::core::{AnyCondition, Diffusion, Labels};
use diffusion_recipe::{NetworkVisitor, RecipeError, RunConfig, RunNetwork};
use examine::{Findings, Inputs, Recorded, examine, filled, record};

/// Images in a batch.
const IMAGES: usize = 4;
/// Points in a batch; matrix products of few rows take other ways through a GPU than those of many.
const POINTS: usize = 512;

/// What a backend that is trusted makes of a model.
#[derive(Clone, Debug)]
pub struct Reference {
    config: RunConfig,
    recorded: Vec<Recorded>,
    findings: Findings,
}

impl Reference {
    /// Records the layers of the model that `config` describes, on the backend `B`. Dropout, which draws other numbers
    /// on every backend, is turned off.
    ///
    /// # Errors
    /// If `config` cannot be made.
    pub fn record<B: Backend>(config: &RunConfig, device: &B::Device) -> Result<Self, RecipeError> {
        let mut config = config.clone();
        // A network without dropout does not know the setting.
        let _ = config.set("network.dropout=0.0");
        config.validate()?;
        let (recorded, findings) = visit::<B>(&config, None, &[], device)?;
        Ok(Self { config, recorded, findings })
    }

    /// What the backend `B` makes of the same model, compared with this. The layers that `faults` names get an error of
    /// 1 % added there, to see that it is found.
    ///
    /// # Errors
    /// If the model cannot be made.
    pub fn compare<B: Backend>(&self, faults: &[String], device: &B::Device) -> Result<Report, RecipeError> {
        let (_, found) = visit::<B>(&self.config, Some(&self.recorded), faults, device)?;
        Ok(Report::new(&self.config.preset, &found, &self.findings))
    }

    /// The names of all layers, in the order in which they compute.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.recorded.iter().map(|layer| layer.name.as_str())
    }
}

/// Examines the model that `config` describes on the backend `B`.
fn visit<B: Backend>(
    config: &RunConfig,
    recorded: Option<&[Recorded]>,
    faults: &[String],
    device: &B::Device,
) -> Result<(Vec<Recorded>, Findings), RecipeError> {
    let examination = Examination::<B> { config, recorded, faults, device };
    config.network.visit(config.training.seed, device, examination)
}

struct Examination<'a, B: Backend> {
    config: &'a RunConfig,
    /// The baseline's layers; they are recorded where there are none.
    recorded: Option<&'a [Recorded]>,
    faults: &'a [String],
    device: &'a B::Device,
}

impl<B: Backend> NetworkVisitor<B> for Examination<'_, B> {
    type Output = (Vec<Recorded>, Findings);

    fn visit<N: RunNetwork<B, D>, const D: usize>(self, network: N) -> Self::Output {
        let (config, training) = (self.config, &self.config.training);
        let batch = if D == 2 { POINTS } else { IMAGES };
        let condition = condition(config.network.classes(), batch);
        let (prediction, schedule) = (config.prediction, config.schedule.init());
        let inputs = Inputs::new(network.input_shape(batch), condition, &prediction, &schedule, training);
        let model = filled(Diffusion::new(network, prediction), training.seed);
        let recorded = match self.recorded {
            Some(recorded) => recorded.to_vec(),
            None => record(&model.network, &inputs, self.device),
        };
        let findings = examine(model, &inputs, &recorded, &schedule, self.faults, self.device);
        (recorded, findings)
    }
}

/// All classes in turn.
fn condition(classes: Option<usize>, batch: usize) -> AnyCondition {
    match classes {
        Some(classes) => AnyCondition::Labels(Labels((0..batch).map(|i| i % classes).collect())),
        None => AnyCondition::None,
    }
}

/// A small model of every kind, which together have every layer.
pub fn models() -> Vec<RunConfig> {
    let models: [(&str, &[&str]); 4] = [
        ("time-input-mlp", &["network.kind=time-input-mlp", "network.hidden_dims=[16, 128, 256, 128, 16]"]),
        ("conditional-mlp", &["network.kind=conditional-mlp", "network.hidden_dims=[16, 128, 16]"]),
        (
            "conditional-dit",
            &[
                "network.kind=dit",
                "network.depth=2",
                "network.head_dim=16",
                "network.num_heads=2",
                "network.sigma_embedding=timestep",
                "network.labels.num_classes=10",
                "prediction=flow",
                "schedule.kind=flow",
                "schedule.n=1000",
                "schedule.t_min=0.001",
                "schedule.t_max=1.0",
            ],
        ),
        (
            "conditional-unet",
            &[
                "network.kind=unet",
                "network.in_dim=8",
                "network.ch=32",
                "network.ch_mult=[1, 2]",
                "network.embed_ch_mult=2",
                "network.num_res_blocks=1",
                "network.attn_resolutions=[4]",
                "network.labels.num_classes=10",
            ],
        ),
    ];
    let model = |(name, settings): (&str, &[&str])| {
        let mut config = RunConfig::preset("swissroll").expect(EXISTS);
        let name = format!("preset={name}");
        let all = ["prediction=scaled-eps", &name].into_iter().chain(settings.iter().copied());
        config.set_all(all).expect(EXISTS);
        config
    };
    models.map(model).into()
}

/// Of what this file says itself.
const EXISTS: &str = "the preset and the settings exist";

//! `diffusion doctor`: does this device compute what a CPU computes?
//!
//! Every layer is judged by itself, forward and backward, on the inputs and the gradients that the reference backend
//! has there; then ten training steps are held against the reference's.

mod compare;
mod examine;
#[cfg(all(test, feature = "flex"))]
mod tests;

use crate::args::DoctorArgs;
use crate::condition::RunCondition;
use crate::config::{FlowName, NetworkConfig, Prediction, RunConfig, ScheduleConfig};
use crate::error::CliError;
use crate::presets::Preset;
use crate::run::with_model;
use crate::say::say;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::tensor::backend::Backend;
use compare::{Report, verdict};
use diffusion::core::AnyPrediction;
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::prelude::{Diffusion, Network, Parameterization, Schedule};
use diffusion_backends::{BackendName, Job, describe, run_on};
use examine::{Findings, Inputs, Recorded, examine, filled, record};

/// Images in a batch.
const IMAGES: usize = 4;
/// Points in a batch; matrix products of few rows take other ways through a GPU than those of many.
const POINTS: usize = 512;

pub fn main(args: DoctorArgs) -> Result<(), CliError> {
    let backend = args.backend;
    let reference = args.reference.unwrap_or(backend.reference());
    say(format_args!("device: {}", describe(backend)?))?;
    let described = if reference == backend { "the same".to_string() } else { describe(reference)? };
    say(format_args!("reference: {described}\n"))?;
    let mut configs = args.preset.map_or_else(one_of_each_kind, |preset| vec![preset.config()]);
    configs.iter_mut().for_each(make_repeatable);
    let expected =
        configs.iter().map(|config| find(reference, config, None, &[])).collect::<Result<Vec<_>, _>>()?;
    for layer in &args.plant {
        check_layer(layer, expected.iter().flat_map(|(recorded, _)| recorded))?;
    }
    let mut reports = Vec::new();
    for (config, (recorded, expected)) in configs.iter().zip(&expected) {
        let (_, found) = find(backend, config, Some(recorded), &args.plant)?;
        let report = Report::new(&config.preset, &found, expected);
        say(&report)?;
        reports.push(report);
    }
    match verdict(&reports) {
        Ok(good) => say(format_args!("verdict: {good}")),
        Err(bad) => {
            say(format_args!("verdict: {bad}"))?;
            Err(CliError::Disagreement { backend: backend.name(), reference: reference.name() })
        }
    }
}

/// Refuses a name that no layer has.
fn check_layer<'a>(name: &str, recorded: impl Iterator<Item = &'a Recorded>) -> Result<(), CliError> {
    let names: Vec<&str> = recorded.map(|layer| layer.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let some: Vec<&str> = names.iter().step_by(names.len().div_ceil(6)).copied().collect();
    let what = format!("no layer is called {name:?}; there are {}, …", some.join(", "));
    Err(CliError::invalid(what, "without --plant, the table has the names of all layers"))
}

/// Dropout draws other numbers on every backend.
fn make_repeatable(config: &mut RunConfig) {
    if let NetworkConfig::Unet(unet) | NetworkConfig::ConditionalUnet { unet, .. } = &mut config.network {
        unet.dropout = 0.0;
    }
}

/// What the backend `name` makes of a model; it records the layers itself where no one else's are given.
fn find(
    name: BackendName,
    config: &RunConfig,
    recorded: Option<&[Recorded]>,
    plant: &[String],
) -> Result<(Vec<Recorded>, Findings), CliError> {
    eprintln!("{}: computing on {}", config.preset, name.name());
    run_on(name, Examination { config, recorded, plant })?
}

struct Examination<'a> {
    config: &'a RunConfig,
    recorded: Option<&'a [Recorded]>,
    plant: &'a [String],
}

impl Job for Examination<'_> {
    type Output = Result<(Vec<Recorded>, Findings), CliError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        with_model!(self.config, Autodiff<B>, device, |network, mode, schedules| {
            Ok(self.examine::<B, _, _, _>(Diffusion::new(network, mode), &*schedules.training, device))
        })
    }
}

impl Examination<'_> {
    fn examine<B: Backend, N, P: Parameterization, const D: usize>(
        self,
        model: Diffusion<Autodiff<B>, N, P>,
        schedule: &dyn Schedule<Path = P::Path>,
        device: &B::Device,
    ) -> (Vec<Recorded>, Findings)
    where
        N: Network<Autodiff<B>, D> + AutodiffModule<Autodiff<B>> + ModuleDisplay,
        N::InnerModule: Network<B, D, Condition = N::Condition> + ModuleDisplay,
        N::Condition: RunCondition,
    {
        let training = &self.config.training;
        let batch = if self.config.network.input_shape().len() == 1 { POINTS } else { IMAGES };
        let (condition, _) = N::Condition::of_samples(None, self.config.network.classes(), 0, batch);
        let shape = model.network.input_shape(batch);
        let inputs = Inputs::new(shape, condition, &model.parameterization, schedule, training);
        let model = filled(model, training.seed);
        let recorded = match self.recorded {
            Some(recorded) => recorded.to_vec(),
            None => record(&model.network, &inputs, device),
        };
        let findings = examine(model, &inputs, &recorded, schedule, self.plant, device);
        (recorded, findings)
    }
}

/// A small model of every kind, which together have every layer.
pub(crate) fn one_of_each_kind() -> Vec<RunConfig> {
    let labels = CondEmbedderLabelConfig::new(10);
    let hidden_dims = vec![16, 128, 16];
    let named = |name: &str, network| RunConfig {
        preset: name.to_string(),
        network,
        prediction: Prediction::Diffusion(AnyPrediction::ScaledEps),
        ..Preset::default().config()
    };
    let dit = DitConfig {
        depth: 2,
        head_dim: 16,
        num_heads: 2,
        sigma_embedding: SigmaEmbedding::Timestep,
        ..DitConfig::default()
    };
    let unet = UnetConfig {
        in_dim: 8,
        ch: 32,
        ch_mult: vec![1, 2],
        embed_ch_mult: 2,
        num_res_blocks: 1,
        attn_resolutions: vec![4],
        ..UnetConfig::default()
    };
    vec![
        named("time-input-mlp", NetworkConfig::TimeInputMlp(TimeInputMlpConfig::default())),
        named(
            "conditional-mlp",
            NetworkConfig::ConditionalMlp(ConditionalMlpConfig {
                hidden_dims,
                labels: labels.clone(),
                ..ConditionalMlpConfig::default()
            }),
        ),
        RunConfig {
            prediction: Prediction::Flow(FlowName::Flow),
            schedule: ScheduleConfig::Flow { n: 1000, t_min: 0.001, t_max: 1.0 },
            ..named("conditional-dit", NetworkConfig::ConditionalDit { dit, labels: labels.clone() })
        },
        named("conditional-unet", NetworkConfig::ConditionalUnet { unet, labels }),
    ]
}

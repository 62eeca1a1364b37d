//! The runs that have a name, after the reference's examples.

use crate::config::{
    DataConfig, NetworkConfig, Prediction, RunConfig, SamplerConfig, SamplingConfig, ScheduleConfig,
};
use clap::ValueEnum;
use diffusion::core::AnyPrediction;
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::prelude::TrainConfig;
use std::f64::consts::PI;

/// Where Debian's package dataset-fashion-mnist puts its files.
const FASHION_MNIST: &str = "/usr/share/datasets/fashion-mnist";

/// A run by its name on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Points on a spiral, by a perceptron; needs no data.
    #[default]
    Swissroll,
    /// Points on a tree, labelled by leaf, by a conditional perceptron; needs no data.
    Tree,
    /// The dinosaur of the Datasaurus Dozen; its table is given by --data FILE.
    Datasaurus,
    /// Fashion-MNIST by a diffusion transformer of 4 million parameters, for a GPU.
    FashionDit,
    /// The same, conditioned on the kind of clothing.
    FashionDitCond,
    /// Fashion-MNIST by a transformer of 1.25 million parameters, for a CPU.
    FashionDitSmall,
}

impl Preset {
    pub fn name(self) -> &'static str {
        match self {
            Self::Swissroll => "swissroll",
            Self::Tree => "tree",
            Self::Datasaurus => "datasaurus",
            Self::FashionDit => "fashion-dit",
            Self::FashionDitCond => "fashion-dit-cond",
            Self::FashionDitSmall => "fashion-dit-small",
        }
    }

    pub fn config(self) -> RunConfig {
        match self {
            Self::Swissroll => RunConfig {
                data: DataConfig::Swissroll { tmin: PI / 2.0, tmax: 5.0 * PI, n: 100 },
                training: TrainConfig::new(15_000),
                ..self.points(toy_mlp())
            },
            Self::Tree => RunConfig {
                data: DataConfig::Tree { branching_factor: 4, depth: 3, num_samples_per_path: 30 },
                batch_size: 256,
                training: TrainConfig::new(10_000),
                ..self.points(NetworkConfig::ConditionalMlp(ConditionalMlpConfig {
                    cond_dim: 16,
                    labels: CondEmbedderLabelConfig::new(64),
                    ..ConditionalMlpConfig::default()
                }))
            },
            Self::Datasaurus => RunConfig {
                data: DataConfig::Datasaurus { path: "DatasaurusDozen.tsv".into(), name: "dino".into() },
                training: TrainConfig::new(10_000),
                batch_size: 256,
                ..self.points(toy_mlp())
            },
            Self::FashionDit => RunConfig {
                batch_size: 1024,
                training: TrainConfig::new(17_700),
                ..self.images(NetworkConfig::Dit(fashion_dit()))
            },
            Self::FashionDitCond => {
                let labels = CondEmbedderLabelConfig::new(10);
                let unguided = self.images(NetworkConfig::ConditionalDit { dit: fashion_dit(), labels });
                RunConfig {
                    batch_size: 1024,
                    training: TrainConfig::new(17_700),
                    sampling: SamplingConfig { cfg_scale: 2.0, count: 100, ..unguided.sampling.clone() },
                    ..unguided
                }
            }
            Self::FashionDitSmall => {
                let network =
                    NetworkConfig::Dit(DitConfig { patch_size: 4, depth: 4, num_heads: 4, ..fashion_dit() });
                let fast = self.images(network);
                // After so short a training the fresh noise of DDPM mends what a deterministic sampler carries on.
                let sampler = SamplerConfig::General { gam: 1.0, mu: 0.5 };
                RunConfig {
                    batch_size: 64,
                    training: TrainConfig::new(3_000),
                    sampling: SamplingConfig { sampler, steps: 100, ..fast.sampling.clone() },
                    ..fast
                }
            }
        }
    }

    fn points(self, network: NetworkConfig) -> RunConfig {
        RunConfig {
            preset: self.name().into(),
            batch_size: 2048,
            flip: false,
            prediction: Prediction::Diffusion(AnyPrediction::Eps),
            checkpoint_every: 5_000,
            checkpoint_keep: 3,
            data: DataConfig::Swissroll { tmin: PI / 2.0, tmax: 5.0 * PI, n: 100 },
            network,
            schedule: ScheduleConfig::LogLinear { n: 200, sigma_min: 0.005, sigma_max: 10.0 },
            training: TrainConfig::new(10_000),
            sampling: SamplingConfig {
                count: 2_000,
                steps: 20,
                cfg_scale: 0.0,
                sampler: SamplerConfig::General { gam: 2.0, mu: 0.0 },
            },
        }
    }

    fn images(self, network: NetworkConfig) -> RunConfig {
        RunConfig {
            flip: true,
            prediction: Prediction::Diffusion(AnyPrediction::ScaledEps),
            checkpoint_every: 1_000,
            data: DataConfig::Mnist { path: FASHION_MNIST.into() },
            schedule: ScheduleConfig::Ddpm { n: 1000, beta_start: 1e-4, beta_end: 0.02 },
            sampling: SamplingConfig {
                count: 64,
                steps: 20,
                cfg_scale: 0.0,
                sampler: SamplerConfig::General { gam: 1.6, mu: 0.0 },
            },
            ..self.points(network)
        }
    }
}

fn toy_mlp() -> NetworkConfig {
    NetworkConfig::TimeInputMlp(TimeInputMlpConfig { dim: 2, hidden_dims: vec![16, 128, 128, 128, 128, 16] })
}

fn fashion_dit() -> DitConfig {
    DitConfig {
        in_dim: 28,
        channels: 1,
        patch_size: 2,
        depth: 6,
        head_dim: 32,
        num_heads: 6,
        ..DitConfig::default()
    }
}

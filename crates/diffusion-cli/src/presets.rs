//! The runs that have a name, after the reference's examples.

use crate::config::{
    DataConfig, FlowName, HeldOutConfig, NetworkConfig, Prediction, RunConfig, SamplerConfig, SamplingConfig,
    ScheduleConfig,
};
use crate::interval::Interval;
use clap::ValueEnum;
use diffusion::core::AnyPrediction;
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::prelude::{EmaConfig, TrainConfig};
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
    /// Fashion-MNIST by a transformer of 1.24 million parameters, for a CPU.
    FashionDitSmall,
    /// Fashion-MNIST by a U-Net of 4.4 million parameters, for a GPU.
    FashionUnet,
    /// Fashion-MNIST by a U-Net of 1.12 million parameters, for a CPU.
    FashionUnetSmall,
    /// CIFAR-10 by a U-Net of 36 million parameters, for a GPU; its files are given by --data FOLDER.
    CifarUnet,
    /// ImageNet's latents by a transformer of 132 million parameters, for a GPU; --data FOLDER has the shards.
    ImagenetDit,
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
            Self::FashionUnet => "fashion-unet",
            Self::FashionUnetSmall => "fashion-unet-small",
            Self::CifarUnet => "cifar-unet",
            Self::ImagenetDit => "imagenet-dit",
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
            Self::FashionDit => self.fashion_dit(NetworkConfig::Dit(fashion_dit())),
            Self::FashionDitCond => {
                let labels = CondEmbedderLabelConfig::new(10);
                let unguided = self.fashion_dit(NetworkConfig::ConditionalDit { dit: fashion_dit(), labels });
                RunConfig { sampling: SamplingConfig { count: 40, ..unguided.sampling.clone() }, ..unguided }
            }
            Self::FashionDitSmall => {
                let network =
                    NetworkConfig::Dit(DitConfig { patch_size: 4, depth: 4, num_heads: 4, ..fashion_dit() });
                let fast = self.images(network);
                RunConfig {
                    batch_size: 64,
                    training: TrainConfig::new(3_000),
                    sampling: patient(fast.sampling.clone()),
                    ..fast
                }
            }
            Self::FashionUnet => RunConfig {
                batch_size: 1024,
                training: TrainConfig { lr: 7e-4, ..TrainConfig::new(17_700) },
                ..self.fashion_unet(UnetConfig { ch: 64, ..fashion_unet() })
            },
            Self::FashionUnetSmall => {
                let sizes =
                    UnetConfig { ch: 32, ch_mult: vec![1, 2, 2], num_res_blocks: 1, ..fashion_unet() };
                let fast = self.fashion_unet(sizes);
                RunConfig {
                    batch_size: 32,
                    training: TrainConfig::new(2_000),
                    sampling: patient(fast.sampling.clone()),
                    ..fast
                }
            }
            Self::CifarUnet => {
                let grey = self.images(NetworkConfig::Unet(UnetConfig::default()));
                let sampler = SamplerConfig::General { gam: 2.1, mu: 0.0 };
                let schedule = ScheduleConfig::LogLinear { n: 1000, sigma_min: 0.01, sigma_max: 35.0 };
                let sampling = grey.sampling.clone();
                RunConfig {
                    batch_size: 256,
                    training: TrainConfig { lr: 2e-4, ema: decay(0.9999), ..TrainConfig::new(196_000) },
                    data: DataConfig::Cifar { path: "cifar-10-batches-bin".into() },
                    schedule: ScheduleConfig::Sigmoid { n: 1000, beta_start: 1e-4, beta_end: 0.02 },
                    sampling: SamplingConfig { steps: 10, sampler, schedule: Some(schedule), ..sampling },
                    ..grey
                }
            }
            Self::ImagenetDit => {
                let dit = DitConfig {
                    channels: 4,
                    num_heads: 12,
                    sigma_embedding: SigmaEmbedding::Timestep,
                    ..DitConfig::default()
                };
                let labels = CondEmbedderLabelConfig::new(1000);
                let pixels = self.images(NetworkConfig::ConditionalDit { dit, labels });
                let schedule = ScheduleConfig::Flow { n: 1000, t_min: 0.04, t_max: 1.0 };
                let sampling = pixels.sampling.clone();
                RunConfig {
                    batch_size: 256,
                    prediction: Prediction::Flow(FlowName::Flow),
                    training: TrainConfig { lr: 1e-4, ema: decay(0.9999), ..TrainConfig::new(400_000) },
                    data: DataConfig::Latents { path: "latents".into(), scale: 0.18215, shift: 0.0 },
                    schedule: ScheduleConfig::LogNormalFlow { n: 1000, t_min: 0.001, t_max: 1.0 },
                    sampling: SamplingConfig {
                        count: 16,
                        steps: 10,
                        cfg_scale: 2.0,
                        schedule: Some(schedule),
                        ..sampling
                    },
                    ..pixels
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
            checkpoint_every: Interval::Steps(5_000),
            checkpoint_keep: 3,
            from: None,
            data: DataConfig::Swissroll { tmin: PI / 2.0, tmax: 5.0 * PI, n: 100 },
            network,
            schedule: ScheduleConfig::LogLinear { n: 200, sigma_min: 0.005, sigma_max: 10.0 },
            training: TrainConfig::new(10_000),
            held_out: Some(HeldOutConfig { every: 5_000, examples: 1_024, bins: 10, per_bin: 32 }),
            sampling: SamplingConfig {
                count: 2_000,
                steps: 20,
                cfg_scale: 0.0,
                sampler: SamplerConfig::General { gam: 2.0, mu: 0.0 },
                schedule: None,
            },
        }
    }

    fn fashion_dit(self, network: NetworkConfig) -> RunConfig {
        RunConfig {
            batch_size: 1024,
            prediction: Prediction::Diffusion(AnyPrediction::Eps),
            training: TrainConfig { ema: decay(0.99), ..TrainConfig::new(17_700) },
            ..self.images(network)
        }
    }

    fn fashion_unet(self, unet: UnetConfig) -> RunConfig {
        RunConfig {
            schedule: ScheduleConfig::LogLinear { n: 800, sigma_min: 0.01, sigma_max: 20.0 },
            ..self.images(NetworkConfig::Unet(unet))
        }
    }

    fn images(self, network: NetworkConfig) -> RunConfig {
        RunConfig {
            flip: true,
            prediction: Prediction::Diffusion(AnyPrediction::ScaledEps),
            checkpoint_every: Interval::Steps(1_000),
            held_out: Some(HeldOutConfig { every: 1_000, examples: 1_024, bins: 10, per_bin: 32 }),
            data: DataConfig::Mnist { path: FASHION_MNIST.into() },
            schedule: ScheduleConfig::Ddpm { n: 1000, beta_start: 1e-4, beta_end: 0.02 },
            sampling: SamplingConfig {
                count: 64,
                steps: 20,
                cfg_scale: 0.0,
                sampler: SamplerConfig::General { gam: 1.6, mu: 0.0 },
                schedule: None,
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

fn fashion_unet() -> UnetConfig {
    UnetConfig {
        in_dim: 28,
        in_ch: 1,
        out_ch: 1,
        ch_mult: vec![1, 1, 2],
        attn_resolutions: vec![14],
        ..UnetConfig::default()
    }
}

/// DDPM in many steps: after a short training its fresh noise mends what a deterministic sampler carries on.
fn patient(sampling: SamplingConfig) -> SamplingConfig {
    SamplingConfig { sampler: SamplerConfig::General { gam: 1.0, mu: 0.5 }, steps: 100, ..sampling }
}

fn decay(decay: f64) -> EmaConfig {
    EmaConfig { decay, ..EmaConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_possible_and_survives_its_file() {
        for preset in Preset::value_variants() {
            let config = preset.config();
            config.check().unwrap();
            let text = config.to_toml().unwrap();
            assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config, "{text}");
            assert_eq!(config.preset, preset.to_possible_value().unwrap().get_name());
        }
    }

    /// Batch, steps, learning rate, decay of the average; then steps, gam and guidance of sampling.
    #[test]
    fn presets_after_the_reference_s_examples_have_their_settings() {
        for (preset, training, sampling) in [
            (Preset::Swissroll, (2048, 15_000, 1e-3, 0.999), (20, 2.0, 0.0)),
            (Preset::FashionDit, (1024, 17_700, 1e-3, 0.99), (20, 1.6, 0.0)),
            (Preset::FashionDitCond, (1024, 17_700, 1e-3, 0.99), (20, 1.6, 0.0)),
            (Preset::FashionUnet, (1024, 17_700, 7e-4, 0.999), (20, 1.6, 0.0)),
            (Preset::CifarUnet, (256, 196_000, 2e-4, 0.9999), (10, 2.1, 0.0)),
            (Preset::ImagenetDit, (256, 400_000, 1e-4, 0.9999), (10, 1.6, 2.0)),
        ] {
            let RunConfig { batch_size, training: train, sampling: sample, .. } = preset.config();
            assert_eq!((batch_size, train.steps, train.lr, train.ema.decay), training, "{preset:?}");
            let SamplerConfig::General { gam, mu: 0.0 } = sample.sampler else { panic!("{preset:?}") };
            assert_eq!((sample.steps, gam, sample.cfg_scale), sampling, "{preset:?}");
        }
        let of = |preset: Preset| preset.config().sampling.schedule;
        let cifar = ScheduleConfig::LogLinear { n: 1000, sigma_min: 0.01, sigma_max: 35.0 };
        assert_eq!(of(Preset::CifarUnet), Some(cifar));
        let imagenet = ScheduleConfig::Flow { n: 1000, t_min: 0.04, t_max: 1.0 };
        assert_eq!(of(Preset::ImagenetDit), Some(imagenet));
    }
}

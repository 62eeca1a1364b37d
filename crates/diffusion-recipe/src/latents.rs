//! A run for a folder of latents: what must suit them follows from them.

use crate::config::RunConfig;
use crate::encoded::{Encoded, EncodedTexts, check_whole};
use crate::error::RecipeError;
use crate::images::{BATCH_PIXELS, ImageNetwork, ModelSize, path_setting};
use crate::interval::Interval;
use crate::network::{NetworkConfig, TextDitConfig, TextUnetConfig};
use diffusion::core::layer::CondEmbedderTextConfig;
use diffusion::core::{AnySampler, GradientEstimation, Invalid, named};
use diffusion::data::{DataConfig, LatentShardsConfig};
use diffusion::latent::config::PerLevel;
use diffusion::latent::unet::{BlockType, CLASSES};
use diffusion::latent::{AutoencoderConfig, Folder, LatentSchedule, LoraConfig, UnetConfig, autoencoder};
use std::path::Path;

/// Which network for a folder of latents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatentModel {
    /// Its kind.
    pub network: ImageNetwork,
    /// How large it is.
    pub size: ModelSize,
    /// What it is told; captions where there are some, and else labels, where this is absent.
    pub condition: Option<LatentCondition>,
}

/// What a network for latents is told of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentCondition {
    /// The caption of its image.
    Captions,
    /// The class of its image.
    Labels,
    /// Nothing.
    Nothing,
}

named!(LatentCondition { Captions = "captions", Labels = "labels", Nothing = "none" });

/// The probability with which training forgets an example's text.
const DROPOUT: f64 = 0.1;

impl RunConfig {
    /// A run for the latents in `folder`, as [`encode`](crate::encode()) makes them of images. Scale, channels, classes,
    /// texts, patches, levels and attention follow from them; everything else is that of a preset with such a network.
    ///
    /// # Errors
    /// If there are none that [`encode`](crate::encode()) has made, they have not what the network is to be told, or no such
    /// network takes latents of this size.
    pub fn for_latents(folder: impl AsRef<Path>, model: LatentModel) -> Result<Self, RecipeError> {
        let folder = folder.as_ref();
        let about = encoded(folder)?;
        let LatentModel { network, size, .. } = model;
        let text = texts(&about, model.condition)?;
        let [channels, height, width] = about.latent_shape;
        let takes_any = network == ImageNetwork::Unet && text.is_some();
        if height != width && !takes_any {
            let reason = format!("are {height}x{width}, expected a square: the networks take no others");
            return Err(Invalid::new("latents", reason).into());
        }
        let preset = match (network, size) {
            (ImageNetwork::Unet, ModelSize::Small) => "fashion-unet-small",
            (ImageNetwork::Unet, ModelSize::Base) => "cifar-unet",
            (ImageNetwork::Dit, ModelSize::Small) => "fashion-dit-small",
            (ImageNetwork::Dit, ModelSize::Base) => "imagenet-dit",
        };
        let settings = vec![
            "preset=latents".to_string(),
            "data.kind=latents".to_string(),
            path_setting(folder),
            format!("data.scale={:?}", about.scale),
            format!("data.shift={:?}", about.shift),
            "flip=true".to_string(),
        ];
        let batch = (BATCH_PIXELS / (height * width).max(1)).clamp(4, 128).min(about.count);
        let classes = match model.condition {
            None if text.is_none() => about.classes.len().max(1),
            Some(LatentCondition::Labels) => about.classes.len().max(1),
            _ => 1,
        };
        // Of a U-Net for texts the preset's own is replaced as a whole.
        let side = if takes_any { ANY_SIDE } else { height };
        let mut config = Self::of_shape(preset, settings, network, [channels, side, batch], classes)?;
        config.classes = if classes > 1 { about.classes } else { Vec::new() };
        if let Some(text) = text {
            config.tell_texts(text, size, about.latent_shape);
        }
        config.validate()?;
        Ok(config)
    }

    /// Puts a network into the run that is told texts, of the same kind and about the same size.
    fn tell_texts(&mut self, text: EncodedTexts, size: ModelSize, [channels, height, width]: [usize; 3]) {
        let EncodedTexts { tokens, width: values } = text;
        self.network = match &self.network {
            NetworkConfig::Dit(dit) => NetworkConfig::TextDit(TextDitConfig {
                network: dit.network.clone(),
                text: CondEmbedderTextConfig { tokens, width: values, dropout: DROPOUT },
            }),
            _ => NetworkConfig::TextUnet(Box::new(TextUnetConfig {
                size: [height, width],
                tokens,
                dropout: DROPOUT,
                pretrained: None,
                lora: None,
                timesteps: self.schedule.clone(),
                unet: UnetConfig {
                    sample_size: height.max(width),
                    in_channels: channels,
                    out_channels: channels,
                    cross_attention_dim: PerLevel::All(values),
                    ..unet(size)
                },
            })),
        };
        self.sampling.set_cfg_scale(GUIDANCE);
    }

    /// A run that trains the pretrained text model in the folder `model` further on the latents and captions in `folder`:
    /// low-rank changes of the rank `lora`, or all weights of its U-Net without. Noise levels and what it predicts are the
    /// model's.
    ///
    /// # Errors
    /// If there are no latents with captions that [`encode`](crate::encode()) has made, the model cannot be opened or is not
    /// one that is trained here, or another one has made the latents.
    pub fn for_pretrained(
        folder: impl AsRef<Path>,
        model: impl AsRef<Path>,
        lora: Option<usize>,
    ) -> Result<Self, RecipeError> {
        let (path, model) = (folder.as_ref().to_path_buf(), model.as_ref());
        let about = encoded(&path)?;
        let pretrained = Folder::open(model)?;
        let unet = UnetConfig::from_settings(pretrained.part("unet", CLASSES)?.settings())?;
        let schedule = LatentSchedule::open_for_text(model)?;
        let EncodedTexts { tokens, .. } = about.text.ok_or_else(|| no_captions("pretrained"))?;
        let part = pretrained.part("vae", autoencoder::CLASSES)?;
        let scale = AutoencoderConfig::from_settings(part.settings())?.scaling_factor;
        Invalid::unless(unet.pooled_dim().is_none(), "pretrained", || {
            "is told sizes besides texts, as Stable Diffusion XL, expected a model that is told texts alone"
                .to_string()
        })?;
        Invalid::unless(scale == about.scale, "pretrained", || {
            format!("scales latents by {scale}, expected {}, as those that were encoded are", about.scale)
        })?;
        let [_, height, width] = about.latent_shape;
        let levels = schedule.schedule_config();
        let mut config = Self::preset("smalldiffusion-unet-small")?;
        config.sampling.set_sampler("unipc")?;
        config.preset = if lora.is_some() { "lora" } else { "fine-tuned" }.to_string();
        config.batch_size = about.count.min(4);
        config.prediction = schedule.prediction();
        config.checkpoint_every = Interval::Steps(200);
        config.data = DataConfig::Latents(LatentShardsConfig { path, scale, shift: about.shift });
        config.network = NetworkConfig::TextUnet(Box::new(TextUnetConfig {
            size: [height, width],
            tokens,
            dropout: DROPOUT,
            pretrained: Some(model.to_path_buf()),
            lora: lora.map(|rank| LoraConfig { rank, alpha: rank as f64, ..LoraConfig::default() }),
            timesteps: levels.clone(),
            unet,
        }));
        config.schedule = levels;
        config.training.steps = 1000;
        config.training.lr = if lora.is_some() { 1e-4 } else { 1e-5 };
        config.training.clip_norm = Some(1.0);
        if let Some(validation) = &mut config.validation {
            (validation.every, validation.examples, validation.per_bin) = (500, 64, 1);
        }
        config.sampling.count = 4;
        config.sampling.steps = 20;
        config.sampling.sampler = AnySampler::from(GradientEstimation::DDIM);
        config.sampling.set_cfg_scale(PRETRAINED_GUIDANCE);
        config.validate()?;
        Ok(config)
    }
}

/// The strength of guidance by texts of a network that is trained from its beginning.
const GUIDANCE: f64 = 2.0;

/// That of a pretrained model, which other programs count as 7.5.
const PRETRAINED_GUIDANCE: f64 = 6.5;

/// A side that all of the presets' networks take.
const ANY_SIDE: usize = 32;

/// What a folder of latents says of itself, where all of them are there.
fn encoded(folder: &Path) -> Result<Encoded, RecipeError> {
    let about = if folder.is_dir() { Encoded::read(folder)? } else { None };
    let about = about.ok_or_else(|| RecipeError::NotEncoded(folder.to_path_buf()))?;
    check_whole(folder)?;
    Ok(about)
}

/// The texts that a network is to be told, if it is to be told texts.
fn texts(about: &Encoded, condition: Option<LatentCondition>) -> Result<Option<EncodedTexts>, RecipeError> {
    match condition {
        None => Ok(about.text),
        Some(LatentCondition::Captions) => about.text.ok_or_else(|| no_captions("condition")).map(Some),
        Some(LatentCondition::Labels) if about.classes.len() < 2 => {
            let reason = "is labels, but the latents are of one class, expected two or more";
            Err(Invalid::new("condition", reason).into())
        }
        Some(LatentCondition::Labels | LatentCondition::Nothing) => Ok(None),
    }
}

fn no_captions(setting: &str) -> RecipeError {
    let reason = "needs captions, but the latents have none, expected images with captions, encoded by a model that has text \
                  encoders";
    Invalid::new(setting, reason).into()
}

/// A U-Net of about as many parameters as those of the presets.
fn unet(size: ModelSize) -> UnetConfig {
    use BlockType::{CrossAttnDownBlock2D, CrossAttnUpBlock2D, DownBlock2D, UpBlock2D};
    let of = |channels: &[usize], layers, heads| UnetConfig {
        block_out_channels: channels.to_vec(),
        layers_per_block: PerLevel::All(layers),
        attention_head_dim: PerLevel::All(heads),
        ..UnetConfig::default()
    };
    match size {
        ModelSize::Small => UnetConfig {
            down_block_types: vec![CrossAttnDownBlock2D, DownBlock2D],
            up_block_types: vec![UpBlock2D, CrossAttnUpBlock2D],
            ..of(&[32, 64], 1, 4)
        },
        ModelSize::Base => UnetConfig {
            down_block_types: vec![CrossAttnDownBlock2D, CrossAttnDownBlock2D, DownBlock2D],
            up_block_types: vec![UpBlock2D, CrossAttnUpBlock2D, CrossAttnUpBlock2D],
            ..of(&[128, 256, 256], 2, 8)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion::core::AnyGuidance;
    use diffusion::data::ShardName;
    use safetensors::tensor::{Dtype, TensorView};

    fn about(text: Option<EncodedTexts>, classes: &[&str], [height, width]: [usize; 2]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let about = Encoded {
            count: 9,
            image_size: [8 * height, 8 * width],
            latent_shape: [4, height, width],
            scale: 0.2,
            shift: 0.0,
            in_tiles: false,
            classes: classes.iter().map(ToString::to_string).collect(),
            fingerprint: String::new(),
            shard: std::num::NonZero::new(256).unwrap(),
            parts: None,
            text,
        };
        write_shard(folder.path(), 0, 1, [about.count, 4, height, width]);
        std::fs::write(folder.path().join("encoded.toml"), toml::to_string(&about).unwrap()).unwrap();
        folder
    }

    fn write_shard(folder: &Path, number: usize, of: usize, shape: [usize; 4]) {
        let bytes = vec![0; 4 * shape.iter().product::<usize>()];
        let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
        let bytes = safetensors::serialize([("latent_mean", view)], None).unwrap();
        std::fs::write(folder.join(ShardName { number, of }.to_string()), bytes).unwrap();
    }

    /// Before the first shard, before the last, and with files of other latents.
    #[test]
    fn latents_that_are_missing_are_counted() {
        let folder = about(None, &[], [8, 8]);
        let path = folder.path();
        let count = || match RunConfig::for_latents(path, LatentModel::default()) {
            Err(RecipeError::LatentsCount { found, expected, .. }) => Some((found, expected)),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        };
        assert_eq!(count(), None);
        std::fs::remove_file(path.join("latents-00000-of-00001.safetensors")).unwrap();
        assert_eq!(count(), Some((0, 9)));
        write_shard(path, 0, 2, [5, 4, 8, 8]);
        assert_eq!(count(), Some((5, 9)));
        write_shard(path, 1, 2, [5, 4, 8, 8]);
        assert_eq!(count(), Some((10, 9)));
        write_shard(path, 1, 2, [4, 4, 8, 8]);
        assert_eq!(count(), None);
        // What is damaged is named by who reads it.
        std::fs::write(path.join("latents-00001-of-00002.safetensors"), "dear reader").unwrap();
        assert_eq!(count(), None);
    }

    const TEXT: Option<EncodedTexts> = Some(EncodedTexts { tokens: 7, width: 24 });

    /// Every network takes what the latents have, as it is asked for; its configuration can be written and read.
    #[test]
    fn networks_are_told_what_there_is() {
        use LatentCondition::*;
        let folder = about(TEXT, &["cat", "dog"], [8, 8]);
        for network in [ImageNetwork::Unet, ImageNetwork::Dit] {
            for size in [ModelSize::Small, ModelSize::Base] {
                for (condition, text, classes) in [
                    (None, Some([7, 24]), None),
                    (Some(Captions), Some([7, 24]), None),
                    (Some(Labels), None, Some(2)),
                    (Some(Nothing), None, None),
                ] {
                    let model = LatentModel { network, size, condition };
                    let config = RunConfig::for_latents(folder.path(), model).unwrap();
                    assert_eq!(
                        (config.network.text(), config.network.classes()),
                        (text, classes),
                        "{model:?}"
                    );
                    assert_eq!(config.network.input_shape(), [4, 8, 8], "{model:?}");
                    if text.is_some() {
                        assert_ne!(config.sampling.guidance, AnyGuidance::default(), "{model:?}");
                    }
                    assert_eq!(RunConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
                }
            }
        }
        let untold = about(None, &["cat", "dog"], [8, 8]);
        let config = RunConfig::for_latents(untold.path(), LatentModel::default()).unwrap();
        assert_eq!((config.network.text(), config.network.classes()), (None, Some(2)));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let refused = |folder: &tempfile::TempDir, model| match RunConfig::for_latents(folder.path(), model) {
            Err(RecipeError::Invalid(invalid)) => invalid.setting,
            other => panic!("{other:?}"),
        };
        let of = |condition| LatentModel { condition: Some(condition), ..LatentModel::default() };
        assert_eq!(refused(&about(None, &["cat"], [8, 8]), of(LatentCondition::Captions)), "condition");
        assert_eq!(refused(&about(TEXT, &["cat"], [8, 8]), of(LatentCondition::Labels)), "condition");
        // Only a U-Net for texts takes other shapes than squares.
        let wide = about(TEXT, &[], [8, 12]);
        let dit = LatentModel { network: ImageNetwork::Dit, ..LatentModel::default() };
        assert_eq!(refused(&wide, dit), "latents");
        assert_eq!(refused(&wide, of(LatentCondition::Nothing)), "latents");
        let config = RunConfig::for_latents(wide.path(), LatentModel::default()).unwrap();
        assert_eq!(config.network.input_shape(), [4, 8, 12]);
    }
}

//! The settings of networks that are told texts.

use super::own::with_table;
use super::settings::{NetworkSettings, NetworkSize};
use super::visitor::NetworkVisitor;
use crate::error::RecipeError;
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use diffusion::core::invalid::MAX_SIZE;
use diffusion::core::layer::CondEmbedderTextConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::schedule::{Schedule, ScheduleConfig};
use diffusion::core::{Invalid, Tokens};
use diffusion::latent::unet::CLASSES;
use diffusion::latent::{
    AnyText, Folder, LoraConfig, PromptEncoder, SizedUnet, TextCondition, Timesteps, UNet2DConditionModel,
    UnetConfig,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;
use toml::Table;

/// A diffusion transformer that is told texts, as further tokens of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDitConfig {
    /// The settings of the transformer.
    #[serde(flatten)]
    pub network: DitConfig,
    /// The texts that it is told; a table `text` among the others.
    pub text: CondEmbedderTextConfig,
}

/// By hand, because a flattened field takes in unknown settings without a word.
impl<'de> Deserialize<'de> for TextDitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (network, text) = with_table(deserializer, "text")?;
        Ok(Self { network, text: text.ok_or_else(|| D::Error::missing_field("text"))? })
    }
}

impl NetworkSettings for TextDitConfig {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn text(&self) -> Option<[usize; 2]> {
        Some([self.text.tokens, self.text.width])
    }

    fn dropout(&self) -> Option<(&'static str, f64)> {
        Some(("text.dropout", self.text.dropout))
    }

    fn self_condition(&self) -> bool {
        self.network.self_condition
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params_with_text(&self.text),
            layer: self.network.largest_layer_with_text(&self.text),
            attention: self.network.attention_size_with_text(&self.text),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["num_heads", "patch_size"]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.network.validate()?;
        self.text.validate().map_err(|error| error.within("text"))
    }
}

/// A U-Net that looks at texts, as Stable Diffusion has it; drawn at random, or one that was trained elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextUnetConfig {
    /// Height and width of the latents.
    pub size: [usize; 2],
    /// Tokens of a text; each has as many values as `unet.cross_attention_dim` says.
    pub tokens: usize,
    /// The probability with which training forgets an example's text, 0.1 unless stated.
    #[serde(default = "tenth")]
    pub dropout: f64,
    /// The pretrained model that it begins with, a folder of diffusers. A run needs it for as long as it is used: what
    /// stands for no text is encoded by it, and of LoRA alone the changes are in the checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// Which low-rank changes of the pretrained model are trained; all of its weights are where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// The noise levels by whose numbers it is told how noisy its input is; those between two of them have fractions.
    pub timesteps: ScheduleConfig,
    /// The sizes of the U-Net, with the names of diffusers.
    #[serde(deserialize_with = "without_unknown")]
    pub unet: UnetConfig,
}

fn tenth() -> f64 {
    0.1
}

/// A U-Net's settings, none of which may be unknown: files of diffusers have others besides, configurations have not.
fn without_unknown<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnetConfig, D::Error> {
    let table = Table::deserialize(deserializer)?;
    let read = |error: toml::de::Error| D::Error::custom(error.message());
    let config: UnetConfig = table.clone().try_into().map_err(read)?;
    let known = Table::try_from(&config).map_err(D::Error::custom)?;
    match table.keys().find(|key| !known.contains_key(*key)) {
        Some(unknown) => Err(D::Error::custom(format!("unknown field `{unknown}` of a U-Net"))),
        None => Ok(config),
    }
}

impl TextUnetConfig {
    /// Makes the network that `seed` stands for, or opens it, and lets `visitor` see it with its type.
    ///
    /// # Errors
    /// If a pretrained model cannot be opened or is another one than these settings say; if one of the layers for LoRA is
    /// not there.
    pub(super) fn visit<B: Backend, V: NetworkVisitor<B>>(
        &self,
        seed: u64,
        device: &B::Device,
        visitor: V,
    ) -> Result<V::Output, RecipeError> {
        let network = self.network::<Autodiff<B>>(seed, device)?;
        let empty = network.empty().clone();
        Ok(match &self.lora {
            None => visitor.visit(AnyText::new(network, empty)),
            Some(lora) => {
                let lora = lora.init(network, seed, device).map_err(|error| error.within("network.lora"))?;
                visitor.visit(AnyText::new(lora, empty))
            }
        })
    }

    fn network<B: Backend>(&self, seed: u64, device: &B::Device) -> Result<SizedUnet<B>, RecipeError> {
        let shape = [1, self.tokens, self.width()];
        let (unet, empty) = match &self.pretrained {
            None => (self.unet.init(seed, device), Tokens::new(vec![0.0; self.tokens * self.width()], shape)),
            Some(path) => {
                let folder = Folder::open(path).map_err(RecipeError::Pretrained)?;
                let part = folder.part("unet", CLASSES)?;
                // Before gigabytes are read.
                let is_same = UnetConfig::from_settings(part.settings())? == self.unet;
                let others = || format!("are other sizes than those of the U-Net in {}", path.display());
                Invalid::unless(is_same, "network.unet", others)?;
                let unet = UNet2DConditionModel::of(&part, device)?;
                let empty = PromptEncoder::<B>::of(&folder, device)?.encode(&[""]).tokens;
                let lengths =
                    || format!("is {}, expected {} as in {}", shape[1], empty.shape()[1], path.display());
                Invalid::unless(empty.shape() == shape, "network.tokens", lengths)?;
                (unet, empty)
            }
        };
        let timesteps = self.timesteps().map_err(|error| error.within("network"))?;
        // Only SDXL, which is refused, is told how many pixels a latent has.
        let network = SizedUnet::new(unet, self.size, 1, timesteps, TextCondition::from(empty));
        Ok(network.with_dropout(self.dropout))
    }

    fn timesteps(&self) -> Result<Timesteps, Invalid> {
        self.timesteps.validate().map_err(|error| error.within("timesteps"))?;
        Timesteps::new(self.timesteps.init().levels()).map_err(|error| error.within("timesteps"))
    }

    /// Values of a token.
    fn width(&self) -> usize {
        self.unet.cross_attention_dim.at(0)
    }
}

impl NetworkSettings for TextUnetConfig {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn text(&self) -> Option<[usize; 2]> {
        Some([self.tokens, self.width()])
    }

    fn dropout(&self) -> Option<(&'static str, f64)> {
        Some(("dropout", self.dropout))
    }

    fn can_do_without(&self) -> bool {
        self.pretrained.is_some()
    }

    fn input_shape(&self) -> Vec<usize> {
        vec![self.unet.out_channels, self.size[0], self.size[1]]
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.unet.num_params(),
            layer: self.unet.largest_layer(self.size),
            attention: self.unet.attention_size(self.size),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["unet.block_out_channels", "size"]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.unet.validate().map_err(|error| error.within("unet"))?;
        for side in self.size {
            Invalid::unless_positive("size", side, MAX_SIZE)?;
        }
        Invalid::unless_positive("tokens", self.tokens, MAX_SIZE)?;
        Invalid::unless((0.0..=1.0).contains(&self.dropout), "dropout", || {
            format!("is {}, expected a probability in [0, 1]", self.dropout)
        })?;
        let UnetConfig { in_channels, out_channels, .. } = self.unet;
        Invalid::unless(in_channels == out_channels, "unet.in_channels", || {
            format!(
                "is {in_channels}, expected {out_channels}: what sees pictures besides noise is not trained here"
            )
        })?;
        Invalid::unless(self.unet.pooled_dim().is_none(), "unet.addition_embed_type", || {
            "is text_time, expected none: networks of Stable Diffusion XL are not trained here".to_string()
        })?;
        let same =
            (0..self.unet.levels()).all(|level| self.unet.cross_attention_dim.at(level) == self.width());
        Invalid::unless(same, "unet.cross_attention_dim", || {
            "differs between levels, expected one size of a token".to_string()
        })?;
        if let Some(lora) = &self.lora {
            lora.validate().map_err(|error| error.within("lora"))?;
            Invalid::unless(self.pretrained.is_some(), "lora", || {
                "is given without `pretrained`, expected a model to change".to_string()
            })?;
        }
        self.timesteps().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNET: &str = r#"
size = [8, 12]
tokens = 7
pretrained = "model"
lora = { rank = 2 }
timesteps = { kind = "ldm", n = 1000, beta_start = 0.00085, beta_end = 0.012 }
unet = { block_out_channels = [32, 32], down_block_types = ["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types = ["UpBlock2D", "CrossAttnUpBlock2D"] }
"#;

    /// The settings with other text in the place of some.
    fn read(from: &str, to: &str) -> Result<TextUnetConfig, toml::de::Error> {
        assert!(UNET.contains(from), "{from}");
        toml::from_str(&UNET.replace(from, to))
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let config = read("", "").unwrap();
        assert_eq!((config.validate(), config.text()), (Ok(()), Some([7, 1280])));
        for (from, to, setting) in [
            ("[8, 12]", "[8, 0]", "size"),
            ("tokens = 7", "tokens = 0", "tokens"),
            ("tokens = 7", "tokens = 7\ndropout = 1.5", "dropout"),
            ("rank = 2", "rank = 0", "lora.rank"),
            ("pretrained = \"model\"", "", "lora"),
            ("n = 1000", "n = 1", "timesteps.n"),
            ("[32, 32]", "[31, 32]", "unet.block_out_channels"),
            ("unet = {", "unet = { in_channels = 9,", "unet.in_channels"),
            ("unet = {", "unet = { cross_attention_dim = [3, 5],", "unet.cross_attention_dim"),
            (
                "unet = {",
                "unet = { addition_embed_type = \"text_time\", addition_time_embed_dim = 2, \
                 projection_class_embeddings_input_dim = 20,",
                "unet.addition_embed_type",
            ),
        ] {
            let config = read(from, to).unwrap();
            assert_eq!(config.validate().unwrap_err().setting, setting, "{from} to {to}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        for (from, to) in [("tokens", "token"), ("[32, 32]", "[32, 32], channels = 3"), ("rank", "ranks")] {
            assert!(read(from, to).is_err(), "{to}");
        }
        let dit = "depth = 1\n[text]\ntokens = 3\nwidth = 4";
        assert_eq!(toml::from_str::<TextDitConfig>(dit).unwrap().text(), Some([3, 4]));
        for (from, to) in [("depth", "deep"), ("width", "wide"), ("[text]", "[texts]")] {
            assert!(toml::from_str::<TextDitConfig>(&dit.replace(from, to)).is_err(), "{to}");
        }
    }
}

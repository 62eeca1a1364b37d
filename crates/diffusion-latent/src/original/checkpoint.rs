//! A whole pipeline in one file.

use super::autoencoder::autoencoder_name;
use super::infer;
use super::problems::{NESTED, Names};
use super::text::{open_clip_name, text_name, unpacked};
use super::unet::unet_name;
use crate::autoencoder::{Autoencoder, AutoencoderConfig};
use crate::error::LatentError;
use crate::folder::names;
use crate::layer::Build;
use crate::text::{TextEncoder, TextEncoderConfig};
use crate::unet::{AdditionEmbed, UNet2DConditionModel, UnetConfig};
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{TensorFile, WeightsError, import_tensors, shapes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A checkpoint in one file, of safetensors or of PyTorch, with the names of the original code.
///
/// What no file says is taken from the published models: 32 groups in all norms, and the numbers of heads; other sizes
/// follow from the shapes. Whether Stable Diffusion 2 predicts ε or v, no file says either.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
}

/// Which of the published models a checkpoint has the networks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.
    StableDiffusion1,
    /// Stable Diffusion 2.
    StableDiffusion2,
    /// Stable Diffusion XL.
    StableDiffusionXl,
}

/// What the output of a U-Net means, which no checkpoint in one file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicts {
    /// The noise ε, as Stable Diffusion 1 and XL, and of Stable Diffusion 2 the models of 512 pixels.
    Noise,
    /// v, as the models of 768 pixels of Stable Diffusion 2.
    Velocity,
}

const UNET: &str = "model.diffusion_model.";
const AUTOENCODER: &str = "first_stage_model.";
/// Where the text encoder is, as transformers has it.
const CLIP: [&str; 2] = ["cond_stage_model.transformer.", "conditioner.embedders.0.transformer."];
/// What names of a text encoder begin with in transformers.
const TEXT_MODEL: &str = "text_model.";
/// Where it is as OpenCLIP has it.
const OPEN_CLIP: &str = "cond_stage_model.model.";
/// Where the second one is, as OpenCLIP has it.
const SECOND: &str = "conditioner.embedders.1.model.";
/// The layers of OpenCLIP's text encoder behind the one that Stable Diffusion 2 looks at.
const LAYERS_BEHIND: usize = 1;

impl Checkpoint {
    /// A checkpoint, with all of a U-Net, an autoencoder and a text encoder or some of them.
    ///
    /// # Errors
    /// If it cannot be read, or has nothing of them.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LatentError> {
        let checkpoint = Self { path: path.as_ref().to_path_buf() };
        let file = checkpoint.file()?;
        match parts(&file).is_empty() {
            true => Err(checkpoint.without("tensors with the names of a one-file checkpoint")),
            false => Ok(checkpoint),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of the published models it has the networks of.
    ///
    /// # Errors
    /// If it cannot be read, or has no U-Net.
    pub fn family(&self) -> Result<Family, LatentError> {
        let config = self.unet_config()?;
        Ok(match (config.addition_embed_type, config.attention_head_dim) {
            (Some(AdditionEmbed::TextTime), _) => Family::StableDiffusionXl,
            (None, crate::config::PerLevel::All(_)) => Family::StableDiffusion1,
            (None, crate::config::PerLevel::Each(_)) => Family::StableDiffusion2,
        })
    }

    /// What its U-Net predicts: what is `stated`, or noise where all published models of its family do.
    ///
    /// # Errors
    /// If it cannot be read, or has no U-Net; if it is a Stable Diffusion 2, and nothing is stated.
    pub fn predicts(&self, stated: Option<Predicts>) -> Result<Predicts, LatentError> {
        match (stated, self.family()?) {
            (Some(stated), _) => Ok(stated),
            (None, Family::StableDiffusion2) => Err(LatentError::NoPrediction { path: self.path.clone() }),
            (None, Family::StableDiffusion1 | Family::StableDiffusionXl) => Ok(Predicts::Noise),
        }
    }

    /// The sizes of its U-Net.
    ///
    /// # Errors
    /// If it cannot be read, or has none.
    pub fn unet_config(&self) -> Result<UnetConfig, LatentError> {
        let shapes = shapes_below(&self.file()?, UNET);
        infer::unet(&|name| shapes.get(name).cloned()).ok_or_else(|| self.without("U-Net"))
    }

    /// The sizes of its autoencoder, with the scale that its U-Net knows.
    ///
    /// # Errors
    /// If it cannot be read, or has none.
    pub fn autoencoder_config(&self) -> Result<AutoencoderConfig, LatentError> {
        let shapes = shapes_below(&self.file()?, AUTOENCODER);
        let config = infer::autoencoder(&|name| shapes.get(name).cloned())
            .ok_or_else(|| self.without("autoencoder"))?;
        let is_xl = matches!(self.family(), Ok(Family::StableDiffusionXl));
        Ok(AutoencoderConfig {
            scaling_factor: if is_xl { 0.13025 } else { config.scaling_factor },
            ..config
        })
    }

    /// Its U-Net.
    ///
    /// # Errors
    /// If it cannot be read; if it has none; if tensors do not fit, with all that does not.
    pub fn unet<B: Backend>(&self, device: &B::Device) -> Result<UNet2DConditionModel<B>, LatentError> {
        self.unet_of(&self.unet_config()?, device)
    }

    /// As [`unet`](Self::unet), of sizes that are known.
    ///
    /// # Errors
    /// As there.
    pub fn unet_of<B: Backend>(
        &self,
        config: &UnetConfig,
        device: &B::Device,
    ) -> Result<UNet2DConditionModel<B>, LatentError> {
        self.load(config.build(&mut Build::to_load(device)), UNET, |name| unet_name(config, name))
    }

    /// Its autoencoder.
    ///
    /// # Errors
    /// As [`unet`](Self::unet).
    pub fn autoencoder<B: Backend>(&self, device: &B::Device) -> Result<Autoencoder<B>, LatentError> {
        self.autoencoder_of(&self.autoencoder_config()?, device)
    }

    /// As [`autoencoder`](Self::autoencoder), of sizes that are known.
    ///
    /// # Errors
    /// As there.
    pub fn autoencoder_of<B: Backend>(
        &self,
        config: &AutoencoderConfig,
        device: &B::Device,
    ) -> Result<Autoencoder<B>, LatentError> {
        let module = config.build(&mut Build::to_load(device));
        self.load(module, AUTOENCODER, |name| autoencoder_name(config, name))
    }

    /// The sizes of its text encoder.
    ///
    /// # Errors
    /// If it cannot be read, or has none.
    pub fn text_encoder_config(&self) -> Result<TextEncoderConfig, LatentError> {
        let file = self.text_tensors()?;
        let is_open_clip = self.file()?.names().any(|name| below(name, OPEN_CLIP).is_some());
        let behind = is_open_clip.then_some(LAYERS_BEHIND);
        infer::text(&|name| file.shape(name).map(<[usize]>::to_vec), behind)
            .ok_or_else(|| self.without("text encoder"))
    }

    /// Its text encoder, without a projection.
    ///
    /// # Errors
    /// As [`unet`](Self::unet).
    pub fn text_encoder<B: Backend>(&self, device: &B::Device) -> Result<TextEncoder<B>, LatentError> {
        self.text_encoder_of(&self.text_encoder_config()?, device)
    }

    /// As [`text_encoder`](Self::text_encoder), of sizes that are known; layers behind those are left out.
    ///
    /// # Errors
    /// As there.
    pub fn text_encoder_of<B: Backend>(
        &self,
        config: &TextEncoderConfig,
        device: &B::Device,
    ) -> Result<TextEncoder<B>, LatentError> {
        let is_behind = |name: &str| {
            let layer =
                name.strip_prefix("text_model.encoder.layers.").and_then(|rest| rest.split('.').next());
            layer
                .and_then(|layer| layer.parse().ok())
                .is_some_and(|layer: usize| layer >= config.num_hidden_layers)
        };
        let is_needed = |name: &str| !name.ends_with("position_ids") && !is_behind(name);
        let file = self.text_tensors()?.renamed(|name| is_needed(name).then(|| name.to_string()));
        let module = config.build(false, &mut Build::to_load(device));
        let whole = self.file()?;
        let has = |start: &str| whole.names().any(|name| below(name, start).is_some());
        let start = CLIP.into_iter().find(|start| has(start));
        let leaves_out = start.is_some_and(|start| !has(&format!("{start}{TEXT_MODEL}")));
        let original = |name: &str| match start {
            Some(start) if leaves_out => {
                Some(format!("{start}{}", name.strip_prefix(TEXT_MODEL).unwrap_or(name)))
            }
            Some(start) => Some(format!("{start}{name}")),
            None => Some(format!("{OPEN_CLIP}{}", open_clip_name(name)?)),
        };
        self.import(module, &file, &Names { of: &whole, ours: &clip_name, theirs: &original })
    }

    /// The second text encoder of Stable Diffusion XL, with its projection.
    ///
    /// # Errors
    /// As [`unet`](Self::unet).
    pub fn second_text_encoder<B: Backend>(&self, device: &B::Device) -> Result<TextEncoder<B>, LatentError> {
        let rename = |name: &str| match below(name, SECOND)? {
            // A matrix by itself, not a layer's.
            "text_projection" => Some("text_projection.weight".to_string()),
            name => text_name(name),
        };
        let file = unpacked(self.file()?.renamed(rename));
        let shape = |name: &str| file.shape(name).map(<[usize]>::to_vec);
        let missing = || self.without("second text encoder");
        let config = infer::text(&shape, Some(0)).ok_or_else(missing)?;
        // From the inputs to the outputs.
        let projection = shape("text_projection.weight").and_then(|shape| shape.get(1).copied());
        let projection_dim = projection.unwrap_or(config.projection_dim);
        let config = TextEncoderConfig { projection_dim, ..config };
        let module = config.build(true, &mut Build::to_load(device));
        let file = file.transposed("text_projection.weight");
        let original = |name: &str| Some(format!("{SECOND}{}", open_clip_name(name)?));
        self.import(module, &file, &Names { of: &self.file()?, ours: &rename, theirs: &original })
    }

    /// The tensors of its text encoder, under the names of transformers: those of CLIP, or those of OpenCLIP with queries,
    /// keys and values apart. OpenCLIP's last layer is among them, which Stable Diffusion 2 does not use.
    ///
    /// # Errors
    /// If it cannot be read, or has none.
    pub fn text_tensors(&self) -> Result<TensorFile, LatentError> {
        let file = unpacked(self.file()?.renamed(clip_name));
        let is_empty = file.names().next().is_none();
        if is_empty { Err(self.without("text encoder")) } else { Ok(file) }
    }

    fn file(&self) -> Result<TensorFile, LatentError> {
        Ok(TensorFile::open(&self.path)?)
    }

    fn without(&self, part: &str) -> LatentError {
        let found = self.file().map(|file| parts(&file)).unwrap_or_default();
        if found.iter().any(|found| found.split_once(' ').is_some_and(|(_, found)| found == part)) {
            let reason = format!("the tensors of its {part} are not those of a Stable Diffusion 1, 2 or XL");
            return LatentError::Malformed { path: self.path.clone(), reason };
        }
        LatentError::NoPart { folder: self.path.clone(), part: part.to_string(), found }
    }

    /// The module with the tensors below `start`, which are called there as `original` says of the module's names.
    fn load<B: Backend, M: Module<B>>(
        &self,
        module: M,
        start: &str,
        original: impl Fn(&str) -> Option<String>,
    ) -> Result<M, LatentError> {
        let names = names();
        let ours: BTreeMap<String, String> = shapes(&module, &names, &[])
            .into_keys()
            .filter_map(|name| Some((original(&name)?, name)))
            .collect();
        // What has no place keeps its name, so that it is reported.
        let rename = |name: &str| {
            let name = below(name, start)?;
            Some(ours.get(name).cloned().unwrap_or_else(|| name.to_string()))
        };
        let whole = self.file()?;
        let theirs = |name: &str| Some(format!("{start}{}", original(name)?));
        self.import(
            module,
            &self.file()?.renamed(rename),
            &Names { of: &whole, ours: &rename, theirs: &theirs },
        )
    }

    /// The module with the tensors of `file`, which has the module's names; errors have the names of the checkpoint.
    fn import<B: Backend, M: Module<B>>(
        &self,
        module: M,
        file: &TensorFile,
        original: &Names<'_>,
    ) -> Result<M, LatentError> {
        match import_tensors(module, &names(), &[], file, None) {
            Ok((module, _)) => Ok(module),
            Err(WeightsError::Tensors { path, key, others, problems }) => {
                let problems = original.all(problems);
                Err(WeightsError::Tensors { path, key, others, problems }.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The name in transformers of a tensor of a text encoder, the first of two.
fn clip_name(name: &str) -> Option<String> {
    match CLIP.iter().find_map(|start| below(name, start)) {
        // Files of some programs leave the first step out.
        Some(name) if !name.starts_with(TEXT_MODEL) => Some(format!("{TEXT_MODEL}{name}")),
        Some(name) => Some(name.to_string()),
        None => text_name(below(name, OPEN_CLIP)?),
    }
}

/// A name without what it begins with; a checkpoint may hold all tensors below a key.
fn below<'a>(name: &'a str, start: &str) -> Option<&'a str> {
    name.strip_prefix(NESTED).unwrap_or(name).strip_prefix(start)
}

/// What there is of a pipeline in a file.
fn parts(file: &TensorFile) -> Vec<String> {
    let has =
        |starts: &[&str]| file.names().any(|name| starts.iter().any(|start| below(name, start).is_some()));
    let all: [(&str, &[&str]); 4] = [
        ("a U-Net", &[UNET]),
        ("an autoencoder", &[AUTOENCODER]),
        ("a text encoder", &[CLIP[0], CLIP[1], OPEN_CLIP]),
        ("a second text encoder", &[SECOND]),
    ];
    all.into_iter().filter(|(_, starts)| has(starts)).map(|(part, _)| part.to_string()).collect()
}

fn shapes_below(file: &TensorFile, start: &str) -> BTreeMap<String, Vec<usize>> {
    let shape = |name: &str| Some((below(name, start)?.to_string(), file.shape(name)?.to_vec()));
    file.names().filter_map(shape).collect()
}

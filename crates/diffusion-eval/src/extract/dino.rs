//! DINOv2 (Oquab et al. 2023, arXiv:2304.07193), whose features Stein et al. 2023 (arXiv:2306.04675) and EDM2 compare.

mod config;
mod layers;

use config::SIDE;
use layers::norm;

pub use config::Dinov2Config;
pub use layers::{DinoAttention, DinoBlock, DinoMlp, LayerScale};

use super::FeatureExtractor;
use super::published::{ExtractError, Published};
use super::resize::{bicubic, bicubic_antialiased, resize, three_channels};
use burn::module::{Module, Param};
use burn::nn::LayerNorm;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::invalid::expect_valid;
use diffusion_core::layer::{Init, PatchEmbed, PatchEmbedConfig};
use diffusion_core::random::{Purpose, Stream};
use diffusion_weights::{NameTable, TensorFile, import_tensors};
use std::path::Path;

/// The weights of [`Dinov2`] that published distances are computed with, those of ViT-L/14.
pub const DINOV2_WEIGHTS: Published = Published {
    file: "dinov2_vitl14_pretrain.pth",
    mib: 1161,
    sha256: None,
    place: "by the README of github.com/facebookresearch/dinov2",
};

/// The mean and the standard deviation of ImageNet's channels, of values from 0 to 1.
const CHANNELS: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// A vision transformer, whose features are those of the class token behind the last norm.
///
/// Images become 224×224 pixels by cubic polynomials, smoothed where they become smaller, as in EDM2. Published distances are
/// of images of 8 bits: round to them before, where yours are not.
#[derive(Module, Debug)]
pub struct Dinov2<B: Backend> {
    /// From patches to tokens.
    pub patch_embed: PatchEmbed<B>,
    /// The class token, `[1, 1, dim]`.
    pub cls_token: Param<Tensor<B, 3>>,
    /// What the class token and each of `side`² patches get for their places, `[1, 1 + side², dim]`.
    pub pos_embed: Param<Tensor<B, 3>>,
    /// The blocks, from the first to the last.
    pub blocks: Vec<DinoBlock<B>>,
    /// Behind the last block.
    pub norm: LayerNorm<B>,
    /// The sizes.
    #[module(skip)]
    pub config: Dinov2Config,
}

impl<B: Backend> Dinov2<B> {
    /// Opens [`DINOV2_WEIGHTS`], or the weights of the same network as transformers has them.
    ///
    /// # Errors
    /// As [`open_sized`](Self::open_sized).
    pub fn open(path: impl AsRef<Path>, device: &B::Device) -> Result<Self, ExtractError> {
        DINOV2_WEIGHTS.expect_at(path.as_ref())?;
        Self::open_sized(&Dinov2Config::default(), path, device)
    }

    /// Opens the weights of a network of other sizes, under their published names or under those of transformers. All names
    /// and shapes are compared before a value is read.
    ///
    /// # Errors
    /// If there is no file; if it cannot be read; if tensors are missing, superfluous, of another shape or not finite: all of
    /// them in one error.
    ///
    /// # Panics
    /// If [`validate`](Dinov2Config::validate) refuses the sizes.
    pub fn open_sized(
        config: &Dinov2Config,
        path: impl AsRef<Path>,
        device: &B::Device,
    ) -> Result<Self, ExtractError> {
        let module = Self::to_load(config, device);
        let file = TensorFile::open(path)?;
        let is_of_transformers = file.names().any(|name| name.ends_with("embeddings.cls_token"));
        let names = if is_of_transformers { names_of_transformers() } else { NameTable::pytorch() };
        // It stands for patches that are not seen, in training only.
        let mut file = file.renamed(|name| (!name.ends_with("mask_token")).then(|| name.to_string()));
        let packed: Vec<String> =
            file.names().filter(|name| name.contains(PACKED)).map(str::to_string).collect();
        for name in packed {
            let apart = ["q", "k", "v"].map(|part| name.replace(PACKED, &format!(".attn.{part}.")));
            file = file.divided(&name, &apart);
        }
        Ok(import_tensors(module, &names, &[], &file, None)?.0)
    }

    /// The network, whose values come from a file.
    fn to_load(config: &Dinov2Config, device: &B::Device) -> Self {
        expect_valid(config.validate());
        let Dinov2Config { patch_size, side, dim, depth, .. } = *config;
        let mut stream = Stream::new(0, Purpose::PARAMETERS, 0, 0);
        let patches = PatchEmbedConfig { patch_size, channels: 3, embed_dim: dim };
        Self {
            patch_embed: patches.init(Init::Unset, &mut stream, device),
            cls_token: Init::Unset.param([1, 1, dim], (1, 1), &mut stream, device),
            pos_embed: Init::Unset.param([1, 1 + side * side, dim], (1, 1), &mut stream, device),
            blocks: (0..depth).map(|_| DinoBlock::to_load(config, device)).collect(),
            norm: norm(dim, device),
            config: config.clone(),
        }
    }

    /// What tokens get for their places: the class token's as it is, those of patches resized.
    ///
    /// # Shapes
    /// - returns `[1, 1 + (SIDE / patch_size)², dim]`
    fn places(&self) -> Tensor<B, 3> {
        let Dinov2Config { patch_size, side, dim, .. } = self.config;
        let (places, new) = (self.pos_embed.val(), SIDE / patch_size);
        if side == new {
            return places;
        }
        let patches = places.clone().narrow(1, 1, side * side).swap_dims(1, 2);
        let weights = |old: usize, new: usize| {
            bicubic(old, new, old as f64 / (new as f64 + self.config.interpolate_offset))
        };
        let patches = resize(patches.reshape([1, dim, side, side]), new, &weights);
        Tensor::cat(vec![places.narrow(1, 0, 1), patches.flatten::<3>(2, 3).swap_dims(1, 2)], 1)
    }
}

/// The name of queries, keys and values in one, between those of its block and its tensor.
const PACKED: &str = ".attn.qkv.";

/// The names of transformers' `Dinov2Model`.
fn names_of_transformers() -> NameTable {
    NameTable::pytorch()
        .with(
            "Dinov2",
            &[
                ("patch_embed", "embeddings.patch_embeddings"),
                ("cls_token", "embeddings.cls_token"),
                ("pos_embed", "embeddings.position_embeddings"),
                ("blocks", "encoder.layer"),
                ("norm", "layernorm"),
            ],
        )
        .with("PatchEmbed", &[("proj", "projection")])
        .with("DinoBlock", &[("attn", "attention"), ("ls1", "layer_scale1"), ("ls2", "layer_scale2")])
        .with(
            "DinoAttention",
            &[
                ("q", "attention.query"),
                ("k", "attention.key"),
                ("v", "attention.value"),
                ("proj", "output.dense"),
            ],
        )
        .with("LayerScale", &[("gamma", "lambda1")])
}

impl<B: Backend> FeatureExtractor<B> for Dinov2<B> {
    fn width(&self) -> usize {
        self.config.dim
    }

    fn extract(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let x = resize(three_channels(images), SIDE, &bicubic_antialiased);
        let device = x.device();
        let per_channel = |values: [f32; 3]| {
            Tensor::<B, 4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &device)
        };
        let [mean, deviation] = CHANNELS.map(per_channel);
        let x = ((x + 1.0) / 2.0 - mean) / deviation;
        let tokens = self.patch_embed.forward(x); // [batch, patches, dim]
        let [batch, patches, dim] = tokens.dims();
        let class = self.cls_token.val().expand([batch, 1, dim]);
        let places = self.places().expand([batch, 1 + patches, dim]);
        let x = Tensor::cat(vec![class, tokens], 1) + places;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.norm.forward(x.narrow(1, 0, 1)).flatten(1, 2)
    }
}

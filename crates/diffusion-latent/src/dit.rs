//! The diffusion transformer of pretrained models, as diffusers' `DiTTransformer2DModel`.

mod block;
mod classes;
mod config;
mod position;
mod sized;

pub use block::{AdaLayerNormZero, ClassEmbedder, DitFeedForward, DitTransformerBlock, TimeAndClass};
pub use classes::ClassNames;
pub use config::DitTransformerConfig;
pub use sized::SizedDit;

use crate::error::LatentError;
use crate::folder::{Folder, Part};
use crate::layer::{Build, sinusoid};
use block::{EPSILON, TIME_SIZE};
use burn::module::Module;
use burn::nn::{Linear, PaddingConfig2d};
use burn::tensor::{Int, Tensor, backend::Backend};
use diffusion_core::layer::{PatchEmbed, Window, linear, modulated_layer_norm, silu};
use std::path::Path;

/// The classes of diffusers that a [`DiTTransformer2DModel`] stands for.
pub const CLASSES: &[&str] = &["DiTTransformer2DModel", config::OLD_CLASS];

/// A transformer that is told a time and a class (Peebles & Xie 2023, arXiv:2212.09748).
#[derive(Module, Debug)]
pub struct DiTTransformer2DModel<B: Backend> {
    /// From patches to tokens.
    pub pos_embed: PatchEmbed<B>,
    /// The blocks, each with its own embedding of time and class.
    pub transformer_blocks: Vec<DitTransformerBlock<B>>,
    /// From the embedding of the first block to shift and scale of the last norm.
    pub proj_out_1: Linear<B>,
    /// From tokens to patches.
    pub proj_out_2: Linear<B>,
    /// The sizes.
    #[module(skip)]
    pub config: DitTransformerConfig,
}

impl DitTransformerConfig {
    /// The network, its weights drawn from `seed` as PyTorch does.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> DiTTransformer2DModel<B> {
        self.build(&mut Build::random(seed, device))
    }

    fn build<B: Backend>(&self, build: &mut Build<'_, B>) -> DiTTransformer2DModel<B> {
        let (dim, patch) = (self.dim(), self.patch_size);
        let window = Window { kernel: patch, stride: patch, padding: PaddingConfig2d::Valid };
        DiTTransformer2DModel {
            pos_embed: PatchEmbed { proj: build.conv2d([self.in_channels, dim], window) },
            transformer_blocks: (0..self.num_layers).map(|_| DitTransformerBlock::new(build, self)).collect(),
            proj_out_1: build.linear(true, [dim, 2 * dim]),
            proj_out_2: build.linear(true, [dim, patch * patch * self.outputs()]),
            config: self.clone(),
        }
    }
}

impl<B: Backend> DiTTransformer2DModel<B> {
    /// Opens the transformer of a folder: the part `transformer` of a pipeline, or the folder itself.
    ///
    /// # Errors
    /// If there is none; if its settings are not supported; if the weights do not fit, with all that does not.
    pub fn open(folder: impl AsRef<Path>, device: &B::Device) -> Result<Self, LatentError> {
        Self::of(&Folder::open(folder)?.part("transformer", CLASSES)?, device)
    }

    /// As [`open`](Self::open), of a part that is open.
    ///
    /// # Errors
    /// As there.
    pub fn of(part: &Part, device: &B::Device) -> Result<Self, LatentError> {
        let config = DitTransformerConfig::from_settings(part.settings())?;
        // Positions are computed.
        let learned = |name: &str| (name != "pos_embed.pos_embed").then(|| name.to_string());
        part.load(config.build(&mut Build::to_load(device)), learned)
    }

    /// The network's output, with the channels of a learned variance behind the others if it has them.
    ///
    /// # Shapes
    /// - `x`: `[batch, in_channels, height, width]`, scaled by c_in; height and width are multiples of the patch size
    /// - `t`: `[batch]`, 0 to 999, fractions too
    /// - `labels`: `[batch]`, the number of classes standing for none
    /// - returns `[batch, outputs, height, width]`
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn forward(&self, x: Tensor<B, 4>, t: Tensor<B, 1>, labels: Tensor<B, 1, Int>) -> Tensor<B, 4> {
        let (patch, [_, _, height, width]) = (self.config.patch_size, x.dims());
        assert!(
            height % patch == 0 && width % patch == 0,
            "latents of {height}×{width}, expected multiples of {patch}"
        );
        let grid = [height / patch, width / patch];
        let positions = position::embedding(grid, self.config.grid(), self.config.dim(), &x.device());
        let time = sinusoid(t, TIME_SIZE, true, 1.0);
        let mut y = self.pos_embed.forward(x) + positions; // [batch, tokens, dim]
        let mut first = None;
        for block in &self.transformer_blocks {
            let embedding = silu(block.norm1.emb.forward(time.clone(), labels.clone())); // [batch, dim]
            y = block.forward(y, embedding.clone());
            first.get_or_insert(embedding);
        }
        let embedding = first.expect("a transformer has blocks");
        let both = linear(&self.proj_out_1, embedding);
        let dim = self.config.dim();
        let [shift, scale] = [0, 1].map(|half| both.clone().narrow(1, half * dim, dim));
        let y = linear(&self.proj_out_2, modulated_layer_norm(y, scale, shift, EPSILON));
        self.unpatchify(y, grid)
    }

    /// # Shapes
    /// - `y`: `[batch, tokens, patch · patch · outputs]`
    /// - returns `[batch, outputs, grid[0] · patch, grid[1] · patch]`
    fn unpatchify(&self, y: Tensor<B, 3>, [rows, columns]: [usize; 2]) -> Tensor<B, 4> {
        let (patch, outputs, batch) = (self.config.patch_size, self.config.outputs(), y.dims()[0]);
        y.reshape([batch, rows, columns, patch, patch, outputs])
            .permute([0, 5, 1, 3, 2, 4]) // [batch, outputs, rows, patch, columns, patch]
            .reshape([batch, outputs, rows * patch, columns * patch])
    }
}

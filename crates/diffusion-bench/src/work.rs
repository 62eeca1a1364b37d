//! What a step is: the kinds of work and their sizes, as both workers understand them.

use diffusion::prelude::{AnyObjective, DitConfig, TimeInputMlpConfig, UnetConfig};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A kind of work with its sizes.
///
/// Data are the same in shape on both sides and in memory before the first step: no file is read but checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// A training step of an MLP on a Swiss roll of as many points as a batch has.
    TrainMlp {
        /// Widths of the hidden layers.
        hidden_dims: Vec<usize>,
        /// Examples per step.
        batch: usize,
    },
    /// A training step of a transformer on images.
    TrainDit {
        /// The network.
        dit: DitSizes,
        /// Examples per step.
        batch: usize,
    },
    /// A training step of a U-Net on images.
    TrainUnet {
        /// The network.
        unet: UnetSizes,
        /// Examples per step.
        batch: usize,
    },
    /// Samples of a transformer by DDIM; one step is the whole trajectory of a batch.
    SampleDit {
        /// The network.
        dit: DitSizes,
        /// How many samples are drawn at once.
        batch: usize,
        /// Steps from noise to data.
        steps: usize,
    },
    /// A training step of a transformer on images under an objective of its own.
    TrainUnder {
        /// The network.
        dit: DitSizes,
        /// Examples per step.
        batch: usize,
        /// What is minimized.
        objective: Box<AnyObjective>,
    },
    /// A part of a transformer's samples; one step is the whole trajectory of a batch.
    SampleBy {
        /// The network.
        dit: DitSizes,
        /// How many samples are drawn at once.
        batch: usize,
        /// Steps from noise to data.
        steps: usize,
        /// The sampler's name.
        sampler: String,
        /// What of it is timed.
        part: Part,
    },
    /// One answer of the ideal denoiser.
    Ideal {
        /// Examples in the data set.
        examples: usize,
        /// Numbers per example.
        numbers: usize,
        /// How many noisy examples are denoised at once.
        queries: usize,
    },
    /// Writing a transformer, the EMA of its weights and the optimizer's moments to a file system.
    CheckpointSave {
        /// The network.
        dit: DitSizes,
    },
    /// Reading them again, into a run that is ready to go on.
    CheckpointLoad {
        /// The network.
        dit: DitSizes,
    },
    /// A piece of latent diffusion with the networks of a folder as diffusers has them.
    Latent {
        /// The folder.
        folder: PathBuf,
        /// Which piece.
        piece: Piece,
        /// Height and width of the latents.
        size: usize,
    },
}

/// A part of sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What the model is asked.
    Calls,
    /// Everything else: the sampler's own steps and its noise.
    Sampler,
}

/// What is done of latent diffusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// Opening all networks: the U-Net, the autoencoder and the text encoder.
    Open,
    /// What the text encoder makes of two texts: a prompt's and the empty one, of a guided step.
    Text,
    /// One answer of the U-Net to two latents, with a text and without: a guided step.
    Guided,
    /// One picture from its latent.
    Decode,
}

/// A transformer on square images of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DitSizes {
    /// Height and width of the images.
    pub in_dim: usize,
    /// Height and width of a patch.
    pub patch_size: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Numbers per attention head.
    pub head_dim: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Whether the input is scaled to unit variance, the modifier `Scaled`.
    pub scaled: bool,
}

impl DitSizes {
    /// The preset `fashion-dit`'s network.
    pub fn fashion() -> Self {
        Self { in_dim: 28, patch_size: 2, depth: 6, head_dim: 32, num_heads: 6, scaled: false }
    }

    /// The preset `fashion-dit-small`'s network.
    pub fn fashion_small() -> Self {
        Self { patch_size: 4, depth: 4, num_heads: 4, scaled: true, ..Self::fashion() }
    }

    /// The network's configuration.
    pub fn config(&self) -> DitConfig {
        let &Self { in_dim, patch_size, depth, head_dim, num_heads, scaled: _ } = self;
        DitConfig { in_dim, channels: 1, patch_size, depth, head_dim, num_heads, ..DitConfig::default() }
    }
}

/// A U-Net on square images of one channel; its input is scaled to unit variance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnetSizes {
    /// Height and width of the images.
    pub in_dim: usize,
    /// Channels at the first level.
    pub ch: usize,
    /// Channels of each level, in multiples of `ch`.
    pub ch_mult: Vec<usize>,
    /// Residual blocks per level on the way down.
    pub num_res_blocks: usize,
    /// Heights at which there is attention.
    pub attn_resolutions: Vec<usize>,
    /// The probability of a number's being dropped.
    pub dropout: f64,
}

impl UnetSizes {
    /// The preset `fashion-unet`'s network, that of smalldiffusion's example.
    pub fn fashion() -> Self {
        Self {
            in_dim: 28,
            ch: 64,
            ch_mult: vec![1, 1, 2],
            num_res_blocks: 2,
            attn_resolutions: vec![14],
            dropout: 0.1,
        }
    }

    /// The network's configuration.
    pub fn config(&self) -> UnetConfig {
        let Self { in_dim, ch, ch_mult, num_res_blocks, attn_resolutions, dropout } = self.clone();
        let blocks = UnetConfig { ch, ch_mult, num_res_blocks, attn_resolutions, ..UnetConfig::default() };
        UnetConfig { in_dim, in_ch: 1, out_ch: 1, dropout, ..blocks }
    }
}

/// The MLP on points of a plane with these hidden layers.
pub fn mlp(hidden_dims: &[usize]) -> TimeInputMlpConfig {
    TimeInputMlpConfig { dim: 2, hidden_dims: hidden_dims.to_vec(), ..Default::default() }
}

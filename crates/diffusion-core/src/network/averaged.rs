//! Networks that are asked for the mean velocity over a way: those of the other files, which are also told its length.

use super::dit::{AnyDit, Dit, DitConfig};
use super::mlp::{AnyMlp, ConditionalMlpConfig, Layers, Mlp, TimeInputMlpConfig};
use super::unet::{AnyUnet, Unet, UnetConfig};
use crate::invalid::expect_valid;
use crate::layer::{
    AnyEmbedder, AveragedEmbedder, CondEmbedderLabel, CondEmbedderLabelConfig, Init, NoCondition,
    SigmaEmbedderSinCos, WithLength, length_embedder, length_params,
};
use burn::tensor::backend::Backend;

/// The size of a length's embedding in an MLP without labels.
const LENGTH_DIM: usize = 16;

/// The embedder of lengths to `size` values, as the layers around it start.
fn of_torch<B: Backend>(size: usize, seed: u64, device: &B::Device) -> SigmaEmbedderSinCos<B> {
    length_embedder(size, Init::Torch, Init::Torch, seed, device)
}

impl TimeInputMlpConfig {
    /// The network that `seed` stands for, which can be asked for mean velocities; it sees the embedding of a length as a
    /// further input.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_averaged<B: Backend>(&self, seed: u64, device: &B::Device) -> Mlp<B, AveragedEmbedder<B>> {
        expect_valid(self.validate());
        let length = of_torch(LENGTH_DIM, seed, device);
        self.wider().init(seed, device, |_| WithLength { told: NoCondition::new(), length })
    }

    /// The same network, of the kind that also serves labels.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_any_averaged<B: Backend>(&self, seed: u64, device: &B::Device) -> AnyMlp<B> {
        expect_valid(self.validate());
        let length = Some(of_torch(LENGTH_DIM, seed, device));
        self.wider().init(seed, device, |_| AnyEmbedder { told: None, length })
    }

    /// The number of parameters that lengths add.
    pub fn averaging_params(&self) -> u128 {
        self.wider().num_params() - self.num_params() + length_params(LENGTH_DIM)
    }

    fn wider(&self) -> Layers<'_> {
        Layers { cond_dim: LENGTH_DIM, ..self.layers() }
    }
}

impl ConditionalMlpConfig {
    /// The network that `seed` stands for, which can be asked for mean velocities.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_averaged<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Mlp<B, AveragedEmbedder<B, CondEmbedderLabel<B>>> {
        expect_valid(self.validate());
        let length = of_torch(self.cond_dim, seed, device);
        self.layers().init(seed, device, |stream| WithLength { told: self.labels(stream, device), length })
    }

    /// The same network, of the kind that also serves points without labels.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_any_averaged<B: Backend>(&self, seed: u64, device: &B::Device) -> AnyMlp<B> {
        expect_valid(self.validate());
        let length = Some(of_torch(self.cond_dim, seed, device));
        let told = |stream: &mut _| Some(self.labels(stream, device));
        self.layers().init(seed, device, |stream| AnyEmbedder { told: told(stream), length })
    }

    /// The number of parameters that lengths add.
    pub fn averaging_params(&self) -> u128 {
        length_params(self.cond_dim)
    }
}

/// The constructors of networks for images, whose conditions all end in one embedding of the size of a length's.
macro_rules! init_averaged {
    ($($config:ident: $network:ident, $any:ident;)+) => {$(
        impl $config {
            /// The unconditional network that `seed` stands for, which can be asked for mean velocities. All that it has in
            /// common with that of [`init`](Self::init) starts the same.
            ///
            /// # Panics
            /// As [`init`](Self::init).
            pub fn init_averaged<B: Backend>(
                &self,
                seed: u64,
                device: &B::Device,
            ) -> $network<B, AveragedEmbedder<B>> {
                let length = self.length_embedder(seed, device);
                self.build(seed, device, |_| WithLength { told: NoCondition::new(), length })
            }

            /// The network conditioned on labels that `seed` stands for, which can be asked for mean velocities.
            ///
            /// # Panics
            /// As [`init_conditional`](Self::init_conditional).
            pub fn init_averaged_conditional<B: Backend>(
                &self,
                labels: &CondEmbedderLabelConfig,
                seed: u64,
                device: &B::Device,
            ) -> $network<B, AveragedEmbedder<B, CondEmbedderLabel<B>>> {
                let length = self.length_embedder(seed, device);
                self.build(seed, device, |stream| WithLength {
                    told: self.label_embedder(labels, stream, device),
                    length,
                })
            }

            /// The network that `seed` stands for, which can be asked for mean velocities, conditioned on labels if there
            /// are any.
            ///
            /// # Panics
            /// As [`init_conditional`](Self::init_conditional).
            pub fn init_any_averaged<B: Backend>(
                &self,
                labels: Option<&CondEmbedderLabelConfig>,
                seed: u64,
                device: &B::Device,
            ) -> $any<B> {
                let length = Some(self.length_embedder(seed, device));
                let told = |stream: &mut _| labels.map(|labels| self.label_embedder(labels, stream, device));
                self.build(seed, device, |stream| AnyEmbedder { told: told(stream), length })
            }
        }
    )+};
}

init_averaged! {
    DitConfig: Dit, AnyDit;
    UnetConfig: Unet, AnyUnet;
}

impl DitConfig {
    /// The number of parameters that lengths add.
    pub fn averaging_params(&self) -> u128 {
        length_params(self.dim())
    }

    fn length_embedder<B: Backend>(&self, seed: u64, device: &B::Device) -> SigmaEmbedderSinCos<B> {
        expect_valid(self.validate());
        length_embedder(self.dim(), Init::Xavier, Init::Zeros, seed, device)
    }
}

impl UnetConfig {
    /// The number of parameters that lengths add.
    pub fn averaging_params(&self) -> u128 {
        length_params(self.temb_ch())
    }

    fn length_embedder<B: Backend>(&self, seed: u64, device: &B::Device) -> SigmaEmbedderSinCos<B> {
        expect_valid(self.validate());
        of_torch(self.temb_ch(), seed, device)
    }
}

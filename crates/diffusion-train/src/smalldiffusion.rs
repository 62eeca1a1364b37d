//! Weights under smalldiffusion's names: to and from PyTorch state dicts of its networks.
//!
//! The tables are one per network and one for the layers that they share. Each field is translated by itself, so a
//! network of your own that is made of this library's layers has the names that a Python network of the same fields
//! would have.

mod dit;
mod layer;
mod mlp;
mod unet;

use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_core::Network;
use diffusion_weights::{self as weights, NameTable, StateDict, WeightsError};
use std::path::Path;

/// smalldiffusion's names of what networks here are made of.
pub fn smalldiffusion_names() -> NameTable {
    [layer::names, mlp::names, dit::names, unet::names]
        .into_iter()
        .fold(NameTable::pytorch(), |table, add| add(table))
}

/// The network's parameters and [buffers](Network::buffers), in f32.
///
/// # Panics
/// If two parameters have the same name, which a network of your own can bring about with an enum or a field that
/// smalldiffusion spells otherwise.
pub fn state_dict<B, N, const D: usize>(network: &N) -> StateDict
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    weights::state_dict(network, &smalldiffusion_names(), &network.buffers())
}

/// The network with the tensors of `dict`, as [`diffusion_weights::load_state_dict`] says.
///
/// # Errors
/// As there.
pub fn load_state_dict<B, N, const D: usize>(network: N, dict: &StateDict) -> Result<N, WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let buffers = network.buffers();
    weights::load_state_dict(network, &smalldiffusion_names(), &buffers, dict)
}

/// The network with the tensors of the file `path`: one that `torch.save` has written since PyTorch 1.6, a safetensors
/// file, or the index of several; as [`diffusion_weights::import_state_dict`] says.
///
/// # Errors
/// As there.
pub fn import_state_dict<B, N, const D: usize>(network: N, path: &Path) -> Result<N, WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let buffers = network.buffers();
    weights::import_state_dict(network, &smalldiffusion_names(), &buffers, path)
}

/// Writes the network's [`state_dict`] as a safetensors file of f32, which `safetensors.torch.load_file` reads; one
/// that is there is replaced, whole or not at all.
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// As [`state_dict`].
pub fn export_state_dict<B, N, const D: usize>(network: &N, path: &Path) -> Result<(), WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    weights::export_state_dict(network, &smalldiffusion_names(), &network.buffers(), path)
}

#[cfg(test)]
mod tests;

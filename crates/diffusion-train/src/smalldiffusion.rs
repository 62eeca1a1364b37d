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
use diffusion_weights::{self as weights, NameTable, StateDict, Taken, WeightsError};
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

/// The network with the tensors of the file `path`: one that `torch.save` has written, a state dict or a checkpoint with
/// one in it, a safetensors file, or the index of several; as [`diffusion_weights::import_state_dict`] says.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_train::{export_state_dict, import_state_dict, state_dict};
///
/// let folder = tempfile::tempdir()?;
/// let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
/// let trained = config.init::<Flex>(0, &Default::default());
/// export_state_dict(&trained, folder.path().join("mlp.safetensors"))?;
/// // Of the same sizes; its own weights are replaced.
/// let blank = config.init::<Flex>(1, &Default::default());
/// let imported = import_state_dict(blank, folder.path().join("mlp.safetensors"))?;
/// assert_eq!(state_dict(&imported), state_dict(&trained));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As there.
pub fn import_state_dict<B, N, const D: usize>(network: N, path: impl AsRef<Path>) -> Result<N, WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    Ok(import_state_dict_at(network, path, None)?.0)
}

/// As [`import_state_dict`], of those tensors in a checkpoint to which the path `key` leads, as in `state.ema`; and what
/// was taken of the file. [`diffusion_weights::import_state_dict_at`] says more.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
/// use diffusion_train::{export_state_dict, import_state_dict_at};
///
/// let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
/// let network = |seed| config.init::<Flex>(seed, &Default::default());
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("weights.safetensors");
/// export_state_dict(&network(1), &path)?;
/// // In a training script's checkpoint the key may be `Some("state.ema")`.
/// let (_, taken) = import_state_dict_at(network(2), &path, None)?;
/// assert_eq!((taken.tensors, taken.others), (4, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As there.
pub fn import_state_dict_at<B, N, const D: usize>(
    network: N,
    path: impl AsRef<Path>,
    key: Option<&str>,
) -> Result<(N, Taken), WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let buffers = network.buffers();
    weights::import_state_dict_at(network, &smalldiffusion_names(), &buffers, path, key)
}

/// Writes the network's [`state_dict`] as a safetensors file of f32, which `safetensors.torch.load_file` reads; one
/// that is there is replaced, whole or not at all.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::mlp::TimeInputMlpConfig;
///
/// let folder = tempfile::tempdir()?;
/// let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() }.init::<Flex>(0, &Default::default());
/// diffusion_train::export_state_dict(&network, folder.path().join("mlp.safetensors"))?;
/// // In Python: model.load_state_dict(load_file("mlp.safetensors"), strict=True)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// As [`state_dict`].
pub fn export_state_dict<B, N, const D: usize>(
    network: &N,
    path: impl AsRef<Path>,
) -> Result<(), WeightsError>
where
    B: Backend,
    N: Module<B> + Network<B, D>,
{
    let path = path.as_ref();
    weights::export_state_dict(network, &smalldiffusion_names(), &network.buffers(), path)
}

#[cfg(test)]
mod tests;

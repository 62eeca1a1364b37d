//! The files of a checkpoint, as they are written.

use super::checksum::Checksum;
use super::error::{CheckpointError, io_error};
use super::names::{EMA, MOMENTS, RAW, STATE, file_of};
use super::state::{CheckpointState, OptimizerState};
use crate::moments::Moments;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{NameTable, write_state_dict, write_synced};
use std::io::Write;
use std::path::Path;

/// What a checkpoint holds besides its metadata.
pub(crate) struct Parts<'a, M> {
    pub model: &'a M,
    pub ema: &'a M,
    /// The other averages by their names.
    pub named: Vec<(&'a str, &'a M)>,
    pub moments: Option<&'a Moments<M>>,
}

pub(super) fn write_files<B: Backend, M: Module<B>>(
    folder: &Path,
    mut state: CheckpointState,
    parts: &Parts<'_, M>,
) -> Result<CheckpointState, CheckpointError> {
    let &Parts { model, ema, ref named, moments } = parts;
    let mut modules = vec![(RAW.to_string(), model), (EMA.to_string(), ema)];
    modules.extend(named.iter().map(|(name, average)| (file_of(name), *average)));
    if let Some(moments) = moments {
        let [first, second] = MOMENTS.map(str::to_string);
        modules.extend([(first, &moments.first), (second, &moments.second)]);
    }
    state.optimizer = moments.map(|moments| OptimizerState::new(&moments.updates, &moments.muon));
    state.files.clear();
    for (name, module) in modules {
        let checksum = write_weights(module, &folder.join(&name))?;
        state.files.insert(name, checksum);
    }
    write_state(folder, &state.to_text()?)?;
    Ok(state)
}

/// Writes metadata into the folder.
pub(crate) fn write_state(folder: &Path, text: &str) -> Result<(), CheckpointError> {
    let path = folder.join(STATE);
    write_synced(&path, |file| file.write_all(text.as_bytes())).map_err(io_error("write", &path))
}

/// Tensor by tensor, so that the weights are not in memory twice; the same bytes for the same weights.
pub(crate) fn write_weights<B: Backend, M: Module<B>>(
    module: &M,
    path: &Path,
) -> Result<Checksum, CheckpointError> {
    write_synced(path, |file| write_state_dict(module, &NameTable::own_paths(), &[], file))
        .map_err(io_error("write", path))?;
    Checksum::read(path)
}

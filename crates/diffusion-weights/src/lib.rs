//! Tensors in files, and state dicts under the names of any library.
//!
//! [`TensorFile`] reads a safetensors file, a set of shards with its `*.index.json`, or a file of `torch.save`; it reads
//! names, types and shapes when it is opened, and values when they are asked for, by tensor or by rows of one.
//! [`PickledDict`] reads a pickled dict of lists, names and NumPy arrays, as CIFAR is published; neither runs anything.
//! [`read_npz`], [`read_npz_bytes`], [`write_npz`] and, for what does not fit into memory, [`NpzWriter`] are for NumPy's
//! archives of arrays.
//! [`state_dict`], [`load_state_dict`], [`import_state_dict`] and [`export_state_dict`] take a module's parameters out
//! of it and put them in, under the names that a [`NameTable`] gives them. [`write_atomically`] writes a file whole or
//! not at all.
//!
//! Deliberately absent: anything that knows a network. Whoever has one brings its names and its buffers.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod atomic;
mod blocks;
mod dict;
mod dtype;
mod error;
mod file;
mod fit;
mod kind;
mod load;
mod names;
mod regular;
mod shapes;
mod source;
mod state_dict;
mod write;

pub use atomic::{sync_folder, write_atomically, write_synced};
pub use dict::StateDict;
pub use dtype::Dtype;
pub use error::{TensorProblem, WeightsError};
pub use file::npz::{NpyArray, NpyKind, NpzWriter, npz_names, read_npz, read_npz_bytes, write_npz};
pub use file::safetensors::read_note;
pub use file::{PickledDict, TensorFile};
pub use kind::FileKind;
pub use load::Taken;
pub use names::{NameTable, Place};
pub use regular::{check_regular, open_regular, read_regular};
pub use shapes::shapes;
pub use state_dict::{
    export_state_dict, import_state_dict, import_state_dict_at, import_tensors, load_state_dict,
    read_tensors, restore, state_dict, write_each, write_half, write_state_dict, write_tensors,
};

#[cfg(test)]
mod tests;

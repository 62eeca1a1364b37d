//! smalldiffusion's names of the MLPs for points.

use diffusion_weights::NameTable;

/// PyTorch counts the activations between the layers, too.
pub(super) fn names(table: NameTable) -> NameTable {
    table.spaced("Mlp", "net", 2)
}

//! smalldiffusion's names of the transformer.

use diffusion_weights::NameTable;

pub(super) fn names(table: NameTable) -> NameTable {
    table.with("DitBlock", &[("mlp_in", "mlp.0"), ("mlp_out", "mlp.2")])
}

//! smalldiffusion's names of the layers that several networks share.

use diffusion_weights::NameTable;

pub(super) fn names(table: NameTable) -> NameTable {
    table
        .with("CondSequential", &[("modules", "")])
        .with("SigmaEmbedderSinCos", &[("input", "mlp.0"), ("output", "mlp.2")])
        .with("TimestepEmbedder", &[("input", "mlp.0"), ("hidden", "mlp.2"), ("output", "mlp.4")])
        .with("CondEmbedderLabel", &[("output", "mlp.1")])
        .with("Modulation", &[("proj", "proj.1")])
}

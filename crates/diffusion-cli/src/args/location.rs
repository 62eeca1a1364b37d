//! Where what a run needs is, and where to compute.

use diffusion_backends::BackendName;
use std::path::PathBuf;

/// Where a run's data and pretrained model are now, and where to compute with them.
#[derive(Debug, clap::Args)]
pub struct LocationArgs {
    /// Where the run's data are now [default: where they were].
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Of a run that trains a pretrained model further, where that is now [default: where it was].
    #[arg(long, value_name = "FOLDER")]
    pub pretrained: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
}

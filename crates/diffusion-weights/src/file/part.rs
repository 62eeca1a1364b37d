//! One file of tensors, of whichever format.

use super::view::View;
use super::{safetensors, torch, zip};
use crate::error::{Fault, WeightsError, io_error};
use crate::source::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file, and the bytes in it.
#[derive(Debug)]
pub struct Part {
    pub path: PathBuf,
    pub source: Source,
}

impl Part {
    pub fn error(&self, source: std::io::Error) -> WeightsError {
        io_error("read", &self.path)(source)
    }
}

pub fn open(path: &Path) -> Result<Source, WeightsError> {
    Source::open(path).map_err(io_error("open", path))
}

/// The tensors of a file of any of the formats, told by its first bytes.
pub fn read(source: &Source) -> Result<BTreeMap<String, View>, Fault> {
    let head = source.head(512)?;
    if head.starts_with(zip::MAGIC) {
        torch::read(source)
    } else if head.get(8) == Some(&b'{') {
        safetensors::read(source)
    } else if head.starts_with(&[0x80]) || head.get(257..262) == Some(b"ustar") {
        Err(Fault::NotAStateDict(
            "it is a bare pickle, as PyTorch wrote before 1.6, and may run anything where it is loaded; if you trust \
             it, load it with `weights_only=True` and save the state dict again"
                .to_string(),
        ))
    } else {
        Err(Fault::NotAStateDict(format!(
            "it begins with {:02x?}, expected an archive of torch.save or a safetensors header",
            &head[..head.len().min(9)]
        )))
    }
}

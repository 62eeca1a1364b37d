//! One file of tensors, of whichever format.

use super::contents::Contents;
use super::entry::is_of_data;
use super::{kind, legacy, safetensors, torch, zip};
use crate::error::{Fault, WeightsError, io_error};
use crate::source::Source;
use std::path::{Path, PathBuf};

/// One file, and the bytes in it.
#[derive(Debug)]
pub struct Part {
    pub path: PathBuf,
    pub source: Source,
}

impl Part {
    pub fn error(&self, source: std::io::Error) -> WeightsError {
        if is_of_data(&source) {
            return Fault::Malformed(source.to_string()).at(&self.path);
        }
        io_error("read", &self.path)(source)
    }
}

pub fn open(path: &Path) -> Result<Source, WeightsError> {
    Source::open(path).map_err(io_error("open", path))
}

/// The tensors of a file of any of the formats, told by its first bytes.
pub fn read(source: &Source) -> Result<Contents, Fault> {
    let head = source.head(512)?;
    if head.starts_with(zip::MAGIC) {
        torch::read(source)
    } else if legacy::begins(&head) {
        legacy::read(source)
    } else if head.get(8) == Some(&b'{') && !head.starts_with(b"version") {
        safetensors::read(source)
    } else {
        Err(Fault::NotAStateDict(kind::of_head(&head)))
    }
}

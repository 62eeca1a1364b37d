//! Checksums of files.

use super::error::{CheckpointError, io_error};
use diffusion_weights::{check_regular, open_regular};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;

/// What a file must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checksum {
    /// Its length in bytes.
    pub bytes: u64,
    /// The CRC-32 (ISO-HDLC, as in gzip) of its bytes.
    pub crc32: u32,
}

impl Checksum {
    /// The checksum of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc32: crc32fast::hash(bytes) }
    }

    /// The checksum of the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, CheckpointError> {
        let mut file = open_regular(path).map_err(io_error("open", path))?;
        let (mut hasher, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 18]);
        loop {
            match file.read(&mut buffer).map_err(io_error("read", path))? {
                0 => return Ok(Self { bytes, crc32: hasher.finalize() }),
                n => {
                    hasher.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
    }

    /// Compares with the file at `path`, of which nothing is read if its length is another.
    pub(crate) fn verify(self, path: &Path) -> Result<(), CheckpointError> {
        self.compare_length(path)?;
        self.compare(Self::read(path)?, path)
    }

    /// Compares its length with that of the file at `path`.
    pub(super) fn compare_length(self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = check_regular(path).map_err(io_error("open", path))?;
        self.compare(Self { bytes, ..self }, path)
    }

    /// Compares with what was `found` at `path`.
    pub(super) fn compare(self, found: Self, path: &Path) -> Result<(), CheckpointError> {
        let reason = if found.bytes != self.bytes {
            format!("it has {} bytes, expected {}", found.bytes, self.bytes)
        } else if found.crc32 != self.crc32 {
            format!("its checksum is {:08x}, expected {:08x}", found.crc32, self.crc32)
        } else {
            return Ok(());
        };
        Err(CheckpointError::Damaged { path: path.to_path_buf(), reason })
    }
}

//! Files that are complete or absent: written, synced, and only then given their names.

use super::names::FILES;
use super::{CheckpointError, io_error};
use diffusion_weights::{check_regular, open_regular};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

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
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc32: crc32fast::hash(bytes) }
    }

    /// The checksum of the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, CheckpointError> {
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
    pub(super) fn verify(self, path: &Path) -> Result<(), CheckpointError> {
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

/// The name under which `checkpoint` is written, or kept while another takes its place: hidden, and not a checkpoint's.
pub(super) fn hidden(checkpoint: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(checkpoint.file_name().unwrap_or_default());
    name.push(ending);
    checkpoint.with_file_name(name)
}

/// The entries of the checkpoint's folder that no checkpoint has, as where somebody keeps notes there; none if there is
/// no folder.
pub(super) fn foreign(checkpoint: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(checkpoint).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| !is_own(path)).collect()
}

/// Whether a checkpoint has such a file.
fn is_own(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| FILES.contains(&name))
}

/// Whether the folder has any file of a checkpoint.
pub(super) fn is_checkpoint(folder: &Path) -> bool {
    FILES.iter().any(|name| folder.join(name).symlink_metadata().is_ok())
}

/// Removes a checkpoint's files, and its folder where nothing else is in it; returns what is left.
pub(super) fn remove_own(checkpoint: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let foreign = foreign(checkpoint);
    if foreign.is_empty() {
        remove_checkpoint(checkpoint)?;
        return Ok(foreign);
    }
    for path in FILES.iter().map(|name| checkpoint.join(name)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(foreign)
}

/// Takes a checkpoint's good name away before its files, so that a crash leaves no half of one under it.
pub(super) fn remove_checkpoint(checkpoint: &Path) -> Result<(), CheckpointError> {
    let old = set_aside(checkpoint)?;
    remove(&old)
}

/// Takes a checkpoint's good name away, if it is there, and returns its new one.
pub(super) fn set_aside(checkpoint: &Path) -> Result<PathBuf, CheckpointError> {
    let old = hidden(checkpoint, ".old");
    remove(&old)?;
    match fs::rename(checkpoint, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("rename", checkpoint)(error)),
        _ => Ok(old),
    }
}

/// Removes a folder, if it is there.
pub(super) fn remove(folder: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", folder)(error)),
        _ => Ok(()),
    }
}

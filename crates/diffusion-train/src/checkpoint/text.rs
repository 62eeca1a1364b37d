//! Metadata in TOML whose last line is a checksum of the others.

use super::error::{CheckpointError, io_error};
use diffusion_weights::read_regular;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// What the last line begins with: the checksum of all lines before it.
pub(crate) const CHECKSUM: &str = "# crc32 of the above: ";

/// The most bytes that metadata have.
const LONGEST: u64 = 64 << 20;

/// What metadata of every version have.
#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

/// The text of metadata.
pub(crate) fn to_text<T: Serialize>(state: &T) -> Result<String, CheckpointError> {
    let bad = |error: toml::ser::Error| CheckpointError::State {
        path: "state.toml".into(),
        reason: error.to_string(),
    };
    let text = toml::to_string(state).map_err(bad)?;
    let checksum = crc32fast::hash(text.as_bytes());
    Ok(format!("{text}{CHECKSUM}{checksum:08x}\n"))
}

/// Reads the metadata at `path`, which are of the version `expected`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, expected: u32) -> Result<T, CheckpointError> {
    let bytes = read_regular(path, LONGEST).map_err(io_error("read", path))?;
    parse(&bytes, expected).map_err(|reason| CheckpointError::State { path: path.to_path_buf(), reason })
}

/// The metadata in the bytes of a file.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], expected: u32) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let Some((body, checksum)) = text.rsplit_once(CHECKSUM) else {
        return Err("its last line is no checksum, so it was cut short or is of an older version".to_string());
    };
    let found = format!("{:08x}\n", crc32fast::hash(body.as_bytes()));
    if checksum != found {
        return Err(format!("its checksum is {}, expected {}", found.trim_end(), checksum.trim_end()));
    }
    let bad = |error: toml::de::Error| error.message().to_string();
    // Before all else: another format has other fields.
    let Format { format } = toml::from_str(body).map_err(bad)?;
    if format != expected {
        return Err(format!("its format is {format}, expected {expected}: it is of another version"));
    }
    toml::from_str(body).map_err(bad)
}

/// Refuses a name of a file that is not one in a checkpoint's own folder: a file elsewhere is none of its.
pub(crate) fn check_names<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    match names.find(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
        Some(name) => Err(format!("it names the file `{name}`, expected one in its own folder")),
        None => Ok(()),
    }
}

//! Folders that are complete or absent: written, synced, and only then given their names.

use super::error::{CheckpointError, io_error};
use super::names::{FILES, STATE, average_of};
use super::state::CheckpointState;
use diffusion_weights::sync_folder;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
    let is_own = own(checkpoint);
    entries(checkpoint).into_iter().filter(|path| !is_own(path)).collect()
}

fn entries(checkpoint: &Path) -> Vec<PathBuf> {
    fs::read_dir(checkpoint).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Which files are the checkpoint's: those that each has, and the averages that its metadata name, or all with such a
/// name where these cannot be read.
fn own(checkpoint: &Path) -> impl Fn(&Path) -> bool + use<> {
    let state = CheckpointState::read(&checkpoint.join(STATE)).ok();
    move |path| {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
        let is_known = state.as_ref().is_none_or(|state| state.files.contains_key(name));
        FILES.contains(&name) || average_of(name).is_some() && is_known
    }
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
    let is_own = own(checkpoint);
    for path in entries(checkpoint).into_iter().filter(|path| is_own(path)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(foreign)
}

/// Makes the folder `path`, in the place of one that is there: `write` fills another, which is synced and then renamed, so
/// that a crash never leaves half of one under the good name. What is foreign in the old one moves into the new.
pub(crate) fn replace<T>(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let (partial, folder) = (hidden(path, ".partial"), path.parent().unwrap_or(Path::new("")));
    let filled = remove(&partial)
        .and_then(|()| fs::create_dir_all(&partial).map_err(io_error("create", &partial)))
        .and_then(|()| write(&partial));
    let written = filled.and_then(|made| {
        sync_folder(&partial).map_err(io_error("sync", &partial))?;
        let old = set_aside(path)?;
        if let Err(error) = fs::rename(&partial, path) {
            let _ = fs::rename(&old, path);
            return Err(io_error("rename", &partial)(error));
        }
        sync_folder(folder).map_err(io_error("sync", folder))?;
        for other in foreign(&old) {
            let place = free(&path.join(other.file_name().unwrap_or_default()));
            fs::rename(&other, &place).map_err(io_error("move", &other))?;
        }
        remove(&old)?;
        Ok(made)
    });
    if written.is_err() {
        // What is left of a failed attempt is of no use; the error to report is the first.
        let _ = remove(&partial);
    }
    written
}

/// The path, or where something is there already, as a new average may be of an old file's name, the first with a number.
fn free(path: &Path) -> PathBuf {
    let numbered = |n: u64| {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!("-{n}"));
        path.with_file_name(name)
    };
    let mut places = std::iter::once(path.to_path_buf()).chain((1..).map(numbered));
    places.find(|place| place.symlink_metadata().is_err()).unwrap_or_default()
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

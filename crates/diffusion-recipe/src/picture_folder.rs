//! The folder of the pictures that are drawn while a run trains, `step-N.png` each.

use crate::error::RecipeError;
use crate::made::{is_partial, is_picture, picture_step};
use std::fs;
use std::path::{Path, PathBuf};

/// What the folder is called in that of the run.
pub(crate) const NAME: &str = "samples";

/// The pictures in `folder` that a run drew, with their steps, in their order; none where there is no such folder.
pub(crate) fn drawn(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let pictures = entries.filter(|path| is_picture(path));
    let mut drawn: Vec<_> = pictures.filter_map(|path| Some((picture_step(&path)?, path))).collect();
    drawn.sort();
    drawn
}

/// The pictures of steps after `step`.
pub(crate) fn after(folder: &Path, step: u64) -> Vec<PathBuf> {
    drawn(folder).into_iter().filter(|(of, _)| *of > step).map(|(_, path)| path).collect()
}

/// Removes all pictures that a run drew, and those that were being written, and the folder if it is empty then. Returns what
/// is left in it.
pub(crate) fn remove_all(folder: &Path) -> Result<Vec<PathBuf>, RecipeError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(RecipeError::io("read", folder))?;
    let mut kept = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_picture(&path) || is_partial(&name) && path.is_file() {
            fs::remove_file(&path).map_err(RecipeError::io("remove", &path))?;
        } else {
            kept.push(path);
        }
    }
    if kept.is_empty() && !folder.is_symlink() {
        fs::remove_dir(folder).map_err(RecipeError::io("remove", folder))?;
    }
    Ok(kept)
}

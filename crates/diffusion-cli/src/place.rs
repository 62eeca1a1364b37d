//! The place of what a command will write, looked at before anything long is computed.

use crate::error::CliError;
use crate::output::log;
use diffusion_recipe::{RecipeError, Run, RunFolder, check_writable};
use std::path::{Path, PathBuf};

/// Finds out whether the file `out` can be written; one that is there is replaced only where `overwrite` says so.
pub fn check_file(out: &Path, overwrite: bool) -> Result<(), CliError> {
    if out.is_dir() {
        let what = format!("{} is a folder", out.display());
        return Err(CliError::usage(what, "pass --out FILE for another name"));
    }
    if out.symlink_metadata().is_ok() && !overwrite {
        return Err(CliError::FileExists(out.to_path_buf()));
    }
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let what =
                format!("{} cannot be written, for there is no folder {}", out.display(), folder.display());
            Err(CliError::usage(what, "make it first"))
        }
        _ => Ok(check_writable(out)?),
    }
}

/// Finds out whether `out` is the name of a PNG picture.
pub fn check_png(out: &Path) -> Result<(), CliError> {
    match out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        true => Ok(()),
        false => {
            let what = format!("{} is not the name of a PNG picture", out.display());
            Err(CliError::usage(what, "let --out end in .png"))
        }
    }
}

/// Where to write a run's output, e.g. `samples` as a PNG picture; says so where that is not its usual name.
pub fn output(folder: &RunFolder, name: &str, endings: &[&str]) -> PathBuf {
    let path = folder.output(name, endings);
    if path.file_stem().is_some_and(|stem| stem != name) {
        log(format_args!(
            "warning: no run wrote the file {name} in {}, so it stays; writing {}",
            folder.path().display(),
            path.display()
        ));
    }
    path
}

/// Says what stayed in a folder whose run was replaced.
pub fn say_kept(folder: &RunFolder) {
    if !folder.kept().is_empty() {
        let below = |path: &Path| path.strip_prefix(folder.path()).unwrap_or(path).display().to_string();
        let names: Vec<String> = folder.kept().iter().map(|path| below(path)).collect();
        log(format_args!("kept what no run wrote: {}", names.join(", ")));
    }
}

/// Refuses to write into a folder that is no longer the run's.
pub fn still_there(folder: &RunFolder, run: &dyn Run) -> Result<(), CliError> {
    if folder.is_there() {
        return Ok(());
    }
    let (step, run) = (run.counts().steps, folder.path().to_path_buf());
    Err(RecipeError::FolderGone { run, step, place: None, failure: None }.into())
}

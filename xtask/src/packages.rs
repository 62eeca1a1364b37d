//! What would be published: every library and the program must pack, and need no file outside its own folder.

use crate::{Failure, cargo, root, spawn};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Packs the crates that are to be published, without building them, and looks into the packages.
///
/// # Errors
/// If one cannot be packed, lacks a license or a README, or has a source that includes a file from outside.
pub fn check() -> Result<(), Failure> {
    let published = published()?;
    let names = || published.iter().flat_map(|(name, _)| ["--package", name]);
    spawn(cargo(&["package", "--quiet", "--no-verify", "--allow-dirty"]).args(names()))?;
    let mut found = Vec::new();
    for (name, folder) in &published {
        let mut list = cargo(&["package", "--quiet", "--list", "--allow-dirty", "--package", name]);
        let output = list.output().map_err(|error| format!("cannot run {list:?}: {error}"))?;
        let files: Vec<PathBuf> =
            String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect();
        for needed in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
            if !files.iter().any(|file| file == Path::new(needed)) {
                found.push(format!("the package {name} lacks {needed}"));
            }
        }
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            let outside = included(&text).filter(|path| leaves(file, path));
            found.extend(outside.map(|path| {
                format!("{name}: {} includes {path}, which the package does not have", file.display())
            }));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

/// Names and folders of the crates whose manifests do not forbid that they are published.
fn published() -> Result<Vec<(String, PathBuf)>, Failure> {
    let crates = root().join("crates");
    let entries =
        fs::read_dir(&crates).map_err(|error| format!("cannot read {}: {error}", crates.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        if let (Some(name), false) = (name, manifest.contains("\npublish = false")) {
            found.push((name.to_string(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The paths that a source includes or has as a module.
fn included(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["include!(\"", "include_str!(\"", "include_bytes!(\"", "#[path = \""];
    starts.into_iter().flat_map(move |start| {
        text.match_indices(start).filter_map(move |(at, _)| Some(text[at + start.len()..].split_once('"')?.0))
    })
}

/// Whether `path`, relative to the folder of `file`, leads out of the folder that `file` is relative to.
fn leaves(file: &Path, path: &str) -> bool {
    let mut depth = 0;
    let joined = file.parent().unwrap_or(Path::new("")).join(path);
    joined.components().any(|component| {
        depth += if component == Component::ParentDir { -1 } else { 1 };
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_out_of_the_package_is_noticed() {
        let text = "a include_str!(\"../a.md\") #[path = \"b.rs\"] include!(\"../../c\")";
        assert_eq!(included(text).collect::<Vec<_>>(), ["../../c", "../a.md", "b.rs"]);
        let file = Path::new("src/lib.rs");
        assert!(leaves(file, "../../c") && !leaves(file, "../a.md") && !leaves(file, "b.rs"));
    }
}

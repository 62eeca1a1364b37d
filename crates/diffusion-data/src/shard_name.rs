//! What files of latents are called, so that a folder tells whether it has all of them.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
};

use crate::error::{DataError, Problem};

/// The name of a shard that tells how many there are, as in `latents-00000-of-00003.safetensors`.
///
/// ```
/// use diffusion_data::ShardName;
///
/// let name = ShardName { number: 0, of: 3 };
/// assert_eq!(name.to_string(), "latents-00000-of-00003.safetensors");
/// assert_eq!(ShardName::of_file("latents/latents-00000-of-00003.safetensors"), Some(name));
/// assert_eq!(ShardName::of_file("latents/a.safetensors"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardName {
    /// The number of the shard, from 0.
    pub number: usize,
    /// How many shards there are.
    pub of: usize,
}

impl Display for ShardName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "latents-{:05}-of-{:05}.safetensors", self.number, self.of)
    }
}

impl ShardName {
    /// What the name of a file tells, if it is such a name.
    pub fn of_file(path: impl AsRef<Path>) -> Option<Self> {
        let name = path.as_ref().file_name()?.to_str()?;
        let (number, of) = name.strip_prefix("latents-")?.split_once("-of-")?;
        let found = Self { number: number.parse().ok()?, of: of.strip_suffix(".safetensors")?.parse().ok()? };
        (found.number < found.of && found.to_string() == name).then_some(found)
    }
}

const HINT: &str = "where `encode` was stopped, the same command goes on with it; where files were copied, copy the \
                    others too";

/// Whether all shards of a folder are among `paths`, where their names tell how many there are.
pub(crate) fn check_whole(folder: &Path, paths: &[PathBuf]) -> Result<(), DataError> {
    let names: BTreeSet<ShardName> = paths.iter().filter_map(ShardName::of_file).collect();
    let Some(&first) = names.first() else { return Ok(()) };
    let ShardName { of, .. } = first;
    if let Some(other) = names.iter().find(|name| name.of != of) {
        let found = format!("has {first} and {other}");
        return Err(Problem::format(found, "shards of one set").at(folder));
    }
    if names.len() < of {
        let found = format!("has {} of {of} shards", names.len());
        return Err(Problem::format(found, "all of them").at(folder).with_hint(HINT));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_are_read() {
        for name in [ShardName { number: 0, of: 1 }, ShardName { number: 123_456, of: 200_000 }] {
            assert_eq!(ShardName::of_file(name.to_string()), Some(name));
        }
        for other in [
            "latents-00001-of-00001.safetensors",
            "latents-0-of-1.safetensors",
            "latents-+0000-of-00001.safetensors",
            "latents-00000-of-00001.safetensors.bak",
            "latents-cat.safetensors",
            "model-00000-of-00001.safetensors",
            "",
        ] {
            assert_eq!(ShardName::of_file(other), None, "{other}");
        }
    }

    /// Names that tell nothing are of no concern.
    #[test]
    fn shards_that_are_missing_are_counted() {
        let check = |names: &[(usize, usize)], others: &[&str]| {
            let names = names.iter().map(|&(number, of)| ShardName { number, of }.to_string());
            let paths: Vec<_> =
                names.chain(others.iter().map(ToString::to_string)).map(PathBuf::from).collect();
            check_whole(Path::new("latents"), &paths)
        };
        check(&[], &[]).unwrap();
        check(&[], &["a-00000-of-00003.safetensors"]).unwrap();
        check(&[(1, 2), (0, 2)], &["b.safetensors"]).unwrap();
        let error = check(&[(0, 3), (2, 3)], &[]).unwrap_err();
        assert!(error.to_string().contains("2 of 3") && error.hint().is_some(), "{error}");
        let error = check(&[(0, 2), (1, 2), (0, 1)], &[]).unwrap_err();
        assert!(error.to_string().contains("latents-00000-of-00001.safetensors"), "{error}");
    }
}

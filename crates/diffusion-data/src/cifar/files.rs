//! Where CIFAR's files lie: in a folder, in one below it, or in an archive.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use diffusion_core::watch::Watch;

use super::version::{CifarLabels, Version};
use crate::{
    error::{DataError, Problem, first_names},
    source::Source,
    split::Split,
    tar,
};

const HINT: &str = "CIFAR-10 and CIFAR-100 are published at https://www.cs.toronto.edu/~kriz/cifar.html; give the archive, \
                    or the folder that it is unpacked to";

/// The most names that an error tells.
const NAMED: usize = 8;

/// A folder or an archive with CIFAR's files.
pub(super) struct Place {
    path: PathBuf,
    /// By their names in small letters, without `.gz`.
    files: BTreeMap<String, File>,
}

enum File {
    At(PathBuf),
    Read(Vec<u8>),
}

impl Place {
    /// The files in a folder.
    fn folder(path: &Path) -> Result<(Self, Vec<PathBuf>), DataError> {
        let failed = DataError::io(path);
        let (mut files, mut folders) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir(path).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy().to_ascii_lowercase();
            if name.starts_with(['.', '_', '@']) {
                continue;
            }
            if fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                folders.push(path);
            } else if let Some(plain) = name.strip_suffix(".gz") {
                files.entry(plain.to_owned()).or_insert(File::At(path));
            } else {
                files.insert(name, File::At(path));
            }
        }
        folders.sort();
        Ok((Self { path: path.to_owned(), files }, folders))
    }

    /// What is in an archive of a split.
    fn archive(
        path: &Path,
        split: Split,
        wanted: impl Fn(Version) -> bool,
        watch: &Watch,
    ) -> Result<Self, DataError> {
        let versions = || Version::ALL.into_iter().filter(|version| wanted(*version));
        let is_wanted = |name: &str| {
            versions().any(|version| {
                let labels = [CifarLabels::Fine, CifarLabels::Coarse];
                labels.iter().any(|labels| version.names_file(*labels) == name)
                    || version.names(split).iter().any(|wanted| wanted == name)
            })
        };
        let limit = versions().map(Version::limit).max().unwrap_or_default();
        let files = tar::read(path, is_wanted, limit, watch)?;
        let files = files.into_iter().map(|(name, bytes)| (name, File::Read(bytes))).collect();
        Ok(Self { path: path.to_owned(), files })
    }

    /// Whether a file is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The versions of which it has files of a split.
    fn versions(&self, split: Split, wanted: impl Fn(Version) -> bool) -> Vec<Version> {
        let is_here = |version: &Version| version.names(split).iter().any(|name| self.has(name));
        Version::ALL.into_iter().filter(|version| wanted(*version)).filter(is_here).collect()
    }

    /// The bytes of a file and what errors call it; can be asked for once.
    pub(super) fn take(
        &mut self,
        name: &str,
        limit: u64,
        watch: &Watch,
    ) -> Result<(PathBuf, Vec<u8>), DataError> {
        match self.files.remove(name) {
            Some(File::Read(bytes)) => Ok((self.path.join(name), bytes)),
            Some(File::At(path)) => {
                let bytes = read_at_most(&path, limit, watch)?;
                Ok((path, bytes))
            }
            None => Err(Problem::missing(name).at(&self.path).with_hint(HINT)),
        }
    }
}

/// Reads a file of at most `limit` bytes, decompressed.
pub(super) fn read_at_most(path: &Path, limit: u64, watch: &Watch) -> Result<Vec<u8>, DataError> {
    let mut source = Source::open(path)?;
    // The byte too many tells a file that goes on from one that ends here.
    let bytes = match source.plain_length() {
        Some(length) if length > limit => None,
        _ => Some(source.read(u128::from(limit) + 1, watch)?),
    };
    bytes.filter(|bytes| bytes.len() as u64 <= limit).ok_or_else(|| {
        let found = format!("is longer than {limit} bytes");
        Problem::TooLarge { found, limit: Some(limit) }.at(path)
    })
}

/// The nearest place with files of a split, and their version.
pub(super) fn find(
    path: &Path,
    split: Split,
    wanted: impl Fn(Version) -> bool,
    watch: &Watch,
) -> Result<(Version, Place), DataError> {
    let metadata = fs::metadata(path).map_err(DataError::io(path)).map_err(|error| error.with_hint(HINT))?;
    if !metadata.is_dir() {
        if !tar::is_archive(path)? {
            return Err(Problem::format("is no tar archive", "the published one").at(path).with_hint(HINT));
        }
        let place = Place::archive(path, split, &wanted, watch)?;
        return only(path, split, vec![place], wanted)?.ok_or_else(|| missing(path, split, Vec::new()));
    }
    let (place, folders) = Place::folder(path)?;
    let names = first_names(place.files.keys().map(String::as_str), NAMED);
    let archives: Vec<PathBuf> = place.files.iter().filter_map(archive).collect();
    if let Some(found) = only(path, split, vec![place], &wanted)? {
        return Ok(found);
    }
    let below = folders.iter().map(|folder| Ok(Place::folder(folder)?.0));
    let below = below.collect::<Result<Vec<_>, DataError>>()?;
    if let Some(found) = only(path, split, below, &wanted)? {
        return Ok(found);
    }
    let places = archives.iter().map(|archive| Place::archive(archive, split, &wanted, watch));
    let places = places.collect::<Result<Vec<_>, _>>()?;
    only(path, split, places, wanted)?.ok_or_else(|| missing(path, split, names))
}

/// The file, if it is called as an archive of CIFAR.
fn archive((name, file): (&String, &File)) -> Option<PathBuf> {
    let is_archive = name.starts_with("cifar") && (name.ends_with(".tar") || name.ends_with(".tgz"));
    match file {
        File::At(path) if is_archive => Some(path.clone()),
        _ => None,
    }
}

/// The place with files of a split. Of both versions of a data set either will do; of two data sets neither.
fn only(
    path: &Path,
    split: Split,
    places: Vec<Place>,
    wanted: impl Fn(Version) -> bool,
) -> Result<Option<(Version, Place)>, DataError> {
    let mut found: Vec<(Version, Place)> = Vec::new();
    for place in places {
        let versions = place.versions(split, &wanted);
        if let [first, .., last] = versions[..]
            && first.is_100() != last.is_100()
        {
            return Err(both(path));
        }
        found.extend(versions.first().map(|&version| (version, place)));
    }
    found.sort_by_key(|(version, _)| *version);
    match &found[..] {
        [(first, _), .., (last, _)] if first.is_100() != last.is_100() => Err(both(path)),
        _ => Ok(found.into_iter().next()),
    }
}

fn both(path: &Path) -> DataError {
    Problem::format("holds both CIFAR-10 and CIFAR-100", "one of them")
        .at(path)
        .with_hint("give the path of the folder or archive of the one that is meant")
}

fn missing(path: &Path, split: Split, found: Vec<String>) -> DataError {
    let (of_10, of_100) = (Version::Binary10.names(split), Version::Binary100.names(split));
    let wanted = format!("{} of CIFAR-10 and no {} of CIFAR-100", of_10[0], of_100[0]);
    Problem::Missing { wanted, found }.at(path).with_hint(HINT)
}

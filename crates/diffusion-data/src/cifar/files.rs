//! Where CIFAR's files lie: in a folder, in one below it, or in an archive.

use std::{
    collections::{BTreeMap, btree_map::Entry},
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

macro_rules! published {
    () => {
        "CIFAR-10 and CIFAR-100 are published at https://www.cs.toronto.edu/~kriz/cifar.html; give the archive, or the \
         folder that it is unpacked to"
    };
}

const HINT: &str = published!();
const LOOKED: &str = concat!(
    "looked into were the folder, the folders in it, and the archives in it whose names begin with cifar. ",
    published!()
);

/// The most names that an error tells.
const NAMED: usize = 8;

/// A folder or an archive with CIFAR's files.
pub(super) struct Place {
    path: PathBuf,
    /// By their names in small letters, without `.gz`.
    files: BTreeMap<String, File>,
    /// Further copies of these files, by the same names.
    copies: Vec<(String, PathBuf)>,
    /// What is read of several copies, in sentences.
    pub(super) notes: Vec<String>,
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
        let mut copies = Vec::new();
        let entries = fs::read_dir(path).map_err(&failed)?.collect::<Result<Vec<_>, _>>();
        let mut entries: Vec<_> = entries.map_err(&failed)?.iter().map(fs::DirEntry::path).collect();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        // A file before its compressed copy.
        entries.sort_by_cached_key(|path| (name(path), path.clone()));
        for path in entries {
            let name = name(&path);
            if name.starts_with(['.', '_', '@']) {
                continue;
            }
            if fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                folders.push(path);
                continue;
            }
            match files.entry(name.trim_end_matches(".gz").to_owned()) {
                Entry::Vacant(place) => drop(place.insert(File::At(path))),
                Entry::Occupied(place) => copies.push((place.key().clone(), path)),
            }
        }
        Ok((Self { path: path.to_owned(), files, copies, notes: Vec::new() }, folders))
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
        Ok(Self { path: path.to_owned(), files, copies: Vec::new(), notes: Vec::new() })
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
            let error = Source::open(path)?.is_not("is no tar archive".to_owned(), "the published one");
            return Err(if error.hint().is_some() { error } else { error.with_hint(HINT) });
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

/// The place with files of a split. Of several copies of one data set the first is taken: the binary version before the
/// Python version, and then by their names; of two data sets neither.
fn only(
    path: &Path,
    split: Split,
    places: Vec<Place>,
    wanted: impl Fn(Version) -> bool,
) -> Result<Option<(Version, Place)>, DataError> {
    let mut found: Vec<(Version, usize)> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        found.extend(place.versions(split, &wanted).into_iter().map(|version| (version, at)));
    }
    found.sort_by_key(|(version, _)| *version);
    let (Some(&(version, at)), Some(last)) = (found.first(), found.last()) else { return Ok(None) };
    if version.is_100() != last.0.is_100() {
        return Err(both(path));
    }
    let named =
        |&(version, at): &(Version, usize)| format!("{} in {}", version.form(), places[at].path.display());
    let others: Vec<String> = found[1..].iter().map(named).collect();
    let mut notes = Vec::new();
    if !others.is_empty() {
        notes.push(format!("{} is read, and not {}", named(&found[0]), others.join(", ")));
    }
    let files = version.names(split);
    let mut copies = places[at].copies.iter().filter(|(name, _)| files.contains(name));
    if let Some((name, copy)) = copies.next()
        && let Some(File::At(taken)) = places[at].files.get(name)
    {
        let more = match copies.count() {
            0 => String::new(),
            more => format!(", and so for {more} more"),
        };
        notes.push(format!("{} is read, and not {}{more}", taken.display(), copy.display()));
    }
    let place = places.into_iter().nth(at);
    Ok(place.map(|place| (version, Place { notes, ..place })))
}

fn both(path: &Path) -> DataError {
    Problem::format("holds both CIFAR-10 and CIFAR-100", "one of them")
        .at(path)
        .with_hint("give the path of the folder or archive of the one that is meant")
}

fn missing(path: &Path, split: Split, found: Vec<String>) -> DataError {
    let (of_10, of_100) = (Version::Binary10.names(split), Version::Binary100.names(split));
    let wanted = format!("{} of CIFAR-10 and no {} of CIFAR-100", of_10[0], of_100[0]);
    Problem::Missing { wanted, found }.at(path).with_hint(LOOKED)
}

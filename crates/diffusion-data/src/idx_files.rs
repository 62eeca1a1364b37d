//! Where the IDX files of a data set lie, by whichever of their usual names.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use diffusion_core::watch::Watch;

use crate::{
    error::{DataError, Problem, first_names},
    split::Split,
};

/// The files of a split.
#[derive(Debug)]
pub(crate) struct Found {
    pub images: PathBuf,
    /// The labels of the images, if they are there.
    pub labels: Option<PathBuf>,
    /// Which of several copies these are, in sentences.
    pub notes: Vec<String>,
}

/// How many levels of folders below the given one are looked into: `FashionMNIST/raw` are two.
const LEVELS: usize = 2;
/// The most names that an error tells.
const NAMED: usize = 8;

macro_rules! published {
    () => {
        "Fashion-MNIST is published at https://github.com/zalandoresearch/fashion-mnist, EMNIST at \
         https://www.nist.gov/itl/products-and-services/emnist-dataset; on Debian, `apt-get install \
         dataset-fashion-mnist` puts Fashion-MNIST into /usr/share/datasets/fashion-mnist"
    };
}

const HINT: &str = published!();
/// Where the files were looked for, as [`LEVELS`] says.
const LOOKED: &str = concat!(
    "looked into were the folder, the folders in it, and the folders in those; what is hidden is passed over. ",
    published!()
);

/// Finds a split in a folder, in `raw` or any other folder in it, or in the next level of folders; or beside a file of
/// images that is given instead of a folder.
pub(crate) fn find(path: &Path, split: Split, watch: &Watch) -> Result<Found, DataError> {
    let metadata = fs::metadata(path).map_err(DataError::io(path)).map_err(|error| error.with_hint(HINT))?;
    if !metadata.is_dir() {
        return beside(path, split);
    }
    let mut level = vec![path.to_owned()];
    for _ in 0..=LEVELS {
        let (mut sets, mut below) = (BTreeMap::new(), Vec::new());
        for folder in &level {
            watch.check()?;
            let (files, folders) = entries(folder)?;
            for file in files {
                let Some(name) = Name::of(&file).filter(|name| name.split == split) else { continue };
                let set: &mut Set = sets.entry((folder.clone(), name.set.clone())).or_default();
                set.add(name, file);
            }
            below.extend(folders);
        }
        sets.retain(|_, set| !set.images.is_empty());
        if let Some(found) = only(path, sets)? {
            return Ok(found);
        }
        level = below;
    }
    let wanted = match split {
        Split::Train => "train-images-idx3-ubyte",
        Split::Test => "t10k-images-idx3-ubyte",
    };
    let (files, folders) = entries(path)?;
    let names: Vec<_> = files
        .iter()
        .chain(&folders)
        .filter_map(|path| path.file_name().and_then(|name| name.to_str()))
        .collect();
    let found = first_names(names.into_iter(), NAMED);
    Err(Problem::Missing { wanted: wanted.to_owned(), found }.at(path).with_hint(LOOKED))
}

/// The only data set, if there is one.
fn only(path: &Path, mut sets: BTreeMap<(PathBuf, String), Set>) -> Result<Option<Found>, DataError> {
    if sets.len() > 1 {
        let names = sets.values().filter_map(|set| set.images.first()?.strip_prefix(path).ok()?.to_str());
        let names = first_names(names, NAMED).join(", ");
        let found = format!("holds the images of {} data sets, [{names}]", sets.len());
        return Err(Problem::format(found, "those of one").at(path).with_hint(
            "give the path of one of these files instead of the folder; its labels and its test set are found beside it",
        ));
    }
    Ok(sets.pop_first().and_then(|(_, set)| set.found()))
}

/// The split of the data set of which `file` holds the images of one.
fn beside(file: &Path, split: Split) -> Result<Found, DataError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(given) = Name::of(file) else {
        // Whatever it is called, it may be a file of images.
        return match split {
            Split::Train => Ok(Found { images: file.to_owned(), labels: None, notes: Vec::new() }),
            Split::Test => Err(Problem::missing("test set").at(folder)),
        };
    };
    let mut set = Set::default();
    for other in entries(folder)?.0 {
        if let Some(name) = Name::of(&other).filter(|name| name.split == split && name.set == given.set) {
            set.add(name, other);
        }
    }
    if given.split == split && given.kind == Kind::Images {
        set.images = vec![file.to_owned()];
    }
    let wanted = || Problem::missing("images of that data set and split").at(folder).with_hint(HINT);
    set.found().ok_or_else(wanted)
}

/// The files and the folders in a folder, in the order of their names, but for those that are hidden or that other
/// systems leave.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let failed = DataError::io(folder);
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "__MACOSX" || name == "@eaDir" {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
            _ => files.push(entry.path()),
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

/// The files of a data set's split, as far as they have been seen; of several copies of one the first is taken.
#[derive(Default)]
struct Set {
    images: Vec<PathBuf>,
    labels: Vec<PathBuf>,
}

impl Set {
    /// Takes the file in. They come in the order of their names, and so a file before its compressed copy.
    fn add(&mut self, name: Name, file: PathBuf) {
        match name.kind {
            Kind::Images => self.images.push(file),
            Kind::Labels => self.labels.push(file),
        }
    }

    fn found(self) -> Option<Found> {
        let mut notes = Vec::new();
        let mut first = |files: Vec<PathBuf>| {
            let (taken, others) = files.split_first()?;
            let others: Vec<_> = others.iter().map(|other| other.display().to_string()).collect();
            if !others.is_empty() {
                notes.push(format!("{} is read, and not {}", taken.display(), others.join(", ")));
            }
            Some(taken.clone())
        };
        let (images, labels) = (first(self.images)?, first(self.labels));
        Some(Found { images, labels, notes })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Images,
    Labels,
}

/// What the name of a file tells.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    /// The data set, e.g. `emnist-byclass`; mostly empty.
    set: String,
    split: Split,
    kind: Kind,
}

impl Name {
    /// Of `[SET-]train|t10k|test-images|labels[-idx3-ubyte][.gz]`, in capitals or not, with dots, dashes or underscores.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let words: Vec<&str> = name.split(['-', '.', '_']).collect();
        let at = words.iter().rposition(|word| matches!(*word, "images" | "labels"))?;
        let known = |word: &str| matches!(word, "gz" | "ubyte" | "int" | "idx" | "idx1" | "idx2" | "idx3");
        if !words[at + 1..].iter().all(|word| known(word)) {
            return None;
        }
        let (split, set) = words[..at].split_last()?;
        let split = match *split {
            "train" => Split::Train,
            "t10k" | "test" => Split::Test,
            _ => return None,
        };
        let kind = if words[at] == "images" { Kind::Images } else { Kind::Labels };
        Some(Self { set: set.join("-"), split, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, which are empty.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, []).unwrap();
        }
        folder
    }

    /// The images and labels that are found, as paths below the folder.
    fn found(folder: &Path, below: &str, split: Split) -> Result<[String; 2], DataError> {
        let found = find(&folder.join(below), split, &Watch::default())?;
        let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        Ok([name(found.images), found.labels.map(name).unwrap_or_default()])
    }

    #[test]
    fn files_are_known_by_any_of_their_names() {
        for [images, labels] in [
            ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
            ["train-images.idx3-ubyte", "train-labels.idx1-ubyte"],
            ["TRAIN-IMAGES-IDX3-UBYTE.GZ", "TRAIN-LABELS-IDX1-UBYTE"],
            ["emnist-byclass-train-images-idx3-ubyte.gz", "emnist-byclass-train-labels-idx1-ubyte.gz"],
            ["qmnist-train-images-idx3-ubyte", "qmnist-train-labels-idx2-int"],
            ["FashionMNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/train-labels-idx1-ubyte"],
            [
                "gzip/emnist-letters-train-images-idx3-ubyte.gz",
                "gzip/emnist-letters-train-labels-idx1-ubyte.gz",
            ],
        ] {
            let folder =
                folder(&[images, labels, ".train-images-idx3-ubyte", "train-images.zip", "raw/readme"]);
            assert_eq!(found(folder.path(), "", Split::Train).unwrap(), [images, labels]);
            assert!(found(folder.path(), "", Split::Test).is_err());
        }
        for test in ["t10k-images-idx3-ubyte", "emnist-digits-test-images-idx3-ubyte"] {
            let folder = folder(&[test, "emnist-digits-train-images-idx3-ubyte"]);
            assert_eq!(found(folder.path(), "", Split::Test).unwrap(), [test, ""]);
        }
    }

    #[test]
    fn the_plain_one_of_two_copies_is_read_and_the_nearest_folder() {
        let plain = "train-images-idx3-ubyte";
        let folder = folder(&[plain, "train-images-idx3-ubyte.gz", "raw/train-images-idx3-ubyte"]);
        assert_eq!(found(folder.path(), "", Split::Train).unwrap(), [plain, ""]);
        let notes = |path: PathBuf| find(&path, Split::Train, &Watch::default()).unwrap().notes;
        let note = &notes(folder.path().to_owned())[..];
        assert!(matches!(note, [note] if note.contains(".gz") && !note.contains("raw")), "{note:?}");
        // Whoever names the file has chosen.
        assert!(notes(folder.path().join(format!("{plain}.gz"))).is_empty());
    }

    #[test]
    fn of_several_data_sets_one_is_chosen_by_its_file() {
        let name = |set: &str, part: &str| format!("emnist-{set}-{part}-idx3-ubyte");
        let files: Vec<String> = ["letters", "byclass"]
            .iter()
            .flat_map(|set| ["train-images", "train-labels", "test-images"].map(|part| name(set, part)))
            .collect();
        let folder = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let error = found(folder.path(), "", Split::Train).unwrap_err();
        let (message, hint) = (error.to_string(), error.hint().is_some());
        assert!(hint && files.iter().filter(|file| message.contains(*file)).count() == 2, "{message}");
        for set in ["letters", "byclass"] {
            let given = name(set, "train-images");
            let train = found(folder.path(), &given, Split::Train).unwrap();
            assert_eq!(train, [given.clone(), name(set, "train-labels")]);
            assert_eq!(found(folder.path(), &given, Split::Test).unwrap()[0], name(set, "test-images"));
        }
        let torchvision = ["MNIST/raw/train-images-idx3-ubyte", "FashionMNIST/raw/train-images-idx3-ubyte"];
        let folder = self::folder(&torchvision);
        assert!(found(folder.path(), "", Split::Train).is_err());
        assert_eq!(found(folder.path(), "MNIST", Split::Train).unwrap()[0], torchvision[0]);
    }

    #[test]
    fn a_file_of_another_name_has_no_labels() {
        let folder = folder(&["digits", "train-labels-idx1-ubyte"]);
        assert_eq!(found(folder.path(), "digits", Split::Train).unwrap(), ["digits", ""]);
        assert!(found(folder.path(), "digits", Split::Test).is_err());
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let folder = folder(&["letter", "deep/er/than/train-images-idx3-ubyte"]);
        let error = found(folder.path(), "", Split::Train).unwrap_err();
        match &error.problem {
            Problem::Missing { wanted, found } => {
                assert!(wanted.starts_with("train-images") && found[..] == ["deep", "letter"], "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert!(error.hint().is_some_and(|hint| hint.contains("https://")), "{error}");
        let error = found(folder.path(), "none", Split::Train).unwrap_err();
        assert!(matches!(error.problem, Problem::Io(_)) && error.hint().is_some(), "{error}");
    }
}

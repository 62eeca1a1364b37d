//! What in a folder is no data: names that systems put beside the user's own, and files of other kinds.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    path::Path,
};

/// Names of files and folders that systems make beside the user's own, whatever they hold; in capitals or not.
///
/// Names that begin with a dot are passed over without a list: `._photo.jpg` and `.DS_Store` of a Mac,
/// `.ipynb_checkpoints` of a notebook, `.@__thumb` of a QNAP, `.Trash-1000`, `.git`.
const COMPANIONS: [&str; 30] = [
    // A Mac's, also in archives that it makes.
    "__MACOSX",
    "Icon\r",
    "Network Trash Folder",
    "Temporary Items",
    // Windows'.
    "Thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "RECYCLER",
    "RECYCLED",
    "System Volume Information",
    "found.000",
    // Those of file servers: Synology, QNAP, NetApp.
    "@eaDir",
    "@tmp",
    "@sharebin",
    "@SynoResource",
    "@SynoEAStream",
    "@Recycle",
    "@Recently-Snapshot",
    "@__thumb",
    "#recycle",
    "#snapshot",
    "~snapshot",
    // A file system's.
    "lost+found",
    "aquota.user",
    "aquota.group",
    // Programs'.
    "__pycache__",
    "Picasa.ini",
    "ZbThumbnail.info",
];

/// A kind of names or files that are no data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LeftOutKind {
    /// Files whose names end in this, in small letters and without the dot, e.g. `txt`.
    Ending(String),
    /// Files whose names have no ending that tells anything.
    NoEnding,
    /// Files and folders of this name, which systems put beside the user's own, e.g. `Thumbs.db`.
    Companion(&'static str),
    /// Files and folders whose names begin with a dot.
    Hidden,
    /// What is neither a file nor a folder: pipes, sockets, devices.
    Special,
}

/// What was passed over in a folder, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<LeftOutKind, usize>);

/// The most kinds that a sentence names.
const NAMED: usize = 12;
/// What the names of archives end in.
const ARCHIVES: [&str; 10] = ["zip", "tar", "tgz", "gz", "bz2", "xz", "zst", "7z", "rar", "tbz2"];
/// The longest ending that is told by its letters.
const MAX_ENDING: usize = 8;

impl LeftOutKind {
    /// The kind of a file or folder that is no data whatever it holds, or `None` where it may be data.
    pub(crate) fn of_name(name: &OsStr) -> Option<Self> {
        if name.as_encoded_bytes().starts_with(b".") {
            return Some(Self::Hidden);
        }
        let name = name.to_str()?;
        let companion = COMPANIONS.iter().find(|companion| name.eq_ignore_ascii_case(companion))?;
        Some(Self::Companion(companion.trim_end()))
    }

    /// The kind of a file that is no data by what it holds.
    pub(crate) fn of_file(path: &Path) -> Self {
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let tells = |ending: &str| {
            (1..=MAX_ENDING).contains(&ending.len())
                && ending.chars().all(|c| c.is_ascii_alphanumeric())
                && ending.contains(|c: char| c.is_ascii_alphabetic())
        };
        if tells(ending) { Self::Ending(ending.to_ascii_lowercase()) } else { Self::NoEnding }
    }

    /// A number of them, in words.
    fn counted(&self, n: usize) -> String {
        let s = if n == 1 { "" } else { "s" };
        match self {
            Self::Ending(ending) => format!("{n} .{ending} file{s}"),
            Self::NoEnding => format!("{n} other file{s}"),
            Self::Companion(name) => format!("{n} {name}"),
            Self::Hidden => format!("{n} hidden name{s}"),
            Self::Special => format!("{n} pipe{s} or device{s}"),
        }
    }
}

impl LeftOut {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds, and how many files or folders of each; what is inside of a folder that was passed over is not counted.
    pub fn iter(&self) -> impl Iterator<Item = (&LeftOutKind, usize)> {
        self.0.iter().map(|(kind, &n)| (kind, n))
    }

    pub(crate) fn add(&mut self, kind: LeftOutKind) {
        *self.0.entry(kind).or_default() += 1;
    }

    /// Counts what was left out of another folder too.
    pub(crate) fn add_all(&mut self, other: Self) {
        other.0.into_iter().for_each(|(kind, n)| *self.0.entry(kind).or_default() += n);
    }

    /// Whether there are archives among it, by their names.
    pub(crate) fn has_archive(&self) -> bool {
        self.0
            .keys()
            .any(|kind| matches!(kind, LeftOutKind::Ending(ending) if ARCHIVES.contains(&ending.as_str())))
    }
}

impl Display for LeftOut {
    /// As in `3 .txt files, 1 Thumbs.db`, the most frequent first.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<(&LeftOutKind, usize)> = self.iter().collect();
        kinds.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        let (named, rest) = kinds.split_at(kinds.len().min(NAMED));
        let mut words: Vec<String> = named.iter().map(|(kind, n)| kind.counted(*n)).collect();
        if !rest.is_empty() {
            let n: usize = rest.iter().map(|&(_, n)| n).sum();
            words.push(format!("{n} of {} other kinds", rest.len()));
        }
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_of_other_systems_are_no_data() {
        for name in
            ["__MACOSX", "._a.png", ".DS_Store", "thumbs.db", "DESKTOP.INI", "@eaDir", "lost+found", "Icon\r"]
        {
            assert!(LeftOutKind::of_name(OsStr::new(name)).is_some(), "{name}");
        }
        for name in ["a.png", "cat", "@home", "#1", "thumbs", "MACOSX", "recycle bins", "~"] {
            assert_eq!(LeftOutKind::of_name(OsStr::new(name)), None, "{name}");
        }
    }

    #[test]
    fn what_was_left_out_is_counted_by_kind() {
        let mut left_out = LeftOut::default();
        assert!(left_out.is_empty() && left_out.to_string().is_empty());
        for name in ["a.txt", "b.TXT", "c.txt", "d.mp4", "e", "f.0001", "g.averylongending"] {
            left_out.add(LeftOutKind::of_file(Path::new(name)));
        }
        left_out.add(LeftOutKind::Companion("Thumbs.db"));
        assert_eq!(left_out.to_string(), "3 .txt files, 3 other files, 1 .mp4 file, 1 Thumbs.db");
        assert_eq!(left_out.iter().map(|(_, n)| n).sum::<usize>(), 8);
        for ending in 'a'..='z' {
            left_out.add(LeftOutKind::Ending(ending.into()));
        }
        assert!(left_out.to_string().ends_with(", 18 of 18 other kinds"), "{left_out}");
    }
}

//! Files that are whole or absent: written beside their place, synced, and only then given their names.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes the file `path`, replacing one that is there: `write` fills a hidden file in the same folder, whose name ends
/// in `.partial`; it is synced, renamed, and the folder synced, so that neither a crash nor another writer of the same
/// file leaves half of it under its name. What a failed attempt has written is removed; a crash may leave it.
///
/// # Errors
/// If `write` fails, or the file system refuses; the file that was there before is still there then.
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let path = path.as_ref();
    let partial = partial(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = write_synced(&partial, write).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // What is left of a failed attempt is of no use; the error to report is the first.
        let _ = fs::remove_file(&partial);
    }
    written.and_then(|()| sync_folder(folder))
}

/// Creates the file `path`, lets `write` fill it, and makes sure that it is on the disk. For files in a folder that
/// gets its name after they are written; [`write_atomically`] for others.
///
/// # Errors
/// If `write` fails, or the file system refuses; the file may then be there in part.
pub fn write_synced(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let path = path.as_ref();
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()
}

/// Makes a rename inside `folder` last; where folders cannot be opened, as on Windows, there is nothing to do.
///
/// # Errors
/// If the file system refuses.
pub fn sync_folder(folder: impl AsRef<Path>) -> io::Result<()> {
    let folder = folder.as_ref();
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A name beside `path` that no other writer has, in this process or another.
fn partial(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{}.partial", process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_replaced_only_when_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, |file| file.write_all(b"first")).unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"half of the sec")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write_atomically(&path, |file| {
            file.write_all(b"second")?;
            assert_eq!(fs::read(&path).unwrap(), b"first");
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("folder");
        fs::create_dir_all(occupied.join("full")).unwrap();
        for path in [occupied, folder.path().join("no/such/file")] {
            write_atomically(&path, |file| file.write_all(b"something")).unwrap_err();
        }
        assert_eq!(names(folder.path()), ["folder"]);
    }

    #[test]
    fn writers_of_the_same_file_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("file");
        thread::scope(|scope| {
            for byte in 0..4u8 {
                scope.spawn(move || {
                    for _ in 0..20 {
                        write_atomically(path, |file| file.write_all(&[byte; 100_000])).unwrap();
                        let found = fs::read(path).unwrap();
                        assert!(found.len() == 100_000 && found.iter().all(|other| *other == found[0]));
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["file"]);
    }
}

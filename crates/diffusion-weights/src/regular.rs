//! Opening what should be a file of ours, in a folder where anything may lie: a pipe would be waited for, and a file of
//! any length read into memory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Refuses what is there and is neither a file nor a link to one: a folder, a pipe, a device.
///
/// # Errors
/// If it does, with [`ErrorKind::InvalidInput`]; or if `path` is not there, or the file system refuses.
pub fn check_regular(path: impl AsRef<Path>) -> io::Result<u64> {
    let path = path.as_ref();
    let metadata = fs::metadata(path)?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Opens a file for reading; see [`check_regular`] for what is not one.
///
/// # Errors
/// As [`check_regular`].
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    check_regular(path)?;
    File::open(path)
}

/// The bytes of a file that has `at_most` of them.
///
/// # Errors
/// As [`check_regular`], or with [`ErrorKind::InvalidData`] if the file is longer, of which nothing is read then.
pub fn read_regular(path: impl AsRef<Path>, at_most: u64) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    let too_long = |bytes: u64| {
        let reason = format!("it has {bytes} bytes, expected at most {at_most}");
        io::Error::new(ErrorKind::InvalidData, reason)
    };
    let length = check_regular(path)?;
    if length > at_most {
        return Err(too_long(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    File::open(path)?.take(at_most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        found if found > at_most => Err(too_long(found)),
        _ => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_bounded_length_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "twelve bytes").unwrap();
        assert_eq!(read_regular(&path, 12).unwrap(), b"twelve bytes");
        assert_eq!(read_regular(&path, 11).unwrap_err().kind(), ErrorKind::InvalidData);
        File::options().write(true).open(&path).unwrap().set_len(64 << 30).unwrap();
        assert_eq!(read_regular(&path, 1 << 20).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read_regular(folder.path(), 12).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(open_regular(folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    /// Opening one would wait for somebody who writes into it.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(open_regular(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(read_regular(&pipe, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

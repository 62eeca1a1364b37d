//! Bytes that are read by their position, from a file or from memory, by several threads at the same time.

use crate::regular::open_regular;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes of a known length.
#[derive(Debug)]
pub(crate) enum Source {
    /// Those of a file.
    File {
        /// The open file.
        file: File,
        /// Its length when it was opened.
        length: u64,
    },
    /// Those that were read already.
    Memory(Vec<u8>),
}

impl Source {
    /// The bytes of a file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let length = file.metadata()?.len();
        Ok(Self::File { file, length })
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `into` with the bytes from `offset` on.
    pub(crate) fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File { file, .. } => fill(into, offset, |into, offset| read_at(file, into, offset)),
            Self::Memory(bytes) => fill(into, offset, |into, offset| {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or(&[]);
                let n = rest.len().min(into.len());
                into[..n].copy_from_slice(&rest[..n]);
                Ok(n)
            }),
        }
    }

    /// The first `count` bytes, or all if they are fewer.
    pub(crate) fn head(&self, count: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; self.len().min(count as u64) as usize];
        self.read_exact_at(&mut head, 0)?;
        Ok(head)
    }
}

/// Calls `read_at` with what is still to be filled and where that lies, until nothing is.
fn fill(
    into: &mut [u8],
    offset: u64,
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        match read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter")),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// The system may give fewer bytes than are asked for, or none because something else came up.
    #[test]
    fn reading_goes_on_until_all_is_there() {
        let file: Vec<u8> = (0..20).collect();
        let interrupted = Cell::new(false);
        let read_at = |into: &mut [u8], offset: u64| {
            if !interrupted.replace(!interrupted.get()) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = &file[offset as usize..];
            let n = rest.len().min(into.len()).min(3);
            into[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        };
        let mut into = [0; 10];
        fill(&mut into, 5, read_at).unwrap();
        assert_eq!(into, file[5..15]);
        let error = fill(&mut into, 15, read_at).expect_err("five bytes are left");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let broken = |_: &mut [u8], _: u64| Err(io::ErrorKind::PermissionDenied.into());
        let error = fill(&mut into, 0, broken).expect_err("nothing can be read");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn memory_ends_where_it_ends() {
        let bytes = Source::Memory((0..10).collect());
        let mut into = [0; 4];
        bytes.read_exact_at(&mut into, 6).unwrap();
        assert_eq!(into, [6, 7, 8, 9]);
        for offset in [7, 10, 11, u64::MAX - 4] {
            assert!(bytes.read_exact_at(&mut into, offset).is_err());
        }
        assert_eq!((bytes.head(3).unwrap(), bytes.head(99).unwrap().len()), (vec![0, 1, 2], 10));
    }
}

//! Files of bytes, plain or compressed with gzip, which may be anything: a pipe, a device, a sparse file of terabytes.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use diffusion_core::memory::fallibly;
use diffusion_core::watch::Watch;
use diffusion_weights::FileKind;
use flate2::bufread::MultiGzDecoder;

use crate::error::{DataError, Problem};

/// A file, decompressed where it begins as a gzip file does, whatever its name.
pub(crate) struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    gzip: bool,
    /// How many bytes the file has, compressed or not.
    length: u64,
}

/// How many bytes at the beginning of a file tell what it is.
pub(crate) const BEGINNING: usize = 512;
/// How many bytes are read before the next look at the watch.
const STRETCH: u64 = 1 << 22;

impl<'a> Source<'a> {
    /// Opens the file and looks at its first two bytes. Waits for no other process: a pipe is an error.
    pub(crate) fn open(path: &'a Path) -> Result<Self, DataError> {
        let length = file_length(path)?;
        let sniff = || -> io::Result<_> {
            let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
            let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
            Ok((file, gzip))
        };
        let (file, gzip) = sniff().map_err(DataError::io(path))?;
        let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { path, reader, gzip, length })
    }

    /// How many bytes there are, where the file is not compressed.
    pub(crate) fn plain_length(&self) -> Option<u64> {
        (!self.gzip).then_some(self.length)
    }

    /// What is wrong with a file that begins as `found` says and not as `expected`: what it is instead, where that is known.
    pub(crate) fn is_not(&self, found: String, expected: &str) -> DataError {
        // What is compressed is not what the file begins with.
        let start = if self.gzip { None } else { beginning(self.path).ok() };
        match start.and_then(|start| FileKind::of(&start)) {
            Some(kind) => DataError::of_kind(&kind, expected, self.path),
            None => Problem::format(found, expected).at(self.path),
        }
    }

    /// Reads `limit` bytes, or fewer if the file ends before.
    ///
    /// The memory grows with the bytes that are there, so a header that promises more costs nothing; more than is free
    /// is an error.
    pub(crate) fn read(&mut self, limit: u128, watch: &Watch) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, limit, watch)?;
        Ok(bytes)
    }

    /// Appends `limit` bytes to `bytes`, or fewer if the file ends before, and returns how many.
    pub(crate) fn read_into(
        &mut self,
        bytes: &mut Vec<u8>,
        limit: u128,
        watch: &Watch,
    ) -> Result<u128, DataError> {
        let (start, limit) = (bytes.len(), u64::try_from(limit).unwrap_or(u64::MAX));
        let total = (limit < u64::MAX && limit > STRETCH).then_some(limit);
        let mut left = limit;
        while left > 0 {
            let read = (bytes.len() - start) as u64;
            if read > 0 {
                watch.report(&format!("reading {}", self.path.display()), read, total)?;
            }
            let stretch = left.min(STRETCH);
            if bytes.len() as u64 > STRETCH && bytes.capacity() - bytes.len() < stretch as usize {
                self.grow(bytes)?;
            }
            match fallibly(|| self.reader.by_ref().take(stretch).read_to_end(bytes)) {
                Ok(0) => break,
                Ok(n) => left -= n as u64,
                Err(source) if self.gzip => return Err(Problem::decode("gzip", source).at(self.path)),
                Err(source) => return Err(Problem::Io(source).at(self.path)),
            }
        }
        Ok((bytes.len() - start) as u128)
    }

    /// Doubles the room, if that much memory is free.
    fn grow(&self, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        check_memory(2 * bytes.len() as u128)
            .and_then(|()| {
                let room = bytes.len();
                fallibly(|| bytes.try_reserve(room)).map_err(|_| too_large(2 * room as u128))
            })
            .map_err(|problem| problem.at(self.path))
    }
}

/// What a file begins with, as it is, compressed or not.
pub(crate) fn beginning(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(BEGINNING as u64).read_to_end(&mut start))
        .map_err(DataError::io(path))?;
    Ok(start)
}

/// The length of a file that can be read without waiting for anyone.
pub(crate) fn file_length(path: &Path) -> Result<u64, DataError> {
    let metadata = fs::metadata(path).map_err(DataError::io(path))?;
    if metadata.is_dir() {
        return Err(DataError::io(path)(io::ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(Problem::format("is a pipe, a socket or a device", "a file").at(path));
    }
    Ok(metadata.len())
}

/// Whether `bytes` more can be held, where the system says how much is free.
pub(crate) fn check_memory(bytes: u128) -> Result<(), Problem> {
    match free_memory() {
        Some(free) if bytes > u128::from(free) => Err(too_large(bytes)),
        _ => Ok(()),
    }
}

fn too_large(bytes: u128) -> Problem {
    Problem::TooLarge { found: format!("takes {bytes} bytes in memory"), limit: None }
}

/// How many bytes of memory are free, on Linux.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Whether the name of a file ends in a dot and one of `extensions`, in capitals or not.
pub(crate) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| extensions.iter().any(|wanted| found.eq_ignore_ascii_case(wanted)))
}

/// `bytes` as a gzip file, for the tests of what reads such files.
#[cfg(test)]
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_read_whole_and_can_be_stopped() {
        let bytes: Vec<u8> = (0..3 * STRETCH + 5).map(|i| (i % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("plain", bytes.clone()), ("gzip", gzip(&bytes))] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let watch = Watch::default();
            assert!(Source::open(&path).unwrap().read(u128::MAX, &watch).unwrap() == bytes);
            let length = Source::open(&path).unwrap().plain_length();
            assert_eq!(length, (name == "plain").then_some(bytes.len() as u64));
            watch.stop();
            let error = Source::open(&path).unwrap().read(u128::MAX, &watch).unwrap_err();
            assert!(matches!(error.problem, Problem::Stopped), "{error}");
        }
    }

    /// Opening a pipe would wait for somebody to write to it.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = Source::open(&path).err().expect("it is no file");
        assert!(matches!(error.problem, Problem::Format { .. }) && error.path.is_some(), "{error}");
        let error = Source::open(folder.path()).err().expect("it is a folder");
        assert!(matches!(error.problem, Problem::Io(_)), "{error}");
    }
}

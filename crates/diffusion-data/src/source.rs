//! Files of bytes, plain or compressed with gzip, and where to find them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use crate::DataError;

/// A file, decompressed where it begins as a gzip file does, whatever its name.
pub(crate) struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    gzip: bool,
}

impl<'a> Source<'a> {
    /// Opens the file and looks at its first two bytes.
    pub(crate) fn open(path: &'a Path) -> Result<Self, DataError> {
        let sniff = || -> io::Result<_> {
            let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
            let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
            Ok((file, gzip))
        };
        let (file, gzip) = sniff().map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        let reader: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { path, reader, gzip })
    }

    /// Reads `limit` bytes, or fewer if the file ends before.
    ///
    /// The memory grows with the bytes that are there, so a header that promises more costs nothing.
    pub(crate) fn read(&mut self, limit: u128) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        match self.reader.by_ref().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) if self.gzip => Err(DataError::Gzip { path: self.path.to_owned(), source }),
            Err(source) => Err(DataError::Read { path: self.path.to_owned(), source }),
        }
    }
}

/// The file called `name` in `folder`, or else the one called `name.gz`.
pub(crate) fn find(folder: &Path, name: String) -> Result<PathBuf, DataError> {
    [folder.join(&name), folder.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| DataError::NotInFolder { folder: folder.to_owned(), name })
}

/// `bytes` as a gzip file, for the tests of what reads such files.
#[cfg(test)]
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

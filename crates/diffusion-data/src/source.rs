//! Files of bytes, plain or compressed with gzip, and where to find them.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use crate::error::{DataError, Problem};

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
        let (file, gzip) = sniff().map_err(DataError::io(path))?;
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
            Err(source) if self.gzip => Err(Problem::decode("gzip", source).at(self.path)),
            Err(source) => Err(Problem::Io(source).at(self.path)),
        }
    }
}

/// The file called `name` in `folder`, or else the one called `name.gz`; `hint` says where such files come from.
pub(crate) fn find(folder: &Path, name: &str, hint: &'static str) -> Result<PathBuf, DataError> {
    let gz = format!("{name}.gz");
    let mut paths = [folder.join(name), folder.join(&gz)].into_iter();
    paths
        .find(|path| path.exists())
        .ok_or_else(|| Problem::missing(format!("{name} and no {gz}")).at(folder).with_hint(hint))
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

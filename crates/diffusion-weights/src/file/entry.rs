//! A file in an archive: its bytes, unpacked where they are packed, and compared with their checksum.

use crate::error::{Fault, malformed, shown};
use crate::source::Source;
use flate2::read::DeflateDecoder;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many bytes are read at once.
const CHUNK: usize = 1 << 16;

/// By how much a text that is read as a whole may have been packed at most; pickles shrink to a tenth.
const MAX_RATIO: u64 = 128;

/// A file in an archive.
#[derive(Debug)]
pub(crate) struct Entry {
    name: String,
    /// Where its bytes begin in the archive.
    pub start: u64,
    /// How many they are there.
    pub packed: u64,
    /// How many they are unpacked.
    pub size: u64,
    crc32: u32,
    is_deflated: bool,
    /// Whether the checksum was compared, and was right.
    is_checked: AtomicBool,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.start == other.start
    }
}

impl Entry {
    /// An entry whose start is not known yet.
    pub(super) fn new(name: &str, [packed, size]: [u64; 2], crc32: u32, is_deflated: bool) -> Self {
        let name = shown(name);
        Self { name, start: 0, packed, size, crc32, is_deflated, is_checked: AtomicBool::new(false) }
    }

    /// All bytes of a text, which may be `limit` at most, compared with their checksum.
    pub(super) fn read_text(&self, source: &Source, limit: u64) -> Result<Vec<u8>, Fault> {
        let (name, size) = (&self.name, self.size);
        let expected = limit.min(self.packed.saturating_mul(MAX_RATIO).saturating_add(CHUNK as u64));
        if size > expected {
            return malformed(format!("`{name}` has {size} bytes, expected at most {expected}"));
        }
        let mut bytes = vec![0; size as usize];
        self.read(source, &mut bytes, 0).map_err(|error| self.fault(error))?;
        Ok(bytes)
    }

    /// Fills `into` with the unpacked bytes from `offset` on; the first time, all are compared with their checksum.
    pub(crate) fn read(&self, source: &Source, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.for_each(source, offset, into.len(), &mut |at, bytes| {
            into[at..][..bytes.len()].copy_from_slice(bytes)
        })
    }

    /// Shows `count` unpacked bytes from `offset` on, in parts, each with its place among them.
    pub(crate) fn for_each(
        &self,
        source: &Source,
        offset: u64,
        count: usize,
        show: &mut dyn FnMut(usize, &[u8]),
    ) -> io::Result<()> {
        self.check(source)?;
        let end = offset + count as u64;
        let from = if self.is_deflated { 0 } else { offset };
        self.stream(source, from, end, &mut |at, bytes| {
            let skipped = (offset.saturating_sub(at)).min(bytes.len() as u64);
            let bytes = &bytes[skipped as usize..];
            if !bytes.is_empty() {
                show((at + skipped - offset) as usize, bytes);
            }
        })
    }

    /// Whether bytes anywhere in it are read as fast as the first, all being compared with their checksum now if they were not
    /// before.
    pub(crate) fn has_any_place(&self, source: &Source) -> io::Result<bool> {
        self.check(source)?;
        Ok(!self.is_deflated)
    }

    /// Compares all bytes with their checksum, unless that was done.
    fn check(&self, source: &Source) -> io::Result<()> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut hasher = crc32fast::Hasher::new();
        // One more than there should be, to see that there is none.
        let end = if self.is_deflated { self.size + 1 } else { self.size };
        let mut count = 0;
        self.stream(source, 0, end, &mut |_, bytes| {
            count += bytes.len() as u64;
            hasher.update(bytes);
        })?;
        if count != self.size {
            return Err(self.damaged(format!("has {count} bytes, expected {}", self.size)));
        }
        let found = hasher.finalize();
        if found != self.crc32 {
            return Err(self.damaged(format!("has the checksum {found:08x}, expected {:08x}", self.crc32)));
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Shows the unpacked bytes in `from..end`, as far as there are any, in parts, each with its place; packed ones can
    /// only be shown from the first on.
    fn stream(
        &self,
        source: &Source,
        from: u64,
        end: u64,
        show: &mut dyn FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let stored = Stored { source, at: self.start + from, end: self.start + self.packed };
        let mut reader: Box<dyn Read + '_> = match self.is_deflated {
            true => Box::new(DeflateDecoder::new(stored)),
            false => Box::new(stored),
        };
        let (mut chunk, mut at) = (vec![0; CHUNK.min((end - from) as usize)], from);
        while at < end {
            let wanted = chunk.len().min((end - at) as usize);
            let count = match reader.read(&mut chunk[..wanted]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if is_of_data(&error) => {
                    return Err(self.damaged(format!("cannot be unpacked: {error}")));
                }
                Err(error) => return Err(error),
            };
            show(at, &chunk[..count]);
            at += count as u64;
        }
        Ok(())
    }

    fn damaged(&self, what: String) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{}` {what}", self.name))
    }

    fn fault(&self, error: io::Error) -> Fault {
        if is_of_data(&error) { Fault::Malformed(error.to_string()) } else { Fault::Read(error) }
    }
}

/// Whether an error is one of the bytes that were read, and not of reading them.
pub(crate) fn is_of_data(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// The bytes of an entry as they are in the archive, one after the other.
struct Stored<'a> {
    source: &'a Source,
    at: u64,
    end: u64,
}

impl Read for Stored<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min((self.end - self.at) as usize);
        self.source.read_exact_at(&mut into[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

//! Archives of tar, plain or compressed with gzip, read in one pass.

use std::{collections::BTreeMap, path::Path};

use diffusion_core::watch::Watch;

use crate::{
    error::{DataError, Problem},
    source::Source,
};

const BLOCK: usize = 512;
/// The most bytes of an archive that are looked at, decompressed.
const MAX_ARCHIVE: u64 = 8 << 30;
/// How many bytes are passed over at a time.
const STRETCH: u128 = 1 << 20;

/// Whether the file is an archive, as far as its first block tells.
pub(crate) fn is_archive(path: &Path) -> Result<bool, DataError> {
    let block = Source::open(path)?.read(BLOCK as u128, &Watch::default())?;
    Ok(block.len() == BLOCK && size(&block).is_some())
}

/// The files in an archive whose names, without their folders and in small letters, are wanted.
///
/// # Errors
/// If the file cannot be read or is no archive; if a wanted file is longer than `limit` bytes.
pub(crate) fn read(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
    limit: u64,
    watch: &Watch,
) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
    let mut source = Source::open(path)?;
    let mut files = BTreeMap::new();
    let mut place = 0;
    loop {
        let block = source.read(BLOCK as u128, watch)?;
        // An archive ends with empty blocks; some end without.
        if block.iter().all(|&byte| byte == 0) {
            return Ok(files);
        }
        let Some(size) = size(&block) else {
            let reason = format!("at its byte {place} there is no header of a file");
            return Err(Problem::decode("a tar archive", reason).at(path));
        };
        place += BLOCK as u64 + size.next_multiple_of(BLOCK as u64);
        if place > MAX_ARCHIVE {
            let found = format!("holds more than {MAX_ARCHIVE} bytes");
            return Err(Problem::TooLarge { found, limit: Some(MAX_ARCHIVE) }.at(path));
        }
        watch.report(&format!("reading {}", path.display()), place, None)?;
        let name = name(&block);
        let is_file = matches!(block[156], b'0' | b'7' | 0);
        if is_file && wanted(&name) {
            if size > limit {
                let found = format!("has the file {name} of {size} bytes");
                return Err(Problem::TooLarge { found, limit: Some(limit) }.at(path));
            }
            let bytes = source.read(size.into(), watch)?;
            if (bytes.len() as u64) < size {
                return Err(cut(path, place));
            }
            files.insert(name, bytes);
            pass(&mut source, path, place, size.next_multiple_of(BLOCK as u64) - size, watch)?;
        } else {
            pass(&mut source, path, place, size.next_multiple_of(BLOCK as u64), watch)?;
        }
    }
}

/// Passes over some bytes.
fn pass(
    source: &mut Source<'_>,
    path: &Path,
    place: u64,
    bytes: u64,
    watch: &Watch,
) -> Result<(), DataError> {
    let (mut scratch, mut left) = (Vec::new(), u128::from(bytes));
    while left > 0 {
        scratch.clear();
        let read = source.read_into(&mut scratch, left.min(STRETCH), watch)?;
        if read == 0 {
            return Err(cut(path, place));
        }
        watch.check()?;
        left -= read;
    }
    Ok(())
}

fn cut(path: &Path, place: u64) -> DataError {
    let reason = format!("it ends before its byte {place}, where a file in it does");
    Problem::decode("a tar archive", reason).at(path)
}

/// The length of the file of which `block` is the header, if it is one: its checksum tells.
fn size(block: &[u8]) -> Option<u64> {
    let octal = |field: &[u8]| {
        let text = str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
        if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
    };
    let block: &[u8; BLOCK] = block.try_into().ok()?;
    // The checksum is that of the block with spaces in the checksum's place.
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    let own: u64 = block[148..156].iter().map(|&byte| u64::from(byte)).sum();
    let is_header = octal(&block[148..156])? == sum - own + 8 * u64::from(b' ');
    // A length of 8 GiB or more is written in another way, and beyond what is read.
    if is_header { octal(&block[124..136]) } else { None }
}

/// The name of the file without its folders, in small letters.
fn name(block: &[u8]) -> String {
    let end = block[..100].iter().position(|&byte| byte == 0).unwrap_or(100);
    let name = String::from_utf8_lossy(&block[..end]).to_ascii_lowercase();
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// An archive of these files, for tests.
#[cfg(test)]
pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        block[148..156].copy_from_slice(b"        ");
        block[156] = b'0';
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(block);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::gzip;

    fn try_read(bytes: &[u8], limit: u64) -> Result<BTreeMap<String, Vec<u8>>, DataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        read(file.path(), |name| name != "other", limit, &Watch::default())
    }

    #[test]
    fn wanted_files_are_read() {
        let long = vec![7; 1000];
        let whole = archive(&[("d/First", b"one"), ("d/other", &long), ("e/f/second", &long)]);
        for bytes in [&whole, &gzip(&whole)] {
            let found = try_read(bytes, 1000).unwrap();
            assert_eq!(found.keys().collect::<Vec<_>>(), ["first", "second"]);
            assert!(found["first"] == b"one" && found["second"] == long);
        }
        let error = try_read(&whole, 999).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLarge { limit: Some(999), .. }), "{error}");
    }

    #[test]
    fn a_cut_or_changed_archive_is_an_error() {
        let whole = archive(&[("first", &[1; 600]), ("other", &[2; 600])]);
        for length in (1..1536 + 1200).step_by(7) {
            if length % 1536 != 0 {
                assert!(try_read(&whole[..length], 1000).is_err(), "{length}");
            }
        }
        for at in [0, 124, 150, 1536] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(try_read(&changed, 1000).is_err(), "{at}");
        }
    }
}

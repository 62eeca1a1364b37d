//! Where the files in a zip archive are, as far as PyTorch's archives need it: nothing encrypted, and no compression but
//! the usual one.
//!
//! Written by hand because a general reader makes room for as many entries as an archive claims to have, and does not
//! tell that two have the same name.

use super::entry::Entry;
use crate::error::{Fault, MAX_HEADER, count as named, malformed, shown, unsupported};
use crate::source::Source;
use std::collections::BTreeMap;

/// What every archive begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
const END: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_SIZE: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;
/// What to do with an archive that is packed in another way.
const AGAIN: &str =
    "unpack the archive, and pack its files again, neither compressed nor encrypted: `zip -0 -r`";
/// In place of a size or offset that stands in an entry's extra field.
const ELSEWHERE: u64 = u32::MAX as u64;

/// The files of an archive, by their names; each lies inside it, and no two overlap.
pub(super) fn read(source: &Source) -> Result<BTreeMap<String, Entry>, Fault> {
    let (count, start, directory) = read_directory(source)?;
    let mut entries = BTreeMap::new();
    let mut ranges = Vec::new();
    let mut rest = &directory[..];
    while !rest.is_empty() {
        let (name, header, mut entry, next) = parse_entry(rest)?;
        rest = next;
        let local = read_at(source, header, LOCAL_SIZE as u64, start)?;
        if !local.starts_with(MAGIC) {
            return malformed(format!("`{name}` is not at byte {header}, where its directory has it"));
        }
        let data = header + (LOCAL_SIZE + u16_at(&local, 26) + u16_at(&local, 28)) as u64;
        let end = data.checked_add(entry.packed).filter(|&end| end <= start);
        let Some(end) = end else {
            return malformed(format!(
                "`{name}` has {} bytes from {data} on, expected an end before {start}",
                entry.packed
            ));
        };
        ranges.push((header, end));
        entry.start = data;
        if entries.insert(name.to_string(), entry).is_some() {
            return malformed(format!("its directory has `{name}` twice"));
        }
    }
    if entries.len() as u64 != count {
        return malformed(format!("its directory has {}, expected {count}", named(entries.len(), "file")));
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return malformed("two of its files overlap");
    }
    Ok(entries)
}

/// The number of entries in the directory, where it starts, and its bytes.
fn read_directory(source: &Source) -> Result<(u64, u64, Vec<u8>), Fault> {
    let length = source.len();
    let tail_size = length.min((END_SIZE + LOCATOR_SIZE + usize::from(u16::MAX)) as u64);
    let tail = read_at(source, length - tail_size, tail_size, length)?;
    let is_end =
        |&at: &usize| tail[at..].starts_with(END) && at + END_SIZE + u16_at(&tail[at..], 20) == tail.len();
    let last = tail.len().checked_sub(END_SIZE);
    let Some(at) = last.and_then(|last| (0..=last).rev().find(is_end)) else {
        return malformed("its end was not found, expected an archive's directory there");
    };
    let end = &tail[at..];
    let mut place = (u16_at(end, 10) as u64, u32_at(end, 12), u32_at(end, 16));
    let locator =
        at.checked_sub(LOCATOR_SIZE).map(|at| &tail[at..]).filter(|bytes| bytes.starts_with(LOCATOR));
    if let Some(locator) = locator {
        let end64 = read_at(source, u64_at(locator, 8), 56, length)?;
        if !end64.starts_with(END64) {
            return malformed("the 64-bit end of its directory is not where it says");
        }
        place = (u64_at(&end64, 32), u64_at(&end64, 40), u64_at(&end64, 48));
    }
    let (count, size, start) = place;
    if size > MAX_HEADER {
        return malformed(format!("its directory has {size} bytes, expected at most {MAX_HEADER}"));
    }
    Ok((count, start, read_at(source, start, size, length)?))
}

/// The name, the place of the local header and, but for its start, the directory's first entry, and the entries after it.
fn parse_entry(directory: &[u8]) -> Result<(&str, u64, Entry, &[u8]), Fault> {
    let Some(entry) = directory.get(..ENTRY_SIZE).filter(|entry| entry.starts_with(ENTRY)) else {
        return malformed("its directory is cut off");
    };
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(entry, at));
    let parts = directory[ENTRY_SIZE..]
        .split_at_checked(name)
        .and_then(|(name, rest)| Some((name, rest.split_at_checked(extra)?)))
        .and_then(|(name, (extra, rest))| Some((name, extra, rest.split_at_checked(comment)?.1)));
    let Some((name, extra, rest)) = parts else {
        return malformed("its directory is cut off");
    };
    let Ok(name) = std::str::from_utf8(name) else {
        return malformed(format!("the name {:?} is not UTF-8", String::from_utf8_lossy(name)));
    };
    let is_deflated = match (u16_at(entry, 8) & 1, u16_at(entry, 10)) {
        (0, 0) => false,
        (0, 8) => true,
        (0, method) if method != 99 => {
            let name = shown(name);
            let known = compression(method).map(|known| format!("{known}, ")).unwrap_or_default();
            return unsupported(format!("`{name}` is compressed by {known}method {method}; {AGAIN}"));
        }
        _ => {
            let name = shown(name);
            return unsupported(format!("`{name}` is encrypted; {AGAIN}"));
        }
    };
    // Uncompressed size, compressed size, offset: in this order, the extra field has those that need 64 bits.
    let mut fields = [u32_at(entry, 24), u32_at(entry, 20), u32_at(entry, 42)];
    let mut long = long_fields(extra);
    for field in fields.iter_mut().filter(|field| **field == ELSEWHERE) {
        let Some((value, next)) = long.split_first_chunk() else {
            return malformed(format!("`{name}` has no 64-bit sizes, expected them"));
        };
        *field = u64::from_le_bytes(*value);
        long = next;
    }
    let [size, packed, header] = fields;
    if size != packed && !is_deflated {
        return malformed(format!("`{name}` has {packed} bytes in the archive, expected {size}"));
    }
    let crc32 = u32_at(entry, 16) as u32;
    Ok((name, header, Entry::new(name, [packed, size], crc32, is_deflated), rest))
}

/// The ways to compress a file in an archive that are not read here, by their numbers.
fn compression(method: usize) -> Option<&'static str> {
    Some(match method {
        1 => "Shrink",
        2..=5 => "Reduce",
        6 => "Implode",
        9 => "Deflate64",
        12 => "bzip2",
        14 => "LZMA",
        20 | 93 => "Zstandard",
        94 => "MP3",
        95 => "XZ",
        96 => "JPEG",
        97 => "WavPack",
        98 => "PPMd",
        _ => return None,
    })
}

/// The part of an extra field that holds 64-bit sizes; nothing where there is none.
fn long_fields(mut extra: &[u8]) -> &[u8] {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let Some((field, next)) = rest.split_at_checked(u16_at(head, 2)) else { break };
        if u16_at(head, 0) == 1 {
            return field;
        }
        extra = next;
    }
    &[]
}

/// `size` bytes from `start` on, which must end at or before `limit`.
pub(super) fn read_at(source: &Source, start: u64, size: u64, limit: u64) -> Result<Vec<u8>, Fault> {
    if start.checked_add(size).is_none_or(|end| end > limit) {
        return malformed(format!("it points to {size} bytes at {start}, expected an end before {limit}"));
    }
    let mut bytes = vec![0; size as usize];
    source.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i])))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

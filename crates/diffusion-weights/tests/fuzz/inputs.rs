//! The inputs: files of tests with changes, and files that are made of the words of their formats.

#[path = "pickle.rs"]
mod pickle;

use crate::random::Random;
use std::fs;
use std::path::Path;

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A pickle of random instructions, in a file as PyTorch before 1.6 wrote it, which has no checksum.
    Pickle,
    /// The same of many repetitions.
    Repeated,
    /// A pickled dict of lists, names and arrays.
    Dict,
    /// A pickle of such a file with changes.
    Legacy,
    /// An archive with changes, its checksums mostly put right.
    Archive,
    /// A safetensors file with changes, or of random words.
    Safetensors,
    /// An index of files, with changes or of random words.
    Index,
    /// Bytes that begin as a file of some kind.
    Head,
}

/// What inputs are made from.
pub struct Inputs {
    legacy: Vec<Vec<u8>>,
    archives: Vec<Archive>,
    safetensors: Vec<u8>,
}

/// An archive, with where its entries' bytes are, and the places of their checksums and sizes in its directory.
struct Archive {
    bytes: Vec<u8>,
    entries: Vec<(usize, usize, usize)>,
}

const INDEX: &str =
    r#"{"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors", "b": "a.safetensors"}}"#;

impl Inputs {
    /// Puts the files that an index can name into `folder`.
    pub fn new(folder: &Path) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let read = |name: &&str| fs::read(data.join(name)).unwrap();
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]},"c":{"dtype":"I64","shape":[],"data_offsets":[28,36]}}"#;
        let safetensors = safetensors(header.as_bytes(), 36);
        fs::write(folder.join("a.safetensors"), &safetensors).unwrap();
        let legacy = ["checkpoint-legacy.pth", "checkpoint-legacy-4.pth", "checkpoint-legacy-1.pth"]
            .iter()
            .map(read)
            .collect();
        let archives = [
            "mlp.pth",
            "odd.pth",
            "checkpoint-negative.pth",
            "checkpoint-odd.pth",
            "checkpoint-deflated.pth",
            "checkpoint-plain-4.pth",
            "checkpoint-objects.pth",
        ];
        let archives = archives.iter().map(read).map(Archive::new).collect();
        Self { legacy, archives, safetensors }
    }

    /// The input of this number.
    pub fn input(&self, number: u64) -> (Kind, Vec<u8>) {
        let random = &mut Random::new(number);
        match number % 20 {
            0 if number.is_multiple_of(1000) => (Kind::Repeated, pickle::repeated(random)),
            7 => (Kind::Dict, pickle::dict(random)),
            0..=6 => (Kind::Pickle, pickle::file(random)),
            8..=10 => (Kind::Legacy, self.legacy(random)),
            11..=14 => (Kind::Archive, self.archive(random)),
            15..=17 => (Kind::Safetensors, self.safetensors(random)),
            18 if number % 100 == 18 => (Kind::Index, index(random)),
            _ => (Kind::Head, head(random)),
        }
    }

    fn legacy(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.legacy[random.below(self.legacy.len())].clone();
        random.mutate(&mut bytes);
        bytes
    }

    fn archive(&self, random: &mut Random) -> Vec<u8> {
        let Archive { bytes, entries } = &self.archives[random.below(self.archives.len())];
        let mut bytes = bytes.clone();
        if random.one_in(4) {
            random.mutate(&mut bytes);
            return bytes;
        }
        // In place, so that checksums can be put right; mostly in the pickle, which comes first.
        let &(start, size, _) =
            if random.one_in(4) { &entries[random.below(entries.len())] } else { &entries[0] };
        for _ in 0..1 + random.below(4) {
            let at = start + random.below(size);
            match random.below(3) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes[at] ^= 1 << random.below(8),
                _ => bytes.copy_within(start + random.below(size)..start + size, at.min(start)),
            }
        }
        for &(start, size, checksum) in entries {
            let crc32 = crc32(&bytes[start..start + size]).to_le_bytes();
            bytes[checksum..checksum + 4].copy_from_slice(&crc32);
        }
        bytes
    }

    fn safetensors(&self, random: &mut Random) -> Vec<u8> {
        if random.one_in(2) {
            let mut bytes = self.safetensors.clone();
            random.mutate(&mut bytes);
            return bytes;
        }
        let (mut header, mut end) = (String::from("{"), 0u64);
        for i in 0..random.below(5) {
            let dtype = random.of(&["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64", "X"]);
            let shape: Vec<String> = (0..random.below(4))
                .map(|_| random.number().min(1 << random.below(64)).to_string())
                .collect();
            let size = if random.one_in(3) { random.number() } else { 4 };
            let to = end.wrapping_add(size);
            let comma = if i == 0 { "" } else { "," };
            let shape = if random.one_in(2) { "1".to_string() } else { shape.join(",") };
            header += &format!(
                r#"{comma}"{i}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{end},{to}]}}"#
            );
            end = to;
        }
        header.push('}');
        let mut header = header.into_bytes();
        if random.one_in(4) {
            random.mutate(&mut header);
        }
        safetensors(&header, end.min(200) as usize)
    }
}

impl Archive {
    fn new(bytes: Vec<u8>) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let u16_at = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
        let end = bytes.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").unwrap();
        let (mut at, mut entries) = (u32_at(end + 16), Vec::new());
        while bytes[at..].starts_with(b"PK\x01\x02") {
            let (size, local) = (u32_at(at + 20), u32_at(at + 42));
            // Of a packed one the checksum is that of other bytes.
            if u16_at(at + 10) == 0 && size > 0 {
                entries.push((local + 30 + u16_at(local + 26) + u16_at(local + 28), size, at + 16));
            }
            at += 46 + u16_at(at + 28) + u16_at(at + 30) + u16_at(at + 32);
        }
        if entries.is_empty() {
            entries.push((30, 100, end));
        }
        Self { bytes, entries }
    }
}

fn safetensors(header: &[u8], data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, &vec![1; data]].concat()
}

fn index(random: &mut Random) -> Vec<u8> {
    let mut bytes = INDEX.as_bytes().to_vec();
    if random.one_in(2) {
        random.mutate(&mut bytes);
        return bytes;
    }
    let names = ["a", "b", "c", "d", "", "a.b", "\\u0000"];
    let files =
        ["a.safetensors", "b.safetensors", "../a.safetensors", "model.index.json", "", ".", "/dev/null"];
    let entry = |random: &mut Random| {
        let end = if random.one_in(3) { files.len() } else { 1 };
        format!("\"{}\":\"{}\"", random.of(&names), random.of(&files[..end]))
    };
    let entries: Vec<String> = (0..random.below(4)).map(|_| entry(random)).collect();
    format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")).into_bytes()
}

fn head(random: &mut Random) -> Vec<u8> {
    let heads: [&[u8]; 12] = [
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x80\x02",
        b"version https://git-lfs",
        b"<html>",
        b"\x1f\x8b",
        b"\x89HDF\r\n\x1a\n",
        b"\x93NUMPY",
        b"\x08\x07\x12",
        b"{",
        b"",
        b"\x02\0\0\0\0\0\0\0{}",
    ];
    let mut bytes = random.of(&heads).to_vec();
    let most = if random.one_in(10) { 600 } else { 40 };
    let count = random.below(most);
    bytes.extend((0..count).map(|_| random.next() as u8));
    bytes
}

/// Bit by bit; the reader has another way.
fn crc32(bytes: &[u8]) -> u32 {
    let table = |mut value: u32| {
        for _ in 0..8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
        }
        value
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ table((crc ^ u32::from(byte)) & 0xff))
}

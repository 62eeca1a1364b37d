//! What a file is that holds no state dict, by its first bytes or its names.

use super::entry::Entry;
use std::collections::BTreeMap;

/// What files of other kinds have at a place near their beginning.
const KINDS: &[(usize, &[u8], &str)] = &[
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself; `git lfs pull` fetches that"),
    (0, b"\x1f\x8b", "a gzip file; unpack it first"),
    (0, b"BZh", "a bzip2 file; unpack it first"),
    (0, b"\xfd7zXZ\0", "an xz file; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GGUF", "a GGUF file"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x7fELF", "a program"),
];

/// What a file begins as that is none of the formats, in the words of an error.
pub(super) fn of_head(head: &[u8]) -> String {
    let known =
        KINDS.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|head| head.starts_with(magic)));
    if let Some((_, _, what)) = known {
        return format!("it is {what}");
    }
    if head.is_empty() {
        return "it is empty".to_string();
    }
    if head.iter().all(|&byte| byte == 0) {
        return "it begins with zeros: its bytes were lost, or never came".to_string();
    }
    // The version of the format, then a field that is a string or a model.
    if matches!(head, [8, 1..=20, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..]) {
        return "it is an ONNX model".to_string();
    }
    if head.starts_with(&[0x80]) {
        return "it is a pickle that torch.save has not written, and may run anything where it is loaded"
            .to_string();
    }
    let start = &head[..head.len().min(9)];
    match std::str::from_utf8(head).map(str::trim_start) {
        Ok(text) if text.starts_with('<') => "it is a web page or XML, not the file itself".to_string(),
        Ok(text) if !text.contains(|c: char| c.is_control() && !c.is_whitespace()) => {
            let line: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
            format!("it is a text that begins with {line:?}")
        }
        _ => {
            format!("it begins with {start:02x?}, expected an archive of torch.save or a safetensors header")
        }
    }
}

/// What a zip archive is that has not one pickle, but `pickles` of them.
pub(super) fn of_archive(files: &BTreeMap<String, Entry>, pickles: usize) -> String {
    let ends = |ending: &str| files.keys().any(|name| name.ends_with(ending));
    let what = if pickles > 0 {
        None
    } else if ends(".npy") {
        Some("NumPy arrays")
    } else if ends("model.weights.h5") {
        Some("a Keras model")
    } else if ends(".pth") || ends(".pt") || ends(".ckpt") || ends(".safetensors") {
        Some("files of weights; unpack it first")
    } else {
        None
    };
    match what {
        Some(what) => format!("it is a zip archive of {what}"),
        None => format!("it is a zip archive with {pickles} files called data.pkl, expected one"),
    }
}

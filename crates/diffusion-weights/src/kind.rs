//! What a file is that was taken for another, by its first bytes.

use std::borrow::Cow;
use std::fmt;

/// What a file is by its first bytes, whatever it is called: what readers of other formats say instead of the bytes
/// themselves.
///
/// ```
/// use diffusion_weights::FileKind;
///
/// let kind = FileKind::of(b"version https://git-lfs.github.com/spec/v1\noid sha256:0").expect("it is known");
/// assert_eq!(kind.found(), "is a pointer of Git LFS, not the file itself");
/// assert_eq!(kind.cure(), Some("`git lfs pull` fetches the file"));
/// assert_eq!(FileKind::of(&[0xc3, 0x28]), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileKind {
    found: Cow<'static, str>,
    cure: Option<&'static str>,
}

const UNPACK: Option<&str> = Some("unpack it first");

/// What files of each kind have at a place near their beginning, and what helps.
const KINDS: &[(usize, &[u8], &str, Option<&str>)] = &[
    (
        0,
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself",
        Some("`git lfs pull` fetches the file"),
    ),
    (0, b"\x1f\x8b", "is a gzip file", UNPACK),
    (0, b"BZh", "is a bzip2 file", UNPACK),
    (0, b"\xfd7zXZ\0", "is an xz file", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "is a zstd file", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", UNPACK),
    (0, b"Rar!", "is a RAR archive", UNPACK),
    (0, b"PK\x03\x04", "is a zip archive", UNPACK),
    (0, b"PK\x05\x06", "is an empty zip archive", None),
    (257, b"ustar", "is a tar archive", UNPACK),
    (0, b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes it", None),
    (0, b"\x93NUMPY", "is a NumPy array", None),
    (0, b"GGUF", "is a GGUF file", None),
    (4, b"TFL3", "is a TensorFlow Lite model", None),
    (0, b"\x89PNG", "is a PNG picture", None),
    (0, b"\xff\xd8\xff", "is a JPEG picture", None),
    (0, b"GIF8", "is a GIF picture", None),
    (8, b"WEBP", "is a WebP picture", None),
    (8, b"AVI ", "is a video", None),
    (4, b"ftyp", "is a video, or a picture in the frame of one", None),
    (0, b"\x1a\x45\xdf\xa3", "is a video", None),
    (0, b"%PDF", "is a PDF document", None),
    (0, b"SQLite format 3", "is an SQLite database", None),
    (0, b"\x7fELF", "is a program", None),
];

const AGAIN: Option<&str> = Some("fetch the file again");

impl FileKind {
    /// The kind of a file that begins with `head`; 512 bytes are enough. Nothing else of the file is looked at.
    pub fn of(head: &[u8]) -> Option<Self> {
        let is_here = |at: &usize, magic: &[u8]| head.get(*at..).is_some_and(|head| head.starts_with(magic));
        if let Some((_, _, found, cure)) = KINDS.iter().find(|(at, magic, ..)| is_here(at, magic)) {
            return Some(Self { found: Cow::Borrowed(found), cure: *cure });
        }
        let known = |found: &'static str, cure| Some(Self { found: Cow::Borrowed(found), cure });
        if head.is_empty() {
            return known("is empty", AGAIN);
        }
        if head.iter().all(|&byte| byte == 0) {
            return known("begins with zeros: its bytes were lost, or never came", AGAIN);
        }
        // The version of the format, then a field that is a string or a model.
        if matches!(head, [8, 1..=20, 0x12 | 0x1a | 0x22 | 0x3a | 0x42, ..]) {
            return known("is an ONNX model", None);
        }
        if head.starts_with(&[0x80]) {
            let found =
                "is a pickle that torch.save has not written, and may run anything where it is loaded";
            return known(found, None);
        }
        if is_page(head) {
            return known("is a web page or XML, not the file itself", AGAIN);
        }
        let text = text(head)?;
        let line: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
        Some(Self { found: Cow::Owned(format!("is a text that begins with {line:?}")), cure: None })
    }

    /// What the file is, as the rest of a sentence about it.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// What can be done about it, where that is known.
    pub fn cure(&self) -> Option<&'static str> {
        self.cure
    }
}

impl fmt::Display for FileKind {
    /// As in `is a gzip file; unpack it first`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found)?;
        self.cure.map_or(Ok(()), |cure| write!(f, "; {cure}"))
    }
}

/// Whether a tag comes first, in whichever code the text after it is.
fn is_page(head: &[u8]) -> bool {
    match head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start() {
        [b'<', next, ..] => next.is_ascii_alphabetic() || matches!(next, b'!' | b'?'),
        _ => false,
    }
}

/// The beginning as text without its first white space, if it is text; its last character may be cut.
fn text(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    (!text.contains(|c: char| c.is_control() && !c.is_whitespace())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_cut_within_a_character() {
        let text = "\u{feff} café".as_bytes();
        for head in [text, &text[..text.len() - 1]] {
            assert!(FileKind::of(head).is_some_and(|kind| kind.found().contains("text")), "{head:?}");
        }
        assert_eq!(FileKind::of(b"caf\xe9, menu"), None);
        assert_eq!(FileKind::of(b"\x01\x02"), None);
    }

    #[test]
    fn pages_are_known_by_their_first_tag() {
        for head in [&b"\xef\xbb\xbf <html>"[..], b"\n<!doctype html>", b"<html>\xe9", b"<?xml "] {
            assert!(FileKind::of(head).is_some_and(|kind| kind.found().contains("web page")), "{head:?}");
        }
        assert!(FileKind::of(b"< 3").is_some_and(|kind| kind.found().contains("text")));
    }

    #[test]
    fn the_cure_follows_what_is_found() {
        let kind = FileKind::of(b"Rar!\x1a\x07\0").unwrap();
        assert_eq!(kind.to_string(), "is a RAR archive; unpack it first");
        assert_eq!(FileKind::of(b"%PDF-1.7").unwrap().cure(), None);
    }
}

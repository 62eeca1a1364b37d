//! Which way up a picture is shown, as its Exif or XMP data say and Pillow's `exif_transpose` reads them.

use std::io::Read;

use flate2::read::ZlibDecoder;
use image::{ImageDecoder, ImageFormat, metadata::Orientation};

/// The tag of the orientation.
const TAG: u16 = 0x0112;
/// The most bytes of Exif data in a PNG's text that are decompressed.
const MAX_TEXT: u64 = 1 << 20;

/// The orientation of the picture in the file `bytes`, which `decoder` reads. What is damaged turns nothing.
pub(crate) fn of(format: ImageFormat, bytes: &[u8], decoder: &mut impl ImageDecoder) -> Orientation {
    let exif = match format {
        // The frame of Exif data is that of a TIFF file.
        ImageFormat::Tiff => of_exif(bytes),
        ImageFormat::Png => png_exif(bytes).and_then(|exif| of_exif(&exif)),
        _ => decoder.exif_metadata().ok().flatten().and_then(|exif| of_exif(&exif)),
    };
    let number = exif.or_else(|| of_xmp(&decoder.xmp_metadata().ok().flatten()?));
    number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The number in Exif data, of whichever type of integers, in either order of bytes.
fn of_exif(mut exif: &[u8]) -> Option<u8> {
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    let (is_little, offset_bytes) = match exif.get(..4)? {
        b"II*\0" => (true, 4),
        b"MM\0*" => (false, 4),
        b"II+\0" => (true, 8),
        b"MM\0+" => (false, 8),
        _ => return None,
    };
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = exif.get(at..at.checked_add(length)?)?;
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if is_little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    // A TIFF file of 64 bits has wider counts and offsets.
    let (count_bytes, directory) = if offset_bytes == 4 { (2, number(4, 4)?) } else { (8, number(8, 8)?) };
    let directory = usize::try_from(directory).ok()?;
    let entries = number(directory, count_bytes)?.min(1 << 16) as usize;
    let length = 4 + 2 * offset_bytes;
    for entry in 0..entries {
        let at = directory.checked_add(count_bytes + entry * length)?;
        if number(at, 2)? != u64::from(TAG) {
            continue;
        }
        let width = match number(at + 2, 2)? {
            // BYTE, SHORT and LONG, and their kin with a sign.
            1 | 6 => 1,
            3 | 8 => 2,
            4 | 9 => 4,
            _ => return None,
        };
        if number(at + 4, offset_bytes)? == 0 {
            return None;
        }
        return u8::try_from(number(at + 4 + offset_bytes, width)?).ok();
    }
    None
}

/// The digit in XMP data, which counts where Exif data tell none.
fn of_xmp(xmp: &[u8]) -> Option<u8> {
    let name = b"tiff:Orientation";
    let ends = xmp.windows(name.len()).enumerate().filter(|(_, window)| window == name);
    let mut digits = ends.filter_map(|(at, _)| match &xmp[at + name.len()..] {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(digit - b'0'),
        _ => None,
    });
    digits.next()
}

/// The Exif data of a PNG file: its chunk `eXIf`, wherever it stands, or else the text that ImageMagick has put it into.
fn png_exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = None;
    let mut rest = bytes.get(8..)?;
    while let [a, b, c, d, tail @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (Some(name), Some(data)) = (tail.get(..4), tail.get(4..4 + length)) else { break };
        match name {
            b"eXIf" => return Some(data.to_vec()),
            b"tEXt" | b"zTXt" => text = text.or_else(|| raw_profile(data, name == b"zTXt")),
            _ => {}
        }
        rest = tail.get(length + 8..).unwrap_or_default();
    }
    text
}

/// The Exif data in a text `Raw profile type exif`: three lines, and then hexadecimal digits.
fn raw_profile(chunk: &[u8], is_compressed: bool) -> Option<Vec<u8>> {
    let text =
        chunk.strip_prefix(b"Raw profile type exif\0").or(chunk.strip_prefix(b"Raw profile type APP1\0"))?;
    let text = match (is_compressed, text) {
        (true, [0, compressed @ ..]) => {
            let mut text = Vec::new();
            ZlibDecoder::new(compressed).take(MAX_TEXT).read_to_end(&mut text).ok()?;
            text
        }
        (true, _) => return None,
        (false, text) => text.to_vec(),
    };
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> =
        lines.flatten().map_while(|&byte| char::from(byte).to_digit(16).map(|digit| digit as u8)).collect();
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exif data with one entry of this type and these four bytes as its value.
    fn exif(is_little: bool, kind: u16, count: u32, value: [u8; 4]) -> Vec<u8> {
        let number = |n: u32, length: usize| {
            let bytes = n.to_be_bytes();
            let mut bytes = bytes[4 - length..].to_vec();
            if is_little {
                bytes.reverse();
            }
            bytes
        };
        let order: &[u8] = if is_little { b"II*\0" } else { b"MM\0*" };
        let other = [number(0x10f, 2), number(2, 2), number(4, 4), b"abc\0".to_vec()].concat();
        let entry =
            [number(u32::from(TAG), 2), number(kind.into(), 2), number(count, 4), value.to_vec()].concat();
        [order, &number(8, 4), &number(2, 2), &other, &entry, &number(0, 4)].concat()
    }

    #[test]
    fn every_type_of_integers_is_read_in_either_order() {
        for (is_little, kind, value) in [
            (true, 1, [6, 0, 0, 0]),
            (true, 3, [6, 0, 9, 9]),
            (true, 4, [6, 0, 0, 0]),
            (true, 9, [6, 0, 0, 0]),
            (false, 1, [6, 0, 0, 0]),
            (false, 3, [0, 6, 9, 9]),
            (false, 4, [0, 0, 0, 6]),
            (false, 8, [0, 6, 9, 9]),
        ] {
            let data = exif(is_little, kind, 1, value);
            assert_eq!(of_exif(&data), Some(6), "{is_little} {kind}");
            assert_eq!(of_exif(&[b"Exif\0\0", &data[..]].concat()), Some(6));
        }
        // Of several the first counts, and none is none.
        assert_eq!(of_exif(&exif(true, 3, 2, [8, 0, 1, 0])), Some(8));
        assert_eq!(of_exif(&exif(true, 3, 0, [8, 0, 1, 0])), None);
        assert_eq!(of_exif(&exif(true, 2, 1, *b"6\0\0\0")), None);
        assert_eq!(of_exif(&exif(true, 4, 1, [6, 1, 0, 0])), None);
    }

    #[test]
    fn what_is_cut_turns_nothing() {
        let data = exif(false, 4, 1, [0, 0, 0, 6]);
        for length in 0..data.len() - 4 {
            assert_eq!(of_exif(&data[..length]), None, "{length}");
        }
        assert_eq!(of_exif(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(of_exif(b"II+\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn xmp_and_text_are_read() {
        assert_eq!(of_xmp(b"<rdf tiff:Orientation=\"3\">"), Some(3));
        assert_eq!(of_xmp(b"tiff:Orientation <tiff:Orientation>8</tiff:Orientation>"), Some(8));
        assert_eq!(of_xmp(b"tiff:Orientation"), None);
        let hex: String = exif(true, 3, 1, [6, 0, 0, 0]).iter().map(|byte| format!("{byte:02x}")).collect();
        let (first, second) = hex.split_at(20);
        let chunk = format!("Raw profile type exif\0\nexif\n      50\n{first}\n{second}\n");
        assert_eq!(raw_profile(chunk.as_bytes(), false).and_then(|exif| of_exif(&exif)), Some(6));
    }
}

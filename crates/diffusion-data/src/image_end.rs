//! Whether an image's file is there to its end, by its length and its last bytes: without its pixels.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use image::ImageFormat;

/// How many of a file's last bytes are looked at; programs put remarks of their own behind an image.
const TAIL: u64 = 4096;

/// Whether a file ends as whole ones of its format do. Of one that does not, only decoding it can tell; a TIFF file may
/// end with anything, and so always does.
///
/// `start` is its beginning, and `decoded` the number of bytes that it has when it is decoded.
pub(crate) fn seems_whole(
    file: &mut File,
    format: ImageFormat,
    start: &[u8],
    decoded: u64,
) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let word = |at: usize| {
        start.get(at..at + 4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    };
    let is_there_to = |end: u64| length >= end;
    Ok(match format {
        // Each tells its length, but for the eight bytes before it, or for a last one that only fills up.
        ImageFormat::WebP => word(4).is_none_or(|length| is_there_to(u64::from(length & !1) + 8)),
        ImageFormat::Bmp => word(2).is_none_or(|length| is_there_to(length.into())),
        // Eight pixels in a byte, or at least a byte for each byte.
        ImageFormat::Pnm if start.starts_with(b"P4") => is_there_to(pnm_header(start) + decoded / 8),
        ImageFormat::Pnm => is_there_to(pnm_header(start) + decoded),
        ImageFormat::Png => has(&tail(file, length)?, b"IEND"),
        ImageFormat::Jpeg => has(&tail(file, length)?, b"\xff\xd9"),
        ImageFormat::Gif => has(&tail(file, length)?, b"\0;"),
        _ => true,
    })
}

/// The length of the header of a Netpbm file whose pixels are bytes or bits, as far as it lies in `start`.
fn pnm_header(start: &[u8]) -> u64 {
    let words = match start.get(1) {
        Some(b'4') => 3,
        Some(b'5' | b'6') => 4,
        Some(b'7') => {
            let end = b"ENDHDR\n";
            return start.windows(end.len()).position(|window| window == end).map_or(0, |at| at + end.len())
                as u64;
        }
        _ => return 0,
    };
    let (mut left, mut in_remark, mut in_word) = (words, false, false);
    for (at, &byte) in start.iter().enumerate() {
        match byte {
            b'\n' | b'\r' if in_remark => in_remark = false,
            _ if in_remark => {}
            b'#' => in_remark = true,
            _ if byte.is_ascii_whitespace() && in_word => {
                (in_word, left) = (false, left - 1);
                if left == 0 {
                    return at as u64 + 1;
                }
            }
            _ => in_word = !byte.is_ascii_whitespace(),
        }
    }
    0
}

fn has(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}

/// The last bytes of a file of this length.
fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_netpbm_files_are_passed_over() {
        for (header, expected) in [
            (&b"P5\n3 3 255\n"[..], 11),
            (b"P4 # a remark of 9 words, 1 2 3\n24\n24\n", 38),
            (b"P7\nWIDTH 4\nENDHDR\n", 18),
            (b"P2 3 3 255\n", 0),
            (b"P6 3", 0),
        ] {
            assert_eq!(pnm_header(&[header, b"    \xff"].concat()), expected, "{header:?}");
        }
    }
}

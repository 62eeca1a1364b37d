//! IDX, the file format of the MNIST family: a header of big-endian numbers, then one byte per value.

use std::path::Path;

use crate::{
    error::{DataError, Problem},
    source::Source,
};

/// The content of an image file.
pub(crate) struct Pixels {
    /// Height of an image in pixels, at least 1.
    pub rows: usize,
    /// Width of an image in pixels, at least 1.
    pub columns: usize,
    /// One byte per pixel, image after image and row after row; at least one image.
    pub bytes: Vec<u8>,
}

/// Reads a file of images, plain or compressed.
pub(crate) fn images(path: &Path) -> Result<Pixels, DataError> {
    let ([images, rows, columns], bytes) = read(path, 0x0000_0803)?;
    if bytes.is_empty() {
        let found = format!("{images} images of {rows} × {columns} pixels");
        return Err(Problem::Empty { found }.at(path));
    }
    Ok(Pixels { rows: rows as usize, columns: columns as usize, bytes })
}

/// Reads a file of labels, plain or compressed.
pub(crate) fn labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let ([_], bytes) = read(path, 0x0000_0801)?;
    Ok(bytes)
}

/// Reads a file of `N` dimensions: the dimensions, and as many bytes as their product.
fn read<const N: usize>(path: &Path, magic: u32) -> Result<([u32; N], Vec<u8>), DataError> {
    let mut source = Source::open(path)?;
    let header = source.read(4 + 4 * N as u128)?;
    let word = |i| header.get(4 * i..4 * i + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let truncated =
        |found: usize, expected| Err(Problem::Truncated { found: found as u64, expected }.at(path));
    if let Some(found) = word(0).filter(|&found| found != magic) {
        let found = format!("begins with the number {found:#010x}");
        return Err(Problem::format(found, format!("{magic:#010x}")).at(path));
    }
    let mut dimensions = [0; N];
    for (i, dimension) in dimensions.iter_mut().enumerate() {
        let Some(word) = word(i + 1) else {
            return truncated(header.len(), 4 + 4 * N as u128);
        };
        *dimension = word;
    }

    // Three factors below 2³² cannot exceed 128 bits, whatever the header claims.
    let promised: u128 = dimensions.iter().map(|&n| u128::from(n)).product();
    // The byte too many tells a file that goes on from one that ends here.
    let body = source.read(promised + 1)?;
    let expected = header.len() as u128 + promised;
    if (body.len() as u128) < promised {
        truncated(header.len() + body.len(), expected)
    } else if body.len() as u128 > promised {
        Err(Problem::TrailingBytes { expected }.at(path))
    } else {
        Ok((dimensions, body))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::gzip;

    fn file(magic: u32, dimensions: &[u32], body: &[u8]) -> Vec<u8> {
        let words = [&[magic], dimensions].concat();
        words.iter().flat_map(|word| word.to_be_bytes()).chain(body.iter().copied()).collect()
    }

    /// Two images of 2 × 3 pixels.
    fn good() -> Vec<u8> {
        file(0x803, &[2, 2, 3], &[0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15])
    }

    fn try_images(bytes: &[u8]) -> Result<Pixels, DataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        images(file.path())
    }

    fn try_labels(bytes: &[u8]) -> Result<Vec<u8>, DataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        labels(file.path())
    }

    /// What is wrong with the file, as it is and compressed.
    #[track_caller]
    fn assert_images_fail(bytes: &[u8], expected: impl Fn(&Problem) -> bool) {
        for bytes in [bytes, &gzip(bytes)] {
            let error = try_images(bytes).err().expect("the file is not well formed");
            assert!(error.path.is_some() && expected(&error.problem), "{error}");
        }
    }

    fn truncated(length: usize, promised: u128) -> impl Fn(&Problem) -> bool {
        move |problem| match *problem {
            Problem::Truncated { found, expected } => (found, expected) == (length as u64, promised),
            _ => false,
        }
    }

    #[test]
    fn plain_and_compressed_files_hold_the_same() {
        let halves = [gzip(&good()[..20]), gzip(&good()[20..])].concat();
        for bytes in [good(), gzip(&good()), halves] {
            let images = try_images(&bytes).unwrap();
            assert_eq!((images.rows, images.columns), (2, 3));
            assert_eq!(images.bytes, good()[16..]);
        }
        for bytes in [file(0x801, &[3], &[7, 8, 9]), gzip(&file(0x801, &[3], &[7, 8, 9]))] {
            assert_eq!(try_labels(&bytes).unwrap(), [7, 8, 9]);
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let path = Path::new("no/such");
        for error in [images(path).err(), labels(path).err()] {
            let error = error.expect("there is no such file");
            assert!(matches!(error.problem, Problem::Io(_)), "{error}");
            assert_eq!(error.path.as_deref(), Some(path));
        }
    }

    #[test]
    fn the_magic_number_is_checked_first() {
        let numbers = |problem: &Problem, [begin, wanted]: [&str; 2]| match problem {
            Problem::Format { found, expected } => found.ends_with(begin) && expected == wanted,
            _ => false,
        };
        let labels_for_images = |problem: &Problem| numbers(problem, ["0x00000801", "0x00000803"]);
        assert_images_fail(&file(0x801, &[3], &[7, 8, 9]), labels_for_images);
        assert_images_fail(&file(0x801, &[], &[]), labels_for_images);
        let error = try_labels(&good()).expect_err("these are images");
        assert!(numbers(&error.problem, ["0x00000803", "0x00000801"]), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error_that_tells_the_lengths() {
        for length in 0..good().len() {
            let expected = if length < 16 { 16 } else { 28 };
            assert_images_fail(&good()[..length], truncated(length, expected));
        }
        let error = try_labels(&file(0x801, &[3], &[7, 8])).expect_err("a label is missing");
        assert!(truncated(10, 11)(&error.problem), "{error}");
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let trailing = |problem: &Problem| matches!(problem, Problem::TrailingBytes { expected: 28 });
        assert_images_fail(&[good(), vec![0]].concat(), trailing);
        assert_images_fail(&[good(), good()].concat(), trailing);
    }

    #[test]
    fn a_file_without_pixels_is_an_error() {
        for [n, h, w] in [[0, 2, 3], [2, 0, 3], [u32::MAX, u32::MAX, 0]] {
            let images = format!("{n} images of {h} × {w} pixels");
            let empty = |problem: &Problem| matches!(problem, Problem::Empty { found } if *found == images);
            assert_images_fail(&file(0x803, &[n, h, w], &[]), empty);
        }
    }

    /// Room for these would not fit into memory, and the second length not even into 64 bits.
    #[test]
    fn a_hostile_header_reserves_nothing() {
        let file = |dimensions: [u32; 3]| file(0x803, &dimensions, &[0; 4]);
        assert_images_fail(&file([u32::MAX, 28, 28]), truncated(20, 3_367_254_359_296));
        assert_images_fail(&file([u32::MAX; 3]), truncated(20, 79_228_162_458_924_105_385_300_197_391));
    }

    /// Decompressing all of it would meet the cut end and report that instead.
    #[test]
    fn a_gzip_bomb_is_left_where_the_header_ends() {
        let bomb = gzip(&file(0x803, &[1, 1, 1], &vec![0; 1 << 25]));
        let error = try_images(&bomb[..bomb.len() / 2]).err().expect("the file goes on");
        assert!(matches!(error.problem, Problem::TrailingBytes { expected: 17 }), "{error}");
    }

    #[test]
    fn broken_gzip_files_are_errors() {
        let whole = gzip(&good());
        let mut wrong_checksum = whole.clone();
        wrong_checksum[whole.len() - 8] ^= 1;
        let garbage = [&[0x1f, 0x8b][..], &[0xa5; 40]].concat();
        let trailing = [&whole[..], b"trailing garbage"].concat();
        for bytes in [wrong_checksum, garbage, trailing] {
            let error = try_images(&bytes).err().expect("the file is broken");
            assert!(matches!(error.problem, Problem::Decode { format: "gzip", .. }), "{error}");
        }
        for length in 2..whole.len() {
            let error = try_images(&whole[..length]).err().expect("the file is cut");
            assert!(matches!(error.problem, Problem::Decode { format: "gzip", .. }), "{length}: {error}");
        }
    }
}

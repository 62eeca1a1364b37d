//! IDX, the file format of the MNIST family: a header of big-endian numbers, then one byte per value.

use std::{cmp::Ordering, path::Path};

use diffusion_core::{counted, watch::Watch};

use crate::{
    error::{DataError, Problem},
    source::{Source, check_memory},
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

/// The types of numbers that labels may have, as the third byte of a file says, and their widths in bytes.
const INTEGERS: [(u8, usize); 4] = [(0x08, 1), (0x09, 1), (0x0b, 2), (0x0c, 4)];

/// Reads a file of images, plain or compressed.
pub(crate) fn images(path: &Path, watch: &Watch) -> Result<Pixels, DataError> {
    let mut source = Source::open(path)?;
    let magic = source.read(4, watch)?;
    if let Some(found) = word(&magic, 0).filter(|&found| found != 0x0000_0803) {
        let found = format!("begins with the number {found:#010x}");
        return Err(source.is_not(found, "0x00000803, for images of one byte per pixel"));
    }
    let [images, rows, columns] = dimensions(&mut source, path, magic.len(), watch)?;
    let bytes = body(&mut source, path, 16, [images, rows, columns], watch)?;
    if bytes.is_empty() {
        let found = format!("{} of {rows} × {columns} pixels", counted(images, "image"));
        return Err(Problem::Empty { found }.at(path));
    }
    Ok(Pixels { rows: rows as usize, columns: columns as usize, bytes })
}

/// Reads a file of labels, plain or compressed: integers of 8, 16 or 32 bits, or rows of them that begin with the label,
/// as QMNIST's.
///
/// Nothing but the header is read if `check` refuses the number of labels.
///
/// # Errors
/// Also if a label is negative.
pub(crate) fn labels(
    path: &Path,
    check: impl FnOnce(usize) -> Result<(), Problem>,
    watch: &Watch,
) -> Result<Vec<u32>, DataError> {
    let mut source = Source::open(path)?;
    let magic = source.read(4, watch)?;
    let kind = INTEGERS.iter().find(|(kind, _)| magic.get(..3) == Some(&[0, 0, *kind]));
    let (&(kind, width), axes) = match (kind, magic.get(3)) {
        (Some(kind), Some(&axes @ 1..=2)) => (kind, axes),
        (_, None) => return Err(Problem::Truncated { found: magic.len() as u64, expected: 8 }.at(path)),
        _ => {
            let found = format!("begins with the number {:#010x}", word(&magic, 0).unwrap_or_default());
            return Err(source.is_not(found, "0x00000801, for labels of one byte"));
        }
    };
    let (header, [rows, columns]) = match axes {
        1 => (8, dimensions(&mut source, path, 4, watch).map(|[rows]| [rows, 1])?),
        _ => (12, dimensions(&mut source, path, 4, watch)?),
    };
    check(rows as usize).map_err(|problem| problem.at(path))?;
    let bytes = body(&mut source, path, header, [rows, columns, width as u32], watch)?;
    if bytes.is_empty() && rows > 0 {
        return Err(Problem::Empty {
            found: format!("{} of {}", counted(rows, "label"), counted(columns, "number")),
        }
        .at(path));
    }
    let mut labels = Vec::with_capacity(rows as usize);
    for (index, row) in bytes.chunks_exact(width.max(columns as usize * width)).enumerate() {
        let found = match (kind, row) {
            (0x08, &[byte, ..]) => byte.into(),
            (0x09, &[byte, ..]) => byte.cast_signed().into(),
            (0x0b, &[a, b, ..]) => i16::from_be_bytes([a, b]).into(),
            (_, &[a, b, c, d, ..]) => i32::from_be_bytes([a, b, c, d]),
            _ => 0,
        };
        match u32::try_from(found) {
            Ok(label) => labels.push(label),
            Err(_) => {
                let classes = i32::MAX as usize;
                return Err(Problem::Label { index, found: found.into(), classes }.at(path));
            }
        }
    }
    Ok(labels)
}

/// The number in four bytes.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// Reads the lengths of `N` axes, of which the file's first number, `begun` bytes of it, was read before.
fn dimensions<const N: usize>(
    source: &mut Source<'_>,
    path: &Path,
    begun: usize,
    watch: &Watch,
) -> Result<[u32; N], DataError> {
    let bytes = source.read(4 * N as u128, watch)?;
    let mut dimensions = [0; N];
    for (i, dimension) in dimensions.iter_mut().enumerate() {
        let Some(word) = word(&bytes, 4 * i) else {
            let found = (begun + bytes.len()) as u64;
            return Err(Problem::Truncated { found, expected: 4 + 4 * N as u128 }.at(path));
        };
        *dimension = word;
    }
    Ok(dimensions)
}

/// Reads as many bytes as the product of `dimensions` and makes sure that they end the file. Nothing is read of a file
/// whose length is seen to be wrong, or of one that does not fit into memory.
fn body<const N: usize>(
    source: &mut Source<'_>,
    path: &Path,
    header: u64,
    dimensions: [u32; N],
    watch: &Watch,
) -> Result<Vec<u8>, DataError> {
    // Three factors below 2³² cannot exceed 128 bits, whatever the header claims.
    let promised: u128 = dimensions.iter().map(|&n| u128::from(n)).product();
    let expected = u128::from(header) + promised;
    let ends_at = |found: u64| match u128::from(found).cmp(&expected) {
        Ordering::Less => Err(Problem::Truncated { found, expected }.at(path)),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(Problem::TrailingBytes { expected }.at(path)),
    };
    if let Some(length) = source.plain_length() {
        ends_at(length)?;
        check_memory(promised).map_err(|problem| problem.at(path))?;
    }
    // The byte too many tells a file that goes on from one that ends here.
    let mut body = source.read(promised + 1, watch)?;
    ends_at(header + body.len() as u64)?;
    body.shrink_to_fit();
    Ok(body)
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
        images(file.path(), &Watch::default())
    }

    fn try_labels(bytes: &[u8]) -> Result<Vec<u32>, DataError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        labels(file.path(), |_| Ok(()), &Watch::default())
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
        for error in
            [images(path, &Watch::default()).err(), labels(path, |_| Ok(()), &Watch::default()).err()]
        {
            let error = error.expect("there is no such file");
            assert!(matches!(error.problem, Problem::Io(_)), "{error}");
            assert_eq!(error.path.as_deref(), Some(path));
        }
    }

    #[test]
    fn the_magic_number_is_checked_first() {
        let numbers = |problem: &Problem, [begin, wanted]: [&str; 2]| match problem {
            Problem::Format { found, expected } => found.ends_with(begin) && expected.starts_with(wanted),
            _ => false,
        };
        let labels_for_images = |problem: &Problem| numbers(problem, ["0x00000801", "0x00000803"]);
        assert_images_fail(&file(0x801, &[3], &[7, 8, 9]), labels_for_images);
        assert_images_fail(&file(0x801, &[], &[]), labels_for_images);
        let error = try_labels(&good()).expect_err("these are images");
        assert!(numbers(&error.problem, ["0x00000803", "0x00000801"]), "{error}");
    }

    /// QMNIST's labels are rows of eight numbers, of which the first is the class.
    #[test]
    fn labels_may_have_any_type_of_integer() {
        let of = |kind: u32, body: &[u8]| file(0x800 + kind, &[2], body);
        let rows = file(0xc02, &[2, 2], &[0, 0, 1, 0, 9, 9, 9, 9, 0, 0, 0, 7, 9, 9, 9, 9]);
        for (bytes, expected) in [
            (of(0x001, &[255, 7]), [255, 7]),
            (of(0x101, &[127, 7]), [127, 7]),
            (of(0x301, &[1, 0, 0, 7]), [256, 7]),
            (of(0x401, &[0, 0, 1, 0, 0, 0, 0, 7]), [256, 7]),
            (rows, [256, 7]),
        ] {
            assert_eq!(try_labels(&bytes).unwrap(), expected);
        }
        for bytes in [of(0x101, &[1, 255]), of(0x301, &[0, 1, 255, 255])] {
            let error = try_labels(&bytes).unwrap_err();
            assert!(matches!(error.problem, Problem::Label { index: 1, found: -1, .. }), "{error}");
        }
        let error = try_labels(&file(0xc02, &[2, 0], &[])).unwrap_err();
        assert!(matches!(error.problem, Problem::Empty { .. }), "{error}");
        for (magic, body) in [(0xd01, 8), (0x803, 8), (0x10801, 2)] {
            let error = try_labels(&file(magic, &[2], &vec![0; body])).unwrap_err();
            assert!(matches!(error.problem, Problem::Format { .. }), "{error}");
        }
    }

    /// A file that takes no room on the disk, and none in memory where its header does not fit.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_sparse_file_takes_no_memory() {
        for dimensions in [[3, 28, 28], [1 << 29, 64, 64]] {
            let file_with_header = tempfile::NamedTempFile::new().unwrap();
            fs::write(file_with_header.path(), file(0x803, &dimensions, &[])).unwrap();
            let sparse = fs::File::options().write(true).open(file_with_header.path()).unwrap();
            // Beyond what such file systems allow there is nothing to try.
            if sparse.set_len(16 + (1 << 41)).is_err() {
                continue;
            }
            let error = images(file_with_header.path(), &Watch::default()).err().expect("it is too large");
            let known = matches!(error.problem, Problem::TrailingBytes { .. } | Problem::TooLarge { .. });
            assert!(known, "{error}");
        }
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

//! One safetensors file of latents: its header is read when it is opened, a latent when it is asked for.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use burn::tensor::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use crate::{DataError, error::first_names};

/// The tensor of the latents of the images.
const MEAN: &str = "latent_mean";
/// The tensor of the latents of the mirrored images.
pub(crate) const MIRRORED: &str = "latent_mean_flip";
/// The tensor of the labels.
const LABEL: &str = "label";

/// The longest header that the format allows, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// An open file of latents.
pub(crate) struct Shard {
    pub path: PathBuf,
    /// Channels, height and width of a latent, each at least 1.
    pub shape: [usize; 3],
    /// One for each latent, of which there is at least one.
    pub labels: Vec<usize>,
    file: File,
    mean: Rows,
    mirrored: Option<Rows>,
}

/// Where the latents of a tensor begin in the file, and how their numbers are written.
#[derive(Clone, Copy)]
struct Rows {
    start: u64,
    float: Float,
}

#[derive(Clone, Copy)]
enum Float {
    F32,
    F16,
    BF16,
}

impl Shard {
    /// Opens a file, checks its header against its length, and reads the labels, which must be below `classes`.
    pub(crate) fn open(path: &Path, classes: usize) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let (header, start) = header(&file, length, path)?;

        let info = tensor(&header, MEAN, path)?;
        let [n, shape @ ..] = latent_shape(info, path)?;
        let mean = rows(info, MEAN, start, path)?;
        let mirrored = match header.info(MIRRORED) {
            None => None,
            Some(mirrored) if mirrored.shape != info.shape => {
                return Err(wrong_shape(mirrored, MIRRORED, format!("{:?} as of {MEAN}", info.shape), path));
            }
            Some(mirrored) => Some(rows(mirrored, MIRRORED, start, path)?),
        };

        let info = tensor(&header, LABEL, path)?;
        if info.shape != [n] {
            return Err(wrong_shape(info, LABEL, format!("[{n}], one for each latent of {MEAN}"), path));
        }
        let labels = labels(&file, info, start, classes, path)?;
        Ok(Self { path: path.to_owned(), shape, labels, file, mean, mirrored })
    }

    /// Whether the latents of the mirrored images are there.
    pub(crate) fn has_mirrored(&self) -> bool {
        self.mirrored.is_some()
    }

    /// Copies the latent in row `row`, that of the image or that of the mirrored image.
    ///
    /// # Shapes
    /// - `into`: as long as the product of `shape`
    pub(crate) fn read(&self, row: usize, mirrored: bool, into: &mut [f32]) -> io::Result<()> {
        let rows = if mirrored { self.mirrored } else { Some(self.mean) };
        let Rows { start, float } = rows.ok_or(io::ErrorKind::NotFound)?;
        let width = match float {
            Float::F32 => 4,
            Float::F16 | Float::BF16 => 2,
        };
        let length = width * into.len();
        let mut bytes = vec![0; length];
        read_exact_at(&self.file, &mut bytes, start + row as u64 * length as u64)?;
        for (x, bytes) in into.iter_mut().zip(bytes.chunks_exact(width)) {
            *x = match float {
                Float::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                Float::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
                Float::BF16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            };
        }
        Ok(())
    }
}

/// What a file says about its tensors, and where the first of them begins.
///
/// The tensors lie one after the other without gaps, each as long as its shape and type make it, and the last one ends
/// where the file does; whatever else the header claims is an error here.
fn header(file: &File, length: u64, path: &Path) -> Result<(Metadata, u64), DataError> {
    let at_least = |expected: u64| match length {
        found if found < expected => {
            Err(DataError::Truncated { path: path.to_owned(), found, expected: expected.into() })
        }
        _ => Ok(()),
    };
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut size = [0; 8];
    at_least(8)?;
    read_exact_at(file, &mut size, 0).map_err(failed)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER {
        return Err(DataError::HeaderLength { path: path.to_owned(), found: size, limit: MAX_HEADER });
    }
    let start = 8 + size;
    at_least(start)?;
    let mut text = vec![0; size as usize];
    read_exact_at(file, &mut text, 8).map_err(failed)?;
    let header: Metadata = serde_json::from_slice(&text)
        .map_err(|source| DataError::Safetensors { path: path.to_owned(), source: source.into() })?;
    let expected = u128::from(start) + header.data_len() as u128;
    if u128::from(length) < expected {
        return Err(DataError::Truncated { path: path.to_owned(), found: length, expected });
    }
    if u128::from(length) > expected {
        return Err(DataError::TrailingBytes { path: path.to_owned(), expected });
    }
    Ok((header, start))
}

/// What a file says about one of its tensors.
fn tensor<'a>(header: &'a Metadata, name: &'static str, path: &Path) -> Result<&'a TensorInfo, DataError> {
    header.info(name).ok_or_else(|| {
        let names = first_names(header.tensors().keys().map(String::as_str), 8);
        DataError::MissingTensor { path: path.to_owned(), name, names }
    })
}

/// The number of latents, and their channels, height and width.
fn latent_shape(info: &TensorInfo, path: &Path) -> Result<[usize; 4], DataError> {
    match info.shape[..] {
        [n, c, h, w] if n * c * h * w > 0 => Ok([n, c, h, w]),
        _ => {
            let expected = "[n, channels, height, width] with at least 1 of each".to_owned();
            Err(wrong_shape(info, MEAN, expected, path))
        }
    }
}

fn wrong_shape(info: &TensorInfo, name: &'static str, expected: String, path: &Path) -> DataError {
    DataError::TensorShape { path: path.to_owned(), name, found: info.shape.clone(), expected }
}

fn wrong_type(info: &TensorInfo, name: &'static str, expected: &'static str, path: &Path) -> DataError {
    DataError::TensorType { path: path.to_owned(), name, found: info.dtype.to_string(), expected }
}

fn rows(info: &TensorInfo, name: &'static str, start: u64, path: &Path) -> Result<Rows, DataError> {
    let float = match info.dtype {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::BF16 => Float::BF16,
        _ => return Err(wrong_type(info, name, "F32, F16 or BF16", path)),
    };
    Ok(Rows { start: start + info.data_offsets.0 as u64, float })
}

/// Reads all labels, a stretch at a time.
fn labels(
    file: &File,
    info: &TensorInfo,
    start: u64,
    classes: usize,
    path: &Path,
) -> Result<Vec<usize>, DataError> {
    let signed = match info.dtype {
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => false,
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => true,
        _ => return Err(wrong_type(info, LABEL, "an integer of 8, 16, 32 or 64 bits", path)),
    };
    let width = info.dtype.bitsize() / 8;
    let (mut offset, end) = info.data_offsets;
    let mut labels = Vec::new();
    let mut bytes = Vec::new();
    while offset < end {
        bytes.resize((end - offset).min(width << 16), 0);
        read_exact_at(file, &mut bytes, start + offset as u64)
            .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
        offset += bytes.len();
        for bytes in bytes.chunks_exact(width) {
            let found = integer(bytes, signed);
            match usize::try_from(found) {
                Ok(label) if label < classes => labels.push(label),
                _ => {
                    let index = labels.len();
                    return Err(DataError::LabelRange { path: path.to_owned(), index, found, classes });
                }
            }
        }
    }
    Ok(labels)
}

/// The number that up to sixteen bytes stand for, the least significant first.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let negative = signed && bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    i128::from_le_bytes(wide)
}

/// Fills `into` with the bytes from `offset` on, whatever other threads read from the same file.
fn read_exact_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
    fill(into, offset, |into, offset| read_at(file, into, offset))
}

/// Calls `read_at` with what is still to be filled and where that lies, until nothing is.
fn fill(
    into: &mut [u8],
    offset: u64,
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < into.len() {
        match read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter")),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A tensor of a test: its name, type, shape and bytes.
#[cfg(test)]
pub(crate) type Tensor<'a> = (&'a str, Dtype, &'a [usize], Vec<u8>);

/// A safetensors file with these tensors, as the format's own writer makes it.
#[cfg(test)]
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    use safetensors::tensor::{TensorView, serialize};

    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

/// Numbers as the bytes of F32.
#[cfg(test)]
pub(crate) fn f32s(numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
    numbers.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use tempfile::TempDir;

    use super::*;

    fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard.safetensors");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn open(bytes: &[u8]) -> Result<Shard, DataError> {
        let (_folder, path) = file(bytes);
        Shard::open(&path, 1000)
    }

    /// The error's message, with an ellipsis for the path.
    #[track_caller]
    fn message(bytes: &[u8]) -> String {
        let (_folder, path) = file(bytes);
        let error = Shard::open(&path, 1000).err().expect("the file is not well formed").to_string();
        error.replace(&path.display().to_string(), "…")
    }

    fn read(shard: &Shard, row: usize, mirrored: bool) -> Vec<f32> {
        let mut into = vec![0.0; shard.shape.iter().product()];
        shard.read(row, mirrored, &mut into).unwrap();
        into
    }

    /// Three latents of shape [1, 1, 2], both ways, and labels.
    fn good() -> [Tensor<'static>; 3] {
        [
            (MEAN, Dtype::F32, &[3, 1, 1, 2], f32s([0.5, 1.0, 2.0, 3.0, 4.0, -5.0])),
            (MIRRORED, Dtype::F32, &[3, 1, 1, 2], f32s([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])),
            (LABEL, Dtype::U8, &[3], vec![7, 0, 255]),
        ]
    }

    /// `good` with another tensor in the place of one of them.
    fn with(at: usize, tensor: Tensor<'static>) -> Vec<u8> {
        let mut tensors = good();
        tensors[at] = tensor;
        safetensors(&tensors)
    }

    /// A file with any text for a header.
    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn latents_and_labels_come_back() {
        let shard = open(&safetensors(&good())).unwrap();
        assert_eq!(
            (shard.shape, &shard.labels[..], shard.has_mirrored()),
            ([1, 1, 2], &[7, 0, 255][..], true)
        );
        assert_eq!([0, 1, 2].map(|row| read(&shard, row, false)), [[0.5, 1.0], [2.0, 3.0], [4.0, -5.0]]);
        assert_eq!([2, 0, 1].map(|row| read(&shard, row, true)), [[14., 15.], [10., 11.], [12., 13.]]);

        let [mean, _, label] = good();
        let shard = open(&safetensors(&[mean, label])).unwrap();
        assert!(!shard.has_mirrored());
        assert_eq!(read(&shard, 2, false), [4.0, -5.0]);
        assert!(shard.read(0, true, &mut [0.0; 2]).is_err());
    }

    /// 1 + ½ and −2 in each type, and the greatest number of F16, `(2 − 2⁻¹⁰) · 2¹⁵`, whose bits are another number in
    /// BF16: sign 0, exponent 247, mantissa 127 of 128, so `(2 − 2⁻⁷) · 2¹²⁰`.
    #[test]
    fn every_type_of_latent_is_read() {
        for (dtype, bits, numbers) in [
            (Dtype::F16, [0x3e00, 0xc000, 0x7bff], [1.5, -2.0, 65504.0]),
            (Dtype::BF16, [0x3fc0, 0xc000, 0x7bff], [1.5, -2.0, (2.0 - 0.5_f32.powi(7)) * 2_f32.powi(120)]),
        ] {
            let bytes: Vec<u8> = bits.iter().flat_map(|bits: &u16| bits.to_le_bytes()).collect();
            let mean: Tensor = (MEAN, dtype, &[3, 1, 1, 1], bytes);
            // The two need not be of one type.
            let mirrored: Tensor = (MIRRORED, Dtype::F32, &[3, 1, 1, 1], f32s([7.0, 8.0, 9.0]));
            let shard = open(&safetensors(&[mean, mirrored, good()[2].clone()])).unwrap();
            assert_eq!([0, 1, 2].map(|row| read(&shard, row, false)[0]), numbers, "{dtype}");
            assert_eq!([0, 1, 2].map(|row| read(&shard, row, true)[0]), [7.0, 8.0, 9.0]);
        }
    }

    #[test]
    fn every_type_of_label_is_read() {
        use Dtype::{I8, I16, I32, I64, U8, U16, U32, U64};
        for (dtype, width) in [(U8, 1), (I8, 1), (U16, 2), (I16, 2), (U32, 4), (I32, 4), (U64, 8), (I64, 8)] {
            let great = if width == 1 { 127 } else { 999_u64 };
            let bytes = |labels: [u64; 3]| labels.map(|label| label.to_le_bytes()[..width].to_vec()).concat();
            let labels = |labels| open(&with(2, (LABEL, dtype, &[3], bytes(labels))));
            assert_eq!(labels([great, 0, 5]).unwrap().labels, [great as usize, 0, 5], "{dtype}");

            // All bits set are −1 or the greatest number of the type.
            let error = labels([4, u64::MAX, 1000]).map(|shard| shard.labels);
            let signed = matches!(dtype, I8 | I16 | I32 | I64);
            match error {
                Ok(labels) => assert_eq!((dtype, &labels[..]), (U8, &[4, 255, 1000 % 256][..])),
                Err(error) => {
                    let (found, expected) = match signed {
                        true => ("-1".to_owned(), "at least 0 and below 1000"),
                        false => ((u64::MAX >> (64 - 8 * width)).to_string(), "below 1000"),
                    };
                    let of = if signed { "of " } else { "" };
                    let expected =
                        format!(" gives example 1 the label {found}, expected a label {of}{expected}");
                    assert!(error.to_string().ends_with(&expected), "{dtype}: {error}");
                }
            }
        }
    }

    /// More labels than are read at a time.
    #[test]
    fn many_labels_are_read() {
        let n = 140_000;
        let file = |labels: &[u16]| {
            let labels = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            safetensors(&[
                (MEAN, Dtype::F16, &[n, 1, 1, 1], vec![0; 2 * n]),
                (LABEL, Dtype::I16, &[n], labels),
            ])
        };
        let mut labels: Vec<u16> = (0..n).map(|i| (i % 997) as u16).collect();
        assert!(
            open(&file(&labels))
                .unwrap()
                .labels
                .iter()
                .eq((0..n).map(|i| i % 997).collect::<Vec<_>>().iter())
        );
        labels[n - 2] = 1000;
        let expected = "… gives example 139998 the label 1000, expected a label below 1000";
        assert_eq!(message(&file(&labels)), expected);
    }

    #[test]
    fn every_truncation_is_an_error_that_tells_the_lengths() {
        let whole = safetensors(&good());
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        for length in 0..whole.len() {
            let expected = match length {
                0..8 => 8,
                _ if length < header => header,
                _ => whole.len(),
            };
            assert_eq!(
                message(&whole[..length]),
                format!("… ends after {length} bytes, expected {expected}")
            );
        }
        let expected = format!("… goes on after {} bytes, expected its end there", whole.len());
        assert_eq!(message(&[whole, vec![0]].concat()), expected);
    }

    #[test]
    fn a_hostile_header_reserves_nothing() {
        for length in [100_000_001, 1 << 60, u64::MAX] {
            let message = message(&[&length.to_le_bytes()[..], b"{}"].concat());
            assert_eq!(
                message,
                format!("… begins with a header of {length} bytes, expected at most 100000000")
            );
        }
        let cut = message(&[&100_000_000_u64.to_le_bytes()[..], b"{}"].concat());
        assert_eq!(cut, "… ends after 10 bytes, expected 100000008");
        // Text, whose first eight letters are a great number.
        assert!(message(b"this is not a file of latents").starts_with("… begins with a header of 2"));

        let latents = |n: u64, end: u64| {
            let dtype = "\"dtype\":\"F16\"";
            format!("{{\"latent_mean\":{{{dtype},\"shape\":[{n},1,1,1],\"data_offsets\":[0,{end}]}}}}")
        };
        let header = latents(1 << 58, 1 << 59);
        let expected =
            format!("… ends after {} bytes, expected {}", 8 + header.len(), 8 + header.len() + (1 << 59));
        assert_eq!(message(&with_header(&header, &[])), expected);
        // Here the bits are too many for a number of 64 bits, or the brackets for any parser.
        for header in
            [latents(1 << 60, 1 << 61), latents(1 << 63, 0), latents(u64::MAX, u64::MAX), "[".repeat(100_000)]
        {
            let message = message(&with_header(&header, &[]));
            assert!(
                message.starts_with("cannot read the header of … as that of a safetensors file: "),
                "{message}"
            );
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_is_an_error() {
        let header = |shape: &str, mean: &str, label: &str| {
            format!(
                "{{\"latent_mean\":{{\"dtype\":\"F16\",\"shape\":{shape},\"data_offsets\":{mean}}},\
                 \"label\":{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":{label}}}}}"
            )
        };
        let good = header("[2,1,1,1]", "[0,4]", "[4,6]");
        assert_eq!(open(&with_header(&good, &[0, 0, 0, 0, 8, 9])).unwrap().labels, [8, 9]);
        for bad in [
            // A tensor longer or shorter than its shape, a gap, an overlap, an end before the start, no shape.
            header("[3,1,1,1]", "[0,4]", "[4,6]"),
            header("[1,1,1,1]", "[0,4]", "[4,6]"),
            header("[2,1,1,1]", "[0,4]", "[5,7]"),
            header("[2,1,1,1]", "[0,4]", "[3,5]"),
            header("[2,1,1,1]", "[4,0]", "[4,6]"),
            header("[-2,1,1,1]", "[0,4]", "[4,6]"),
            "{".to_owned(),
            String::new(),
        ] {
            let message = message(&with_header(&bad, &[0; 6]));
            assert!(
                message.starts_with("cannot read the header of … as that of a safetensors file: "),
                "{bad}: {message}"
            );
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let [mean, mirrored, label] = good();
        let expected = "… has the tensors [label, latent_mean_flip], expected one named latent_mean";
        assert_eq!(message(&safetensors(&[mirrored, label])), expected);
        assert_eq!(
            message(&safetensors(&[mean])),
            "… has the tensors [latent_mean], expected one named label"
        );
        assert_eq!(message(&with_header("{}", &[])), "… has the tensors [], expected one named latent_mean");
        let names: Vec<String> = (0..20).map(|i| format!("{i:02}{}", "x".repeat(100))).collect();
        let many =
            safetensors(&names.iter().map(|n| (&n[..], Dtype::U8, &[1][..], vec![0])).collect::<Vec<_>>());
        let short = format!("07{}…, …], expected", "x".repeat(58));
        assert!(message(&many).contains(&short), "{}", message(&many));
    }

    /// The parser quotes what it does not know.
    #[test]
    fn what_a_header_says_is_shortened_and_plain() {
        let header = |dtype: &str| {
            format!("{{\"latent_mean\":{{\"dtype\":\"{dtype}\",\"shape\":[],\"data_offsets\":[0,0]}}}}")
        };
        let text = message(&with_header(&header("\\u001b[31m"), &[]));
        assert!(text.contains("unknown variant `\u{fffd}[31m`, expected one of `BOOL`, "), "{text:?}");
        let text = message(&with_header(&header(&"é".repeat(1000)), &[]));
        assert!(text.contains("unknown variant `éé") && text.ends_with("éé…"), "{text}");
        assert!((500..600).contains(&text.chars().count()), "{text}");

        let text = message(&with_header(
            "{\"\\u0007\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            &[0],
        ));
        assert_eq!(text, "… has the tensors [\u{fffd}], expected one named latent_mean");
    }

    #[test]
    fn tensors_must_have_the_right_shape() {
        let latents = "[n, channels, height, width] with at least 1 of each";
        for (shape, n) in [
            (&[3, 2][..], 6),
            (&[3, 1, 2], 6),
            (&[3, 1, 1, 2, 1], 6),
            (&[], 1),
            (&[0, 1, 1, 2], 0),
            (&[3, 0, 1, 2], 0),
        ] {
            let expected = format!("… has the tensor latent_mean of shape {shape:?}, expected {latents}");
            assert_eq!(message(&with(0, (MEAN, Dtype::F32, shape, f32s(vec![0.0; n])))), expected);
        }
        let as_mean = "[3, 1, 1, 2] as of latent_mean";
        for (shape, n) in [(&[2, 1, 1, 2][..], 4), (&[3, 1, 2, 1], 6)] {
            let expected =
                format!("… has the tensor latent_mean_flip of shape {shape:?}, expected {as_mean}");
            assert_eq!(message(&with(1, (MIRRORED, Dtype::F32, shape, f32s(vec![0.0; n])))), expected);
        }
        for (shape, n) in [(&[2][..], 2), (&[4], 4), (&[3, 1], 3), (&[], 1)] {
            let expected = format!(
                "… has the tensor label of shape {shape:?}, expected [3], one for each latent of latent_mean"
            );
            assert_eq!(message(&with(2, (LABEL, Dtype::U8, shape, vec![0; n]))), expected);
        }
    }

    #[test]
    fn tensors_must_have_the_right_type() {
        for (dtype, width) in [(Dtype::F64, 8), (Dtype::U8, 1), (Dtype::I16, 2), (Dtype::F8_E4M3, 1)] {
            for (at, name) in [(0, MEAN), (1, MIRRORED)] {
                let expected = format!("… has the tensor {name} of type {dtype}, expected F32, F16 or BF16");
                assert_eq!(message(&with(at, (name, dtype, &[3, 1, 1, 2], vec![0; 6 * width]))), expected);
            }
        }
        for (dtype, width) in [(Dtype::F32, 4), (Dtype::BOOL, 1), (Dtype::BF16, 2)] {
            let expected = format!(
                "… has the tensor label of type {dtype}, expected an integer of 8, 16, 32 or 64 bits"
            );
            assert_eq!(message(&with(2, (LABEL, dtype, &[3], vec![0; 3 * width]))), expected);
        }
    }

    #[test]
    fn integers_have_their_sign() {
        let signed = [(&[0x7f][..], 127), (&[0x80], -128), (&[0, 0x80], -32768), (&[0xff, 0], 255)];
        for (bytes, number) in signed {
            assert_eq!(integer(bytes, true), number);
        }
        assert_eq!((integer(&[0x80], false), integer(&[0xff; 8], false)), (128, u64::MAX.into()));
    }

    /// The system may give fewer bytes than are asked for, or none because something else came up.
    #[test]
    fn reading_goes_on_until_all_is_there() {
        let file: Vec<u8> = (0..20).collect();
        let interrupted = Cell::new(false);
        let read_at = |into: &mut [u8], offset: u64| {
            if !interrupted.replace(!interrupted.get()) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = &file[offset as usize..];
            let n = rest.len().min(into.len()).min(3);
            into[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        };
        let mut into = [0; 10];
        fill(&mut into, 5, read_at).unwrap();
        assert_eq!(into, file[5..15]);
        let error = fill(&mut into, 15, read_at).expect_err("five bytes are left");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let broken = |_: &mut [u8], _: u64| Err(io::ErrorKind::PermissionDenied.into());
        let error = fill(&mut into, 0, broken).expect_err("nothing can be read");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let (_folder, path) = file(&safetensors(&good()));
        let shard = Shard::open(&path, 1000).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(20).unwrap();
        let error = shard.read(0, false, &mut [0.0; 2]).expect_err("the latents are gone");
        assert_eq!(error.to_string(), "the file has become shorter");
    }
}

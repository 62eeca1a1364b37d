//! One safetensors file of latents: its header is read when it is opened, a latent when it is asked for.

use std::path::{Path, PathBuf};

use diffusion_core::watch::Watch;
use diffusion_weights::{Dtype, TensorFile};

use crate::{
    error::{DataError, Problem, first_names},
    source::{check_memory, file_length},
};

/// The tensor of the latents of the images.
const MEAN: &str = "latent_mean";
/// The tensor of the latents of the mirrored images.
pub(crate) const MIRRORED: &str = "latent_mean_flip";
/// The tensor of the labels.
const LABEL: &str = "label";

/// How many integers are read at a time.
const READ: usize = 1 << 16;

/// What a file of latents has, whether it is open or not.
pub(crate) struct Shard {
    pub path: PathBuf,
    /// How many latents, at least one.
    pub len: usize,
    /// Channels, height and width of a latent, each at least 1.
    pub shape: [usize; 3],
    /// One for each latent, if they were asked for.
    labels: Option<Vec<usize>>,
    mirrored: bool,
}

impl Shard {
    /// Opens a file and checks its header against its length. Reads the labels, which must be below `classes`; does not
    /// look at them, and needs none, if that is absent.
    pub(crate) fn open(
        path: &Path,
        classes: Option<usize>,
        watch: &Watch,
    ) -> Result<(Self, TensorFile), DataError> {
        let (file, [n, shape @ ..], mirrored) = open(path)?;
        let labels = match classes {
            Some(classes) => {
                let check = |index, found| match usize::try_from(found) {
                    Ok(label) if label < classes => Ok(label),
                    _ => Err(Problem::Label { index, found, classes }),
                };
                Some(integers(&file, LABEL, n, watch, check)?)
            }
            None => None,
        };
        Ok((Self { path: path.to_owned(), len: n, shape, labels, mirrored }, file))
    }

    /// Opens the file once more, which must be as it was.
    pub(crate) fn reopen(&self) -> Result<TensorFile, DataError> {
        let (file, [n, shape @ ..], mirrored) = open(&self.path)?;
        if (n, shape, mirrored) != (self.len, self.shape, self.mirrored) {
            let found = "has other tensors than when it was opened first";
            return Err(Problem::format(found, "that it stays as it is").at(&self.path));
        }
        Ok(file)
    }

    /// Whether the latents of the mirrored images are there.
    pub(crate) fn has_mirrored(&self) -> bool {
        self.mirrored
    }

    /// The label of a latent; 0 where labels were not asked for.
    pub(crate) fn label(&self, row: usize) -> usize {
        self.labels.as_ref().map_or(0, |labels| labels[row])
    }
}

/// Reads the latent in row `row` of a shard's file, that of the image or that of the mirrored image, which must be there.
///
/// # Shapes
/// - `into`: as long as the product of the shard's `shape`
///
/// # Errors
/// If the file can no longer be read, or a value is infinite or not a number.
pub(crate) fn read(file: &TensorFile, row: usize, mirrored: bool, into: &mut [f32]) -> Result<(), DataError> {
    file.read_rows(if mirrored { MIRRORED } else { MEAN }, row..row + 1, into)?;
    // Without a branch for each value, this takes a hundredth of the time of reading.
    if into.iter().fold(true, |finite, x| finite & x.is_finite()) {
        return Ok(());
    }
    let position = into.iter().position(|x| !x.is_finite()).unwrap_or_default();
    Err(Problem::NonFinite { index: row, position, found: into[position] }.at(file.path()))
}

/// Opens a file, whose tensors of latents are as they should be: the number of latents and their shape, and whether the
/// mirrored ones are there.
fn open(path: &Path) -> Result<(TensorFile, [usize; 4], bool), DataError> {
    file_length(path)?;
    let file = TensorFile::open_safetensors(path)?;
    let shape = latent_shape(&file)?;
    check_floats(&file, MEAN)?;
    let Some(mirrored) = file.shape(MIRRORED) else { return Ok((file, shape, false)) };
    if mirrored != shape {
        return Err(wrong_shape(&file, MIRRORED, format!("{shape:?} as of {MEAN}")));
    }
    check_floats(&file, MIRRORED)?;
    Ok((file, shape, true))
}

/// The shape of a tensor that must be there.
pub(crate) fn tensor<'a>(file: &'a TensorFile, name: &'static str) -> Result<&'a [usize], DataError> {
    file.shape(name).ok_or_else(|| {
        let names = first_names(file.names(), 8);
        Problem::Missing { wanted: format!("tensor {name}"), found: names }.at(file.path())
    })
}

/// The number of latents, and their channels, height and width.
fn latent_shape(file: &TensorFile) -> Result<[usize; 4], DataError> {
    match *tensor(file, MEAN)? {
        [n, c, h, w] if n * c * h * w > 0 => Ok([n, c, h, w]),
        _ => {
            let expected = "[n, channels, height, width] with at least 1 of each".to_owned();
            Err(wrong_shape(file, MEAN, expected))
        }
    }
}

/// Whether a tensor is of one of the types of latents.
pub(crate) fn check_floats(file: &TensorFile, name: &'static str) -> Result<(), DataError> {
    match file.dtype(name) {
        Some(Dtype::F32 | Dtype::F16 | Dtype::Bf16) => Ok(()),
        _ => Err(wrong_type(file, name, "F32, F16 or BF16")),
    }
}

/// A tensor that is there has another shape than `expected`.
pub(crate) fn wrong_shape(file: &TensorFile, name: &'static str, expected: String) -> DataError {
    let found = file.shape(name).unwrap_or_default().into();
    Problem::Shape { part: format!("the tensor {name}"), found, expected }.at(file.path())
}

fn wrong_type(file: &TensorFile, name: &'static str, expected: &'static str) -> DataError {
    let found = file.dtype(name).map(ToString::to_string).unwrap_or_default();
    Problem::format(format!("has the tensor {name} of type {found}"), expected).at(file.path())
}

/// Reads a tensor that must have a whole number for each of `n` latents, a stretch at a time. `check` is told the latent
/// and its number.
pub(crate) fn integers(
    file: &TensorFile,
    name: &'static str,
    n: usize,
    watch: &Watch,
    check: impl Fn(usize, i128) -> Result<usize, Problem>,
) -> Result<Vec<usize>, DataError> {
    if tensor(file, name)? != [n] {
        return Err(wrong_shape(file, name, format!("[{n}], one for each latent of {MEAN}")));
    }
    if !file.dtype(name).is_some_and(Dtype::is_integer) {
        return Err(wrong_type(file, name, "an integer of 8, 16, 32 or 64 bits"));
    }
    check_memory(size_of::<usize>() as u128 * n as u128).map_err(|problem| problem.at(file.path()))?;
    let mut integers = Vec::new();
    while integers.len() < n {
        watch.check()?;
        let rows = integers.len()..n.min(integers.len() + READ);
        for found in file.read_integers(name, rows)? {
            let checked = check(integers.len(), found);
            integers.push(checked.map_err(|problem| problem.at(file.path()))?);
        }
    }
    Ok(integers)
}

/// A tensor of a test: its name, type, shape and bytes.
#[cfg(test)]
pub(crate) type Tensor<'a> = (&'a str, safetensors::Dtype, &'a [usize], Vec<u8>);

/// A safetensors file with these tensors, as the format's own writer makes it.
#[cfg(test)]
pub(crate) fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    use safetensors::tensor::{TensorView, serialize};

    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

/// Values as the bytes of F32.
#[cfg(test)]
pub(crate) fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use safetensors::Dtype;
    use tempfile::TempDir;

    use super::*;

    fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard.safetensors");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn open(bytes: &[u8]) -> Result<(Shard, TensorFile), DataError> {
        let (_folder, path) = file(bytes);
        Shard::open(&path, Some(1000), &Watch::default())
    }

    fn labels_of(bytes: &[u8]) -> Result<Vec<usize>, DataError> {
        open(bytes).map(|(shard, _)| shard.labels.expect("they were asked for"))
    }

    /// The error's message, with an ellipsis for the path.
    #[track_caller]
    fn message(bytes: &[u8]) -> String {
        let (_folder, path) = file(bytes);
        let error = Shard::open(&path, Some(1000), &Watch::default());
        let error = error.err().expect("the file is not well formed").to_string();
        error.replace(&path.display().to_string(), "…")
    }

    fn read((shard, file): &(Shard, TensorFile), row: usize, mirrored: bool) -> Vec<f32> {
        let mut into = vec![0.0; shard.shape.iter().product()];
        super::read(file, row, mirrored, &mut into).unwrap();
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
        assert_eq!((shard.0.len, shard.0.shape, shard.0.has_mirrored()), (3, [1, 1, 2], true));
        assert_eq!([0, 1, 2].map(|row| shard.0.label(row)), [7, 0, 255]);
        assert_eq!([0, 1, 2].map(|row| read(&shard, row, false)), [[0.5, 1.0], [2.0, 3.0], [4.0, -5.0]]);
        assert_eq!([2, 0, 1].map(|row| read(&shard, row, true)), [[14., 15.], [10., 11.], [12., 13.]]);

        let [mean, _, label] = good();
        let shard = open(&safetensors(&[mean, label])).unwrap();
        assert!(!shard.0.has_mirrored());
        assert_eq!(read(&shard, 2, false), [4.0, -5.0]);
    }

    /// 1 + ½ and −2 in each type, and the greatest number of F16, `(2 − 2⁻¹⁰) · 2¹⁵`, whose bits are another number in
    /// BF16: sign 0, exponent 247, mantissa 127 of 128, so `(2 − 2⁻⁷) · 2¹²⁰`.
    #[test]
    fn every_type_of_latent_is_read() {
        for (dtype, bits, values) in [
            (Dtype::F16, [0x3e00, 0xc000, 0x7bff], [1.5, -2.0, 65504.0]),
            (Dtype::BF16, [0x3fc0, 0xc000, 0x7bff], [1.5, -2.0, (2.0 - 0.5_f32.powi(7)) * 2_f32.powi(120)]),
        ] {
            let bytes: Vec<u8> = bits.iter().flat_map(|bits: &u16| bits.to_le_bytes()).collect();
            let mean: Tensor = (MEAN, dtype, &[3, 1, 1, 1], bytes);
            // The two need not be of one type.
            let mirrored: Tensor = (MIRRORED, Dtype::F32, &[3, 1, 1, 1], f32s([7.0, 8.0, 9.0]));
            let shard = open(&safetensors(&[mean, mirrored, good()[2].clone()])).unwrap();
            assert_eq!([0, 1, 2].map(|row| read(&shard, row, false)[0]), values, "{dtype}");
            assert_eq!([0, 1, 2].map(|row| read(&shard, row, true)[0]), [7.0, 8.0, 9.0]);
        }
    }

    #[test]
    fn every_type_of_label_is_read() {
        use Dtype::{I8, I16, I32, I64, U8, U16, U32, U64};
        for (dtype, width) in [(U8, 1), (I8, 1), (U16, 2), (I16, 2), (U32, 4), (I32, 4), (U64, 8), (I64, 8)] {
            let great = if width == 1 { 127 } else { 999_u64 };
            let bytes = |labels: [u64; 3]| labels.map(|label| label.to_le_bytes()[..width].to_vec()).concat();
            let labels = |labels| labels_of(&with(2, (LABEL, dtype, &[3], bytes(labels))));
            assert_eq!(labels([great, 0, 5]).unwrap(), [great as usize, 0, 5], "{dtype}");

            // All bits set are −1 or the greatest number of the type.
            let error = labels([4, u64::MAX, 1000]);
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
        assert!(labels_of(&file(&labels)).unwrap().iter().copied().eq((0..n).map(|i| i % 997)));
        labels[n - 2] = 1000;
        let expected = "… gives example 139998 the label 1000, expected a label below 1000";
        assert_eq!(message(&file(&labels)), expected);
    }

    #[test]
    fn every_truncation_is_an_error_that_tells_the_lengths() {
        let whole = safetensors(&good());
        let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let data = whole.len() - 8 - header;
        for length in 0..whole.len() {
            let expected = match length {
                0..8 => format!("it has {length} bytes, expected a safetensors header"),
                _ if length < 8 + header => {
                    format!("its header has {header} bytes, expected at most {}", length - 8)
                }
                _ => format!(
                    "it holds {} bytes of tensors, expected {data} after its header",
                    length - 8 - header
                ),
            };
            assert_eq!(message(&whole[..length]), format!("cannot decode … as a tensor file: {expected}"));
        }
        let expected = format!("it holds {} bytes of tensors, expected {data} after its header", data + 1);
        assert_eq!(
            message(&[whole, vec![0]].concat()),
            format!("cannot decode … as a tensor file: {expected}")
        );
    }

    #[test]
    fn a_hostile_header_reserves_nothing() {
        for length in [100_000_000, 1 << 60, u64::MAX] {
            let message = message(&[&length.to_le_bytes()[..], b"{}"].concat());
            let expected = format!("its header has {length} bytes, expected at most 2");
            assert_eq!(message, format!("cannot decode … as a tensor file: {expected}"));
        }
        // Text, whose first eight letters are a great number, and what is known by no first bytes.
        let text = message(b"this is not a file of latents");
        assert!(text.starts_with("cannot decode … as a tensor file: it is a text"), "{text}");
        let unknown = message(&[0xc3; 20]);
        assert!(unknown.starts_with("cannot decode … as a tensor file: its header has 1"), "{unknown}");

        let latents = |n: u64, end: u64| {
            let dtype = "\"dtype\":\"F16\"";
            format!("{{\"latent_mean\":{{{dtype},\"shape\":[{n},1,1,1],\"data_offsets\":[0,{end}]}}}}")
        };
        let expected = format!(
            "cannot decode … as a tensor file: it holds 0 bytes of tensors, expected {} after its header",
            1u64 << 59
        );
        assert_eq!(message(&with_header(&latents(1 << 58, 1 << 59), &[])), expected);
        // Here the bits are too many for a number of 64 bits, or the brackets for any parser.
        for header in
            [latents(1 << 60, 1 << 61), latents(1 << 63, 0), latents(u64::MAX, u64::MAX), "[".repeat(100_000)]
        {
            let message = message(&with_header(&header, &[]));
            assert!(message.starts_with("cannot decode … as a tensor file: "), "{message}");
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
        assert_eq!(labels_of(&with_header(&good, &[0, 0, 0, 0, 8, 9])).unwrap(), [8, 9]);
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
            assert!(message.starts_with("cannot decode … as a tensor file: "), "{bad}: {message}");
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let [mean, mirrored, label] = good();
        let expected = "found no tensor latent_mean in …, which has [label, latent_mean_flip]";
        assert_eq!(message(&safetensors(&[mirrored, label])), expected);
        assert_eq!(message(&safetensors(&[mean])), "found no tensor label in …, which has [latent_mean]");
        assert_eq!(message(&with_header("{}", &[])), "found no tensor latent_mean in …");
        let names: Vec<String> = (0..20).map(|i| format!("{i:02}{}", "x".repeat(100))).collect();
        let many =
            safetensors(&names.iter().map(|n| (&n[..], Dtype::U8, &[1][..], vec![0])).collect::<Vec<_>>());
        let short = format!("07{}…, …]", "x".repeat(58));
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
        assert_eq!(text, "found no tensor latent_mean in …, which has [\u{fffd}]");
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
    fn a_value_that_is_not_finite_is_an_error_that_names_its_place() {
        for (bits, found) in [(0x7e00, "NaN"), (0xfc00, "-inf"), (0x7c00, "inf")] {
            let bytes: Vec<u8> =
                [0, 0, 0, bits, 0, 0].iter().flat_map(|bits: &u16| bits.to_le_bytes()).collect();
            let (_folder, path) = file(&with(0, (MEAN, Dtype::F16, &[3, 1, 1, 2], bytes)));
            let (_, open) = Shard::open(&path, Some(1000), &Watch::default()).unwrap();
            let error = super::read(&open, 1, false, &mut [0.0; 2]).unwrap_err();
            assert_eq!(error.path.as_deref(), Some(path.as_path()));
            assert!(matches!(error.problem, Problem::NonFinite { index: 1, position: 1, .. }), "{error}");
            assert!(error.to_string().contains(found), "{error}");
            super::read(&open, 2, false, &mut [0.0; 2]).unwrap();
        }
    }

    #[test]
    fn labels_that_are_not_asked_for_are_not_looked_at() {
        let [mean, mirrored, _] = good();
        let beyond = with(2, (LABEL, Dtype::I16, &[3], vec![255; 6]));
        let elsewhere = with(2, (LABEL, Dtype::F32, &[2], vec![0; 8]));
        for bytes in [safetensors(&[mean, mirrored]), beyond, elsewhere] {
            let (_folder, path) = file(&bytes);
            let (shard, _) = Shard::open(&path, None, &Watch::default()).unwrap();
            assert_eq!((shard.len, shard.label(2)), (3, 0));
            assert!(Shard::open(&path, Some(1000), &Watch::default()).is_err());
        }
    }

    #[test]
    fn a_file_that_was_replaced_is_an_error() {
        let (_folder, path) = file(&safetensors(&good()));
        let (shard, _) = Shard::open(&path, Some(1000), &Watch::default()).unwrap();
        assert!(shard.reopen().is_ok());
        let [mean, _, label] = good();
        fs::write(&path, safetensors(&[mean, label])).unwrap();
        assert!(matches!(shard.reopen().unwrap_err().problem, Problem::Format { .. }));
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error() {
        let (_folder, path) = file(&safetensors(&good()));
        let (_, open) = Shard::open(&path, Some(1000), &Watch::default()).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(20).unwrap();
        let error = super::read(&open, 0, false, &mut [0.0; 2]).expect_err("the latents are gone");
        assert_eq!(error.to_string(), format!("cannot read {}: the file has become shorter", path.display()));
    }
}

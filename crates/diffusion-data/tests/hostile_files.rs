//! Files come from strangers: whatever is in them, it is read or it is an error. Nothing panics, and a size that a file
//! only claims reserves nothing.
//!
//! The files are drawn from a fixed seed, so that a failure comes back wherever it is looked for.

#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    fmt::{self, Debug, Formatter},
    fs,
    io::{Cursor, Write},
    path::Path,
};

use diffusion_data::{
    Channels, Cifar10, DataError, DatasaurusDozen, Dataset, Delimiter, ImageFolder, ImageFolderConfig,
    Latents, LatentsConfig, MnistLike, Problem,
};
use flate2::{
    Compression, Crc,
    write::{GzEncoder, ZlibEncoder},
};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
    prop_assert,
    sample::{Index, select},
    test_runner::{Config, RngSeed, TestCaseError, TestRunner},
};
use safetensors::tensor::{Dtype, TensorView, serialize};

/// How many files each test tries.
const CASES: u32 = 1000;

/// How much address space may come to be in use during a test, in MiB: several times what the largest image may take.
const ROOM: u64 = 4 << 10;

/// The bytes of a file, which a failing test shows on one line.
#[derive(Clone)]
struct File(Vec<u8>);

impl Debug for File {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl File {
    /// Writes a new file: some file systems wait for the disk where an old one is written over.
    fn write(&self, path: &Path) {
        let _ = fs::remove_file(path);
        fs::write(path, &self.0).unwrap();
    }
}

/// Tries [`CASES`] files, and returns how many of them `read` says were read.
fn try_files<F: Debug>(
    files: impl Strategy<Value = F>,
    read: impl Fn(&F) -> Result<bool, TestCaseError>,
) -> u32 {
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let count = Cell::new(0);
    let before = peak();
    let outcome = TestRunner::new(config).run(&files, |file| {
        count.set(count.get() + u32::from(read(&file)?));
        let grown = peak() - before;
        prop_assert!(grown < ROOM, "the address space has grown by {grown} MiB, expected less than {ROOM}");
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    count.get()
}

/// The greatest address space that this process has had, in MiB; room counts even if nothing was written there.
///
/// Where the system does not tell, an allocation must fail to be noticed.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or("0 kB");
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

/// Whether the data set could be opened; if so, `expected` must hold for the values and labels of its examples, and if
/// not, the error must be one line of text.
fn is_read<D: Dataset>(
    data: Result<D, DataError>,
    expected: impl Fn(&[f32], D::Label) -> bool,
) -> Result<bool, TestCaseError> {
    let data = match data {
        Ok(data) => data,
        Err(error) => {
            let message = error.to_string();
            prop_assert!(message.len() < 2000, "{} bytes of message, expected a line", message.len());
            prop_assert!(!message.contains(char::is_control), "{message:?} has control characters");
            return Ok(false);
        }
    };
    prop_assert!(!data.is_empty());
    let mut into = vec![0.0; data.shape().iter().product()];
    for index in (0..data.len().min(20)).chain([data.len() - 1]) {
        let label = match data.read(index, &mut into) {
            Ok(label) => label,
            Err(error) => {
                let is_known = matches!(error.problem, Problem::NonFinite { .. });
                prop_assert!(is_known, "{error}: the file has not changed");
                return Ok(false);
            }
        };
        prop_assert!(
            expected(&into, label.clone()),
            "example {index} has the label {label:?} and holds {into:?}"
        );
        if data.can_mirror().is_ok() {
            let Ok(label) = data.read_mirrored(index, &mut into) else { return Ok(false) };
            prop_assert!(
                expected(&into, label.clone()),
                "mirrored, example {index} has {label:?} and holds {into:?}"
            );
        }
    }
    Ok(true)
}

/// What is expected of an image of ten classes.
fn is_image(values: &[f32], label: usize) -> bool {
    label < 10 && values.iter().all(|x| (-1.0..=1.0).contains(x))
}

/// Some files were read and some were not, or else a test has tried nothing.
#[track_caller]
fn assert_some(read: u32) {
    assert!((CASES / 100..CASES).contains(&read), "{read} of {CASES} files were read");
}

/// A place in a file, as often among the first bytes as anywhere.
#[derive(Clone, Debug)]
struct Place {
    near: bool,
    index: Index,
}

impl Place {
    fn any() -> impl Strategy<Value = Self> {
        any::<(bool, Index)>().prop_map(|(near, index)| Self { near, index })
    }

    fn within(&self, len: usize) -> usize {
        self.index.index(if self.near { len.min(48) } else { len } + 1)
    }
}

/// A way to damage a file.
#[derive(Clone, Debug)]
enum Damage {
    /// Other bytes in the place of as many.
    Replace(Place, Vec<u8>),
    Insert(Place, Vec<u8>),
    Remove(Place, usize),
    /// The end is gone.
    Cut(Place),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let word = (select(vec![0, 1, 0x7f, 0x80, 0xff]), 1..=8_usize).prop_map(|(byte, n)| vec![byte; n]);
        let bytes = || prop_oneof![vec(any::<u8>(), 1..4), word.clone()];
        prop_oneof![
            6 => (Place::any(), bytes()).prop_map(|(at, bytes)| Self::Replace(at, bytes)),
            2 => (Place::any(), bytes()).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            2 => (Place::any(), 1..8_usize).prop_map(|(at, n)| Self::Remove(at, n)),
            1 => Place::any().prop_map(Self::Cut),
        ]
    }

    fn apply(&self, file: &mut Vec<u8>) {
        let len = file.len();
        match self {
            Self::Replace(at, bytes) => {
                let at = at.within(len);
                let end = len.min(at + bytes.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Self::Insert(at, bytes) => {
                let at = at.within(len);
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(at, n) => {
                let at = at.within(len);
                file.drain(at..len.min(at + n));
            }
            Self::Cut(at) => file.truncate(at.within(len)),
        }
    }
}

/// One of these files with some damage.
fn damaged(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (select(files), vec(Damage::any(), 1..4)).prop_map(|(mut file, damage)| {
        damage.iter().for_each(|damage| damage.apply(&mut file));
        file
    })
}

/// Up to `n` bytes.
fn bytes(n: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=n)
}

/// Small numbers, and those that arithmetic trips over.
fn number() -> impl Strategy<Value = u64> {
    let edges = [31, 32, 33, 40, 61, 62, 63].map(|bits| 1_u64 << bits);
    let edges = edges.into_iter().flat_map(|x| [x - 1, x, x + 1]).chain([u64::MAX]).collect::<Vec<_>>();
    prop_oneof![4 => 0..6_u64, 2 => select(edges), 1 => any::<u64>()]
}

/// A number of 32 bits, and those that arithmetic trips over.
fn number32() -> impl Strategy<Value = u32> {
    let edges = vec![0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff];
    prop_oneof![4 => 0..6_u32, 2 => select(edges), 1 => any::<u32>()]
}

/// Each as it is, or compressed.
fn perhaps_gzip(files: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (files, any::<bool>()).prop_map(|(file, compress)| if compress { gzip(&file) } else { file })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes after those that a gzip file begins with.
fn gzip_in_name() -> impl Strategy<Value = Vec<u8>> {
    bytes(64).prop_map(|rest| [&[0x1f, 0x8b, 8], &rest[..]].concat())
}

mod idx {
    use super::*;

    fn file(magic: u32, dimensions: &[u32], body: &[u8]) -> Vec<u8> {
        let words = [&[magic], dimensions].concat();
        words.iter().flat_map(|word| word.to_be_bytes()).chain(body.iter().copied()).collect()
    }

    fn images() -> Vec<u8> {
        file(0x803, &[3, 2, 2], &[7; 12])
    }

    fn labels() -> Vec<u8> {
        file(0x801, &[3], &[0, 9, 5])
    }

    /// Tries pairs of a file of images and one of labels.
    fn try_pairs(pairs: impl Strategy<Value = (Vec<u8>, Vec<u8>)>) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let [images, labels] = ["images", "labels"].map(|name| folder.path().join(name));
        try_files(pairs.prop_map(|(images, labels)| [File(images), File(labels)]), |files| {
            files[0].write(&images);
            files[1].write(&labels);
            is_read(MnistLike::from_files(&images, &labels), |values, _| is_image(values, 0))
        })
    }

    #[test]
    fn any_bytes() {
        let pairs = prop_oneof![
            (perhaps_gzip(bytes(64)), Just(labels())),
            (Just(images()), perhaps_gzip(bytes(64))),
            (gzip_in_name(), gzip_in_name()),
        ];
        assert_eq!(try_pairs(pairs), 0);
    }

    #[test]
    fn any_header() {
        let images_of = ([number32(), number32(), number32()], bytes(40))
            .prop_map(|(dimensions, body)| file(0x803, &dimensions, &body));
        let labels_of = (number32(), vec(0..12_u8, 0..6)).prop_map(|(n, body)| file(0x801, &[n], &body));
        let pairs = (
            prop_oneof![perhaps_gzip(images_of), Just(images())],
            prop_oneof![perhaps_gzip(labels_of), Just(labels())],
        );
        assert_some(try_pairs(pairs));
    }

    #[test]
    fn damaged_files() {
        let images = || vec![images(), gzip(&images())];
        let labels = || vec![labels(), gzip(&labels())];
        let pairs = prop_oneof![
            (damaged(images()), select(labels())),
            (select(images()), damaged(labels())),
            (damaged(images()), damaged(labels())),
            // Compressed after the damage was done.
            (damaged(images()), damaged(labels()))
                .prop_map(|(images, labels)| (gzip(&images), gzip(&labels))),
        ];
        assert_some(try_pairs(pairs));
    }
}

mod cifar10 {
    use super::*;

    /// A pixel has no value that is wrong, so all have the same.
    fn record(label: u8) -> Vec<u8> {
        [&[label], &[200; 3072][..]].concat()
    }

    fn try_records(files: impl Strategy<Value = Vec<u8>>) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.bin");
        try_files(files.prop_map(File), |file| {
            file.write(&path);
            is_read(Cifar10::from_files(&[&path]), is_image)
        })
    }

    #[test]
    fn any_bytes() {
        assert_eq!(try_records(prop_oneof![perhaps_gzip(bytes(64)), gzip_in_name()]), 0);
    }

    #[test]
    fn any_records() {
        let labels = vec(prop_oneof![8 => 0..10_u8, 1 => any::<u8>()], 0..4);
        let files = (labels, select(vec![0, 0, 1, 3072])).prop_map(|(labels, rest)| {
            let mut file: Vec<u8> = labels.into_iter().flat_map(record).collect();
            file.resize(file.len() + rest, 9);
            file
        });
        assert_some(try_records(perhaps_gzip(files)));
    }

    #[test]
    fn damaged_files() {
        let good = [record(1), record(9)].concat();
        let files = prop_oneof![
            damaged(vec![good.clone(), gzip(&good)]),
            damaged(vec![good]).prop_map(|file| gzip(&file)),
        ];
        assert_some(try_records(files));
    }
}

mod datasaurus {
    use super::*;

    const TABLE: &str = "dataset\tx\ty\ndino\t55.3846\t97.1795\nstar\t50\t0\n\"dino\"\t-5e1\t96.0256\r\n";

    /// Tries tables as if their columns were separated by tabs, and others by commas.
    fn try_tables(tables: impl Strategy<Value = Vec<u8>>) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let delimiter = select(vec![Delimiter::Tab, Delimiter::Comma]);
        try_files((tables.prop_map(File), delimiter), |(file, delimiter)| {
            file.write(&path);
            let data = DatasaurusDozen::read_delimited(&path, "dino", *delimiter);
            is_read(data, |values, ()| values.iter().all(|x| x.is_finite()))
        })
    }

    fn header() -> impl Strategy<Value = &'static str> {
        select(vec!["dataset\tx\ty\n", "dataset,x,y\n", "\u{feff}dataset\tx\ty\r\n"])
    }

    #[test]
    fn any_bytes() {
        let header = prop_oneof![header(), Just("")];
        // Any bytes, and any text that can be shown.
        let text = |letters: Vec<char>| letters.into_iter().collect::<String>().into_bytes();
        let body = prop_oneof![bytes(64), vec(any::<char>(), 0..=64).prop_map(text)];
        try_tables((header, body).prop_map(|(header, body)| [header.as_bytes(), &body].concat()));
    }

    #[test]
    fn any_rows() {
        let name = || select(vec!["dino", "\"dino\"", "star", "\u{1b}[31m", "é", "\"", ""]);
        let good = || select(vec!["1", " -2.5 ", "\"3e4\"", "3.4e38", "-3.4028235e38", "1e-400"]);
        let number = || prop_oneof![8 => good(), 1 => select(vec!["3.5e38", "nan", "\0"])];
        let row =
            (name(), number(), number()).prop_map(|(name, x, y)| [name, "\t", x, "\t", y, "\n"].concat());
        let piece =
            prop_oneof![name(), number(), select(vec!["\t", ",", "\n", "\r", "\u{2028}", "\u{feff}"])];
        let junk = vec(piece, 0..8).prop_map(|pieces| pieces.concat());
        let rows = vec(prop_oneof![8 => row, 1 => junk], 0..4);
        let tables = (header(), rows, any::<bool>()).prop_map(|(header, rows, commas)| {
            let rows = rows.concat();
            [header, &if commas { rows.replace('\t', ",") } else { rows }].concat().into()
        });
        assert_some(try_tables(tables));
    }

    #[test]
    fn damaged_files() {
        assert_some(try_tables(damaged(vec![TABLE.into(), TABLE.replace('\t', ",").into()])));
    }
}

mod latents {
    use super::*;

    fn good(dtype: Dtype) -> Vec<u8> {
        let latents = vec![60; 6 * dtype.bitsize() / 8];
        let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        let tensors = [
            ("latent_mean", view(dtype, &[3, 1, 1, 2], &latents)),
            ("latent_mean_flip", view(dtype, &[3, 1, 1, 2], &latents)),
            ("label", view(Dtype::U8, &[3], &[7, 0, 255])),
        ];
        serialize(tensors, None).unwrap()
    }

    fn with_header(header: &[u8], data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header, data].concat()
    }

    /// What a header says about a tensor, in any words.
    fn tensor(name: &str, dtype: &str, shape: &[impl Debug], [start, end]: [impl Debug; 2]) -> String {
        format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start:?},{end:?}]}}"
        )
    }

    fn try_shards(files: impl Strategy<Value = Vec<u8>>) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        let config = LatentsConfig { classes: 256, ..LatentsConfig::default() };
        try_files(files.prop_map(File), |file| {
            file.write(&path);
            is_read(Latents::open(&path, config), |_, label| label < 256)
        })
    }

    #[test]
    fn any_bytes() {
        let files = prop_oneof![
            bytes(64),
            (number(), bytes(64)).prop_map(|(length, rest)| [&length.to_le_bytes(), &rest[..]].concat()),
            (bytes(64), bytes(8)).prop_map(|(header, data)| with_header(&header, &data)),
        ];
        assert_eq!(try_shards(files), 0);
    }

    /// Tensors of any shapes at any places; that they fit together would be a miracle.
    #[test]
    fn any_header() {
        let any_tensor = |names: &[&'static str]| {
            let dtype = select(vec!["F32", "F16", "BF16", "F64", "U8", "I64", "F4", "\\u001b[31m", ""]);
            (select(names.to_vec()), dtype, vec(number(), 0..6), [number(), number()])
                .prop_map(|(name, dtype, shape, offsets)| tensor(name, dtype, &shape, offsets))
        };
        let other =
            select(vec!["\"__metadata__\":{}", "\"__metadata__\":7", "\"x\":[[[[", "\"\\u0007\":{}", ""]);
        let tensors = prop_oneof![
            8 => any_tensor(&["latent_mean", "label", "latent_mean_flip", "\\u0007"]),
            1 => other.prop_map(str::to_owned),
        ];
        let files = (vec(tensors, 0..4), bytes(40))
            .prop_map(|(tensors, data)| with_header(format!("{{{}}}", tensors.join(",")).as_bytes(), &data));
        try_shards(files);
    }

    /// Tensors of any shapes and types that lie as they should, though the last one may be cut.
    #[test]
    fn any_shape() {
        // Names of types, and their bits.
        let float = || select(vec![("F32", 32), ("F16", 16), ("BF16", 16), ("F8_E5M2", 8)]);
        let integer = select(vec![("U8", 8), ("I8", 8), ("U16", 16), ("I64", 64), ("F32", 32), ("F4", 4)]);
        let any_shape = || vec(0..4_usize, 3..6);
        let shape = prop_oneof![4 => vec(1..4_usize, 4), 1 => any_shape()];
        let mirrored = option::of((float(), option::weighted(0.2, any_shape())));
        let labels = (integer, option::weighted(0.2, 0..4_usize), any::<bool>());
        let data = (any::<bool>(), option::weighted(0.1, 1..9_usize));
        let files = (float(), shape, mirrored, labels, data).prop_map(
            |(mean, shape, mirrored, (integer, labels, labels_first), (byte, cut))| {
                let mut tensors = vec![("latent_mean", mean, shape.clone())];
                if let Some((dtype, other)) = mirrored {
                    tensors.push(("latent_mean_flip", dtype, other.unwrap_or(shape.clone())));
                }
                let labels = ("label", integer, vec![labels.unwrap_or(shape[0])]);
                tensors.insert(if labels_first { 0 } else { tensors.len() }, labels);
                let mut end = 0;
                let lie = |(name, (dtype, bits), shape): (&str, (&str, usize), Vec<usize>)| {
                    let start = end;
                    end += bits * shape.iter().product::<usize>() / 8;
                    tensor(name, dtype, &shape, [start, end])
                };
                let header = Vec::from_iter(tensors.into_iter().map(lie)).join(",");
                let data = vec![byte.into(); end.saturating_sub(cut.unwrap_or(0))];
                with_header(format!("{{{header}}}").as_bytes(), &data)
            },
        );
        assert_some(try_shards(files));
    }

    #[test]
    fn damaged_files() {
        let good = [Dtype::F32, Dtype::F16, Dtype::BF16].map(good);
        let split = |file: &Vec<u8>| {
            let end = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            (file[8..end].to_vec(), file[end..].to_vec())
        };
        let (headers, data): (Vec<_>, Vec<_>) = good.iter().map(split).unzip();
        let files = prop_oneof![
            damaged(good.to_vec()),
            // Damage in one part, of which the other knows nothing.
            (damaged(headers.clone()), select(data.clone()))
                .prop_map(|(header, data)| with_header(&header, &data)),
            (select(headers), damaged(data)).prop_map(|(header, data)| with_header(&header, &data)),
        ];
        assert_some(try_shards(files));
    }
}

mod images {
    use super::*;

    fn try_images(files: impl Strategy<Value = Vec<u8>>) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.png");
        let config = (select(vec![1, 4, 7]), select(vec![Channels::Gray, Channels::Rgb]))
            .prop_map(|(size, channels)| ImageFolderConfig { height: size, width: size + 1, channels });
        try_files((files.prop_map(File), config), |(file, config)| {
            file.write(&path);
            is_read(ImageFolder::open(&folder, *config), is_image)
        })
    }

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn noise(n: u32) -> Vec<u8> {
        (0..n).map(|i| (i * i * 31 + i * 7) as u8).collect()
    }

    /// An Exif block that asks for a quarter turn.
    const EXIF: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

    #[test]
    fn any_bytes() {
        let begin = select(vec![SIGNATURE, b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"GIF89a", b""]);
        let end = select(vec![&b""[..], b"\xff\xd9"]);
        let files = (begin, bytes(100), end).prop_map(|(begin, rest, end)| [begin, &rest, end].concat());
        assert_eq!(try_images(files), 0);
    }

    #[test]
    fn damaged_png_files() {
        let color = RgbaImage::from_raw(5, 3, noise(60)).unwrap();
        let gray = GrayImage::from_raw(9, 4, noise(36)).unwrap();
        assert_some(try_images(damaged(vec![
            encoded(color, ImageFormat::Png),
            encoded(gray, ImageFormat::Png),
        ])));
    }

    /// The last two as Pillow 13 writes them, `make.py` beside them says how.
    #[test]
    fn damaged_jpeg_files() {
        let color = encoded(RgbImage::from_raw(10, 10, noise(300)).unwrap(), ImageFormat::Jpeg);
        let gray = encoded(GrayImage::from_raw(8, 8, noise(64)).unwrap(), ImageFormat::Jpeg);
        let exif = [b"\xff\xe1\0\x22Exif\0\0", EXIF].concat();
        let turned = [&gray[..2], &exif, &gray[2..]].concat();
        let progressive = include_bytes!("fixtures/progressive.jpg").to_vec();
        let cmyk = include_bytes!("fixtures/cmyk.jpg").to_vec();
        assert_some(try_images(damaged(vec![color, turned, progressive, cmyk])));
    }

    #[test]
    fn damaged_files_of_other_formats() {
        let color = || RgbImage::from_raw(10, 10, noise(300)).unwrap();
        let formats =
            [ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Pnm];
        let others =
            ["lossy.webp", "frames.webp", "palette.bmp", "frames.gif", "fax.tif", "tiff_lzw.tif", "text.ppm"];
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow");
        let others = others.map(|name| std::fs::read(folder.join(name)).unwrap());
        let files = formats.map(|format| encoded(color(), format)).into_iter().chain(others);
        assert_some(try_images(damaged(files.collect())));
    }

    /// A chunk of a PNG file, with the checksum that it should have.
    fn chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(data);
        [&(data.len() as u32).to_be_bytes(), name, data, &crc.sum().to_be_bytes()].concat()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// PNG files with the right checksums, so that what the chunks say is looked at.
    #[test]
    fn any_png_chunks() {
        let side = || prop_oneof![8 => 1..12_u32, 1 => number32()];
        let depth = select(vec![1_u8, 2, 4, 8, 8, 8, 16, 16, 3]);
        let color = select(vec![0_u8, 2, 3, 4, 6, 5]);
        let method = prop_oneof![9 => Just(0_u8), 1 => any::<u8>()];
        let header = (side(), side(), depth, color, method, 0..3_u8).prop_map(
            |(width, height, depth, color, method, interlaced)| {
                let rest = [depth, color, method, method, interlaced];
                chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &rest].concat())
            },
        );
        // Three bytes for each color, as it should be, or not.
        let palette = prop_oneof![3 => (1..20_usize).prop_map(|n| 3 * n), 1 => 0..60_usize];
        let palette = option::of(palette.prop_map(|n| chunk(b"PLTE", &vec![77; n])));
        let name = select(
            "PLTE tRNS eXIf gAMA cHRM iCCP sRGB sBIT bKGD tEXt zTXt iTXt pHYs acTL fcTL fdAT IDAT IHDR IEND cICP"
                .split(' ')
                .collect::<Vec<_>>(),
        );
        let text = bytes(20).prop_map(|text| [b"x\0\0", &zlib(&text)[..]].concat());
        let data = prop_oneof![bytes(30), damaged(vec![EXIF.to_vec()]), text];
        let others = vec((name, data).prop_map(|(name, data)| chunk(name.as_bytes(), &data)), 0..4);
        // More than 11 × 11 pixels need, or fewer; small, for any of them may be the name of a row's filter.
        let pixels = (prop_oneof![4 => Just(1300), 1 => 0..1300_usize], 1..6_u8);
        let pixels = pixels.prop_map(|(n, most)| (0..n).map(|i| (i * i) as u8 % most).collect::<Vec<_>>());
        let files = (header, palette, others, pixels).prop_map(|(header, palette, others, pixels)| {
            let pixels = chunk(b"IDAT", &zlib(&pixels));
            let end = chunk(b"IEND", &[]);
            [SIGNATURE, &header, &palette.unwrap_or_default(), &others.concat(), &pixels, &end].concat()
        });
        assert_some(try_images(files));
    }
}

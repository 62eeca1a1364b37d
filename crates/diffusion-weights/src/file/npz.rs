//! Arrays of numbers in NumPy's `.npz` archives.

mod write;

pub use write::{NpyKind, NpzWriter, write_npz};

use super::entry::{Entry, is_of_data};
use super::zip;
use crate::FileKind;
use crate::error::{Fault, WeightsError, malformed, shown, unsupported};
use crate::source::Source;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What a `.npy` file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest description of an array that is read, and the largest array of a smaller file, in bytes.
const MAX_DESCRIPTION: u64 = 1 << 16;
const MAX_BYTES: u64 = 1 << 30;

/// To how many times its size a larger file may unpack: more than photographs do.
const PACKED: u64 = 16;

/// An array of numbers as NumPy has it.
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray {
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// Its values in the order of their places, the last axis fastest.
    pub values: Vec<f64>,
}

/// The arrays `names` of a `.npz` file, packed or not, of f32 or f64, which both fit f64. Others in the file are not looked at.
///
/// ```
/// use diffusion_weights::{NpyArray, read_npz, write_npz};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("arrays.npz");
/// let array = NpyArray { shape: vec![1, 2], values: vec![0.5, -3.0] };
/// write_npz(&path, &[("a", &array)])?;
/// assert_eq!(read_npz(&path, ["a"])?, [array]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the file cannot be read, is damaged or no archive of arrays, or an array is not there, of another type, or larger than
/// 1 GiB.
pub fn read_npz<const N: usize>(
    path: impl AsRef<Path>,
    names: [&str; N],
) -> Result<[NpyArray; N], WeightsError> {
    let path = path.as_ref();
    let arrays = Source::open(path).map_err(Fault::Read).and_then(|source| read_all(&source, &names));
    let arrays = arrays.map_err(|fault| fault.at(path))?;
    Ok(arrays.try_into().expect("as many as there are names"))
}

/// The lengths of the axes and the values of the array `name` of bytes (NumPy's `uint8`) in a `.npz` file, packed or not, the
/// last axis fastest: images, as evaluations of ADM and EDM take them. Others in the file are not looked at.
///
/// # Errors
/// As [`read_npz`].
pub fn read_npz_bytes(path: impl AsRef<Path>, name: &str) -> Result<(Vec<usize>, Vec<u8>), WeightsError> {
    let path = path.as_ref();
    let read = |source: Source| {
        let files = archive(&source)?;
        let (description, bytes) = find_array(&source, &files, name)?;
        match (description.size, description.is_by_columns && description.shape.len() > 1) {
            (1, false) => Ok((description.shape, bytes)),
            (1, true) => {
                unsupported(format!("the array `{name}` has its first axis fastest, expected its last"))
            }
            _ => unsupported(format!("the array `{name}` has numbers of f4 or f8, expected bytes, u1")),
        }
    };
    Source::open(path).map_err(Fault::Read).and_then(read).map_err(|fault| fault.at(path))
}

/// The names of the arrays in a `.npz` file.
///
/// # Errors
/// If the file cannot be read, is damaged or no archive of arrays.
pub fn npz_names(path: impl AsRef<Path>) -> Result<Vec<String>, WeightsError> {
    let path = path.as_ref();
    let names = |source: Source| {
        let files = archive(&source)?;
        Ok(files.keys().filter_map(|name| Some(name.strip_suffix(".npy")?.to_string())).collect())
    };
    Source::open(path).map_err(Fault::Read).and_then(names).map_err(|fault| fault.at(path))
}

fn read_all(source: &Source, names: &[&str]) -> Result<Vec<NpyArray>, Fault> {
    let files = archive(source)?;
    names.iter().map(|name| numbers(name, find_array(source, &files, name)?)).collect()
}

/// The files in an archive of arrays.
fn archive(source: &Source) -> Result<BTreeMap<String, Entry>, Fault> {
    let head = source.head(512)?;
    if !head.starts_with(zip::MAGIC) {
        let found = match FileKind::of(&head) {
            Some(kind) => kind.to_string(),
            None => format!("begins with {:02x?}", &head[..head.len().min(9)]),
        };
        return unsupported(format!("it {found}, expected an archive of NumPy arrays"));
    }
    zip::read(source)
}

/// What the array `name` is, and its bytes.
fn find_array(
    source: &Source,
    files: &BTreeMap<String, Entry>,
    name: &str,
) -> Result<(Description, Vec<u8>), Fault> {
    match files.get(&format!("{name}.npy")) {
        Some(file) => read_bytes(source, name, file),
        None => {
            let found: Vec<String> = files.keys().take(20).map(|name| format!("`{}`", shown(name))).collect();
            unsupported(format!("it has no array `{name}`, but {}", found.join(", ")))
        }
    }
}

/// The numbers of an array.
fn numbers(name: &str, (description, bytes): (Description, Vec<u8>)) -> Result<NpyArray, Fault> {
    match description.size {
        1 => unsupported(format!("the array `{name}` is of type |u1, expected f4 or f8")),
        _ => Ok(description.array(&bytes)),
    }
}

fn read_bytes(source: &Source, name: &str, file: &Entry) -> Result<(Description, Vec<u8>), Fault> {
    // From here on its size is what it says.
    file.has_any_place(source).map_err(fault)?;
    let read = |offset: u64, size: u64| -> Result<Vec<u8>, Fault> {
        if offset + size > file.size {
            return malformed(format!(
                "the array `{name}` has {} bytes, expected {}",
                file.size,
                offset + size
            ));
        }
        let mut bytes = vec![0; size as usize];
        file.read(source, &mut bytes, offset).map_err(fault)?;
        Ok(bytes)
    };
    let start = read(0, 12)?;
    if !start.starts_with(MAGIC) {
        return malformed(format!("`{name}.npy` begins with {:02x?}, expected {MAGIC:02x?}", &start[..6]));
    }
    let (before, size) = match start[6] {
        1 => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        _ => (12, u64::from(u32::from_le_bytes([start[8], start[9], start[10], start[11]]))),
    };
    if size > MAX_DESCRIPTION {
        return malformed(format!(
            "the array `{name}` is described in {size} bytes, expected at most {MAX_DESCRIPTION}"
        ));
    }
    let description = read(before, size)?;
    let description = Description::parse(&String::from_utf8_lossy(&description), name)?;
    let first = before + size;
    let bytes = description.bytes().filter(|&bytes| first.checked_add(bytes) == Some(file.size));
    let Some(bytes) = bytes else {
        return malformed(format!(
            "the array `{name}` has {} bytes, which its shape {:?} does not need",
            file.size - first,
            description.shape
        ));
    };
    // A small file that unpacks to a large one is no array that somebody wrote.
    let most = MAX_BYTES.max(source.len().saturating_mul(PACKED));
    if bytes > most {
        return unsupported(format!("the array `{name}` has {bytes} bytes, expected at most {most}"));
    }
    let bytes = read(first, bytes)?;
    Ok((description, bytes))
}

/// What a `.npy` file says of its numbers.
struct Description {
    /// Bytes of a number: 4 or 8 of floats, or 1.
    size: usize,
    is_big_endian: bool,
    is_by_columns: bool,
    shape: Vec<usize>,
}

impl Description {
    /// Reads a dict as Python prints it: `{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }`.
    fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let within = |text: &str, open: char, close: char| -> Option<String> {
            Some(text.strip_prefix(open)?.split_once(close)?.0.to_string())
        };
        let dtype = value("descr").and_then(|text| within(text, '\'', '\''));
        let order = value("fortran_order").map(|text| (text.starts_with("True"), text.starts_with("False")));
        let shape = value("shape").and_then(|text| within(text, '(', ')')).and_then(|text| {
            let sizes = text.split(',').map(str::trim).filter(|size| !size.is_empty());
            sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()
        });
        let (Some(is_by_columns), Some(shape)) =
            (order.filter(|(yes, no)| yes != no).map(|(yes, _)| yes), shape)
        else {
            return malformed(format!("the array `{name}` is described as {}", shown(text.trim_end())));
        };
        let (is_big_endian, size) = match dtype.as_deref() {
            Some("<f8") => (false, 8),
            Some("<f4") => (false, 4),
            Some(">f8") => (true, 8),
            Some(">f4") => (true, 4),
            Some("|u1") => (false, 1),
            other => {
                let other = shown(other.unwrap_or("a structure"));
                return unsupported(format!("the array `{name}` is of type {other}, expected f4, f8 or u1"));
            }
        };
        Ok(Self { size, is_big_endian, is_by_columns, shape })
    }

    /// How many bytes the numbers have; nothing if that is beyond counting.
    fn bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(self.size as u64, |bytes, &size| bytes.checked_mul(size as u64))
    }

    fn array(self, bytes: &[u8]) -> NpyArray {
        let number = |bytes: &[u8]| {
            let mut low_first = [0; 8];
            low_first[..bytes.len()].copy_from_slice(bytes);
            if self.is_big_endian {
                low_first[..bytes.len()].reverse();
            }
            match self.size {
                4 => f64::from(f32::from_le_bytes(std::array::from_fn(|i| low_first[i]))),
                _ => f64::from_le_bytes(low_first),
            }
        };
        let mut values: Vec<f64> = bytes.chunks_exact(self.size).map(number).collect();
        if self.is_by_columns {
            values = (0..values.len()).map(|at| values[self.place_by_columns(at)]).collect();
        }
        NpyArray { shape: self.shape, values }
    }

    /// Where the number is in the file, the first axis fastest, that is at `at` with the last one fastest.
    fn place_by_columns(&self, mut at: usize) -> usize {
        let mut stride: usize = self.shape.iter().product();
        let mut place = 0;
        for &size in self.shape.iter().rev() {
            stride /= size;
            place += at % size * stride;
            at /= size;
        }
        place
    }
}

fn fault(error: io::Error) -> Fault {
    if is_of_data(&error) { Fault::Malformed(error.to_string()) } else { Fault::Read(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let arrays: Vec<(&str, NpyArray)> = files
            .iter()
            .map(|(name, bytes)| {
                (*name, NpyArray { shape: vec![bytes.len() / 8], values: vec![0.0; bytes.len() / 8] })
            })
            .collect();
        let arrays: Vec<(&str, &NpyArray)> = arrays.iter().map(|(name, array)| (*name, array)).collect();
        let mut file = Cursor::new(Vec::new());
        write::write_all(&mut file, &arrays).unwrap();
        file.into_inner()
    }

    /// The array `a` with this description and these bytes.
    fn described(description: &str, bytes: &[u8]) -> Result<NpyArray, Fault> {
        numbers("a", described_bytes(description, bytes)?)
    }

    fn described_bytes(description: &str, numbers: &[u8]) -> Result<(Description, Vec<u8>), Fault> {
        let mut npy =
            [MAGIC, &[1, 0], &(description.len() as u16).to_le_bytes(), description.as_bytes()].concat();
        npy.extend(numbers);
        let size = npy.len() as u64;
        let entry = Entry::new("a.npy", [size, size], crc32fast::hash(&npy), false);
        read_bytes(&Source::Memory(npy), "a", &entry)
    }

    fn doubles(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrays.npz");
        let array = |shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|i: usize| i as f64 / 3.0).collect();
            NpyArray { shape: shape.to_vec(), values }
        };
        let arrays = [array(&[3]), array(&[2, 3, 4]), array(&[]), array(&[0, 5])];
        let named: Vec<(&str, &NpyArray)> = ["a", "b", "c", "d"].into_iter().zip(&arrays).collect();
        write_npz(&path, &named).unwrap();
        assert_eq!(read_npz(&path, ["a", "b", "c", "d"]).unwrap(), arrays);
        assert_eq!(read_npz(&path, ["c"]).unwrap(), [arrays[2].clone()]);
        let error = read_npz(&path, ["a", "e"]).unwrap_err();
        assert!(matches!(error, WeightsError::Unsupported { .. }), "{error}");
    }

    #[test]
    fn every_order_and_size_of_numbers_is_read() {
        let expected = NpyArray { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, -6.5] };
        let by_columns = [1.0, 4.0, 2.0, 5.0, 3.0, -6.5];
        let of = |dtype: &str, order: &str, numbers: &[u8]| {
            described(
                &format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': (2, 3), }}  \n"),
                numbers,
            )
            .unwrap()
        };
        let swapped: Vec<u8> = expected.values.iter().flat_map(|value| value.to_be_bytes()).collect();
        let single: Vec<u8> =
            expected.values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
        let single_swapped: Vec<u8> =
            by_columns.iter().flat_map(|&value| (value as f32).to_be_bytes()).collect();
        assert_eq!(of("<f8", "False", &doubles(&expected.values)), expected);
        assert_eq!(of("<f8", "True", &doubles(&by_columns)), expected);
        assert_eq!(of(">f8", "False", &swapped), expected);
        assert_eq!(of("<f4", "False", &single), expected);
        assert_eq!(of(">f4", "True", &single_swapped), expected);
    }

    #[test]
    fn bytes_are_no_numbers() {
        let description = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
        let (found, bytes) = described_bytes(description, &[0, 1, 2, 3, 4, 255]).unwrap();
        assert_eq!((found.size, found.shape, bytes), (1, vec![2, 3], vec![0, 1, 2, 3, 4, 255]));
        assert!(matches!(described(description, &[0; 6]), Err(Fault::Unsupported(_))));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrays.npz");
        let array = NpyArray { shape: vec![1], values: vec![1.0] };
        write_npz(&path, &[("b", &array), ("a", &array)]).unwrap();
        assert_eq!(npz_names(&path).unwrap(), ["a", "b"]);
        assert!(matches!(read_npz_bytes(&path, "a"), Err(WeightsError::Unsupported { .. })));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let numbers = doubles(&[1.0; 6]);
        for (description, is_damage) in [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 4), }", true),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (6, 18446744073709551615), }", true),
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (-6,), }", true),
            ("{'descr': '<f8', 'fortran_order': Maybe, 'shape': (6,), }", true),
            ("{'descr': '<f8', 'shape': (6,), }", true),
            ("", true),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (6,), }", false),
            ("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (6,), }", false),
        ] {
            match described(description, &numbers) {
                Err(Fault::Malformed(_)) => assert!(is_damage, "{description}"),
                Err(Fault::Unsupported(_)) => assert!(!is_damage, "{description}"),
                other => panic!("{description}: {other:?}"),
            }
        }
        let good = "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }";
        assert!(described(good, &numbers).is_ok());
        assert!(matches!(described(good, &numbers[..40]), Err(Fault::Malformed(_))));
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let good = archive(&[("a", vec![0; 80])]);
        let read = |bytes: &[u8]| read_all(&Source::Memory(bytes.to_vec()), &["a"]);
        assert!(read(&good).is_ok());
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "of {length} bytes");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            // Times and versions say nothing of the numbers; all else is refused or changes nothing.
            if let Ok(arrays) = read(&bytes) {
                assert_eq!(arrays, read(&good).unwrap(), "byte {at}");
            }
        }
        assert!(matches!(read(b"\x89PNG\r\n\x1a\n"), Err(Fault::Unsupported(_))));
        assert!(matches!(read(b""), Err(Fault::Unsupported(_))));
    }
}

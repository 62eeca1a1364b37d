//! Writing archives of arrays, which may be larger than memory.

use super::{MAGIC, NpyArray};
use crate::error::WeightsError;
use crate::write_atomically;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

/// Numbers begin at a multiple of it, as NumPy writes them.
const ALIGNMENT: usize = 64;

/// In place of a size or offset that stands in a longer field.
const ELSEWHERE: u64 = u32::MAX as u64;

/// Writes a `.npz` file of f64 arrays under their names, which [`read_npz`](crate::read_npz) and NumPy read; whole or not at
/// all. Its bytes follow from the arrays alone.
///
/// # Errors
/// If the file system refuses.
///
/// # Panics
/// If an array does not have as many values as its shape.
pub fn write_npz(path: impl AsRef<Path>, arrays: &[(&str, &NpyArray)]) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let written = write_atomically(path, |file| write_all(file, arrays));
    written.map_err(|source| WeightsError::Io { action: "write", path: path.to_path_buf(), source })
}

pub(super) fn write_all(file: &mut (impl Write + Seek), arrays: &[(&str, &NpyArray)]) -> io::Result<()> {
    let mut writer = NpzWriter::new(file);
    for (name, NpyArray { shape, values }) in arrays {
        let (found, expected) = (values.len(), shape.iter().product::<usize>());
        assert!(found == expected, "there are {found} values, expected {expected} as of shape {shape:?}");
        writer.begin(name, NpyKind::F64, shape)?;
        for values in values.chunks(1 << 16) {
            writer.write(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
        }
    }
    writer.finish()
}

/// What the numbers of an array are, the lowest byte of each first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NpyKind {
    /// `uint8`.
    U8,
    /// `int64`.
    I64,
    /// `float64`.
    F64,
}

impl NpyKind {
    /// NumPy's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::I64 => "<i8",
            Self::F64 => "<f8",
        }
    }

    /// The bytes of a number.
    fn size(self) -> u64 {
        if self == Self::U8 { 1 } else { 8 }
    }
}

/// Writes a `.npz` file array by array, and each piece by piece, so that memory holds one piece; NumPy reads it. Its bytes
/// follow from the arrays alone, and may be more than 4 GiB.
///
/// ```
/// use diffusion_weights::{NpyKind, NpzWriter};
/// use std::io::Cursor;
///
/// let mut file = Cursor::new(Vec::new());
/// let mut npz = NpzWriter::new(&mut file);
/// npz.begin("arr_0", NpyKind::U8, &[2, 3])?;
/// npz.write(&[1, 2, 3, 4])?;
/// npz.write(&[5, 6])?;
/// npz.finish()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NpzWriter<W: Write + Seek> {
    file: W,
    /// Where the next file of the archive begins.
    offset: u64,
    open: Option<Open>,
    directory: Vec<u8>,
    count: u64,
}

/// The array that is being written.
#[derive(Debug)]
struct Open {
    name: String,
    /// The bytes of its file, and how many of them are still to come.
    size: u64,
    left: u64,
    checksum: crc32fast::Hasher,
}

impl<W: Write + Seek> NpzWriter<W> {
    /// Writes to `file`, from its beginning on.
    pub fn new(file: W) -> Self {
        Self { file, offset: 0, open: None, directory: Vec::new(), count: 0 }
    }

    /// Begins the array `name`, after the one before it is written whole.
    ///
    /// # Errors
    /// If bytes are missing in the one before it, the name is longer than 64 KiB, or the file system refuses.
    pub fn begin(&mut self, name: &str, kind: NpyKind, shape: &[usize]) -> io::Result<()> {
        self.end()?;
        let head = head(kind, shape);
        let numbers = shape.iter().try_fold(kind.size(), |bytes, &size| bytes.checked_mul(size as u64));
        let size = numbers.and_then(|bytes| bytes.checked_add(head.len() as u64));
        let size = size.ok_or_else(|| invalid(format!("an array of shape {shape:?} has too many bytes")))?;
        let name = format!("{name}.npy");
        self.file.write_all(&local(&name, size, 0)?)?;
        self.open = Some(Open { name, size, left: size, checksum: crc32fast::Hasher::new() });
        self.write(&head)
    }

    /// Writes the next bytes of the array, the last axis of its shape fastest.
    ///
    /// # Errors
    /// If they are more than its shape says, or the file system refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Err(invalid("no array was begun".into())) };
        let Some(left) = open.left.checked_sub(bytes.len() as u64) else {
            return Err(invalid(format!("{} bytes were given, expected {}", bytes.len(), open.left)));
        };
        open.left = left;
        open.checksum.update(bytes);
        self.file.write_all(bytes)
    }

    /// Ends the array, whose checksum is known now.
    fn end(&mut self) -> io::Result<()> {
        let Some(Open { name, size, left, checksum }) = self.open.take() else { return Ok(()) };
        if left > 0 {
            return Err(invalid(format!("{left} bytes of `{name}` are missing")));
        }
        let checksum = checksum.finalize();
        let local = local(&name, size, checksum)?;
        let end = self.offset + local.len() as u64 + size;
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.write_all(&local)?;
        self.file.seek(SeekFrom::Start(end))?;
        self.directory.extend(central(&name, size, checksum, self.offset));
        (self.offset, self.count) = (end, self.count + 1);
        Ok(())
    }

    /// Writes what the archive ends with.
    ///
    /// # Errors
    /// If bytes of the last array are missing, or the file system refuses.
    pub fn finish(mut self) -> io::Result<()> {
        self.end()?;
        self.file.write_all(&self.directory)?;
        let (start, size) = (self.offset, self.directory.len() as u64);
        if start.max(size) >= ELSEWHERE || self.count >= u64::from(u16::MAX) {
            self.file.write_all(&end64(self.count, size, start))?;
        }
        let count = (self.count.min(u16::MAX.into()) as u16).to_le_bytes();
        let [size, start] = [size, start].map(|number| (number.min(ELSEWHERE) as u32).to_le_bytes());
        self.file.write_all(&[b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &start, &[0; 2]].concat())?;
        self.file.flush()
    }
}

/// Whether a file needs fields of 64 bits.
fn is_large(size: u64) -> bool {
    size >= ELSEWHERE
}

/// What local and central headers have in common: version and flags needed to unpack it, not packed, the first time that the
/// format has, checksum, sizes, and the length of its name.
fn common(name: &str, size: u64, checksum: u32, version: u8) -> Vec<u8> {
    let short = (size.min(ELSEWHERE) as u32).to_le_bytes();
    let length = (name.len() as u32).to_le_bytes();
    let time = [version, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    [&time[..], &checksum.to_le_bytes(), &short, &short, &length[..2]].concat()
}

/// The header before a file.
fn local(name: &str, size: u64, checksum: u32) -> io::Result<Vec<u8>> {
    if name.len() > usize::from(u16::MAX) {
        return Err(invalid(format!("a name has {} bytes, expected at most {}", name.len(), u16::MAX)));
    }
    let extra = if is_large(size) { extra(&[size, size]) } else { Vec::new() };
    let version = if is_large(size) { 45 } else { 20 };
    let common = common(name, size, checksum, version);
    let length = (extra.len() as u16).to_le_bytes();
    Ok([b"PK\x03\x04", &common[..], &length, name.as_bytes(), &extra].concat())
}

/// A file's entry in the directory.
fn central(name: &str, size: u64, checksum: u32, offset: u64) -> Vec<u8> {
    let mut long = if is_large(size) { vec![size, size] } else { Vec::new() };
    if offset >= ELSEWHERE {
        long.push(offset);
    }
    let extra = if long.is_empty() { long.iter().map(|_| 0).collect() } else { extra(&long) };
    let version = if extra.is_empty() { 20 } else { 45 };
    let common = common(name, size, checksum, version);
    let length = (extra.len() as u16).to_le_bytes();
    let offset = (offset.min(ELSEWHERE) as u32).to_le_bytes();
    [b"PK\x01\x02", &[version, 0][..], &common, &length, &[0; 10], &offset, name.as_bytes(), &extra].concat()
}

/// The field with numbers of 64 bits.
fn extra(numbers: &[u64]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    [&[1, 0][..], &(bytes.len() as u16).to_le_bytes(), &bytes].concat()
}

/// The end of a directory with numbers of 64 bits, and where that is.
fn end64(count: u64, size: u64, start: u64) -> Vec<u8> {
    let numbers = [count, count, size, start].map(u64::to_le_bytes).concat();
    let record = [b"PK\x06\x06", &44u64.to_le_bytes()[..], &[45, 0, 45, 0], &[0; 8], &numbers].concat();
    let locator = [b"PK\x06\x07", &[0; 4][..], &(start + size).to_le_bytes(), &1u32.to_le_bytes()].concat();
    [record, locator].concat()
}

/// What a `.npy` file begins with, up to its numbers.
fn head(kind: NpyKind, shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let name = kind.name();
    let mut description = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let unaligned = MAGIC.len() + 4 + description.len() + 1;
    description.extend(std::iter::repeat_n(' ', unaligned.next_multiple_of(ALIGNMENT) - unaligned));
    description.push('\n');
    [MAGIC, &[1, 0], &(description.len() as u16).to_le_bytes(), description.as_bytes()].concat()
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn pieces_make_one_array() {
        let of = |pieces: &[&[u8]]| {
            let mut file = Cursor::new(Vec::new());
            let mut npz = NpzWriter::new(&mut file);
            npz.begin("arr_0", NpyKind::U8, &[2, 3]).unwrap();
            pieces.iter().for_each(|piece| npz.write(piece).unwrap());
            npz.begin("arr_1", NpyKind::I64, &[1]).unwrap();
            npz.write(&7i64.to_le_bytes()).unwrap();
            npz.finish().unwrap();
            file.into_inner()
        };
        let whole = of(&[&[1, 2, 3, 4, 5, 6]]);
        assert_eq!(of(&[&[1], &[], &[2, 3, 4], &[5, 6]]), whole);
        for text in ["arr_0.npy", "'descr': '|u1'", "'shape': (2, 3)", "arr_1.npy", "'descr': '<i8'", "(1,)"]
        {
            assert!(whole.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bytes_are_as_many_as_the_shape_says() {
        let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
        assert_eq!(npz.write(&[1]).unwrap_err().kind(), ErrorKind::InvalidInput);
        npz.begin("a", NpyKind::U8, &[3]).unwrap();
        assert_eq!(npz.write(&[1; 4]).unwrap_err().kind(), ErrorKind::InvalidInput);
        npz.write(&[1; 2]).unwrap();
        assert_eq!(npz.begin("b", NpyKind::U8, &[]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(NpzWriter::new(Cursor::new(Vec::new())).begin("c", NpyKind::I64, &[usize::MAX; 2]).is_err());
    }

    /// Beyond 4 GiB the sizes stand in longer fields, as they are read back.
    #[test]
    fn large_files_have_long_sizes() {
        let (size, offset) = (5 << 32, 7 << 32);
        let header = local("a.npy", size, 9).unwrap();
        assert_eq!((&header[18..26], header.len()), (&[255; 8][..], 30 + 5 + 20));
        assert_eq!(header[39..55], [size.to_le_bytes(), size.to_le_bytes()].concat());
        let entry = central("a.npy", size, 9, offset);
        assert_eq!((&entry[42..46], entry.len()), (&[255; 4][..], 46 + 5 + 28));
        assert_eq!(entry[entry.len() - 8..], offset.to_le_bytes());
        let small = central("a.npy", 5, 9, 7);
        assert_eq!((small.len(), &small[42..46]), (46 + 5, &[7, 0, 0, 0][..]));
        let end = end64(2, 3, 4);
        assert_eq!((end.len(), &end[64..72]), (56 + 20, &7u64.to_le_bytes()[..]));
    }
}

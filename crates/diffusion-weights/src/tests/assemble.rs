//! Archives and pickles written by hand, as wrong as a test wants them.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::Write;

/// A file in an archive, with what the directory says of it.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    pub bytes: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub size: u32,
    pub compressed: u32,
    /// Its checksum, if not the right one.
    pub crc32: Option<u32>,
    /// Its extra field in the directory.
    pub extra: Vec<u8>,
    /// Where the directory has it, if not where it is.
    pub offset: Option<u32>,
}

pub fn member(name: &str, bytes: impl Into<Vec<u8>>) -> Member {
    let bytes = bytes.into();
    let size = bytes.len() as u32;
    Member {
        name: name.to_string(),
        bytes,
        flags: 0,
        method: 0,
        size,
        compressed: size,
        crc32: None,
        extra: vec![],
        offset: None,
    }
}

/// The same, deflated.
pub fn packed(name: &str, bytes: &[u8]) -> Member {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    let packed = member(name, encoder.finish().unwrap());
    Member { method: 8, size: bytes.len() as u32, crc32: Some(crc32fast::hash(bytes)), ..packed }
}

/// An archive with a directory of 32-bit sizes.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let Member { name, bytes, flags, method, size, compressed, crc32, extra, offset } = member;
        let start = offset.unwrap_or(file.len() as u32);
        let shorts =
            |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let longs = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let crc32 = crc32.unwrap_or_else(|| crc32fast::hash(bytes));
        let sizes = longs(&[crc32, *compressed, *size]);
        let name_size = name.len() as u16;
        file.extend([&b"PK\x03\x04"[..], &shorts(&[0, *flags, *method, 0, 0]), &sizes].concat());
        file.extend([&shorts(&[name_size, 0]), name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02"[..], &shorts(&[0, 0, *flags, *method, 0, 0]), &sizes].concat());
        directory.extend(shorts(&[name_size, extra.len() as u16, 0, 0, 0, 0, 0]));
        directory.extend([&longs(&[start]), name.as_bytes(), extra].concat());
    }
    let (start, size, count) = (file.len() as u32, directory.len() as u32, members.len() as u16);
    file.extend(directory);
    file.extend(end(count, size, start));
    file
}

/// The end of an archive, by which its directory is found.
pub fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let counts = [0u16, 0, count, count].map(u16::to_le_bytes).concat();
    [&b"PK\x05\x06"[..], &counts, &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat()
}

/// An archive of `torch.save` with the pickle of `body` and one file of values, `data/0`.
pub fn torch(body: &[u8], values: &[f32]) -> Vec<u8> {
    zip(&members(body, values))
}

pub fn members(body: &[u8], values: &[f32]) -> Vec<Member> {
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    vec![
        member("archive/data.pkl", [b"\x80\x02", body, b"."].concat()),
        member("archive/byteorder", "little"),
        member("archive/data/0", values),
    ]
}

pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|value| int(*value)).collect::<Vec<_>>())
}

pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", &items[..], b"u"].concat()
}

/// The tensor of this shape in the first elements of `data/0`, of which the pickle says that there are `count`.
pub fn tensor(count: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    tensor_in("FloatStorage", "0", count, offset, shape, stride)
}

pub fn tensor_in(class: &str, key: &str, count: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Vec<u8> {
    let storage = tuple(&[text("storage"), global("torch", class), text(key), text("cpu"), int(count)]);
    let hooks = [global("collections", "OrderedDict"), b")R".to_vec()].concat();
    let storage = [storage, b"Q".to_vec()].concat();
    let arguments = [storage, int(offset), ints(shape), ints(stride), b"\x89".to_vec(), hooks];
    [global("torch._utils", "_rebuild_tensor_v2"), tuple(&arguments), b"R".to_vec()].concat()
}

/// The tensors of the tests' MLP, all in the first numbers of one storage of 12.
pub fn mlp_tensors() -> Vec<(&'static str, Vec<u8>)> {
    let shapes: [(&str, &[i64]); 6] = [
        ("net.0.weight", &[3, 4]),
        ("net.0.bias", &[3]),
        ("net.2.weight", &[4, 3]),
        ("net.2.bias", &[4]),
        ("net.4.weight", &[2, 4]),
        ("net.4.bias", &[2]),
    ];
    let strides = |shape: &[i64]| if let [_, columns] = shape { vec![*columns, 1] } else { vec![1] };
    shapes.map(|(name, shape)| (name, tensor(12, 0, shape, &strides(shape)))).to_vec()
}

/// What makes an object by a call that must not be made.
pub fn evil() -> Vec<u8> {
    [global("os", "system"), tuple(&[text("true")]), b"R".to_vec()].concat()
}

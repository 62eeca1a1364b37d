//! Files in the safetensors format: a header in JSON, then the tensors' bytes.

use super::StateDict;
use super::element::Element;
use super::error::{Fault, MAX_HEADER, StateDictError, malformed, shown};
use super::load::{Entry, Source};
use super::pickle::MAX_RANK;
use crate::checkpoint::sync_folder;
use burn::tensor::TensorData;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, View, serialize_to_file};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fmt::{self, Formatter};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A safetensors file whose header was read and found to cover the file exactly.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor's bytes begin.
    data: u64,
}

impl SafetensorsFile {
    /// Reads the header of `file`, which has `length` bytes.
    pub(super) fn open(path: &Path, mut file: File, length: u64) -> Result<Self, StateDictError> {
        let (metadata, data) = read_header(&mut file, length).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_path_buf(), file, metadata, data })
    }
}

fn read_header(file: &mut File, length: u64) -> Result<(Metadata, u64), Fault> {
    if length < 8 {
        return malformed(format!("it has {length} bytes, expected a safetensors header"));
    }
    let mut size = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    let expected = MAX_HEADER.min(length - 8);
    if size > expected {
        return malformed(format!("its header has {size} bytes, expected at most {expected}"));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header)?;
    let Header(mut tensors) = serde_json::from_slice(&header)
        .map_err(|error| Fault::Malformed(format!("its header cannot be understood: {error}")))?;
    if let Some((name, tensor)) = tensors.iter().find(|(_, tensor)| tensor.shape.len() > MAX_RANK) {
        let (name, rank) = (shown(name), tensor.shape.len());
        return malformed(format!("its tensor `{name}` has {rank} axes, expected at most {MAX_RANK}"));
    }
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let metadata = Metadata::new(None, tensors).map_err(|error| Fault::Malformed(error.to_string()))?;
    let (found, data) = (length - 8 - size, 8 + size);
    if metadata.data_len() as u64 != found {
        let expected = metadata.data_len();
        return malformed(format!("it holds {found} bytes of tensors, expected {expected} after its header"));
    }
    Ok((metadata, data))
}

/// The header's tensors in its order. The crate's own type would keep the last of several of the same name.
struct Header(Vec<(String, TensorInfo)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut tensors, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

impl Source for SafetensorsFile {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn entries(&self) -> BTreeMap<String, Entry> {
        let entry = |tensor: &TensorInfo| Entry { element: tensor.dtype.into(), shape: tensor.shape.clone() };
        self.metadata.tensors().into_iter().map(|(name, tensor)| (name, entry(tensor))).collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<f32>, StateDictError> {
        let Some(tensor) = self.metadata.info(name) else { return Ok(Vec::new()) };
        let start = self.data + tensor.data_offsets.0 as u64;
        let count = tensor.shape.iter().product();
        Element::from(tensor.dtype)
            .read(&mut self.file, start, count)
            .map_err(|error| Fault::Read(error).at(&self.path))
    }
}

impl From<Dtype> for Element {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Writes `dict` to a temporary name beside `path`, syncs it, and gives it its name last.
pub(super) fn write(dict: &StateDict, path: &Path) -> Result<(), StateDictError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    let partial = path.with_file_name(name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = serialize_to_file(dict.iter().map(|(name, tensor)| (name, F32(tensor))), None, &partial)
        .map_err(io::Error::other)
        .and_then(|()| OpenOptions::new().write(true).open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| sync_folder(folder));
    written.map_err(|source| {
        // What is left of a failed attempt is of no use; the error to report is the first.
        let _ = fs::remove_file(&partial);
        StateDictError::Io { action: "write", path: path.to_path_buf(), source }
    })
}

/// A tensor as it is written.
struct F32<'a>(&'a TensorData);

impl View for F32<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.iter::<f32>().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        self.0.num_elements() * size_of::<f32>()
    }
}

//! Files in the safetensors format: a header in JSON, then the tensors' bytes.

use super::contents::Contents;
use super::view::{MAX_RANK, View};
use crate::FileKind;
use crate::error::{Fault, MAX_HEADER, malformed, shown};
use crate::regular::open_regular;
use crate::source::Source;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Formatter};
use std::io::{self, Read, Write};
use std::path::Path;

/// The tensors of a file whose header covers it exactly: they lie one after the other without gaps, each as long as its
/// shape and type make it, and the last one ends where the file does.
pub(super) fn read(source: &Source) -> Result<Contents, Fault> {
    let length = source.len();
    let mut head = vec![0; length.min(512) as usize];
    source.read_exact_at(&mut head, 0)?;
    // Of a safetensors file that is damaged the first bytes, which are a length, may be those of anything.
    if head.get(8).is_some_and(|&byte| byte != b'{')
        && let Some(kind) = FileKind::of(&head)
    {
        return Err(Fault::NotAStateDict(format!("it {kind}")));
    }
    if length < 8 {
        return malformed(format!("it has {length} bytes, expected a safetensors header"));
    }
    let mut size = [0; 8];
    source.read_exact_at(&mut size, 0)?;
    let size = u64::from_le_bytes(size);
    let expected = MAX_HEADER.min(length - 8);
    if size > expected {
        return malformed(format!("its header has {size} bytes, expected at most {expected}"));
    }
    let mut header = vec![0; size as usize];
    source.read_exact_at(&mut header, 8)?;
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
    let view = |tensor: &TensorInfo| {
        let start = data + tensor.data_offsets.0 as u64;
        View::contiguous(tensor.dtype.into(), tensor.shape.clone(), start)
    };
    let tensors = metadata.tensors().into_iter().map(|(name, tensor)| (name, view(tensor)));
    Ok(Contents::of(tensors.collect()))
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

/// Writes the header of a file of tensors of these names and shapes, byte for byte as the format's own writer does,
/// which wants all tensors at once; returns the byte at which each begins. `note` is a name and a text that the file says
/// of itself.
pub(crate) fn write_header(
    shapes: &BTreeMap<String, Vec<usize>>,
    dtype: Dtype,
    note: Option<(&str, &str)>,
    file: &mut impl Write,
) -> io::Result<BTreeMap<String, u64>> {
    let mut end = 0;
    let tensors = shapes.iter().map(|(name, shape)| {
        let start = end;
        end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
        (name.clone(), TensorInfo { dtype, shape: shape.clone(), data_offsets: (start, end) })
    });
    let note = note.map(|(name, text)| HashMap::from([(name.to_string(), text.to_string())]));
    let metadata = Metadata::new(note, tensors.collect()).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    let data = 8 + header.len();
    Ok(metadata
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, (data + tensor.data_offsets.0) as u64))
        .collect())
}

/// The text that a safetensors file says of itself under `name`; nothing if it says none, or is another file.
///
/// # Errors
/// If the file cannot be read.
pub fn read_note(path: impl AsRef<Path>, name: &str) -> io::Result<Option<String>> {
    /// The part of a header that names no tensor.
    #[derive(serde::Deserialize)]
    struct Noted {
        __metadata__: HashMap<String, String>,
    }

    let mut file = open_regular(path)?;
    let mut size = [0; 8];
    let at_most = file.metadata()?.len().saturating_sub(8).min(MAX_HEADER);
    if at_most == 0 {
        return Ok(None);
    }
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > at_most {
        return Ok(None);
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header)?;
    let noted = serde_json::from_slice::<Noted>(&header).ok();
    Ok(noted.and_then(|mut noted| noted.__metadata__.remove(name)))
}

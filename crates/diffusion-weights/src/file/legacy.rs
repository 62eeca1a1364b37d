//! Files that `torch.save` wrote before PyTorch 1.6: pickles one after the other, then the tensors' bytes.

use super::contents::{Contents, contents};
use super::pickle::{Pickle, Storage, Value};
use super::torch::{MAX_PICKLE, big};
use crate::error::{Fault, malformed, unsupported};
use crate::source::Source;
use std::collections::HashMap;

/// The first pickle is this number, after its instruction and size.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The same in the words of the earliest protocols.
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L\n.";

/// Whether a file begins as these files do.
pub(super) fn begins(head: &[u8]) -> bool {
    if head.starts_with(MAGIC_TEXT) {
        return true;
    }
    let head = &head[..head.len().min(32)];
    head.first() == Some(&0x80) && head.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
}

/// The tensors in such a file, each inside its storage.
pub(super) fn read(source: &Source) -> Result<Contents, Fault> {
    let bytes = source.head(MAX_PICKLE as usize)?;
    let (_, rest) = Pickle::read_first(&bytes)?;
    let (version, rest) = Pickle::read_first(rest)?;
    if !matches!(version.value(version.root()), Value::Int(1001)) {
        return malformed("its version is not the only one that there was, 1001");
    }
    let (system, rest) = Pickle::read_first(rest)?;
    check_order(&system)?;
    let (pickle, after) = Pickle::read_first(rest)?;
    let size = rest.len() - after.len();
    let (keys, after) = Pickle::read_first(after)?;
    let starts = starts(source, &pickle, &keys, (bytes.len() - after.len()) as u64)?;
    contents(&pickle, size, &|storage, size, view| {
        let Some(&(start, bytes)) = starts.get(storage.key) else {
            return malformed(format!("the values are missing, expected a storage `{}`", storage.key));
        };
        check_count(storage, bytes)?;
        view([start, size, bytes / size.max(1)])
    })
}

fn check_order(system: &Pickle<'_>) -> Result<(), Fault> {
    let Value::Dict(notes) = system.value(system.root()) else {
        return malformed("what it says of its system is no dict");
    };
    let is_big = |&(key, value): &(_, _)| {
        matches!((system.value(key), system.value(value)), (Value::Text("little_endian"), Value::Bool(false)))
    };
    match notes.iter().any(is_big) {
        true => unsupported(big("big")),
        false => Ok(()),
    }
}

fn check_count(storage: &Storage<'_>, bytes: u64) -> Result<(), Fault> {
    match storage.count.checked_mul(storage.size) {
        Some(expected) if expected <= bytes => Ok(()),
        _ => malformed(format!(
            "storage `{}` holds {bytes} bytes, expected {} elements of {} bytes",
            storage.key, storage.count, storage.size
        )),
    }
}

/// Where each storage starts, and how many bytes it has: in the order of their keys, each after its number of elements.
fn starts<'p>(
    source: &Source,
    pickle: &Pickle<'_>,
    keys: &'p Pickle<'_>,
    mut at: u64,
) -> Result<HashMap<&'p str, (u64, u64)>, Fault> {
    let sizes: HashMap<&str, u64> = pickle
        .values()
        .filter_map(|value| match value {
            Value::Storage(storage) => Some((storage.key, storage.size)),
            _ => None,
        })
        .collect();
    let Value::List(items) = keys.value(keys.root()) else {
        return malformed("the keys of its storages are no list");
    };
    let mut starts = HashMap::new();
    for &item in items {
        let &Value::Text(key) = keys.value(item) else {
            return malformed("a key of its storages is no string");
        };
        let Some(&size) = sizes.get(key) else {
            return malformed(format!("its storage `{key}` is no tensor's"));
        };
        let mut count = [0; 8];
        source.read_exact_at(&mut count, at)?;
        let bytes = u64::from_le_bytes(count).checked_mul(size);
        let end = bytes.and_then(|bytes| bytes.checked_add(at + 8)).filter(|&end| end <= source.len());
        let (Some(bytes), Some(end)) = (bytes, end) else {
            return malformed(format!(
                "its storage `{key}` has {} elements of {size} bytes, expected an end before {}",
                u64::from_le_bytes(count),
                source.len()
            ));
        };
        if starts.insert(key, (at + 8, bytes)).is_some() {
            return malformed(format!("it has the storage `{key}` twice"));
        }
        at = end;
    }
    Ok(starts)
}

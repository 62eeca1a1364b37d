//! Files that `torch.save` writes since PyTorch 1.6: a zip archive of a pickle and of the tensors' bytes.

use super::pickle::{Id, Pickle, Storage, Tensor, Value};
use super::view::View;
use super::zip::{self, Stored};
use crate::error::{Fault, MAX_HEADER, malformed};
use crate::source::Source;
use std::collections::{BTreeMap, HashMap};

/// The tensors of the state dict in an archive, each inside its storage.
pub(super) fn read(source: &Source) -> Result<BTreeMap<String, View>, Fault> {
    let files = zip::read(source)?;
    let pickles: Vec<(&str, Stored)> =
        files.iter().filter_map(|(name, stored)| Some((name.strip_suffix("/data.pkl")?, *stored))).collect();
    let [(prefix, pickle)] = pickles[..] else {
        return Err(Fault::NotAStateDict(format!(
            "it is a zip archive with {} files called data.pkl, expected one",
            pickles.len()
        )));
    };
    if let Some(order) = files.get(&format!("{prefix}/byteorder")) {
        let order = zip::read_at(source, order.start, order.size.min(8), source.len())?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return malformed(format!("its bytes are in the order {order:?}, expected \"little\""));
        }
    }
    if pickle.size > MAX_HEADER {
        return malformed(format!("its pickle has {} bytes, expected at most {MAX_HEADER}", pickle.size));
    }
    let bytes = zip::read_at(source, pickle.start, pickle.size, source.len())?;
    let pickle = Pickle::read(&bytes)?;
    let mut tensors = BTreeMap::new();
    for &(name, id) in state_dict(&pickle)? {
        let (&Value::Text(name), Value::Tensor(tensor)) = (pickle.value(name), pickle.value(id)) else {
            continue;
        };
        let Value::Storage(storage) = pickle.value(tensor.storage) else { continue };
        let Some(stored) = files.get(&format!("{prefix}/data/{}", storage.key)) else {
            return malformed(format!("the values of `{name}` are missing, expected `data/{}`", storage.key));
        };
        let view = view(tensor, storage, *stored).map_err(|fault| match fault {
            Fault::Malformed(reason) => Fault::Malformed(format!("in `{name}`, {reason}")),
            other => other,
        })?;
        if tensors.insert(name.to_string(), view).is_some() {
            return malformed(format!("it has the tensor `{name}` twice"));
        }
    }
    Ok(tensors)
}

/// Checks a tensor of a pickle against its storage and that against its file.
fn view(tensor: &Tensor, storage: &Storage<'_>, file: Stored) -> Result<View, Fault> {
    if storage.count.checked_mul(storage.size).is_none_or(|bytes| bytes > file.size) {
        return malformed(format!(
            "storage `{}` holds {} bytes, expected {} elements of {} bytes",
            storage.key, file.size, storage.count, storage.size
        ));
    }
    let place = [file.start, storage.size, storage.count];
    View::strided(storage.dtype.clone(), place, tensor.offset, [&tensor.shape, &tensor.stride])
}

/// The names and tensors of a pickle's state dict: its one dict or, in a dict that holds no tensor itself, the one
/// value that is a dict of tensors, as in `{"model": …, "optimizer": …, "epoch": 3}`.
fn state_dict<'p>(pickle: &'p Pickle<'_>) -> Result<&'p [(Id, Id)], Fault> {
    let Value::Dict(items) = pickle.value(pickle.root()) else {
        let kind = pickle.value(pickle.root()).kind();
        return Err(Fault::NotAStateDict(format!("it holds {kind}, expected a dict of tensors")));
    };
    let is_tensor = |&(_, value): &(Id, Id)| matches!(pickle.value(value), Value::Tensor(_));
    let mut texts = Vec::new();
    for &(key, _) in items {
        match pickle.value(key) {
            Value::Text(text) => texts.push(*text),
            other => {
                let kind = other.kind();
                return Err(Fault::NotAStateDict(format!("a key of its dict is {kind}, expected a string")));
            }
        }
    }
    if let Some(other) = items.iter().position(|item| !is_tensor(item)) {
        if !items.iter().any(is_tensor) {
            return nested(pickle, items, &texts);
        }
        let kind = pickle.value(items[other].1).kind();
        return Err(Fault::NotAStateDict(format!("`{}` is {kind}, expected a tensor", texts[other])));
    }
    Ok(items)
}

fn nested<'p>(pickle: &'p Pickle<'_>, items: &[(Id, Id)], keys: &[&str]) -> Result<&'p [(Id, Id)], Fault> {
    // Many keys can share a value, which is then looked at once.
    let mut seen: HashMap<Id, Option<&'p [(Id, Id)]>> = HashMap::new();
    let mut found: Vec<(&str, &'p [(Id, Id)])> = Vec::new();
    for (&(_, id), key) in items.iter().zip(keys) {
        let dict = *seen.entry(id).or_insert_with(|| match pickle.value(id) {
            Value::Dict(items) if !items.is_empty() => {
                let is_entry = |&(key, value): &(Id, Id)| {
                    matches!((pickle.value(key), pickle.value(value)), (Value::Text(_), Value::Tensor(_)))
                };
                items.iter().all(is_entry).then_some(&items[..])
            }
            _ => None,
        });
        found.extend(dict.map(|dict| (*key, dict)));
    }
    let list = |keys: &mut dyn Iterator<Item = &str>| {
        keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    };
    match &found[..] {
        [(_, dict)] => Ok(dict),
        [] => {
            let keys = list(&mut keys.iter().copied().take(10));
            Err(Fault::NotAStateDict(format!(
                "none of its values is a dict of tensors; its keys begin with {keys}"
            )))
        }
        several => {
            let keys = list(&mut several.iter().map(|(key, _)| *key).take(10));
            Err(Fault::NotAStateDict(format!(
                "it holds several dicts of tensors, {keys}: save one by itself"
            )))
        }
    }
}

//! From a pickle to the tensors that it places in storages.

use super::pickle::{Pickle, Storage, Tensor, Value};
use super::view::View;
use super::walk::{self, Beside};
use crate::error::{Fault, malformed, shown};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The tensors by the paths of keys to them, with dots between.
    pub tensors: BTreeMap<String, View>,
    pub beside: Beside,
}

impl Contents {
    /// Tensors alone.
    pub(super) fn of(tensors: BTreeMap<String, View>) -> Self {
        Self { tensors, beside: Beside::default() }
    }
}

/// Makes a tensor in a storage: of where it starts, the bytes of an element, and how many elements it has.
pub(super) type Making<'f> = dyn Fn([u64; 3]) -> Result<View, Fault> + 'f;

/// Finds a tensor's storage, given the bytes of an element, and has the tensor made in it.
pub(super) type Placing<'f> = dyn Fn(&Storage<'_>, u64, &Making<'_>) -> Result<View, Fault> + 'f;

/// All tensors of a pickle of `size` bytes, `place` knowing the storages.
pub(super) fn contents(pickle: &Pickle<'_>, size: usize, place: &Placing<'_>) -> Result<Contents, Fault> {
    if let Some(fault) = walk::refusal(pickle) {
        return Err(fault);
    }
    let walked = walk::walk(pickle, size)?;
    let mut beside = walked.beside;
    let (mut tensors, mut twice) = (BTreeMap::new(), BTreeMap::new());
    for (name, id, home) in walked.tensors {
        let view = view(pickle, pickle.value(id), place).map_err(|fault| match fault {
            Fault::Malformed(reason) => Fault::Malformed(format!("in `{name}`, {reason}")),
            other => other,
        })?;
        match tensors.entry(name) {
            Entry::Vacant(free) => drop(free.insert((id, view.of(home)))),
            // The same tensor by another way.
            Entry::Occupied(same) if same.get().0 == id => {}
            // Neither can be meant.
            Entry::Occupied(other) => {
                let (name, [first, second]) = (other.key(), [other.get().1.home, home]);
                let [first, second] = [first, second].map(|home| beside.keys_to(name, home));
                twice.insert(name.clone(), format!("the name of two tensors, {first} and {second}"));
            }
        }
    }
    tensors.retain(|name, _| !twice.contains_key(name));
    let tensors: BTreeMap<String, View> = tensors.into_iter().map(|(name, (_, view))| (name, view)).collect();
    if tensors.is_empty() {
        if let Some((name, kind)) = twice.first_key_value() {
            return Err(Fault::Unsupported(format!("`{}` is {kind}", shown(name))));
        }
        if let Some(object) = beside.objects.first() {
            return Err(Fault::Refused(object.clone()));
        }
        walk::check_is_empty(pickle)?;
    }
    beside.others.extend(twice);
    Ok(Contents { tensors, beside })
}

fn view(pickle: &Pickle<'_>, value: &Value<'_>, place: &Placing<'_>) -> Result<View, Fault> {
    let tensor: &Tensor = match value {
        Value::Tensor(tensor) => tensor,
        other => return Ok(View::unread(other.kind())),
    };
    let Value::Storage(storage) = pickle.value(tensor.storage) else {
        return Ok(View::unread("a tensor of an unknown make"));
    };
    let (dtype, size) = match (&tensor.dtype, &storage.dtype) {
        (Some((dtype, size)), _) => (dtype.clone(), *size),
        (None, Some(dtype)) => (dtype.clone(), storage.size),
        (None, None) => return Ok(View::unread("a tensor of an unknown type")),
    };
    let shapes = [&tensor.shape[..], &tensor.stride[..]];
    place(storage, size, &|[start, size, count]| {
        let (start, count) = match storage.part {
            None => (start, count),
            Some((from, part)) if from.checked_add(part).is_some_and(|end| end <= count) => {
                (start + from * size, part)
            }
            Some((from, part)) => {
                return malformed(format!(
                    "{part} elements from {from} on are a storage, expected them in {count}"
                ));
            }
        };
        let view = View::strided(dtype.clone(), [start, size, count], tensor.offset, shapes)?;
        Ok(if tensor.is_negative { view.negated() } else { view })
    })
}

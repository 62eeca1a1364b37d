//! What the known functions would make of their arguments. No other is ever called: it makes an object that is named.

use super::numpy;
use super::object::{Global, Id, Storage, Tensor, Value};
use crate::error::{Fault, malformed};
use crate::file::view::MAX_RANK;

/// How many arguments of a call are looked at.
const MAX_ARGUMENTS: usize = 8;

/// What a call gives: a new value, or one that is there already.
pub(super) enum Built<'a> {
    New(Value<'a>),
    Old(Id),
}

/// What stands outside the pickle under a reference: ("storage", class, key, device, count), in old files with a sixth
/// item; or ("module", class, …) of a whole module.
pub(super) fn outside<'a>(values: &[Value<'a>], reference: Id) -> Result<Value<'a>, Fault> {
    let value = |id: Id| &values[id as usize];
    let items = match value(reference) {
        Value::Tuple(items) => &items[..],
        _ => &[],
    };
    if let &[kind, class, ..] = items
        && let (Value::Text("module"), Value::Global(_)) = (value(kind), value(class))
    {
        return Ok(Value::Object(class));
    }
    if let &[kind, class, key, _device, count, ref rest @ ..] = items
        && let [Value::Text("storage"), Value::Global(class), &Value::Text(key), &Value::Int(count @ 0..)] =
            [kind, class, key, count].map(value)
    {
        let (dtype, size) = match &**class {
            Global::Storage(dtype, size) => (dtype.clone(), *size),
            _ => return Ok(Value::Unread("a storage of a class of its own")),
        };
        let part = match rest.first().map(|&id| value(id)) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Tuple(part)) => match part.iter().map(|&id| value(id)).collect::<Vec<_>>()[..] {
                [Value::Text(_), &Value::Int(start @ 0..), &Value::Int(count @ 0..)] => {
                    Ok(Some((start as u64, count as u64)))
                }
                _ => Err(()),
            },
            Some(_) => Err(()),
        };
        if let Ok(part) = part {
            return Ok(Value::Storage(Box::new(Storage { key, dtype, size, count: count as u64, part })));
        }
    }
    malformed("its pickle refers to stored elements in another way than torch.save")
}

/// How many items of its arguments a call looks at, or copies.
pub(super) fn cost(values: &[Value<'_>], function: Id, arguments: Id) -> usize {
    let (Value::Global(global), Value::Tuple(items)) =
        (&values[function as usize], &values[arguments as usize])
    else {
        return 0;
    };
    let size = |&id: &Id| match &values[id as usize] {
        Value::Dict(entries) => entries.len(),
        Value::List(items) | Value::Tuple(items) if matches!(**global, Global::Dict) => items.len(),
        Value::Text(text) if matches!(**global, Global::Encode) => text.len(),
        _ => 0,
    };
    match **global {
        Global::Encode => items.first().map_or(0, size),
        Global::Dict | Global::RebuildTensor(_) | Global::RebuildFromType => {
            items.iter().take(MAX_ARGUMENTS).map(size).sum()
        }
        _ => 0,
    }
}

/// What a function would make of its arguments, or a class.
pub(super) fn call<'a>(values: &[Value<'a>], function: Id, arguments: Id) -> Result<Built<'a>, Fault> {
    let value = |id: Id| &values[id as usize];
    let global = match value(function) {
        Value::Global(global) => &**global,
        Value::Object(class) => return Ok(Built::New(Value::Object(*class))),
        Value::Plain(kind) => return Ok(Built::New(Value::Plain(kind))),
        Value::NumpyDtype(..) | Value::Array(_) => return Ok(Built::New(Value::Plain("a NumPy object"))),
        _ => return malformed("its pickle calls something that is no function"),
    };
    let Value::Tuple(items) = value(arguments) else {
        return malformed("its pickle calls a function with something else than arguments");
    };
    Ok(match (global, &items[..]) {
        (Global::Dict, items) => dict(values, &items[..items.len().min(MAX_ARGUMENTS)]),
        (Global::List, items) => {
            match items.iter().take(1).find(|&&id| matches!(value(id), Value::List(_))) {
                Some(&list) => Built::Old(list),
                None => Built::New(Value::List(Vec::new())),
            }
        }
        (Global::Tuple, &[same]) if matches!(value(same), Value::Tuple(_)) => Built::Old(same),
        (Global::Tuple, _) => Built::New(Value::Plain("a tuple")),
        (Global::Set, _) => Built::New(Value::Set),
        (Global::Same, &[same, ..]) => Built::Old(same),
        (Global::TensorClass, &[same, ..]) if matches!(value(same), Value::Tensor(_) | Value::Unread(_)) => {
            Built::Old(same)
        }
        (Global::RebuildTensor(version), items) => Built::New(tensor(values, *version, items)?),
        (Global::RebuildFromType, &[rebuild, class, arguments, ..]) => {
            from_type(values, [rebuild, class, arguments])?
        }
        (Global::RebuildOnDevice, &[tensor, dtype, ..]) => on_device(values, tensor, dtype),
        (Global::Unread(kind), _) => Built::New(Value::Unread(kind)),
        (Global::Plain(kind), _) => Built::New(Value::Plain(kind)),
        (Global::Encode, items) => Built::New(numpy::encoded(values, items)),
        (Global::NumpyDtype, items) => Built::New(numpy::dtype(values, items)),
        (Global::NumpyArray, _) => Built::New(numpy::blank()),
        (Global::NumpyFromBuffer, items) => Built::New(numpy::from_buffer(values, items)),
        (Global::Dtype(..), _) => Built::New(Value::Plain("a plain value")),
        (Global::Storage(..), _) => Built::New(Value::Plain("a storage")),
        (Global::Reconstruct, &[class, ..]) if matches!(value(class), Value::Global(_)) => {
            Built::New(Value::Object(class))
        }
        (Global::Other(..), _) => Built::New(Value::Object(function)),
        (Global::Same | Global::TensorClass | Global::RebuildFromType | Global::RebuildOnDevice, _)
        | (Global::Reconstruct, _) => Built::New(Value::Unread("a tensor of an unknown make")),
    })
}

/// A dict of the arguments of its class: another dict, pairs, or, as of a `defaultdict`, something else.
fn dict<'a>(values: &[Value<'a>], items: &[Id]) -> Built<'a> {
    let value = |id: Id| &values[id as usize];
    if let Some(&dict) = items.iter().find(|&&id| matches!(value(id), Value::Dict(_))) {
        return Built::Old(dict);
    }
    let pair = |&id: &Id| match value(id) {
        Value::Tuple(pair) | Value::List(pair) => match pair[..] {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    };
    let pairs = match items.first().map(|&id| value(id)) {
        Some(Value::List(pairs) | Value::Tuple(pairs)) => pairs.iter().map(pair).collect(),
        _ => None,
    };
    Built::New(Value::Dict(pairs.unwrap_or_default()))
}

/// A tensor from (storage, offset, shape, stride, …); from version 2 on with (…, needs gradient, hooks), version 3 with
/// a type, and then perhaps metadata.
fn tensor<'a>(values: &[Value<'a>], version: u8, items: &[Id]) -> Result<Value<'a>, Fault> {
    let value = |id: Id| &values[id as usize];
    let &[storage, offset, shape, stride, ref rest @ ..] = items else {
        return malformed(format!("a tensor in its pickle is made of {} values, expected 4", items.len()));
    };
    let offset = match (value(storage), value(offset)) {
        (Value::Storage(_), &Value::Int(offset @ 0..)) => offset as u64,
        (&Value::Unread(kind) | &Value::Plain(kind), _) => return Ok(Value::Unread(kind)),
        (storage, offset) => {
            return malformed(format!(
                "a tensor in its pickle has {} and the offset {offset:?}, expected a storage and a whole number",
                storage.kind(),
            ));
        }
    };
    let (Some(shape), Some(stride)) = (sizes(values, shape)?, sizes(values, stride)?) else {
        return Ok(Value::Unread("a tensor of too many axes"));
    };
    let (dtype, metadata) = match version {
        1 => (None, None),
        2 => (None, rest.get(2)),
        _ => match rest.get(2).map(|&id| value(id)) {
            Some(Value::Global(global)) => match &**global {
                Global::Dtype(dtype, size) => (Some((dtype.clone(), *size)), rest.get(3)),
                _ => return Ok(Value::Unread("a tensor of an unknown type")),
            },
            _ => return Ok(Value::Unread("a tensor of an unknown type")),
        },
    };
    let is_negative = match metadata.map(|&id| value(id)) {
        None | Some(Value::None) => false,
        Some(Value::Dict(notes)) => match is_negative(values, notes) {
            Some(is_negative) => is_negative,
            None => return Ok(Value::Unread("a tensor with metadata of an unknown meaning")),
        },
        Some(_) => return Ok(Value::Unread("a tensor with metadata of an unknown meaning")),
    };
    Ok(Value::Tensor(Box::new(Tensor { storage, dtype, offset, shape, stride, is_negative })))
}

/// Whether a tensor's metadata turn its sign; nothing if they say something else that is not known.
fn is_negative(values: &[Value<'_>], notes: &[(Id, Id)]) -> Option<bool> {
    let mut is_negative = false;
    for &(key, note) in notes {
        match (&values[key as usize], &values[note as usize]) {
            (Value::Text("neg"), Value::Bool(note)) => is_negative = *note,
            // Real numbers are their own conjugates; complex ones are not read.
            (Value::Text("conj"), Value::Bool(_)) | (_, Value::Bool(false) | Value::None) => {}
            _ => return None,
        }
    }
    Some(is_negative)
}

/// A tensor with attributes of Python's, which change nothing of its values as long as its class is PyTorch's own.
fn from_type<'a>(values: &[Value<'a>], [rebuild, class, arguments]: [Id; 3]) -> Result<Built<'a>, Fault> {
    let value = |id: Id| &values[id as usize];
    let Value::Global(class) = value(class) else {
        return Ok(Built::New(Value::Unread("a tensor of an unknown make")));
    };
    match (&**class, value(rebuild), value(arguments)) {
        (Global::TensorClass, Value::Global(rebuild), Value::Tuple(items)) => {
            match (&**rebuild, &items[..]) {
                (Global::RebuildTensor(version), items) => Ok(Built::New(tensor(values, *version, items)?)),
                (Global::Same, &[same, ..]) => Ok(Built::Old(same)),
                (Global::Unread(kind), _) => Ok(Built::New(Value::Unread(kind))),
                _ => Ok(Built::New(Value::Unread("a tensor of an unknown make"))),
            }
        }
        _ => Ok(Built::New(Value::Unread("a tensor of a class of its own"))),
    }
}

/// A tensor of another device, whose values are those of one of the CPU if it has the same type.
fn on_device<'a>(values: &[Value<'a>], tensor: Id, dtype: Id) -> Built<'a> {
    let value = |id: Id| &values[id as usize];
    let Value::Tensor(inner) = value(tensor) else {
        return Built::New(Value::Unread("a tensor of an unknown make"));
    };
    let stored = match (&inner.dtype, value(inner.storage)) {
        (Some((dtype, _)), _) => Some(dtype),
        (None, Value::Storage(storage)) => storage.dtype.as_ref(),
        _ => None,
    };
    match value(dtype) {
        Value::Global(global) if matches!(&**global, Global::Dtype(dtype, _) if stored == Some(dtype)) => {
            Built::Old(tensor)
        }
        _ => Built::New(Value::Unread("a tensor of another type than it was stored in")),
    }
}

/// A tuple of sizes or strides; nothing if they are too many.
fn sizes(values: &[Value<'_>], tuple: Id) -> Result<Option<Vec<u64>>, Fault> {
    let items = match &values[tuple as usize] {
        Value::Tuple(items) if items.len() <= MAX_RANK => items,
        Value::Tuple(_) => return Ok(None),
        other => {
            return malformed(format!("a tensor's shape or stride is {}, expected a tuple", other.kind()));
        }
    };
    let size = |&item: &Id| match &values[item as usize] {
        Value::Int(size @ 0..) => Ok(*size as u64),
        Value::Int(size) => malformed(format!("a tensor has the size or stride {size}, expected at least 0")),
        other => malformed(format!("a tensor's size or stride is {}, expected an integer", other.kind())),
    };
    items.iter().map(size).collect::<Result<_, _>>().map(Some)
}

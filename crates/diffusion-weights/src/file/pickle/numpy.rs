//! What NumPy's functions would make: types of elements, and arrays whose bytes are in the pickle.

use super::object::{Array, Id, Value};
use crate::file::view::MAX_RANK;
use std::borrow::Cow;

/// What is no array that can be read.
const OBJECT: Value<'static> = Value::Plain("a NumPy object");

/// An array as `_reconstruct` makes it, which is nothing before it is given its state.
pub(super) fn blank<'a>() -> Value<'a> {
    Value::Array(Box::new(Array { dtype: Id::MAX, shape: Vec::new(), bytes: Id::MAX }))
}

/// A type of elements of (name, …).
pub(super) fn dtype<'a>(values: &[Value<'a>], items: &[Id]) -> Value<'a> {
    match items.first().map(|&name| &values[name as usize]) {
        Some(&Value::Text(name)) => Value::NumpyDtype(name, false),
        _ => OBJECT,
    }
}

/// An array of (bytes, type, shape, order).
pub(super) fn from_buffer<'a>(values: &[Value<'a>], items: &[Id]) -> Value<'a> {
    match *items {
        [bytes, dtype, shape, order] => match (&values[order as usize], sizes(values, shape)) {
            (Value::Text("C"), Some(shape)) => Value::Array(Box::new(Array { dtype, shape, bytes })),
            _ => OBJECT,
        },
        _ => OBJECT,
    }
}

/// The bytes of (text, encoding), as Python 3 writes them for Python 2: those of which the text is the code in Latin-1.
pub(super) fn encoded<'a>(values: &[Value<'a>], items: &[Id]) -> Value<'a> {
    let value = |id: Id| &values[id as usize];
    let bytes = match *items {
        [text, encoding, ..] => match (value(text), value(encoding)) {
            (Value::Text(text), Value::Text("latin1")) => {
                text.chars().map(|letter| u8::try_from(letter).ok()).collect()
            }
            _ => None,
        },
        _ => None,
    };
    bytes.map_or(Value::Plain("bytes"), |bytes: Vec<u8>| Value::Bytes(Cow::Owned(bytes)))
}

/// What a type or an array is with its state; nothing of what has none here.
pub(super) fn with_state<'a>(values: &[Value<'a>], object: Id, state: Id) -> Option<Value<'a>> {
    let value = |id: Id| &values[id as usize];
    let items = match value(state) {
        Value::Tuple(items) => &items[..],
        _ => &[],
    };
    Some(match (value(object), items) {
        (&Value::NumpyDtype(name, _), &[_, order, ..]) => match value(order) {
            Value::Text(order) => Value::NumpyDtype(name, *order == ">"),
            _ => OBJECT,
        },
        (Value::Array(_), &[_, shape, dtype, is_by_columns, bytes]) => {
            match (value(is_by_columns), sizes(values, shape)) {
                (Value::Bool(false), Some(shape)) => Value::Array(Box::new(Array { dtype, shape, bytes })),
                (Value::Bool(true), _) => Value::Plain("a NumPy array of columns"),
                _ => OBJECT,
            }
        }
        (Value::NumpyDtype(..) | Value::Array(_), _) => OBJECT,
        _ => return None,
    })
}

/// The lengths of axes in a tuple.
fn sizes(values: &[Value<'_>], tuple: Id) -> Option<Vec<u64>> {
    let Value::Tuple(items) = &values[tuple as usize] else { return None };
    let size = |&item: &Id| match values[item as usize] {
        Value::Int(size) => u64::try_from(size).ok(),
        _ => None,
    };
    (items.len() <= MAX_RANK).then(|| items.iter().map(size).collect())?
}

//! What a pickle of tensors is made of, and what the functions that it names would build.

use crate::Dtype;
use crate::error::{Fault, malformed, shown};
use crate::file::view::MAX_RANK;

/// The number of a value.
pub type Id = u32;

/// What a pickle can hold here. Values refer to each other by number, so that nesting of any depth is neither walked
/// nor dropped recursively.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool,
    Int(i64),
    Float,
    Text(&'a str),
    Tuple(Vec<Id>),
    List,
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor>),
}

/// The functions and classes that a pickle may name.
#[derive(Clone, Debug)]
pub enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildParameter,
    /// A storage of elements of this type.
    Storage(Dtype),
}

/// Elements in a file of their own in the archive.
#[derive(Debug)]
pub struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    /// Bytes per element.
    pub size: u64,
    /// How many elements.
    pub count: u64,
}

/// A view of a storage, as yet unchecked; offset and strides are counts of elements.
#[derive(Debug)]
pub struct Tensor {
    pub storage: Id,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub stride: Vec<u64>,
}

/// What a call gives: a new value, or one that is there already.
pub(super) enum Built<'a> {
    New(Value<'a>),
    Old(Id),
}

impl Value<'_> {
    /// What an error message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a bool",
            Self::Int(_) => "an integer",
            Self::Float => "a number",
            Self::Text(_) => "a string",
            Self::Tuple(_) => "a tuple",
            Self::List => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

impl Global {
    /// What stands under this name; any but the few that are known is refused.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Fault> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::Bf16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::Bool),
            _ => return Err(Fault::Refused(shown(&format!("{module}.{name}")))),
        })
    }
}

/// A reference to elements outside the pickle: ("storage", class, key, device, count).
pub(super) fn storage<'a>(values: &[Value<'a>], reference: Id) -> Result<Value<'a>, Fault> {
    if let Value::Tuple(items) = &values[reference as usize]
        && let &[kind, class, key, _device, count] = &items[..]
        && let [
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            &Value::Text(key),
            &Value::Int(count @ 0..),
        ] = [kind, class, key, count].map(|id| &values[id as usize])
    {
        let storage = Storage { key, dtype: dtype.clone(), size: dtype.size() as u64, count: count as u64 };
        return Ok(Value::Storage(Box::new(storage)));
    }
    malformed("its pickle refers to stored elements in another way than torch.save")
}

/// What a function would make of its arguments.
pub(super) fn call<'a>(values: &[Value<'a>], function: Id, arguments: Id) -> Result<Built<'a>, Fault> {
    let value = |id: Id| &values[id as usize];
    let (Value::Global(function), Value::Tuple(arguments)) = (value(function), value(arguments)) else {
        return malformed("its pickle calls something that is no function");
    };
    match (function, &arguments[..]) {
        (Global::OrderedDict, []) => Ok(Built::New(Value::Dict(Vec::new()))),
        (Global::Size, &[same]) | (Global::RebuildParameter, &[same, ..]) => Ok(Built::Old(same)),
        (Global::RebuildTensor, &[storage, offset, shape, stride, ..]) => {
            let (Value::Storage(_), &Value::Int(offset @ 0..)) = (value(storage), value(offset)) else {
                return malformed(format!(
                    "a tensor in its pickle has {} and the offset {:?}, expected a storage and a whole number",
                    value(storage).kind(),
                    value(offset)
                ));
            };
            let [shape, stride] = [sizes(values, shape)?, sizes(values, stride)?];
            let tensor = Tensor { storage, offset: offset as u64, shape, stride };
            Ok(Built::New(Value::Tensor(Box::new(tensor))))
        }
        (function, arguments) => {
            malformed(format!("its pickle calls {function:?} with {} arguments", arguments.len()))
        }
    }
}

/// A tuple of sizes or strides.
fn sizes(values: &[Value<'_>], tuple: Id) -> Result<Vec<u64>, Fault> {
    let items = match &values[tuple as usize] {
        Value::Tuple(items) if items.len() <= MAX_RANK => items,
        Value::Tuple(items) => {
            return malformed(format!("a tensor has {} axes, expected at most {MAX_RANK}", items.len()));
        }
        other => {
            return malformed(format!("a tensor's shape or stride is {}, expected a tuple", other.kind()));
        }
    };
    let size = |&item: &Id| match &values[item as usize] {
        Value::Int(size @ 0..) => Ok(*size as u64),
        Value::Int(size) => malformed(format!("a tensor has the size or stride {size}, expected at least 0")),
        other => malformed(format!("a tensor's size or stride is {}, expected an integer", other.kind())),
    };
    items.iter().map(size).collect()
}

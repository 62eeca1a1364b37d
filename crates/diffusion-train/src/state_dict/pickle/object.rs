//! What a pickle of tensors is made of, and what the functions that it names would build.

use super::super::element::Element;
use super::super::error::{Fault, malformed, shown};

/// The most axes that a tensor may have.
pub const MAX_RANK: usize = 8;

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
    /// A storage's numbers, and the bytes that each takes.
    Storage(Element, u64),
}

/// Numbers in a file of their own in the archive.
#[derive(Debug)]
pub struct Storage<'a> {
    pub key: &'a str,
    pub element: Element,
    /// Bytes per number.
    pub size: u64,
    /// How many numbers.
    pub count: u64,
}

/// A view of a storage, as yet unchecked; offset and strides are counts of numbers.
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
        let other = |name: &str| Element::Other(name.to_string());
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Element::F64, 8),
            ("torch", "FloatStorage") => Self::Storage(Element::F32, 4),
            ("torch", "HalfStorage") => Self::Storage(Element::F16, 2),
            ("torch", "BFloat16Storage") => Self::Storage(Element::Bf16, 2),
            ("torch", "LongStorage") => Self::Storage(other("I64"), 8),
            ("torch", "IntStorage") => Self::Storage(other("I32"), 4),
            ("torch", "ShortStorage") => Self::Storage(other("I16"), 2),
            ("torch", "CharStorage") => Self::Storage(other("I8"), 1),
            ("torch", "ByteStorage") => Self::Storage(other("U8"), 1),
            ("torch", "BoolStorage") => Self::Storage(other("BOOL"), 1),
            _ => return Err(Fault::Refused(shown(&format!("{module}.{name}")))),
        })
    }
}

/// A reference to numbers outside the pickle: ("storage", class, key, device, count).
pub(super) fn storage<'a>(values: &[Value<'a>], reference: Id) -> Result<Value<'a>, Fault> {
    if let Value::Tuple(items) = &values[reference as usize]
        && let &[kind, class, key, _device, count] = &items[..]
        && let [
            Value::Text("storage"),
            Value::Global(Global::Storage(element, size)),
            &Value::Text(key),
            &Value::Int(count @ 0..),
        ] = [kind, class, key, count].map(|id| &values[id as usize])
    {
        let storage = Storage { key, element: element.clone(), size: *size, count: count as u64 };
        return Ok(Value::Storage(Box::new(storage)));
    }
    malformed("its pickle refers to stored numbers in another way than torch.save")
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

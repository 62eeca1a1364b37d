//! What a pickle is made of.

use crate::Dtype;
use crate::error::shown;
use std::borrow::Cow;

/// The number of a value.
pub type Id = u32;

/// What a pickle can hold here. Values refer to each other by number, so that nesting of any depth is neither walked
/// nor dropped recursively.
#[derive(Debug)]
pub enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Another number, whose value is of no interest.
    Number,
    Text(&'a str),
    /// Bytes, or a string that is no UTF-8.
    Bytes(Cow<'a, [u8]>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set,
    Dict(Vec<(Id, Id)>),
    Global(Box<Global<'a>>),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor>),
    /// A type of NumPy's elements, e.g. `u1`, and whether their first byte is the greatest.
    NumpyDtype(&'a str, bool),
    /// An array of NumPy's.
    Array(Box<Array>),
    /// A tensor whose values cannot be read, by what it is.
    Unread(&'static str),
    /// What a known function or class would make, and no weights, by what it is.
    Plain(&'static str),
    /// What the global of this number would make, which is not run.
    Object(Id),
}

/// A function or class that a pickle names.
#[derive(Clone, Debug)]
pub enum Global<'a> {
    /// A class of dicts.
    Dict,
    List,
    Tuple,
    Set,
    /// It gives its first argument back.
    Same,
    /// `_rebuild_tensor` and its later versions, by their number.
    RebuildTensor(u8),
    /// `_rebuild_from_type_v2`, which calls another of these for a tensor with attributes.
    RebuildFromType,
    /// A tensor of another device by way of the CPU.
    RebuildOnDevice,
    /// It makes a tensor whose values cannot be read, by what that is.
    Unread(&'static str),
    /// `torch.Tensor` and those of its classes that change nothing of the values.
    TensorClass,
    /// A type of elements, and their size in bytes.
    Dtype(Dtype, u64),
    /// A storage of elements of this type and size; bytes where there is no type.
    Storage(Option<Dtype>, u64),
    /// `_codecs.encode`, by which Python 3 writes bytes for Python 2.
    Encode,
    /// `numpy.dtype`.
    NumpyDtype,
    /// It makes an array of NumPy's that has nothing yet.
    NumpyArray,
    /// It makes an array of NumPy's of bytes.
    NumpyFromBuffer,
    /// It makes something that is plain, by what that is.
    Plain(&'static str),
    /// It makes an object of the class that is its first argument.
    Reconstruct,
    /// Any other.
    Other(&'a str, &'a str),
}

/// Elements in a file of their own in the archive.
#[derive(Debug)]
pub struct Storage<'a> {
    pub key: &'a str,
    /// The type of its elements; none where a tensor says it.
    pub dtype: Option<Dtype>,
    /// Bytes per element.
    pub size: u64,
    /// How many elements.
    pub count: u64,
    /// Of a storage that is part of another, as old files have it: where in that it begins, and how many elements it has.
    pub part: Option<(u64, u64)>,
}

/// A view of a storage, as yet unchecked; offset and strides are counts of elements.
#[derive(Debug)]
pub struct Tensor {
    pub storage: Id,
    /// The type of its elements and their size, where its storage does not say it.
    pub dtype: Option<(Dtype, u64)>,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub stride: Vec<u64>,
    /// Whether its values are the stored ones with the opposite sign.
    pub is_negative: bool,
}

/// An array of NumPy's, row by row, whose bytes are another value; unchecked as yet.
#[derive(Debug)]
pub struct Array {
    pub dtype: Id,
    pub shape: Vec<u64>,
    pub bytes: Id,
}

impl Value<'_> {
    /// What an error message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Number => "a number",
            Self::Text(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::NumpyDtype(..) => "a NumPy object",
            Self::Array(_) => "a NumPy array",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Set => "a set",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Unread(kind) | Self::Plain(kind) => kind,
            Self::Object(_) => "an object",
        }
    }
}

impl Global<'_> {
    /// Its name, as it can be shown, if it is none of the known ones.
    pub fn other(&self) -> Option<String> {
        match self {
            Self::Other(module, name) => {
                let [module, name] = [module, name].map(|name| shown(name));
                Some(format!("{module}.{name}"))
            }
            _ => None,
        }
    }
}

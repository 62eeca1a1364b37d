//! What a pickle of CIFAR is made of.

use std::borrow::Cow;

/// The number of a value.
pub(super) type Id = u32;

/// What a pickle holds here. Values refer to each other by number, so that no nesting is walked or dropped recursively.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// None, or a number that is not whole.
    Other,
    /// A whole number, or a bool as 0 or 1.
    Int(i64),
    /// A string, of bytes or of text.
    Bytes(Cow<'a, [u8]>),
    /// A tuple or a list.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// Of NumPy: its kind and width, e.g. `u1`, and whether its first byte is the greatest.
    Dtype(&'a [u8], bool),
    Array(Array),
}

/// An array whose bytes are another value.
#[derive(Debug, Default)]
pub(super) struct Array {
    pub dtype: Id,
    pub shape: Vec<usize>,
    pub bytes: Id,
}

/// The functions and classes that a pickle may name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    Reconstruct,
    FromBuffer,
    Dtype,
    Ndarray,
    Encode,
    OrderedDict,
}

/// What is wrong with a pickle.
pub(super) type Fault = String;

//! A pickle of tensors, read without running anything.
//!
//! Pickle is a language for a stack machine, and Python's own machine calls whatever function a file names. This one
//! carries out all instructions of the protocols 0 to 5, but knows what only a few functions and classes would build:
//! those of tensors, of NumPy's arrays and of plain values. What any other would build is an object of which nothing is known but the name
//! of its class, and which is of no use.

mod bytes;
mod call;
mod dict;
mod global;
mod machine;
mod numpy;
mod object;

pub use dict::PickledDict;
pub(super) use object::{Id, Storage, Tensor, Value};

use crate::error::{Fault, count, malformed};

/// All values of a pickle, and which one it stands for.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        match Self::read_first(bytes)? {
            (pickle, []) => Ok(pickle),
            (_, rest) => {
                malformed(format!("{} after the end of its pickle, expected none", count(rest.len(), "byte")))
            }
        }
    }

    /// Reads the pickle that the bytes begin with; returns what follows it as well.
    pub(super) fn read_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Fault> {
        let (values, root, rest) = machine::run(bytes)?;
        Ok((Self { values, root }, rest))
    }

    /// What the pickle stands for.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.values.iter()
    }

    /// A value.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }
}

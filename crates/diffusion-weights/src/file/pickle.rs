//! A pickle of tensors, read without running anything.
//!
//! Pickle is a language for a stack machine, and Python's own machine calls whatever function a file names. This one
//! knows the instructions that `torch.save` writes for dicts of tensors, and describes what a handful of functions
//! would build; any other name is refused before it is used.

mod bytes;
mod object;

pub(super) use object::{Id, Storage, Tensor, Value};

use crate::error::{Fault, malformed};
use bytes::Bytes;
use object::{Built, Global};
use std::collections::HashMap;

/// How many values, and how many entries of stack and memo, a pickle may have. A tensor takes about twenty.
const MAX_VALUES: usize = 1 << 20;

/// How many bytes of a pickle a tensor takes at least; `torch.save` writes more than a hundred for each. Without it a few
/// bytes could name one tensor again and again, and memory would be many times the file's size.
const TENSOR_BYTES: usize = 64;

/// All values of a pickle, and which one it stands for.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut machine = Machine {
            input: Bytes(bytes),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            tensors: 1 + bytes.len() / TENSOR_BYTES,
        };
        while machine.step()? {
            let Machine { values, stack, marks, memo, .. } = &machine;
            if [values.len(), stack.len(), marks.len(), memo.len()].iter().any(|&size| size > MAX_VALUES) {
                return malformed(format!("its pickle holds more than {MAX_VALUES} values"));
            }
        }
        let root = machine.pop()?;
        match machine.input.0.len() {
            0 => Ok(Self { values: machine.values, root }),
            left => malformed(format!("{left} bytes follow the end of its pickle, expected none")),
        }
    }

    /// What the pickle stands for.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }
}

struct Machine<'a> {
    input: Bytes<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack below which a value belongs to an outer collection.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many more tensors there may be.
    tensors: usize,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; false after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let [opcode] = self.input.array()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => {
                let [protocol] = self.input.array()?;
                if !(2..=5).contains(&protocol) {
                    return malformed(format!("its pickle is of protocol {protocol}, expected 2 to 5"));
                }
            }
            0x95 => drop(self.input.array::<8>()?), // the length of a frame, of use to streams only

            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'K' => self.integer(|input| Ok(input.unsigned::<1>()?.into()))?,
            b'M' => self.integer(|input| Ok(input.unsigned::<2>()?.into()))?,
            b'J' => self.integer(Bytes::signed)?,
            0x8a => self.integer(Bytes::long)?,
            b'G' => {
                self.input.array::<8>()?;
                self.push(Value::Float);
            }
            b'X' => self.text(Bytes::text::<4>)?,
            0x8c => self.text(Bytes::text::<1>)?,

            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let mut items = (0x84..opcode).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::Tuple(items));
            }
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List),
            b'}' => self.push(Value::Dict(Vec::new())),
            // A list is in no state dict; its items are of no interest.
            b'a' => {
                self.pop()?;
                self.top()?;
            }
            b'e' => {
                self.marked()?;
                self.top()?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }

            b'q' => {
                let key = self.input.unsigned::<1>()?;
                self.memoize(key)?;
            }
            b'r' => {
                let key = self.input.unsigned::<4>()?;
                self.memoize(key)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let key = self.input.unsigned::<1>()?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.input.unsigned::<4>()?;
                self.recall(key)?;
            }

            b'c' => {
                let global = Global::named(self.input.line()?, self.input.line()?)?;
                self.push(Value::Global(global));
            }
            0x93 => {
                let [name, module] = [self.pop()?, self.pop()?].map(|id| &self.values[id as usize]);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return malformed("its pickle names a function by something else than two strings");
                };
                let global = Global::named(module, name)?;
                self.push(Value::Global(global));
            }
            b'Q' => {
                let reference = self.pop()?;
                let storage = object::storage(&self.values, reference)?;
                self.push(storage);
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                match object::call(&self.values, function, arguments)? {
                    Built::New(value) => {
                        if matches!(value, Value::Tensor(_)) {
                            let Some(left) = self.tensors.checked_sub(1) else {
                                return malformed("its pickle is too short for its tensors");
                            };
                            self.tensors = left;
                        }
                        self.push(value);
                    }
                    Built::Old(id) => self.stack.push(id),
                }
            }
            // An object's attributes; torch notes the versions of modules in a dict's. Nothing here has any.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            other => {
                let other = char::from(other);
                return malformed(format!(
                    "its pickle has the instruction {other:?}, which torch.save does not write"
                ));
            }
        }
        Ok(true)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn integer(&mut self, read: impl FnOnce(&mut Bytes<'a>) -> Result<i64, Fault>) -> Result<(), Fault> {
        let value = read(&mut self.input)?;
        self.push(Value::Int(value));
        Ok(())
    }

    fn text(&mut self, read: impl FnOnce(&mut Bytes<'a>) -> Result<&'a str, Fault>) -> Result<(), Fault> {
        let text = read(&mut self.input)?;
        self.push(Value::Text(text));
        Ok(())
    }

    /// The value on top of the stack, if it belongs to the innermost open collection.
    fn top(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.get(floor..).and_then(<[Id]>::last) {
            Some(&top) => Ok(top),
            None => malformed("its pickle takes more values than it has"),
        }
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => malformed("its pickle closes more collections than it opens"),
        }
    }

    /// Adds keys and values, in turn, to the dict on top of the stack.
    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        match &mut self.values[dict as usize] {
            Value::Dict(dict) if odd.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            Value::Dict(_) => return malformed("its pickle has a key without a value"),
            other => return malformed(format!("its pickle sets a key of {}, expected a dict", other.kind())),
        }
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => {
                return malformed(format!("its pickle refers to its value {key}, which it does not have"));
            }
        }
        Ok(())
    }
}

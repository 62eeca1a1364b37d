//! The machine that carries out a pickle's instructions.

use super::bytes::{Bytes, Integer};
use super::call::{self, Built};
use super::numpy;
use super::object::{Global, Id, Value};
use crate::error::{Fault, malformed};
use std::borrow::Cow;
use std::collections::HashMap;

/// How many values, and how many entries of stack and memo, a pickle may have. A tensor takes about twenty.
const MAX_VALUES: usize = 1 << 22;

/// How many bytes of a pickle a tensor takes at least; `torch.save` writes more than a hundred for each. Without it a few
/// bytes could name one tensor again and again, and memory would be many times the file's size.
const TENSOR_BYTES: usize = 64;

/// Values that need no place of their own, by their numbers.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const NUMBER: Id = 3;
const BUFFER: Id = 4;
const SET: Id = 5;

/// All values of the pickle that the bytes begin with, the one that it stands for, and what follows it.
pub(super) fn run(bytes: &[u8]) -> Result<(Vec<Value<'_>>, Id, &[u8]), Fault> {
    let buffer = Value::Plain("a buffer outside of the pickle");
    let fixed = [Value::None, Value::Bool(false), Value::Bool(true), Value::Number, buffer, Value::Set];
    let mut machine = Machine {
        input: Bytes(bytes),
        values: Vec::from(fixed),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        tensors: 1 + bytes.len() / TENSOR_BYTES,
        copies: bytes.len(),
    };
    while machine.step()? {
        let Machine { values, stack, marks, memo, .. } = &machine;
        if [values.len(), stack.len(), marks.len(), memo.len()].iter().any(|&size| size > MAX_VALUES) {
            return malformed(format!("its pickle holds more than {MAX_VALUES} values"));
        }
    }
    let root = machine.pop()?;
    Ok((machine.values, root, machine.input.0))
}

struct Machine<'a> {
    input: Bytes<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack below which a value belongs to an outer collection.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many more tensors there may be.
    tensors: usize,
    /// How many more items of arguments calls may look at, and bytes copy: a real one does little of it.
    copies: usize,
}

impl<'a> Machine<'a> {
    /// Carries out one instruction; false after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let [opcode] = self.input.array()?;
        if opcode == b'.' {
            return Ok(false);
        }
        if !self.scalar(opcode)?
            && !self.collection(opcode)?
            && !self.remember(opcode)?
            && !self.construct(opcode)?
        {
            let opcode = char::from(opcode);
            return malformed(format!("its pickle has {opcode:?}, which is no instruction"));
        }
        Ok(true)
    }

    /// The instructions that push one value without parts; false if it is another.
    fn scalar(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            0x80 => {
                let [protocol] = self.input.array()?;
                if protocol > 5 {
                    return malformed(format!("its pickle is of protocol {protocol}, expected 0 to 5"));
                }
            }
            0x95 => drop(self.input.array::<8>()?), // the length of a frame, of use to streams only
            b'N' => self.stack.push(NONE),
            0x88 => self.stack.push(TRUE),
            0x89 => self.stack.push(FALSE),
            b'K' => self.integer(|input| Ok(Integer::Small(input.unsigned::<1>()? as i64)))?,
            b'M' => self.integer(|input| Ok(Integer::Small(input.unsigned::<2>()? as i64)))?,
            b'J' => self.integer(|input| Ok(Integer::Small(input.signed()?)))?,
            0x8a => self.integer(Bytes::long::<1>)?,
            0x8b => self.integer(Bytes::long::<4>)?,
            b'I' | b'L' => {
                let line = self.input.line()?;
                self.decimal(line);
            }
            b'F' => {
                self.input.line()?;
                self.stack.push(NUMBER);
            }
            b'G' => {
                self.input.array::<8>()?;
                self.stack.push(NUMBER);
            }
            b'X' | b'T' => self.text(Bytes::sized::<4>)?, // Python 2 had strings of bytes
            0x8c | b'U' => self.text(Bytes::sized::<1>)?,
            0x8d => self.text(Bytes::sized::<8>)?,
            b'V' => {
                let line = self.input.line()?;
                self.push(string(line, line.contains(&b'\\')));
            }
            b'S' => match self.input.quoted()? {
                Cow::Borrowed(text) => self.push(string(text, false)),
                escaped => self.push(Value::Bytes(escaped)),
            },
            b'B' => self.bytes(Bytes::sized::<4>)?,
            b'C' => self.bytes(Bytes::sized::<1>)?,
            0x8e | 0x96 => self.bytes(Bytes::sized::<8>)?,
            0x97 => self.stack.push(BUFFER),
            0x98 => drop(self.top()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The instructions that make collections and fill them; false if it is another.
    fn collection(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
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
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.marked()?;
                self.push(Value::List(items));
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.marked()?;
                self.push(Value::Dict(Vec::new()));
                self.set(&items)?;
            }
            0x8f => self.stack.push(SET),
            0x91 => {
                self.marked()?;
                self.stack.push(SET);
            }
            0x90 => {
                self.marked()?;
                self.top()?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.marked()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The instructions on the stack and the memo; false if it is another.
    fn remember(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            b'0' => match self.marks.pop_if(|mark| *mark == self.stack.len()) {
                Some(_) => {}
                None => drop(self.pop()?),
            },
            b'1' => drop(self.marked()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' | b'r' | b'p' | 0x94 => {
                let key = match opcode {
                    b'q' => self.input.unsigned::<1>()?,
                    b'r' => self.input.unsigned::<4>()?,
                    b'p' => self.index()?,
                    _ => self.memo.len() as u64,
                };
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' | b'g' => {
                let key = match opcode {
                    b'h' => self.input.unsigned::<1>()?,
                    b'j' => self.input.unsigned::<4>()?,
                    _ => self.index()?,
                };
                let Some(&id) = self.memo.get(&key) else {
                    return malformed(format!(
                        "its pickle refers to its value {key}, which it does not have"
                    ));
                };
                self.stack.push(id);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The instructions that name functions and classes and call them; false if it is another.
    fn construct(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            b'c' => {
                let global = Global::named(self.input.name()?, self.input.name()?);
                self.push(Value::Global(Box::new(global)));
            }
            0x93 => {
                let [name, module] = [self.pop()?, self.pop()?].map(|id| &self.values[id as usize]);
                let (&Value::Text(module), &Value::Text(name)) = (module, name) else {
                    return malformed("its pickle names a function by something else than two strings");
                };
                self.push(Value::Global(Box::new(Global::named(module, name))));
            }
            0x82..=0x84 => {
                self.input.take(1 << (opcode - 0x82))?;
                self.push(Value::Global(Box::new(Global::Other("copyreg", "extension"))));
            }
            b'Q' => {
                let reference = self.pop()?;
                let value = call::outside(&self.values, reference)?;
                self.push(value);
            }
            b'P' => return malformed("its pickle refers to stored elements in another way than torch.save"),
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(class, arguments)?;
            }
            b'i' => {
                let global = Global::named(self.input.name()?, self.input.name()?);
                let items = self.marked()?;
                self.instance(Value::Global(Box::new(global)), items)?;
            }
            b'o' => {
                let mut items = self.marked()?;
                if items.is_empty() {
                    return malformed("its pickle makes an object of no class");
                }
                let class = items.remove(0);
                self.push(Value::Tuple(items));
                let arguments = self.pop()?;
                self.call(class, arguments)?;
            }
            b'b' => {
                let (state, of) = (self.pop()?, self.top()?);
                if let Some(object) = numpy::with_state(&self.values, of, state) {
                    self.values[of as usize] = object;
                }
                let is_noted = matches!(self.values[state as usize], Value::Dict(_) | Value::None);
                let object = &mut self.values[of as usize];
                // Attributes change nothing; torch notes the versions of modules in a dict's.
                if matches!(object, Value::Tensor(_)) && !is_noted {
                    *object = Value::Unread("a tensor of an unknown make");
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn instance(&mut self, class: Value<'a>, items: Vec<Id>) -> Result<(), Fault> {
        self.push(class);
        self.push(Value::Tuple(items));
        let (arguments, class) = (self.pop()?, self.pop()?);
        self.call(class, arguments)
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<(), Fault> {
        let too_short = || Fault::Malformed("its pickle is too short for its tensors".to_string());
        let cost = call::cost(&self.values, function, arguments);
        self.copies = self.copies.checked_sub(cost).ok_or_else(too_short)?;
        match call::call(&self.values, function, arguments)? {
            Built::New(value) => {
                if matches!(value, Value::Tensor(_)) {
                    self.tensors = self.tensors.checked_sub(1).ok_or_else(too_short)?;
                }
                self.push(value);
            }
            Built::Old(id) => self.stack.push(id),
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn integer(&mut self, read: impl FnOnce(&mut Bytes<'a>) -> Result<Integer, Fault>) -> Result<(), Fault> {
        match read(&mut self.input)? {
            Integer::Small(value) => self.push(Value::Int(value)),
            Integer::Large => self.stack.push(NUMBER),
        }
        Ok(())
    }

    /// An integer in decimal, or a bool as the earliest protocols have it.
    fn decimal(&mut self, line: &[u8]) {
        let text = std::str::from_utf8(line).unwrap_or_default();
        match (text, text.trim_end_matches('L').parse()) {
            ("00", _) => self.stack.push(FALSE),
            ("01", _) => self.stack.push(TRUE),
            (_, Ok(value)) => self.push(Value::Int(value)),
            (_, Err(_)) => self.stack.push(NUMBER),
        }
    }

    fn text(&mut self, read: impl FnOnce(&mut Bytes<'a>) -> Result<&'a [u8], Fault>) -> Result<(), Fault> {
        let text = read(&mut self.input)?;
        self.push(string(text, false));
        Ok(())
    }

    fn bytes(&mut self, read: impl FnOnce(&mut Bytes<'a>) -> Result<&'a [u8], Fault>) -> Result<(), Fault> {
        let bytes = read(&mut self.input)?;
        self.push(Value::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    /// A number of the memo in decimal.
    fn index(&mut self) -> Result<u64, Fault> {
        match self.input.name()?.parse() {
            Ok(index) => Ok(index),
            Err(_) => malformed("its pickle refers to a value by something else than its number"),
        }
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
        if !odd.is_empty() {
            return malformed("its pickle has a key without a value");
        }
        match &mut self.values[dict as usize] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Object(_) | Value::Plain(_) | Value::NumpyDtype(..) | Value::Array(_) => {}
            other => return malformed(format!("its pickle sets a key of {}, expected a dict", other.kind())),
        }
        Ok(())
    }

    /// Adds items to the list on top of the stack.
    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(list) => list.extend_from_slice(items),
            Value::Object(_) | Value::Plain(_) | Value::NumpyDtype(..) | Value::Array(_) => {}
            other => return malformed(format!("its pickle adds to {}, expected a list", other.kind())),
        }
        Ok(())
    }
}

/// A string; one that is escaped, or no UTF-8, is only bytes.
fn string(text: &[u8], is_escaped: bool) -> Value<'_> {
    match std::str::from_utf8(text) {
        Ok(text) if !is_escaped => Value::Text(text),
        _ => Value::Bytes(Cow::Borrowed(text)),
    }
}

//! The stack machine that a pickle is a program for.

use std::{borrow::Cow, collections::HashMap};

use super::value::{Array, Fault, Global, Id, Value};

/// The most values, and entries of the memo. CIFAR-100 has some 150 000.
const MAX_VALUES: usize = 1 << 20;
/// The most axes of an array.
const MAX_AXES: usize = 8;

/// A pickle is a program for a stack machine; this one knows no instruction that does anything else than build values.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack below which a value belongs to an outer collection.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many more bytes may be copied: all of the input once.
    room: usize,
}

impl<'a> Machine<'a> {
    /// The values that a pickle makes, and which one it stands for.
    pub(super) fn run(bytes: &'a [u8]) -> Result<(Vec<Value<'a>>, Id), Fault> {
        let mut machine = Machine {
            input: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            room: bytes.len(),
        };
        while machine.step()? {
            let Machine { values, stack, marks, memo, .. } = &machine;
            if [values.len(), stack.len(), marks.len(), memo.len()].iter().any(|&size| size > MAX_VALUES) {
                return Err(format!("its pickle holds more than {MAX_VALUES} values"));
            }
        }
        let root = machine.pop()?;
        Ok((machine.values, root))
    }

    /// Carries out one instruction; false after the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let opcode = self.number(1)? as u8;
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'N' => self.push(Value::Other),
            0x88 | 0x89 => self.push(Value::Int((0x89 - opcode).into())),
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other);
            }
            b'K' | b'M' | b'J' | b'I' | b'L' | 0x8a => {
                let value = self.integer(opcode)?;
                self.push(Value::Int(value));
            }
            b'U' | b'T' | b'X' | b'B' | b'C' | 0x8c | 0x8d | 0x8e | 0x96 => {
                let width = match opcode {
                    b'U' | b'C' | 0x8c => 1,
                    b'T' | b'X' | b'B' => 4,
                    _ => 8,
                };
                let size = self.number(width)?;
                let bytes = self.take(size)?;
                self.push(Value::Bytes(Cow::Borrowed(bytes)));
            }
            b'S' | b'V' => {
                let line = self.line()?;
                let text = if opcode == b'S' { self.quoted(line)? } else { Cow::Borrowed(line) };
                self.push(Value::Bytes(text));
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            _ => self.collect(opcode)?,
        }
        Ok(true)
    }

    /// Carries out an instruction that takes values from the stack or the memo.
    fn collect(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            b')' | b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x85..=0x87 => {
                let mut items = (0x84..opcode).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::List(items));
            }
            b't' | b'l' => {
                let items = self.marked()?;
                self.push(Value::List(items));
            }
            b'd' => {
                let items = self.marked()?;
                self.push(Value::Dict(Vec::new()));
                self.set(&items)?;
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
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.remember(opcode)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let [name, module] = [name, module].map(|id| self.bytes(id).map(<[u8]>::to_vec));
                self.global(&module?, &name?)?;
            }
            b'R' => self.call()?,
            b'b' => self.build()?,
            _ => {
                let opcode = char::from(opcode);
                return Err(format!(
                    "its pickle has the instruction {opcode:?}, which plain values do not need"
                ));
            }
        }
        Ok(())
    }

    /// Carries out an instruction that puts a value into the memo or takes one from there.
    fn remember(&mut self, opcode: u8) -> Result<(), Fault> {
        let key = match opcode {
            0x94 => self.memo.len(),
            b'p' | b'g' => decimal(self.line()?)? as usize,
            b'q' | b'h' => self.number(1)?,
            _ => self.number(4)?,
        };
        if matches!(opcode, b'h' | b'j' | b'g') {
            let value = self.memo.get(&(key as u32));
            let value = value.ok_or_else(|| format!("its pickle has no value {key} to refer to"))?;
            self.stack.push(*value);
        } else {
            let top = self.top()?;
            self.memo.insert(key as u32, top);
        }
        Ok(())
    }

    fn global(&mut self, module: &[u8], name: &[u8]) -> Result<(), Fault> {
        let global = match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Global::Reconstruct,
            (b"numpy.core.numeric" | b"numpy._core.numeric", b"_frombuffer") => Global::FromBuffer,
            (b"numpy", b"dtype") => Global::Dtype,
            (b"numpy", b"ndarray") => Global::Ndarray,
            (b"_codecs", b"encode") => Global::Encode,
            (b"collections", b"OrderedDict") => Global::OrderedDict,
            _ => {
                let [module, name] = [module, name].map(String::from_utf8_lossy);
                return Err(format!("its pickle would run `{module}.{name}`, which is not allowed"));
            }
        };
        self.push(Value::Global(global));
        Ok(())
    }

    /// Makes what a function would make of its arguments.
    fn call(&mut self) -> Result<(), Fault> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (&Value::Global(function), Value::List(arguments)) =
            (&self.values[function as usize], &self.values[arguments as usize])
        else {
            return Err("its pickle calls something that is no function".to_owned());
        };
        let arguments = arguments.get(..arguments.len().min(4)).unwrap_or_default().to_vec();
        let value = match (function, &arguments[..]) {
            (Global::Reconstruct, _) => {
                Value::Array(Array { dtype: Id::MAX, bytes: Id::MAX, shape: Vec::new() })
            }
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::Dtype, &[name, ..]) => {
                let Value::Bytes(Cow::Borrowed(name)) = self.values[name as usize] else {
                    return Err("its pickle has a type of NumPy's without a name".to_owned());
                };
                Value::Dtype(name, false)
            }
            (Global::Encode, &[text, ..]) => Value::Bytes(Cow::Owned(self.latin_1(text)?)),
            (Global::FromBuffer, &[bytes, dtype, shape, order]) => {
                if self.bytes(order)? != b"C" {
                    return Err("its pickle has an array of columns, expected rows".to_owned());
                }
                Value::Array(Array { dtype, shape: self.shape(shape)?, bytes })
            }
            (function, arguments) => {
                return Err(format!("its pickle calls {function:?} with {} arguments", arguments.len()));
            }
        };
        self.push(value);
        Ok(())
    }

    /// Gives an array or a type its state.
    fn build(&mut self) -> Result<(), Fault> {
        let (state, object) = (self.pop()?, self.top()?);
        let Value::List(state) = &self.values[state as usize] else {
            return Err("its pickle has a state that is no tuple".to_owned());
        };
        let state = state.get(..state.len().min(5)).unwrap_or_default().to_vec();
        match (&self.values[object as usize], &state[..]) {
            (&Value::Dtype(name, _), &[_, order, ..]) => {
                let is_big = self.bytes(order)? == b">";
                self.values[object as usize] = Value::Dtype(name, is_big);
            }
            (Value::Array(_), &[_, shape, dtype, fortran, bytes]) => {
                let shape = self.shape(shape)?;
                if !matches!(self.values[fortran as usize], Value::Int(0)) {
                    return Err("its pickle has an array of columns, expected rows".to_owned());
                }
                self.values[object as usize] = Value::Array(Array { dtype, shape, bytes });
            }
            _ => return Err("its pickle sets the state of something that has none".to_owned()),
        }
        Ok(())
    }

    /// The lengths of axes in a tuple.
    fn shape(&self, tuple: Id) -> Result<Vec<usize>, Fault> {
        let wrong = || "its pickle has an array whose shape is no tuple of sizes".to_owned();
        let Value::List(items) = &self.values[tuple as usize] else { return Err(wrong()) };
        if items.len() > MAX_AXES {
            return Err(wrong());
        }
        let size = |&item: &Id| match self.values[item as usize] {
            Value::Int(size) => usize::try_from(size).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        items.iter().map(size).collect()
    }

    /// The bytes of which a text is the code in Latin-1, as Python 3 writes them for Python 2.
    fn latin_1(&mut self, text: Id) -> Result<Vec<u8>, Fault> {
        let text = str::from_utf8(self.bytes(text)?).map_err(|_| "its pickle has text that is not UTF-8")?;
        let bytes: Option<Vec<u8>> = match text.len() <= self.room {
            true => text.chars().map(|letter| u8::try_from(letter).ok()).collect(),
            false => return Err("its pickle has the same text more than once".to_owned()),
        };
        self.room -= text.len();
        bytes.ok_or_else(|| "its pickle has text that is not Latin-1".to_owned())
    }

    fn bytes(&self, id: Id) -> Result<&[u8], Fault> {
        match &self.values[id as usize] {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err("its pickle has something else where a string is expected".to_owned()),
        }
    }

    /// A line in quotes, as Python writes a string.
    fn quoted(&mut self, line: &'a [u8]) -> Result<Cow<'a, [u8]>, Fault> {
        let wrong = || "its pickle has a string without quotes".to_owned();
        let [quote @ (b'\'' | b'"'), text @ .., last] = line else { return Err(wrong()) };
        if quote != last {
            return Err(wrong());
        }
        if !text.contains(&b'\\') {
            return Ok(Cow::Borrowed(text));
        }
        if text.len() > self.room {
            return Err("its pickle has more text than it is long".to_owned());
        }
        self.room -= text.len();
        let (mut bytes, mut rest) = (Vec::new(), text);
        while let Some((&byte, after)) = rest.split_first() {
            let (byte, after) = match (byte, after) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digit = |&digit: &u8| char::from(digit).to_digit(16).ok_or_else(wrong);
                    ((16 * digit(high)? + digit(low)?) as u8, after)
                }
                (b'\\', [b'n', after @ ..]) => (b'\n', after),
                (b'\\', [b'r', after @ ..]) => (b'\r', after),
                (b'\\', [b't', after @ ..]) => (b'\t', after),
                (b'\\', [byte, after @ ..]) => (*byte, after),
                other => other,
            };
            bytes.push(byte);
            rest = after;
        }
        Ok(Cow::Owned(bytes))
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    /// The value on top of the stack, if it belongs to the innermost open collection.
    fn top(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last).copied();
        top.ok_or_else(|| "its pickle takes more values than it has".to_owned())
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What was pushed since the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or("its pickle closes more collections than it opens")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, more: &[Id]) -> Result<(), Fault> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(items) => items.extend(more),
            _ => return Err("its pickle appends to something that is no list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        let dict = self.top()?;
        let (pairs, odd) = items.as_chunks::<2>();
        match &mut self.values[dict as usize] {
            Value::Dict(dict) if odd.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            _ => return Err("its pickle sets a key of something that is no dict".to_owned()),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.input.split_at_checked(count).ok_or("its pickle is cut off")?;
        self.input = rest;
        Ok(bytes)
    }

    /// An unsigned number of `width` bytes, at most 8.
    fn number(&mut self, width: usize) -> Result<usize, Fault> {
        let bytes = self.take(width)?;
        let value = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
        usize::try_from(value).map_err(|_| "its pickle is cut off".to_owned())
    }

    /// A whole number in the form that `opcode` says.
    fn integer(&mut self, opcode: u8) -> Result<i64, Fault> {
        Ok(match opcode {
            b'K' => self.number(1)? as i64,
            b'M' => self.number(2)? as i64,
            b'J' => i64::from(self.number(4)? as u32 as i32),
            b'I' | b'L' => decimal(self.line()?)?,
            _ => {
                let size = self.number(1)?;
                let bytes = self.take(size)?;
                if bytes.len() > size_of::<i64>() {
                    return Err(format!("an integer in its pickle has {size} bytes, expected at most 8"));
                }
                let sign = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
                let mut whole = [sign; size_of::<i64>()];
                whole[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(whole)
            }
        })
    }

    /// What stands before the next end of a line.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let end = self.input.iter().position(|&byte| byte == b'\n').ok_or("its pickle is cut off")?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }
}

/// A whole number in digits, as Python 2 writes it.
fn decimal(line: &[u8]) -> Result<i64, Fault> {
    let text = str::from_utf8(line).unwrap_or_default().trim_end_matches('L');
    text.parse().map_err(|_| "its pickle has a number that is none".to_owned())
}
